"""The live page of a running worker: what it reads, scores and raises, served to browsers from the worker itself."""
