"""Benchmark sets: files as they lie on disk to units that `longwatch.model.bench` judges."""
