"""What the Hopper kernels need of the host: tensor descriptors, the number of multiprocessors, and whether they fit."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

__all__ = ["HopperLaunch", "describe", "multiprocessors", "runs_here"]

_DTYPES: Final = {torch.bfloat16: gl.bfloat16, torch.float16: gl.float16, torch.int8: gl.int8}


@dataclass(frozen=True)
class HopperLaunch:
    """How a kernel is launched: blocks in flight, registers a thread before and after they are dealt out, occupancy."""

    stages: int
    registers: int
    worker_registers: int
    copy_registers: int
    programs: int  # a multiprocessor


def describe(tensor: Tensor) -> TensorDescriptor:
    """Descriptor of blocks `[64, D]` of a packed tensor `[T, H, D]`, whose heads lie side by side."""
    tokens, heads, width = tensor.shape
    layout = _shared_layout(width, tensor.dtype)
    return TensorDescriptor(tensor, [tokens, heads * width], [tensor.stride(0), 1], [64, width], layout)


@lru_cache
def _shared_layout(width: int, dtype: torch.dtype) -> gl.NVMMASharedLayout:
    """Of a block `[64, D]`, kept: every launch asks for several."""
    return gl.NVMMASharedLayout.get_default_for([64, width], _DTYPES[dtype])


@lru_cache
def multiprocessors(device: torch.device) -> int:
    """Of a CUDA device."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@lru_cache
def _is_hopper(device: torch.device) -> bool:
    return bool(torch.cuda.get_device_capability(device) == (9, 0))


def runs_here(*tensors: Tensor) -> bool:
    """Whether packed tensors `[T, H, D]` fit the Hopper kernels: device, dtype, D, alignment, heads side by side."""
    first = tensors[0]
    if (
        first.device.type != "cuda"
        or first.dtype not in (torch.bfloat16, torch.float16)
        or first.shape[2] not in (32, 64, 128)
    ):
        return False
    fits = all(
        t.stride(2) == 1 and t.stride(1) == t.shape[2] and t.stride(0) % 8 == 0 and t.data_ptr() % 16 == 0
        for t in tensors
    )
    return fits and first.shape[0] > 0 and _is_hopper(first.device)
