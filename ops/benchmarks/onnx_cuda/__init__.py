"""ONNX Runtime on CUDA beside our Triton kernels and torch, on one GPU in one run; one JSON line a measurement."""
