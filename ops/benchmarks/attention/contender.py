"""One way to compute a problem: how to run it, in its own layout, and how wrong it is."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from attention.problem import Problem, sample_rows
from attention.timing import Work


@dataclass(frozen=True)
class Contender:
    """`run` maps query, key and value in its own layout to its output.

    `packed` maps that layout to `[T, H, D]`, and `spread` a packed `[T, 1, 1]` into it; `around` holds for every call.
    """

    run: Callable[[Tensor, Tensor, Tensor], Tensor]
    inputs: tuple[Tensor, Tensor, Tensor]
    grad: Tensor
    packed: Callable[[Tensor], Tensor] = lambda tensor: tensor
    spread: Callable[[Tensor], Tensor] = lambda tensor: tensor
    around: Callable[[], AbstractContextManager[object]] = nullcontext

    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        """The inputs, asking for gradients."""
        query, key, value = (tensor.detach().requires_grad_() for tensor in self.inputs)
        return query, key, value

    def work(self, kind: str) -> Work:
        """What to time: "forward" keeps nothing for a backward, "backward" is it alone, "both" is a training step's."""
        if kind == "forward":
            return Work(self._forward)
        leaves = self.leaves()

        def forward() -> Tensor:
            with self.around():
                return self.run(*leaves)

        def backward(output: Tensor | None) -> object:
            with self.around():
                return torch.autograd.grad(forward() if output is None else output, leaves, self.grad)

        return Work(backward) if kind == "both" else Work(backward, forward)

    def _forward(self, _state: object = None) -> Tensor:
        with torch.no_grad(), self.around():
            return self.run(*self.inputs)


def errors(contender: Contender, problem: Problem, backward: bool) -> dict[str, float]:
    """Relative Frobenius error against float64 on sampled query rows, and of the gradients that those rows cause."""
    with contender.around():
        return _errors(contender, problem, backward)


def _errors(contender: Contender, problem: Problem, backward: bool) -> dict[str, float]:
    rows = torch.from_numpy(sample_rows(problem)).to("cuda")
    leaves = contender.leaves()
    found = contender.run(*leaves) if backward else contender._forward()
    packed = contender.packed(found)
    if not bool(torch.isfinite(packed).all()):
        return {"not_finite": 1.0}
    chosen = torch.zeros(problem.tokens, 1, 1, device="cuda", dtype=problem.dtype)
    chosen[rows] = 1
    plain = [contender.packed(tensor) for tensor in contender.inputs]
    grad = contender.packed(contender.grad)[rows]
    exact = _exact(problem, rows, (plain[0], plain[1], plain[2]), grad if backward else None)
    result = {"out": _distance(packed.detach()[rows], exact[0])}
    if backward:
        # Other rows' gradients are 0: all that reaches keys and values comes from the sampled rows.
        wide = contender.grad * contender.spread(chosen)
        given = torch.autograd.grad(found, leaves, wide)
        for name, gradient, true in zip(("dq", "dk", "dv"), given, exact[1:], strict=True):
            result[name] = _distance(contender.packed(gradient), true)
    return {name: float(f"{value:.3g}") for name, value in result.items()}


def _exact(problem: Problem, rows: Tensor, inputs: tuple[Tensor, Tensor, Tensor], grad: Tensor | None) -> list[Tensor]:
    query, key, value = (tensor.detach().double().requires_grad_(grad is not None) for tensor in inputs)
    group = problem.heads // problem.kv_heads
    outputs = []
    for start, stop in pairwise(problem.bounds):
        inside = rows[(rows >= start) & (rows < stop)]
        if not len(inside):
            continue
        keys, values = (tensor[start:stop].repeat_interleave(group, dim=1) for tensor in (key, value))
        seen = problem.rule.visible((inside - start)[:, None], torch.arange(stop - start, device="cuda"))
        scores = torch.einsum("qhd,khd->hqk", query[inside], keys) / math.sqrt(problem.width)
        weights = torch.softmax(scores.masked_fill(~seen, -math.inf), dim=-1)
        outputs.append(torch.einsum("hqk,khd->qhd", weights, values))
    output = torch.cat(outputs)
    if grad is None:
        return [output]
    return [output.detach(), *torch.autograd.grad(output, (query, key, value), grad.double())]


def _distance(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm().clamp_min(1e-30))
