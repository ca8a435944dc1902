"""The kernels as `torch.library` ops: what autograd, `torch.compile` and fake tensors need to know of them."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from longwatch.kernels.triton_impl.backward import attention_backward
from longwatch.kernels.triton_impl.device_plan import DevicePlan
from longwatch.kernels.triton_impl.forward import attention_forward

__all__ = ["block_sparse_attention", "block_sparse_attention_backward", "contiguous_rows", "on_device_of"]


@torch.library.custom_op("longwatch::block_sparse_attention", mutates_args=())
def block_sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sink: Tensor | None,
    gate: Tensor | None,  # noqa: ARG001  for its gradient alone
    gate_entries: Tensor | None,  # noqa: ARG001  for its gradient alone
    tensors: list[Tensor],
    numbers: list[int],
    scale: float,
    deterministic: bool,  # noqa: ARG001  the backward's
) -> tuple[Tensor, Tensor]:
    """Attention output `[T, H, D]` and log-sum-exp float32 `[H, T]`; D contiguous, scale > 0, sink float32 `[H]`.

    tensors and numbers are a DevicePlan's `flatten()`. gate is any shape and has no effect on the result; its gradient
    is that of the logits of the entry halves `2 * entry + half` that gate_entries `[*gate.shape, R]` names, 2 * E for
    none.
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
    tensors: list[Tensor],
    numbers: list[int],
    scale: float,
    deterministic: bool,
    want_gate: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value, sink `[H]` and each entry's halves `[E, 2]`; the last two empty if unwanted."""
    plan = DevicePlan.unflatten(tensors, numbers)
    with on_device_of(query):
        found = attention_backward(
            grad_out, grad_lse, query, key, value, out, lse, plan, scale, sink,
            deterministic=deterministic, want_gate=want_gate,
        )  # fmt: skip
    none = [lse.new_empty(0) if unwanted is None else unwanted for unwanted in (found.sink, found.gate)]
    return found.query, found.key, found.value, none[0], none[1]


@block_sparse_attention_backward.register_fake
def _fake_backward(
    _grad_out: Tensor, _grad_lse: Any, query: Tensor, key: Tensor, value: Tensor, sink: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    _out, lse, tensors, numbers, *_, want_gate = rest
    made = [tensor.new_empty(tensor.shape) for tensor in (query, key, value)]
    grad_sink = lse.new_empty(0 if sink is None else query.shape[1])
    entries = DevicePlan.unflatten(tensors, numbers).query_entries
    grad_gate = lse.new_empty(len(entries), 2) if want_gate else lse.new_empty(0)
    return made[0], made[1], made[2], grad_sink, grad_gate


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, sink, gate, gate_entries, tensors, numbers, scale, deterministic = inputs
    ctx.save_for_backward(query, key, value, sink, gate_entries, *output, *tensors)
    ctx.numbers, ctx.scale, ctx.deterministic = numbers, scale, deterministic
    ctx.want_gate = gate is not None and ctx.needs_input_grad[4]
    # A log-sum-exp that nobody used costs the backward nothing.
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_out: Tensor | None, grad_lse: Tensor | None) -> tuple[Any, ...]:
    query, key, value, sink, gate_entries, out, lse, *tensors = ctx.saved_tensors
    upstream = torch.zeros_like(out) if grad_out is None else grad_out
    grad_query, grad_key, grad_value, grad_sink, by_half = block_sparse_attention_backward(
        contiguous_rows(upstream), None if grad_lse is None else grad_lse.contiguous(),
        query, key, value, sink, out, lse, tensors, ctx.numbers, ctx.scale, ctx.deterministic, ctx.want_gate,
    )  # fmt: skip
    grad_gate = None
    if ctx.want_gate:
        # One more than all halves, 0, for those that chose none.
        padded = torch.cat([by_half.flatten(), by_half.new_zeros(1)])
        grad_gate = padded[gate_entries].sum(-1)
    grads = (grad_query, grad_key, grad_value, None if sink is None else grad_sink, grad_gate)
    return *grads, None, [None] * len(tensors), None, None, None


block_sparse_attention.register_autograd(_backward, setup_context=_setup)


def contiguous_rows(tensor: Tensor) -> Tensor:
    """The tensor with its last axis contiguous, as the kernels read it."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def on_device_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """The tensor's CUDA device made current, as Triton launches need."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
