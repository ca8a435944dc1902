"""Must show 6: time and memory against length, from 4k to 1M tokens at span 512."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from attention.contender import Contender
from attention.documents import block_mask_by_blocks
from attention.match import WRONG, in_turn
from attention.ours import ours
from attention.peers import MaskMod, mask_mod, padded
from attention.problem import Problem
from attention.report import Run, Target
from attention.timing import peak_bytes, slope
from longwatch.kernels import block_sparse_attention, plan_on_device

LENGTHS = tuple(4096 << step for step in range(9))
SPAN = 512
KINDS = ("forward", "both")


def length(run: Run) -> None:
    """One row a length with both implementations, then the slopes and the most bytes a live block."""
    # One closure and one compiled call for all lengths.
    call, mod = torch.compile(flex_attention, dynamic=True), mask_mod(Problem((1,), f"sliding({SPAN})").rule)
    found: list[dict[str, Any]] = []
    for tokens in LENGTHS:
        row, failed = run.attempt(f"{tokens}", lambda tokens=tokens: _one(run, partial(_flex, call, mod), tokens))
        if failed is not None:
            run.report("length", shape=f"{tokens}", failed=failed)
            continue
        found.append(row)
        torch.cuda.empty_cache()
    sizes = [row["tokens"] for row in found]
    targets = []
    for kind in KINDS:
        steep = slope(sizes, [row[kind]["ours"]["ms"] for row in found]) if len(found) > 1 else math.nan
        targets += [Target(f"{kind}: slope", steep, 1.03, most=True), Target(f"{kind}: slope", steep, 0.97)]
        bytes_a_block = max((row["memory"][kind]["bytes_a_block"] for row in found), default=math.nan)
        targets.append(Target(f"{kind}: extra bytes a live block", bytes_a_block, 16.0, most=True))
    run.report("length", tuple(targets), shape=f"{len(found)} lengths")


def _one(run: Run, flex: Callable[[Problem], tuple[Contender, int]], tokens: int) -> dict[str, Any]:
    problem = Problem((tokens,), f"sliding({SPAN})")
    plan = plan_on_device(problem.rule, problem.bounds)
    blocks = int(plan.query_entries.shape[0])
    mine = ours(problem, plan=plan)
    row: dict[str, Any] = {"tokens": tokens, "live_blocks": blocks, "key_block": plan.key_block}
    row["memory"] = {kind: _our_memory(mine, problem, kind, blocks) for kind in KINDS}
    contenders = {"ours": mine}
    found, failed = run.attempt("flex", lambda: flex(problem))
    if failed is None:
        contenders["flex"], mask_bytes = found
        extra, failed = run.attempt("flex", lambda: _extra(contenders["flex"], "forward", 0))
        row["flex_memory"] = {"mask": mask_bytes, "forward": None if failed else mask_bytes + extra}
    runs = run.runs if tokens <= 1 << 18 else max(10, run.runs // 3)
    for kind in KINDS:
        row[kind] = {}
        times = in_turn(run, {name: each.work(kind) for name, each in contenders.items()}, row[kind], runs=runs)
        row[kind] |= {name: one.row() | {"tf_s": _rate(problem, kind, one.median)} for name, one in times.items()}
    off = _difference(contenders)
    if off is not None:
        row["difference"] = off
        if not off < WRONG:
            row["wrong"] = True
    notes = {name: row[name] for name in row if name not in KINDS}
    for kind in KINDS:
        run.report("length", shape=f"{tokens >> 10}k {kind}", kind=kind, contenders=row[kind], **notes)
    return row


def _rate(problem: Problem, kind: str, ms: float) -> float:
    return round(problem.flops(kind) / ms / 1e9, 1)


def _our_memory(mine: Contender, problem: Problem, kind: str, blocks: int) -> dict[str, Any]:
    """Beyond inputs, output, log-sum-exp and gradients; the plan counts. A live block is one of the plan's entries."""

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        _forget_plans()
        plan = plan_on_device(problem.rule, problem.bounds)
        output: Tensor = block_sparse_attention(query, key, value, plan)
        return output

    fresh = Contender(run, mine.inputs, mine.grad)
    sums = problem.heads * problem.tokens * 4
    extra = _extra(fresh, kind, sums)
    return {"bytes": extra, "bytes_a_block": round(extra / blocks, 2)}


def _extra(contender: Contender, kind: str, also_out: int) -> int:
    """Peak beyond inputs and what the call gives: output and, where it trains, gradients."""
    work = contender.work(kind)
    work.timed(work.prepare())
    output = contender.inputs[0].numel() * contender.inputs[0].element_size()
    gradients = sum(tensor.numel() * tensor.element_size() for tensor in contender.inputs)
    given = output + also_out + (gradients if kind == "both" else 0)
    return max(0, peak_bytes(lambda: work.timed(work.prepare())) - given)


def _forget_plans() -> None:
    # A plan that was kept from an earlier call would cost nothing here.
    from longwatch.kernels.triton_impl import device_plan as module

    forget = getattr(getattr(module, "_exact_plan", None), "cache_clear", None)
    if forget is not None:
        forget()


def _flex(call: Callable[..., Tensor], mod: MaskMod, problem: Problem) -> tuple[Contender, int]:
    """Its mask made by hand, block by block: its own build looks at every score of a million squared."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    document = torch.zeros(problem.tokens, dtype=torch.int32, device="cuda")
    mask = block_mask_by_blocks(document, SPAN, mod)
    del document
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated() - before
    return Contender(lambda q, k, v: call(q, k, v, block_mask=mask), **padded(problem)), held


def _difference(contenders: dict[str, Contender]) -> float | None:
    """How far the two outputs lie apart, of their norm; each is checked against float64 in other cases."""
    if len(contenders) < 2:
        return None
    one, two = (each.packed(each.work("forward").timed(None)).float() for each in contenders.values())
    return float(f"{float((one - two).norm() / two.norm()):.3g}")
