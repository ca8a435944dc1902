"""The kernels as `torch.library` ops: what autograd, `torch.compile` and fake tensors need to know of them."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from longwatch.kernels.triton_impl.backward import attention_backward
from longwatch.kernels.triton_impl.device_plan import DevicePlan
from longwatch.kernels.triton_impl.forward import attention_forward
from longwatch.kernels.triton_impl.topk_gradient import Gates, add_gate_gradient

__all__ = ["block_sparse_attention", "block_sparse_attention_backward", "contiguous_rows", "on_device_of"]


@torch.library.custom_op("longwatch::block_sparse_attention", mutates_args=())
def block_sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sink: Tensor | None,
    gates: list[Tensor],  # noqa: ARG001  for their gradient alone
    tensors: list[Tensor],
    numbers: list[int],
    scale: float,
    deterministic: bool,  # noqa: ARG001  the backward's
) -> tuple[Tensor, Tensor]:
    """Attention output `[T, H, D]` and log-sum-exp float32 `[H, T]`; D contiguous, scale > 0, sink float32 `[H]`.

    tensors and numbers are a DevicePlan's `flatten()`. gates are the tensors of `Gates` where data chose the plan, else
    none: they have no effect on the result, but the gradients of query and key are then also those of the gates.
    """
    plan = DevicePlan.unflatten(tensors, numbers)
    with on_device_of(query):
        return attention_forward(query, key, value, plan, scale, sink)


@block_sparse_attention.register_fake
def _fake(query: Tensor, *_rest: Any) -> tuple[Tensor, Tensor]:
    tokens, heads, width = query.shape
    return query.new_empty(tokens, heads, width), query.new_empty(heads, tokens, dtype=torch.float32)


@torch.library.custom_op("longwatch::block_sparse_attention_backward", mutates_args=())
def block_sparse_attention_backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sink: Tensor | None,
    out: Tensor,
    lse: Tensor,
    gates: list[Tensor],
    tensors: list[Tensor],
    numbers: list[int],
    scale: float,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value and sink `[H]`, the last empty if there is none."""
    plan = DevicePlan.unflatten(tensors, numbers)
    with on_device_of(query):
        found = attention_backward(
            grad_out, grad_lse, query, key, value, out, lse, plan, scale, sink,
            deterministic=deterministic, want_gate=bool(gates),
        )  # fmt: skip
        if found.gate is not None and query.shape[0]:
            add_gate_gradient(found.query, found.key, found.gate, Gates(*gates), scale)
    return found.query, found.key, found.value, lse.new_empty(0) if found.sink is None else found.sink


@block_sparse_attention_backward.register_fake
def _fake_backward(
    _grad_out: Tensor, _grad_lse: Any, query: Tensor, key: Tensor, value: Tensor, sink: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _out, lse, *_ = rest
    made = [tensor.new_empty(tensor.shape) for tensor in (query, key, value)]
    return made[0], made[1], made[2], lse.new_empty(0 if sink is None else query.shape[1])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, sink, gates, tensors, numbers, scale, deterministic = inputs
    ctx.save_for_backward(query, key, value, sink, *output, *gates, *tensors)
    ctx.numbers, ctx.scale, ctx.deterministic, ctx.gates = numbers, scale, deterministic, len(gates)
    # A log-sum-exp that nobody used costs the backward nothing.
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_out: Tensor | None, grad_lse: Tensor | None) -> tuple[Any, ...]:
    query, key, value, sink, out, lse, *rest = ctx.saved_tensors
    gates, tensors = rest[: ctx.gates], rest[ctx.gates :]
    upstream = torch.zeros_like(out) if grad_out is None else grad_out
    grad_query, grad_key, grad_value, grad_sink = block_sparse_attention_backward(
        contiguous_rows(upstream), None if grad_lse is None else grad_lse.contiguous(),
        query, key, value, sink, out, lse, gates if any(ctx.needs_input_grad[:2]) else [],
        tensors, ctx.numbers, ctx.scale, ctx.deterministic,
    )  # fmt: skip
    grads = (grad_query, grad_key, grad_value, None if sink is None else grad_sink)
    return *grads, [None] * len(gates), [None] * len(tensors), None, None, None


block_sparse_attention.register_autograd(_backward, setup_context=_setup)


def contiguous_rows(tensor: Tensor) -> Tensor:
    """The tensor with its last axis contiguous, as the kernels read it."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def on_device_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """The tensor's CUDA device made current, as Triton launches need."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
