"""Attention kernels in Triton; only this folder imports triton."""
