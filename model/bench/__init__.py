"""Benchmarks: frozen protocols, floors and detectors on token sequences, no log parsing."""
