"""The forward pass: one program holds a tile of queries and walks the key blocks that its plan row lists."""

import os
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from longwatch.kernels.triton_impl.device_plan import TILE, DevicePlan
from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS
from longwatch.kernels.triton_impl.softmax import (
    edge_mask,
    held_to,
    normalised,
    online_softmax,
    start_softmax,
    to_lse,
    widened,
)

__all__ = ["attention_forward", "fills_tiles", "suits_hopper", "upcast"]

LOG2_E = 1.4426950408889634


@triton.jit(do_not_specialize=BY_LENGTHS)
def _forward(
    query, key, value, sink, out, lse, tiles, rows, entries, columns, bands,
    scale_log2, tokens, tile_count, column_length,
    query_row, query_head, key_row, key_head, value_row, value_head,
    HEADS: tl.constexpr, GROUP: tl.constexpr, PATTERN_HEADS: tl.constexpr, D: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, PARTS: tl.constexpr, STAGES: tl.constexpr,
    HAS_SINK: tl.constexpr, HAS_COLUMNS: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    work = tl.program_id(0)
    head, part, tile = work % HEADS, work // HEADS % PARTS, work // HEADS // PARTS
    first = tl.load(tiles + tile * 4) + part * BM
    stop = tl.load(tiles + tile * 4 + 1)
    if first >= stop:
        return
    document = tl.load(tiles + tile * 4 + 2)
    document_stop = tl.load(tiles + tile * 4 + 3)
    pattern = head // PATTERN_HEADS
    band = tl.load(bands + pattern)
    begin = tl.load(rows + (pattern * tile_count + tile) * 2)
    end = tl.load(rows + (pattern * tile_count + tile) * 2 + 1)
    columns += pattern * column_length

    query_at = first + tl.arange(0, BM)
    lane = tl.arange(0, D)
    live = query_at < stop
    query_ptr = query + query_at.to(tl.int64)[:, None] * query_row + head * query_head + lane[None, :]
    q = widened(tl.load(query_ptr, mask=live[:, None], other=0.0), UPCAST)
    key += head // GROUP * key_head + lane[:, None]
    value += head // GROUP * value_head + lane[None, :]
    logit = tl.load(sink + head) if HAS_SINK else 0.0
    row_max, row_sum = start_softmax(logit, BM, HAS_SINK)
    acc = tl.zeros([BM, D], tl.float32)
    for at in tl.range(begin, end, num_stages=STAGES):
        entry = tl.load(entries + at)
        key_at = document + (entry >> 4) * BN + tl.arange(0, BN)
        inside = key_at < document_stop
        k = tl.load(key + key_at.to(tl.int64)[None, :] * key_row, mask=inside[None, :], other=0.0)
        scores = tl.dot(q, widened(k, UPCAST), input_precision="ieee")
        whole = (entry & 15) == 5 if BM == 128 else (entry >> 2 * (part * BM // 64) & 3) == 1
        if not whole:
            limit = held_to(entry, (part * BM + tl.arange(0, BM)) // 64, band)[:, None]
            seen = edge_mask((query_at - document)[:, None], (key_at - document)[None, :], limit, columns, HAS_COLUMNS)
            scores = tl.where(seen, scores, float("-inf"))
        weights, row_max, row_sum, rescale = online_softmax(scores, row_max, row_sum, scale_log2)
        v = tl.load(value + key_at.to(tl.int64)[:, None] * value_row, mask=inside[:, None], other=0.0)
        weights = widened(weights.to(value.dtype.element_ty), UPCAST)
        acc = tl.dot(weights, widened(v, UPCAST), acc * rescale[:, None], input_precision="ieee")

    tl.store(lse + head * tokens + query_at, to_lse(row_max, row_sum), mask=live)
    acc = normalised(acc, row_sum)
    out_ptr = out + (query_at.to(tl.int64)[:, None] * HEADS + head) * D + lane[None, :]
    tl.store(out_ptr, acc.to(out.dtype.element_ty), mask=live[:, None])


@dataclass(frozen=True)
class Launch:
    """Shape of one program: query rows, warps, stages of the key pipeline."""

    rows: int
    warps: int
    stages: int


# Tried on an H100 (ops/EXPERIMENTS.md); keyed by head width and key block.
_LAUNCHES = {
    (32, 64): Launch(128, 4, 3), (32, 128): Launch(128, 4, 3),
    (64, 64): Launch(128, 4, 3), (64, 128): Launch(128, 4, 3),
    (128, 64): Launch(128, 8, 3), (128, 128): Launch(128, 8, 2),
}  # fmt: skip


def _launch_of(width: int, plan: DevicePlan) -> Launch:
    # Never fewer than four warps: below, a product is another instruction, whose sums round elsewhere.
    return Launch(64, 4, 2) if plan.longest <= 64 else _LAUNCHES[width, plan.key_block]


def attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: DevicePlan,
    scale: float,
    sink: Tensor | None = None,
    launch: Launch | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention output `[T, H, D]` in query's dtype and the log-sum-exp `[H, T]`, float32, sink included.

    query `[T, H, D]`, key and value `[T, Hkv, D]`, D contiguous and a power of two; sink float32 `[H]`; scale > 0.
    """
    if launch is None and fills_tiles(plan) and suits_hopper(plan, query, key, value):
        from longwatch.kernels.triton_impl.hopper.forward import hopper_forward

        return hopper_forward(query, key, value, plan, scale, sink)
    tokens, heads, width = query.shape
    kv_heads, groups = key.shape[1], len(plan.bands)
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    lse = torch.empty(heads, tokens, dtype=torch.float32, device=query.device)
    launch = launch or _launch_of(width, plan)
    tile_count = plan.tiles.shape[0]
    columns, column_length = plan.column_rows()
    # Where no document fills a tile, its last rows have no program.
    parts = triton.cdiv(min(plan.longest, TILE), launch.rows)
    grid = (tile_count * heads * parts,)
    if grid[0] == 0:
        return out, lse
    _forward[grid](
        query, key, value, sink, out, lse, plan.tiles, plan.query_rows, plan.query_entries,
        columns, plan.band_table,
        scale * LOG2_E, tokens, tile_count, column_length,
        *query.stride()[:2], *key.stride()[:2], *value.stride()[:2],
        HEADS=heads, GROUP=heads // kv_heads, PATTERN_HEADS=heads // groups, D=width,
        BM=launch.rows, BN=plan.key_block, PARTS=parts, STAGES=launch.stages,
        HAS_SINK=sink is not None, HAS_COLUMNS=plan.columns is not None, UPCAST=upcast(query),
        num_warps=launch.warps,
    )  # fmt: skip
    return out, lse


def fills_tiles(plan: DevicePlan) -> bool:
    """Whether documents are no shorter than a tile on average: else the Hopper kernels leave a warpgroup idle."""
    return plan.tokens >= 64 * plan.documents


def suits_hopper(plan: DevicePlan, *tensors: Tensor) -> bool:
    """Whether the Hopper kernels can run this."""
    if not tensors[0].is_cuda or plan.key_block != 64:
        return False
    # Gluon is not there on other devices' Triton builds, nor in the interpreter.
    from longwatch.kernels.triton_impl.hopper.launch import runs_here

    return runs_here(*tensors)


def upcast(tensor: Tensor) -> bool:
    """Whether this runs in the interpreter, whose dot cannot take the tensor's dtype."""
    return os.environ.get("TRITON_INTERPRET") == "1" and tensor.dtype == torch.bfloat16
