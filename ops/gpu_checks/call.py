"""The public call, with the plan that it needs and the gradients that it gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from gpu_checks.case import Case, Inputs
from gpu_checks.exact import Result
from longwatch.kernels import block_sparse_attention, build_plan, plan_on_device
from longwatch.kernels.triton_impl import backward, forward


def make_plan(case: Case, implementation: str, device: str) -> Any:
    """The device plan; for the implementations in plain torch the host's."""
    patterns = case.rules if len(case.rules) > 1 else case.rules[0]
    if implementation == "triton":
        return plan_on_device(patterns, case.bounds, device=device)
    chosen = next((rule.data_chosen for rule in case.rules if rule.data_chosen is not None), None)
    return build_plan(patterns, case.bounds, 64 if chosen is None else chosen.block)


def run(case: Case, given: Inputs, implementation: str, device: str, plan: Any = None) -> Result:
    """Forward and all gradients by the public call."""
    plan = make_plan(case, implementation, device) if plan is None else plan
    options = _options(case, implementation)
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (given.query, given.key, given.value)]
    names = ["dq", "dk", "dv"]
    if given.sink is not None:
        options["sink"] = given.sink.detach().clone().requires_grad_()
        leaves, names = [*leaves, options["sink"]], [*names, "dsink"]
    poison(given.query)
    out, lse = block_sparse_attention(*leaves[:3], plan, **options)
    outputs, grads = [out], [given.grad]
    if given.lse_grad is not None:
        outputs, grads = [out, lse], [given.grad, given.lse_grad]
    poison(given.query)
    # Without a token there may be no graph; its gradients are empty all the same.
    gradients = torch.autograd.grad(
        outputs, leaves, grads, allow_unused=not case.tokens, materialize_grads=not case.tokens
    )
    return Result(out.detach(), lse.detach(), dict(zip(names, gradients, strict=True)))


@contextmanager
def portable() -> Iterator[None]:
    """The Triton kernels that run anywhere, also where the Hopper ones would."""
    off = {"suits_hopper": lambda *_: False}
    with patch.multiple(forward, **off), patch.multiple(backward, **off):
        yield


def poison(like: Tensor) -> None:
    """Leaves NaN where the allocator will hand out memory next, so that what no kernel writes shows."""
    held = [torch.full_like(like, torch.nan) for _ in range(4)]
    held += [torch.full(like.shape, torch.nan, device=like.device, dtype=torch.float32) for _ in range(3)]
    held += [torch.full(like.shape[:2], torch.nan, device=like.device, dtype=torch.float32) for _ in range(4)]
    del held


def _options(case: Case, implementation: str) -> dict[str, Any]:
    return {
        "scale": case.scale,
        "implementation": implementation,
        "return_lse": True,
        "deterministic": case.deterministic,
    }
