"""Our result against float64, beside what SDPA's is: how far off may it be, and is it."""

import torch
from torch import Tensor

from gpu_checks.case import DTYPES, Case, Inputs
from gpu_checks.exact import Result

LARGEST = "largest error"


def ulp(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The spacing of dtype's numbers at each value, subnormal spacing at and near 0."""
    info = torch.finfo(dtype)
    return torch.exp2(torch.floor(torch.log2(values.abs().double().clamp_min(info.tiny)))) * info.eps


def problems(
    case: Case, given: Inputs, ours: Result, exact: Result, errors: dict[str, Tensor]
) -> tuple[list[str], dict[str, float]]:
    """What does not hold, in words, and our error by SDPA's for each tensor; `errors` are SDPA's, absolute."""
    found: list[str] = []
    ratios: dict[str, float] = {}
    floor = exact.out.new_zeros(())
    pair = (ours.out.double() - exact.out).abs(), errors["out"]
    _judge("out", pair, exact.out, DTYPES[case.dtype], (1.0, 1.1), floor, found, ratios)
    if ours.lse is not None and exact.lse is not None:
        _lse(given, case, ours.lse, exact.lse, found)
    for name in ("dq", "dk", "dv"):
        true, floor = exact.grads[name], _floor(case, given, name)
        if case.lse_grad or case.by_data:
            # SDPA lacks these parts of the gradient; what they add is rounded like the rest.
            floor = floor + torch.finfo(DTYPES[case.dtype]).eps / 4 * true.abs().max()
        pair = (ours.grads[name].double() - true).abs(), errors[name]
        _judge(name, pair, true, DTYPES[case.dtype], (1.5, 1.5), floor, found, ratios)
    if given.sink is not None:
        _sink(case, given, ours, exact, found)
    return found, ratios


def _judge(
    name: str,
    errors: tuple[Tensor, Tensor],
    exact: Tensor,
    dtype: torch.dtype,
    factors: tuple[float, float],
    floor: Tensor,
    found: list[str],
    ratios: dict[str, float],
) -> None:
    """The largest error: at most so many times SDPA's, and 2 ulp of the element. The root mean square: so many times.

    The second is the sharper one: the largest of few numbers is luck, and numerics.py draws such a case again.
    """
    error, theirs = errors[0], errors[1].max()
    allowed = factors[0] * theirs + 2 * ulp(exact, dtype) + floor
    ratios[f"{name}_max"] = _ratio(error.max(), theirs)
    if not bool((error <= allowed).all()):
        at = int(torch.nan_to_num(error - allowed, nan=torch.inf).argmax())
        found.append(f"{name}: {LARGEST} {_show(error.max())}, SDPA's {_show(theirs)}, worst at {_place(error, at)}")
    whole, other = error.norm(), errors[1].norm()
    ratios[name] = _ratio(whole, other)
    allowed = factors[1] * other + torch.finfo(dtype).eps / 16 * exact.norm() + floor * error.numel() ** 0.5
    if not bool(whole <= allowed):
        found.append(f"{name}: error {_show(whole / exact.norm())} of its norm, SDPA's {_show(other / exact.norm())}")


def _lse(given: Inputs, case: Case, ours: Tensor, exact: Tensor, found: list[str]) -> None:
    # Sums of exact products in float32, whatever the input's dtype.
    norms = given.query.double().norm(dim=-1).amax() * given.key.double().norm(dim=-1).amax() * case.scale
    allowed = 2e-5 + 2**-21 * norms
    error = (ours.double() - exact).abs()
    same = (ours == exact) | (error <= allowed)
    if not bool(same.all()):
        found.append(f"lse: error {_show(torch.nan_to_num(error).max())}, allowed {_show(allowed)}")


def _floor(case: Case, given: Inputs, name: str) -> Tensor:
    """Where SDPA happens to be exact: float32 rounding of the products that cancel in dS."""
    query, key, value, grad = (
        tensor.double().abs().max() for tensor in (given.query, given.key, given.value, given.grad)
    )
    if name == "dv":
        return grad * 2**-20
    other = key if name == "dq" else query
    return 2**-20 * case.scale * other * grad * value * case.width**0.5


def _sink(case: Case, given: Inputs, ours: Result, exact: Result, found: list[str]) -> None:
    assert given.sink is not None
    assert exact.lse is not None
    weight = torch.exp(given.sink.double() - exact.lse)
    rounding = torch.finfo(DTYPES[case.dtype]).eps * (weight * (given.grad.double() * exact.out).abs().sum(-1)).sum(0)
    if given.lse_grad is not None:
        rounding = rounding + 2**-20 * (weight * given.lse_grad.abs()).sum(0)
    error = (ours.grads["dsink"].double() - exact.grads["dsink"]).abs()
    if not bool((error <= rounding + 1e-6).all()):
        found.append(f"dsink: error {_show(error.max())}, allowed {_show(rounding.max())}")


def _ratio(error: Tensor, theirs: Tensor) -> float:
    return float(error / theirs) if float(theirs) > 0 else (0.0 if float(error) == 0 else float("inf"))


def _show(value: Tensor) -> str:
    return f"{float(value):.3g}"


def _place(tensor: Tensor, flat: int) -> list[int]:
    place = []
    for size in reversed(tensor.shape):
        flat, rest = divmod(flat, size)
        place.append(rest)
    return place[::-1]
