"""The Triton implementation as the public entry calls it: any strides, any scale, any plan."""

import os
from contextlib import nullcontext

import torch
from torch import Tensor

from longwatch.kernels.plan import Plan
from longwatch.kernels.triton_impl.device_plan import DevicePlan
from longwatch.kernels.triton_impl.forward import attention_forward
from longwatch.kernels.triton_impl.op import block_sparse_attention, contiguous_rows, on_device_of
from longwatch.kernels.triton_impl.plans import twin
from longwatch.kernels.triton_impl.quantised_op import quantised_attention
from longwatch.kernels.triton_impl.topk import TopKPlan, select

__all__ = ["triton_attention"]

WIDTHS = (32, 64, 128)


def triton_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: Plan | DevicePlan | TopKPlan,
    scale: float,
    sink: Tensor | None,
    deterministic: bool,
    short: bool = False,
) -> tuple[Tensor, Tensor]:
    """Output `[T, H, D]` and log-sum-exp float32 `[T, H]`; ValueError names what the kernels cannot take.

    short: int8 products of queries and keys, without gradients.
    """
    _check(query)
    if short:
        _check_no_gradient(query=query, key=key, value=value, sink=sink)
    if isinstance(plan, Plan):
        plan = twin(plan, query.device)
    _check_device(query, plan.base if isinstance(plan, TopKPlan) else plan)
    if not query.shape[0]:
        return query.clone(), query.new_zeros(query.shape[:2], dtype=torch.float32)
    # The kernels want a scale above 0.
    sign = (scale > 0) - (scale < 0)
    query = query if sign > 0 else query * sign
    logit = None if sink is None else sink.float().contiguous()
    rows, keys, values = (contiguous_rows(tensor) for tensor in (query, key, value))
    gates: list[Tensor] = []
    if isinstance(plan, TopKPlan):
        plan, gates = _choice(rows, keys, values, plan, abs(scale), logit)
    tensors, numbers = plan.flatten()
    if short:
        out, lse = quantised_attention(rows, keys, values, logit, tensors, numbers, abs(scale) or 1.0)
        return out, lse.T
    if _is_plain(rows, keys, values, logit):
        with on_device_of(rows):
            out, lse = attention_forward(rows, keys, values, plan, abs(scale) or 1.0, logit)
        return out, lse.T
    out, lse = block_sparse_attention(
        rows, keys, values, logit, gates, tensors, numbers, abs(scale) or 1.0, deterministic
    )
    return out, lse.T


def _choice(
    query: Tensor, key: Tensor, value: Tensor, plan: TopKPlan, scale: float, sink: Tensor | None
) -> tuple[DevicePlan, list[Tensor]]:
    """The plan of what these choose; the key side's lists only where a gradient may be asked for."""
    wanted, traced = _wants_gradient(query, key, value, sink), _is_traced(query, key)
    with nullcontext() if traced else on_device_of(query):
        found = select(query, key, plan, scale, backward=wanted, traced=traced)
    return found.plan, list(found.gates)


def _is_plain(*tensors: Tensor | None) -> bool:
    """Whether nothing looks on that needs the op, which takes the host as long as the kernel's launch."""
    return not _wants_gradient(*tensors) and not _is_traced(*tensors)


def _wants_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _is_traced(*tensors: Tensor | None) -> bool:
    return torch.compiler.is_compiling() or any(tensor is not None and type(tensor) is not Tensor for tensor in tensors)


def _check(query: Tensor) -> None:
    if query.shape[2] not in WIDTHS:
        raise ValueError(
            f"query: expected D one of {', '.join(map(str, WIDTHS))} for the Triton kernels, got {query.shape[2]}; "
            "use implementation='gather'"
        )
    if not query.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"query: expected on a CUDA device for the Triton kernels, got {query.device}; move it there")
    if query.dtype not in (torch.float16, torch.bfloat16) and (query.is_cuda or query.dtype != torch.float32):
        raise ValueError(
            f"query: expected float16 or bfloat16 for the Triton kernels, got {query.dtype}; "
            "use implementation='gather'"
        )


def _check_no_gradient(**tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if torch.is_grad_enabled() and tensor is not None and tensor.requires_grad:
            raise ValueError(
                f"{name}: expected no gradient to be asked for with implementation 'int8', got requires_grad=True; "
                "call it under torch.no_grad() or use implementation='triton'"
            )


def _check_device(query: Tensor, plan: DevicePlan) -> None:
    if plan.tiles.device != query.device:
        raise ValueError(f"plan: expected on {query.device} like query, got {plan.tiles.device}; build it for that")
