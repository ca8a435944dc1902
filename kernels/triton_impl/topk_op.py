"""A choice as a `torch.library` op, for `torch.compile` and fake tensors; it has no gradient of its own."""

from typing import Any

import torch
from torch import Tensor

from longwatch.kernels.triton_impl.device_plan import DevicePlan
from longwatch.kernels.triton_impl.op import on_device_of
from longwatch.kernels.triton_impl.topk_fill import Blocks, choose, room

__all__ = ["choose_lists"]

_BLOCKS = len(Blocks._fields)


@torch.library.custom_op("longwatch::choose_lists", mutates_args=())
def choose_lists(
    query: Tensor, key: Tensor, tensors: list[Tensor], numbers: list[int], scale: float, backward: bool
) -> list[Tensor]:
    """The tensors of `Lists`; tensors: those of Blocks and of the base plan; numbers: block, count and the plan's."""
    block, count, *rest = numbers
    base = DevicePlan.unflatten(tensors[_BLOCKS:], rest)
    with on_device_of(query):
        return list(choose(query, key, base, Blocks(*tensors[:_BLOCKS]), block, count, scale, backward=backward))


@choose_lists.register_fake
def _fake(
    _query: Tensor, key: Tensor, tensors: list[Tensor], numbers: list[Any], _scale: float, backward: bool
) -> list[Tensor]:
    block, count, *rest = numbers
    base = DevicePlan.unflatten(tensors[_BLOCKS:], rest)
    return list(room(key, base, key.shape[1], block, count, key.shape[2], backward=backward))
