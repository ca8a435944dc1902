"""Must show 10: scores from int8 queries and keys, for inference, at span 2048."""

from functools import partial

import torch
from torch import Tensor

from attention.match import match, ratio
from attention.ours import ours, variants
from attention.problem import Problem
from attention.report import Run, Target
from longwatch.kernels import plan_on_device


def int8(run: Run) -> None:
    """Against our own bf16, and how well the outputs agree."""
    if "ours/int8" not in variants():
        raise NotImplementedError("this checkout has no implementation with int8 in its name")
    problem = Problem((65536,), "sliding(2048)")
    plan = plan_on_device(problem.rule, problem.bounds)
    builders = {name: partial(ours, problem, name, plan) for name in ("ours", "ours/int8")}
    rows = match(run, problem, builders, ("forward",))["forward"]
    targets = (
        Target("bf16 / int8", ratio(rows, "ours", "ours/int8"), 1.25),
        Target("rank correlation of outputs", _agreement(problem, plan), 0.999),
    )
    run.report("int8", targets, shape="64k x 1", problem=problem.about(), contenders=rows)


def _agreement(problem: Problem, plan: object) -> float:
    """Spearman's, over the norms of output rows: the nearest thing to a score that attention alone has."""
    contenders = (ours(problem, name, plan) for name in ("ours", "ours/int8"))
    outputs = (contender.work("forward").timed(None) for contender in contenders)
    one, two = (_ranks(output.float().flatten(1).norm(dim=1)) for output in outputs)
    return float(torch.corrcoef(torch.stack([one, two]))[0, 1])


def _ranks(values: Tensor) -> Tensor:
    return values.argsort().argsort().double()
