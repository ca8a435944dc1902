"""What each verb of the command line does; `longwatch.pipeline.cli` parses, these act."""
