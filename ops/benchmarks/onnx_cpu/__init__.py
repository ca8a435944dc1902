"""ONNX Runtime on a CPU: whole windows, steps, parity and compression; one JSON line a measurement."""
