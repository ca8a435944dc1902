"""Must show 9: blocks that the data choose, against dense, from 4k to 64k tokens."""

from functools import partial
from typing import Any

from attention.match import Builders, match, ratio
from attention.ours import ours
from attention.peers import cudnn
from attention.problem import Problem
from attention.report import Run, Target

PATTERN = "topk(8, block=64)"


def topk(run: Run) -> None:
    """Forward and a training step; the gate, the choice and its plan are part of the call, so part of the time."""
    faster: dict[str, list[int]] = {"forward": [], "both": []}
    lengths = [4096 << step for step in range(5)]
    for tokens in lengths:
        chosen, dense = Problem((tokens,), PATTERN), Problem((tokens,), "dense")
        builders: Builders = {"dense": partial(ours, dense), "cudnn": partial(cudnn, dense)}
        results = match(run, dense, builders, ("forward", "both"))
        found = match(run, chosen, {"ours": partial(ours, chosen)}, ("forward", "both"), check=False)
        for kind in results:
            rows: dict[str, Any] = found[kind] | results[kind]
            gain = ratio(rows, "cudnn")
            faster[kind] += [tokens] if gain > 1 and ratio(rows, "dense") > 1 else []
            targets = (Target("cudnn dense / ours", gain, 1.0),) if tokens >= 8192 else ()
            run.report("topk", targets, shape=f"{tokens >> 10}k {kind}", kind=kind, contenders=rows)
    for kind, tokens in faster.items():
        first = min((n for n in tokens if all(m in tokens for m in lengths if m >= n)), default=float("nan"))
        run.report("topk", (Target("faster than dense from", first, 8192, most=True),), shape=f"{kind} break-even")
