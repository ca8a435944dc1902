"""Warp-specialised kernels for compute capability 9.0; the forward is bitwise the portable one beside this folder."""
