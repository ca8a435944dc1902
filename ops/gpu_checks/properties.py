"""What must hold bit by bit: packing, prefixes, neighbours' NaN, two runs of the backward."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from gpu_checks.call import make_plan, run
from gpu_checks.case import Case, Inputs, make_inputs
from gpu_checks.exact import Result

PATTERNS = ("sliding(70) | global(20)", "dense", "sliding(64)", "sliding(30) | strided(96, width=32)")


def properties(dtype: str, width: int, implementation: str, device: str, small: bool = False) -> list[str]:
    """One line for each that does not hold."""
    failures: list[str] = []
    lengths = (40, 1, 70) if small else (300, 1, 20, 65, 500)
    for pattern in PATTERNS[:1] if small else PATTERNS:
        case = Case((pattern,), lengths, dtype, width)
        for check in (alone, prefixes, neighbours_nan, repeated):
            try:
                failures += [f"{check.__name__}: {text}; {case}" for text in check(case, implementation, device)]
            except Exception as error:
                failures.append(f"{check.__name__}: {type(error).__name__}: {str(error)[:300]}; {case}")
    if not small:
        long = Case(("sliding(64) | global(100)",), (5000, 70), dtype, width, heads=2, kv_heads=1)
        failures += [f"repeated: {text}; {long}" for text in repeated(long, implementation, device)]
    return failures


def alone(case: Case, implementation: str, device: str) -> list[str]:
    """A document's output and gradients do not depend on what it is packed with."""
    given = make_inputs(case, device)
    packed = run(case, given, implementation, device)
    failures = []
    for index, (start, stop) in enumerate(pairwise(case.bounds)):
        single = replace(case, lengths=(stop - start,))
        found = run(single, _rows(given, start, stop), implementation, device)
        failures += _differ(found, packed, slice(start, stop), f"document {index} alone is not as packed")
    return failures


def prefixes(case: Case, implementation: str, device: str) -> list[str]:
    """A token's output does not depend on what comes after it."""
    given = make_inputs(case, device)
    whole = run(case, given, implementation, device)
    failures = []
    for cut in (1, 2, 20, 32, 33, 63, 64, 65, 127, 128, 129, 200):
        if cut < case.lengths[0]:
            found = run(replace(case, lengths=(cut,)), _rows(given, 0, cut), implementation, device)
            if not torch.equal(found.out, whole.out[:cut]):
                failures.append(
                    f"the first {cut} tokens differ once more follow: {_largest(found.out, whole.out[:cut])}"
                )
    return failures


def neighbours_nan(case: Case, implementation: str, device: str) -> list[str]:
    """NaN and infinity in a document reach no other: neither outputs nor gradients."""
    given = make_inputs(case, device)
    clean = run(case, given, implementation, device)
    failures = []
    for index, (start, stop) in enumerate(pairwise(case.bounds)):
        for bad in (torch.nan, torch.inf):
            dirty = Inputs(*(_filled(each, start, stop, bad) for each in _four(given)), None, None)
            found = run(case, dirty, implementation, device)
            for rows in (slice(0, start), slice(stop, case.tokens)):
                failures += _differ(found, clean, rows, f"{bad} in document {index} leaks", rows)
    return failures


def repeated(case: Case, implementation: str, device: str) -> list[str]:
    """Two runs over one plan, and one over a plan built anew, are the same bits."""
    given = make_inputs(case, device)
    plan = make_plan(case, implementation, device)
    first = run(case, given, implementation, device, plan)
    whole = slice(0, case.tokens)
    failures = []
    for _ in range(3):
        failures += _differ(run(case, given, implementation, device, plan), first, whole, "two runs differ")
    return failures + _differ(run(case, given, implementation, device), first, whole, "a new plan gives other bits")


def _four(given: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return given.query, given.key, given.value, given.grad


def _rows(given: Inputs, start: int, stop: int) -> Inputs:
    query, key, value, grad = (tensor[start:stop].clone() for tensor in _four(given))
    return Inputs(query, key, value, grad, None, None)


def _filled(tensor: Tensor, start: int, stop: int, bad: float) -> Tensor:
    tensor = tensor.clone()
    tensor[start:stop] = bad
    return tensor


def _differ(found: Result, other: Result, rows: slice, text: str, mine: slice | None = None) -> list[str]:
    """Compares `found`, all of it or the rows `mine`, with the rows of `other`."""
    pairs = {"out": (found.out, other.out)} | {name: (found.grads[name], other.grads[name]) for name in found.grads}
    failures = []
    for name, (one, two) in pairs.items():
        one, two = one if mine is None else one[mine], two[rows]
        if not torch.equal(one, two):
            failures.append(f"{text}: {name} by {_largest(one, two)}")
    return failures


def _largest(one: Tensor, two: Tensor) -> str:
    return f"{float((one.double() - two.double()).abs().max()):.3g}"
