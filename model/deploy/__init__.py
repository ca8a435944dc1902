"""From a trained bundle to graphs that run anywhere: export, parity, quantisation, pruning. Needs torch and onnx."""
