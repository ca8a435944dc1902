"""The int8 forward as a `torch.library` op, without a gradient."""

from typing import Any

import torch
from torch import Tensor

from longwatch.kernels.triton_impl.device_plan import DevicePlan
from longwatch.kernels.triton_impl.op import on_device_of
from longwatch.kernels.triton_impl.quantised import quantised_forward

__all__ = ["quantised_attention"]


@torch.library.custom_op("longwatch::quantised_attention", mutates_args=())
def quantised_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sink: Tensor | None,
    tensors: list[Tensor],
    numbers: list[int],
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Attention output `[T, H, D]` and log-sum-exp float32 `[H, T]`; arguments as of `block_sparse_attention`."""
    plan = DevicePlan.unflatten(tensors, numbers)
    with on_device_of(query):
        return quantised_forward(query, key, value, plan, scale, sink)


@quantised_attention.register_fake
def _fake(query: Tensor, *_rest: Any) -> tuple[Tensor, Tensor]:
    tokens, heads, width = query.shape
    return query.new_empty(tokens, heads, width), query.new_empty(heads, tokens, dtype=torch.float32)
