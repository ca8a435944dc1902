"""The attention benchmark's rooms; `python ops/benchmarks/attention` runs it."""
