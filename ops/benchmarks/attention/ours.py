"""Our side: the public call over a plan on the device, and its variants."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from attention.contender import Contender
from attention.problem import Problem
from longwatch.kernels import api, block_sparse_attention, plan_on_device
from longwatch.kernels.triton_impl import backward, forward

Options = dict[str, Any]


def variants() -> dict[str, Options]:
    """Contender name -> options; "ours" is what a caller gets who asks for nothing."""
    found: dict[str, Options] = {"ours": {}, "ours/atomic": {"deterministic": False}}
    if torch.cuda.get_device_capability() == (9, 0):
        found["ours/portable"] = {}
    # For inference, and not exact: only the case int8 asks for it.
    int8 = [name for name in api._IMPLEMENTATIONS if "int8" in name]
    return found | ({"ours/int8": {"implementation": int8[0]}} if int8 else {})


@contextmanager
def portable() -> Iterator[None]:
    """The Triton kernels that run anywhere, also where the Hopper ones would."""
    off = {"suits_hopper": lambda *_: False}
    with patch.multiple(forward, **off), patch.multiple(backward, **off):
        yield


def ours(problem: Problem, name: str = "ours", plan: Any = None) -> Contender:
    """Packed as the problem is; the plan is built here, outside the clock."""
    plan = plan_on_device(problem.rule, problem.bounds) if plan is None else plan
    given = variants()[name]

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output: Tensor = block_sparse_attention(query, key, value, plan, **given)
        return output

    query, key, value, grad = problem.data()
    around = portable if name == "ours/portable" else nullcontext
    return Contender(run, (query, key, value), grad, around=around)


def capture(work: Any) -> torch.cuda.CUDAGraph:
    """One call in a CUDA graph, after the warm-up that a capture needs."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph
