"""Traces of commits for OpenTelemetry: off unless configured, and imported only then."""
