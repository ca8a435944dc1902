"""Must show 5: documents of very different lengths in one pack."""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from attention.documents import block_mask_by_blocks, document_ids, document_mask, zipf_lengths
from attention.match import in_turn, ratio
from attention.peers import mask_builder
from attention.problem import Problem
from attention.report import Run, Target
from attention.timing import Work, on_host, wall_ms
from longwatch.kernels import block_sparse_attention, plan_on_device

SPAN, TOKENS = 512, 1 << 18
Step = Callable[[tuple[int, ...]], Tensor]


def zipf(run: Run) -> None:
    """Lengths 4 to 32k, 256k tokens, in a new order each time: mask or plan and forward, by the host's clock."""
    problem = Problem((TOKENS,), f"sliding({SPAN})")
    flex, by_blocks = _flex_steps(problem)
    steps: dict[str, Step] = {"ours": _our_step(problem), "flex": flex, "flex/by blocks": by_blocks}
    for exponent in (1.0, 1.5):
        packed = Problem(zipf_lengths(TOKENS, exponent, seed=2), problem.pattern)
        rows: dict[str, Any] = {}
        truth = steps["ours"](packed.lengths)
        for name in [name for name in steps if name != "ours"]:
            _, failed = run.attempt(name, partial(_compare, steps[name], packed, truth))
            if failed is not None:
                rows[name] = {"failed": failed}
        works = {name: Work(step, _orders(packed.lengths)) for name, step in steps.items() if name not in rows}
        runs = _affordable(run, works)
        rows |= {name: times.row() for name, times in in_turn(run, works, rows, on_host, runs).items()}
        targets = (
            Target("document-mask flex / ours", ratio(rows, "flex"), 3.0),
            Target("flex by an expert's mask / ours (reach)", ratio(rows, "flex/by blocks"), 3.0),
        )
        run.report("zipf", targets, shape=f"256k, exponent {exponent}", problem=packed.about(), contenders=rows)


def _affordable(run: Run, works: dict[str, Work]) -> int:
    """Runs that fit in a third of the time left: a mask build that looks at every score may take seconds."""
    round_ms = sum(wall_ms(lambda work=work: work.timed(work.prepare())) for work in works.values())
    return max(3, min(run.runs, int(run.seconds_left() * 1e3 / 3 / round_ms)))


def _orders(lengths: tuple[int, ...]) -> Callable[[], tuple[int, ...]]:
    """Each call another order: no plan can be kept from the last one."""
    seeds = count()
    return lambda: tuple(int(n) for n in np.random.default_rng(next(seeds)).permutation(lengths))


def _our_step(problem: Problem) -> Step:
    query, key, value, _ = problem.data()

    def step(lengths: tuple[int, ...]) -> Tensor:
        with torch.no_grad():
            plan = plan_on_device(problem.rule, np.cumsum((0, *lengths)))
            output: Tensor = block_sparse_attention(query, key, value, plan)
            return output

    return step


def _flex_steps(problem: Problem) -> tuple[Step, Step]:
    """With its own compiled mask build, and with the mask made by hand; both read one buffer, so nothing recompiles."""
    query, key, value = (tensor.transpose(0, 1).contiguous()[None] for tensor in problem.data()[:3])
    document = torch.zeros(problem.tokens, dtype=torch.int32, device="cuda")
    mod = document_mask(document, SPAN)
    build = mask_builder()
    call = torch.compile(flex_attention, dynamic=False)

    def step(lengths: tuple[int, ...], by_blocks: bool) -> Tensor:
        document_ids(lengths, document)
        with torch.no_grad():
            if by_blocks:
                mask = block_mask_by_blocks(document, SPAN, mod)
            else:
                mask = build(mod, None, None, problem.tokens, problem.tokens, "cuda")
            output: Tensor = call(query, key, value, block_mask=mask)
            return output[0].transpose(0, 1)

    return partial(step, by_blocks=False), partial(step, by_blocks=True)


def _compare(step: Step, problem: Problem, truth: Tensor) -> None:
    """ValueError unless the step computes what ours does, which other cases check against float64."""
    off = float((step(problem.lengths).float() - truth.float()).norm() / truth.float().norm())
    if not off < 1e-2:
        raise ValueError(f"differs from ours by {off:.3g} of its norm")
