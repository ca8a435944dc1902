"""Checks of the GPU kernels that need no test runner: numerics.py and sanitize.py."""
