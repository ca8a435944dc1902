"""Must show 1 to 3: the forward, a training step, and dense plans, against the best of each kind."""

import math
from functools import partial

from attention.match import Builders, match, our_builders, ratio
from attention.peers import AUTOTUNE, cudnn, fa4_window, flash, flex
from attention.problem import Problem
from attention.report import Run, Target

SHAPES = {"16k x 4": (16384,) * 4, "64k x 1": (65536,)}


def forward(run: Run) -> None:
    """Span 512: FlexAttention default and autotuned, FA4's window, and cuDNN's dense rate to reach for."""
    for shape, lengths in SHAPES.items():
        problem, dense = Problem(lengths, "sliding(512)"), Problem(lengths, "dense")
        peers = {"flex": partial(flex, problem), "fa4_window": partial(fa4_window, problem)}
        if run.autotune != "none":
            peers["flex_autotuned"] = partial(flex, problem, AUTOTUNE)
        rows = match(run, problem, our_builders(problem) | peers, ("forward",))["forward"]
        whole = match(run, dense, {"cudnn_dense": partial(cudnn, dense)}, ("forward",))["forward"]
        targets = [Target("flex / ours", ratio(rows, "flex"), 1.5)]
        if "flex_autotuned" in peers:
            targets.append(Target("flex autotuned / ours", ratio(rows, "flex_autotuned"), 1.25))
        rate = rows["ours"].get("tf_s", 0) / (whole["cudnn_dense"].get("tf_s") or math.nan)
        targets.append(Target("live rate / dense SDPA's (reach)", rate, 0.9))
        run.report("forward", tuple(targets), shape=shape, problem=problem.about(), contenders=rows | whole)


def forward_backward(run: Run) -> None:
    """A training step's attention: span 512 at both shapes, and span 1024 with one global block at 64k."""
    _step(run, "16k x 4", Problem(SHAPES["16k x 4"], "sliding(512)"), 1.4)
    _step(run, "64k x 1", Problem(SHAPES["64k x 1"], "sliding(512)"), 1.4)
    _step(run, "64k x 1 + global", Problem(SHAPES["64k x 1"], "sliding(1024) | global(128)"), 2.0)


def _step(run: Run, shape: str, problem: Problem, bound: float) -> None:
    peers: Builders = {"flex": partial(flex, problem)}
    if run.autotune == "all":
        peers = {**peers, "flex_autotuned": partial(flex, problem, AUTOTUNE)}
    results = match(run, problem, our_builders(problem, atomic=True) | dict(peers), ("both", "backward"))
    targets = (Target("flex / ours", ratio(results["both"], "flex"), bound),)
    run.report("forward_backward", targets, shape=shape, problem=problem.about(), contenders=results["both"])
    alone = {"problem": problem.about(), "contenders": results["backward"]}
    run.report("backward", (), shape=shape, **alone)


def dense(run: Run) -> None:
    """A dense plan at 16k against cuDNN and flash: our rate over theirs."""
    problem = Problem((16384,) * 4, "dense")
    peers = {"cudnn": partial(cudnn, problem), "flash": partial(flash, problem), "flex": partial(flex, problem)}
    results = match(run, problem, our_builders(problem, atomic=True) | peers, ("forward", "backward"))
    for kind, bound in (("forward", 0.95), ("backward", 0.7)):
        rows = results[kind]
        targets = (Target("rate / cuDNN's", ratio(rows, "cudnn"), bound),)
        run.report(f"dense {kind}", targets, shape="16k x 4", problem=problem.about(), contenders=rows)
