"""Must show 5: ten thousand documents of twenty events, against padding them to a block."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from attention.match import in_turn, ratio
from attention.peers import block_mask, mask_mod
from attention.problem import Problem
from attention.report import Run, Target
from attention.timing import Work, on_host
from longwatch.kernels import block_sparse_attention, plan_on_device

EVENTS, PADDED = 20, 128
Core = Callable[[Tensor, Tensor, Tensor], Tensor]


def tiny(run: Run) -> None:
    """Device time and host time: ours with its plan and with the plan kept, against pad to 128, attend, unpad."""
    problem = Problem((EVENTS,) * 10_000, "sliding(512)")
    inputs = problem.data()[:3]
    rows: dict[str, Any] = {}
    works = {name: Work(partial(step, inputs)) for name, step in _our_steps(problem).items()}
    truth = works["ours"].timed(None)
    cores, failed = run.attempt("cores", _cores)
    for name, core in (cores or {}).items():
        _, failed = run.attempt(name, partial(_compare, core, inputs, truth))
        if failed is None:
            works[name] = Work(partial(_padded, core, inputs))
        else:
            rows[name] = {"failed": failed}
    rows |= {name: times.row() for name, times in in_turn(run, works, rows).items()}
    padded = [name for name in works if name.startswith("pad") and "ms" in rows[name]]
    best = min(padded, key=lambda name: rows[name]["ms"], default="")
    hosts = {f"{name}/host": works[name] for name in ("ours", best) if name}
    rows |= {name: times.row() for name, times in in_turn(run, hosts, rows, on_host).items()}
    targets = (
        Target(f"fastest padded ({best or 'none'}) / ours", ratio(rows, best), 10.0),
        Target("the same, plan kept", ratio(rows, best, "ours/plan kept"), 10.0),
        Target("the same, by the host's clock (reach)", ratio(rows, f"{best}/host", "ours/host"), 10.0),
    )
    run.report("tiny", targets, shape="10,000 x 20", problem=problem.about(), contenders=rows)


def _our_steps(problem: Problem) -> dict[str, Callable[..., Tensor]]:
    cu_seqlens = torch.tensor(problem.bounds, dtype=torch.int32, device="cuda")
    kept = plan_on_device(problem.rule, problem.bounds)

    def step(plan: Any, inputs: tuple[Tensor, Tensor, Tensor], _state: object) -> Tensor:
        if plan is None:
            plan = plan_on_device(problem.rule, cu_seqlens, tokens=problem.tokens, max_seqlen=EVENTS)
        with torch.no_grad():
            output: Tensor = block_sparse_attention(*inputs, plan)
            return output

    return {"ours": partial(step, None), "ours/plan kept": partial(step, kept)}


def _cores() -> dict[str, Core]:
    """Attention over `[B, H, 128, D]`; padding lies to the right, where no real query looks."""
    mask = block_mask(mask_mod(Problem((PADDED,), "dense").rule), PADDED)
    attend_flex = torch.compile(flex_attention, dynamic=False)

    def sdpa(backend: SDPBackend, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)

    return {
        "pad + cudnn": partial(sdpa, SDPBackend.CUDNN_ATTENTION),
        "pad + flash": partial(sdpa, SDPBackend.FLASH_ATTENTION),
        "pad + flex": lambda query, key, value: attend_flex(query, key, value, block_mask=mask),
    }


def _padded(core: Core, inputs: tuple[Tensor, Tensor, Tensor], _state: object = None) -> Tensor:
    """The cheapest way there is: one length, so padding and unpadding are plain copies."""
    short = (tensor.unflatten(0, (-1, EVENTS)) for tensor in inputs)
    with torch.no_grad():
        wide = [F.pad(tensor, (0, 0, 0, 0, 0, PADDED - EVENTS)).transpose(1, 2) for tensor in short]
        return core(wide[0], wide[1], wide[2]).transpose(1, 2)[:, :EVENTS].flatten(0, 1)


def _compare(core: Core, inputs: tuple[Tensor, Tensor, Tensor], truth: Tensor) -> None:
    off = float((_padded(core, inputs).float() - truth.float()).norm() / truth.float().norm())
    if not off < 1e-2:
        raise ValueError(f"differs from ours by {off:.3g} of its norm")
