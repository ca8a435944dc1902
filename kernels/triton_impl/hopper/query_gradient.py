"""The gradient of the queries, by the forward's tiles and lists; writes the two row numbers the keys' pass reads."""

import torch
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma, warpgroup_mma, warpgroup_mma_wait

from longwatch.kernels.triton_impl.device_plan import DevicePlan
from longwatch.kernels.triton_impl.forward import LOG2_E
from longwatch.kernels.triton_impl.hopper.launch import HopperLaunch, describe, multiprocessors
from longwatch.kernels.triton_impl.hopper.ring import (
    copy_block,
    ends_of,
    keep_columns,
    open_barriers,
    skip,
    span,
    store_block,
    tile_of,
    trim,
    turn_of,
)
from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS

__all__ = ["hopper_query_gradient", "launch_of", "row_numbers"]


@gluon.jit
def _copy(
    query, key, value, grad_out, q_smem, do_smem, k_smem, v_smem, q_full, q_empty, full, empty, tail,
    tiles, rows, entries, tile_count, works, programs,
    HEADS: gl.constexpr, GROUP: gl.constexpr, PATTERN_HEADS: gl.constexpr, D: gl.constexpr,
    STAGES: gl.constexpr,
):  # fmt: skip
    step = 0
    tails = 0
    for lap in range(0, (works + programs - 1) // programs):
        work = turn_of(lap, programs)
        if work < works:
            head, first, _, document, document_stop, begin, end = tile_of(
                work, works, tiles, rows, tile_count, HEADS, PATTERN_HEADS
            )
            slot = lap & 1
            mbarrier.wait(q_empty.index(slot), (lap >> 1 & 1) ^ 1)
            mbarrier.expect(q_full.index(slot), 4 * 64 * D * 2)
            for half in gl.static_range(2):
                at_row = [first + 64 * half, head * D]
                tma.async_copy_global_to_shared(query, at_row, q_full.index(slot), q_smem.index(slot * 2 + half))
                tma.async_copy_global_to_shared(grad_out, at_row, q_full.index(slot), do_smem.index(slot * 2 + half))
            lane = head // GROUP * D
            for at in range(0, end - begin):
                start = document + (gl.load(entries + begin + at) >> 4) * 64
                stage = step % STAGES
                mbarrier.wait(empty.index(stage), (step // STAGES & 1) ^ 1)
                tails = copy_block(
                    value, key, [start, lane], v_smem.index(stage), k_smem.index(stage), full.index(stage), tail, tails,
                    document_stop - start, 2 * 64 * D * 2,
                )  # fmt: skip
                step += 1


@gluon.jit
def _read_rows(
    out, grad_out, lse, first, stop, head, tokens, grad_row, grad_head,
    HEADS: gl.constexpr, D: gl.constexpr, row_layout: gl.constexpr,
):  # fmt: skip
    """out, grad_out [64, D] and lse [64] of a tile's half, asked for one tile ahead."""
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [8, 4], [4, 1], [1, 0])
    at_row = first + gl.arange(0, 64, layout=gl.SliceLayout(1, layout))
    lane = gl.arange(0, D, layout=gl.SliceLayout(0, layout))[None, :]
    live = (at_row < stop)[:, None]
    wide = at_row.to(gl.int64)[:, None]
    o = gl.load(out + (wide * HEADS + head) * D + lane, mask=live, other=0.0)
    do = gl.load(grad_out + wide * grad_row + head * grad_head + lane, mask=live, other=0.0)
    query_at = first + gl.arange(0, 64, layout=row_layout)
    return o, do, gl.load(lse + head * tokens + query_at, mask=query_at < stop, other=0.0)


@gluon.jit
def _row_numbers(
    o, do, natural, grad_lse, numbers, first, stop, head, tokens,
    HEADS: gl.constexpr, HAS_GRAD_LSE: gl.constexpr, row_layout: gl.constexpr,
):  # fmt: skip
    """-lse in base 2 (0 for a row that saw nothing) and delta = sum(out * grad_out) - grad_lse, stored and returned."""
    delta = gl.convert_layout(gl.sum(o.to(gl.float32) * do.to(gl.float32), 1), row_layout)
    query_at = first + gl.arange(0, 64, layout=row_layout)
    there = query_at < stop
    if HAS_GRAD_LSE:
        delta -= gl.load(grad_lse + head * tokens + query_at, mask=there, other=0.0)
    shift = natural * -1.4426950408889634
    shift = gl.where(shift == float("inf"), 0.0, shift)
    gl.store(numbers + head * tokens + query_at, shift, mask=there)
    gl.store(numbers + (HEADS + head) * tokens + query_at, delta, mask=there)
    return shift, delta


@gluon.jit
def _slope(
    scores, grad_weights, shift, delta, scale_log2, kind, row, start, first, band, column,
    HAS_COLUMNS: gl.constexpr, layout: gl.constexpr,
):  # fmt: skip
    """Gradient of the scaled scores [64, 64] = weights * (grad_weights - delta), 0 where a row does not see a key."""
    slope = gl.exp2(gl.fma(scores, scale_log2, shift[:, None])) * (grad_weights - delta[:, None])
    if kind != 1:
        high = row - start
        limit = span(kind, band)
        if HAS_COLUMNS:
            place = gl.arange(0, 64, layout=gl.SliceLayout(0, layout))
            near = (place[None, :] > (high - limit)[:, None]) | (gl.load(column + start + place) != 0)[None, :]
            slope = gl.where((place[None, :] <= high[:, None]) & near, slope, 0.0)
        else:
            needs_low = start < first + 64 - limit
            slope = keep_columns(slope, high - limit, high, needs_low, start + 63 > first, 0.0, layout)
    return slope


@gluon.jit
def _gather(
    q_smem, do_smem, k_smem, v_smem, q_full, q_empty, full, empty,
    out, grad_out, grad_lse, lse, numbers, grad_query, tiles, rows, entries, columns, bands,
    scale, scale_log2, tokens, tile_count, column_length, works, programs, grad_row, grad_head,
    HALF: gl.constexpr, HEADS: gl.constexpr, PATTERN_HEADS: gl.constexpr, D: gl.constexpr,
    STAGES: gl.constexpr, HAS_COLUMNS: gl.constexpr, HAS_GRAD_LSE: gl.constexpr,
):  # fmt: skip
    scores_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 16])
    sum_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    left_layout: gl.constexpr = gl.DotOperandLayout(0, sum_layout, 2)
    row_layout: gl.constexpr = gl.SliceLayout(1, scores_layout)
    dtype: gl.constexpr = k_smem.dtype
    step = 0
    # A tile's numbers are asked for while the tile before is computed.
    head, first, stop, document, _, begin, end = tile_of(
        turn_of(0, programs), works, tiles, rows, tile_count, HEADS, PATTERN_HEADS
    )
    first_entry, last_entry = ends_of(begin, end, entries)
    o, g, natural = _read_rows(
        out, grad_out, lse, first + HALF * 64, stop, head, tokens, grad_row, grad_head, HEADS, D, row_layout
    )
    for lap in range(0, (works + programs - 1) // programs):
        next_head, next_first, next_stop, next_document, _, next_begin, next_end = tile_of(
            turn_of(lap + 1, programs), works, tiles, rows, tile_count, HEADS, PATTERN_HEADS
        )
        if turn_of(lap, programs) < works:
            first += HALF * 64
            column = columns + head // PATTERN_HEADS * column_length
            band = gl.load(bands + head // PATTERN_HEADS)
            steps = end - begin
            lead, trail = trim(first_entry, last_entry, steps, HALF)
            shift, delta = _row_numbers(
                o, g, natural, grad_lse, numbers, first, stop, head, tokens,
                HEADS, HAS_GRAD_LSE, row_layout,
            )  # fmt: skip
            row = first - document + gl.arange(0, 64, layout=row_layout)
            slot = lap & 1
            mbarrier.wait(q_full.index(slot), lap >> 1 & 1)
            q = q_smem.index(slot * 2 + HALF)
            do = do_smem.index(slot * 2 + HALF)
            dq = gl.zeros([64, D], gl.float32, sum_layout)
            left = gl.zeros([64, 64], dtype, left_layout)
            zero = gl.zeros([64, 64], gl.float32, scores_layout)
            step = skip(step, lead, full, empty, STAGES)
            if lead + trail < steps:
                entry = gl.load(entries + begin + lead)
                start = (entry >> 4) * 64
                stage = step % STAGES
                mbarrier.wait(full.index(stage), step // STAGES & 1)
                scores = warpgroup_mma(q, k_smem.index(stage).permute([1, 0]), zero, use_acc=False, is_async=True)
                weights = warpgroup_mma(do, v_smem.index(stage).permute([1, 0]), zero, use_acc=False, is_async=True)
                scores, weights = warpgroup_mma_wait(0, deps=[scores, weights])
                slope = _slope(
                    scores, weights, shift, delta, scale_log2, entry >> 2 * HALF & 3, row, start, first - document,
                    band, column, HAS_COLUMNS, scores_layout,
                )  # fmt: skip
                left = gl.convert_layout(slope.to(dtype), left_layout)
                step += 1
            # A block's keys are multiplied while the scores of the next one are made.
            for at in range(lead + 1, steps - trail):
                entry = gl.load(entries + begin + at)
                start = (entry >> 4) * 64
                stage = step % STAGES
                held = (step - 1) % STAGES
                mbarrier.wait(full.index(stage), step // STAGES & 1)
                scores = warpgroup_mma(q, k_smem.index(stage).permute([1, 0]), zero, use_acc=False, is_async=True)
                weights = warpgroup_mma(do, v_smem.index(stage).permute([1, 0]), zero, use_acc=False, is_async=True)
                dq = warpgroup_mma(left, k_smem.index(held), dq, is_async=True)
                scores, weights = warpgroup_mma_wait(1, deps=[scores, weights])
                slope = _slope(
                    scores, weights, shift, delta, scale_log2, entry >> 2 * HALF & 3, row, start, first - document,
                    band, column, HAS_COLUMNS, scores_layout,
                )  # fmt: skip
                dq, left = warpgroup_mma_wait(0, deps=[dq, left])
                mbarrier.arrive(empty.index(held), count=1)
                left = gl.convert_layout(slope.to(dtype), left_layout)
                step += 1
            first_entry, last_entry = ends_of(next_begin, next_end, entries)
            o, g, natural = _read_rows(
                out, grad_out, lse, next_first + HALF * 64, next_stop, next_head, tokens, grad_row, grad_head,
                HEADS, D, row_layout,
            )  # fmt: skip
            if lead + trail < steps:
                held = (step - 1) % STAGES
                dq = warpgroup_mma(left, k_smem.index(held), dq, is_async=True)
                dq, left = warpgroup_mma_wait(0, deps=[dq, left])
                mbarrier.arrive(empty.index(held), count=1)
            mbarrier.arrive(q_empty.index(slot), count=1)
            step = skip(step, trail, full, empty, STAGES)
            store_block(grad_query, dq * scale, first, stop, head, HEADS, D)
        head, first, stop, document = next_head, next_first, next_stop, next_document
        begin, end = next_begin, next_end


@gluon.jit(do_not_specialize=BY_LENGTHS)
def _gradient(
    query, key, value, grad_out, out, grad_out_ptr, grad_lse, lse, numbers, grad_query,
    tiles, rows, entries, columns, bands,
    scale, scale_log2, tokens, tile_count, column_length, works, programs, grad_row, grad_head,
    HEADS: gl.constexpr, GROUP: gl.constexpr, PATTERN_HEADS: gl.constexpr, D: gl.constexpr,
    STAGES: gl.constexpr, HAS_COLUMNS: gl.constexpr, HAS_GRAD_LSE: gl.constexpr,
    WORKER_REGS: gl.constexpr, COPY_REGS: gl.constexpr,
):  # fmt: skip
    dtype: gl.constexpr = query.dtype
    q_smem = gl.allocate_shared_memory(dtype, [4, 64, D], query.layout)
    do_smem = gl.allocate_shared_memory(dtype, [4, 64, D], grad_out.layout)
    k_smem = gl.allocate_shared_memory(dtype, [STAGES, 64, D], key.layout)
    v_smem = gl.allocate_shared_memory(dtype, [STAGES, 64, D], value.layout)
    q_full, q_empty, full, empty, tail = open_barriers(STAGES)
    gl.warp_specialize(
        [
            (_gather, (
                q_smem, do_smem, k_smem, v_smem, q_full, q_empty, full, empty,
                out, grad_out_ptr, grad_lse, lse, numbers, grad_query, tiles, rows, entries, columns, bands,
                scale, scale_log2, tokens, tile_count, column_length, works, programs, grad_row, grad_head,
                0, HEADS, PATTERN_HEADS, D, STAGES, HAS_COLUMNS, HAS_GRAD_LSE,
            )),
            (_gather, (
                q_smem, do_smem, k_smem, v_smem, q_full, q_empty, full, empty,
                out, grad_out_ptr, grad_lse, lse, numbers, grad_query, tiles, rows, entries, columns, bands,
                scale, scale_log2, tokens, tile_count, column_length, works, programs, grad_row, grad_head,
                1, HEADS, PATTERN_HEADS, D, STAGES, HAS_COLUMNS, HAS_GRAD_LSE,
            )),
            (_copy, (
                query, key, value, grad_out, q_smem, do_smem, k_smem, v_smem, q_full, q_empty, full, empty, tail,
                tiles, rows, entries, tile_count, works, programs,
                HEADS, GROUP, PATTERN_HEADS, D, STAGES,
            )),
        ],
        [4, 1],
        [WORKER_REGS, COPY_REGS],
    )  # fmt: skip


def launch_of(width: int) -> HopperLaunch:
    """The launch for a head width; timings in ops/EXPERIMENTS.md."""
    stages = 6 if width < 128 else 2
    return HopperLaunch(stages, registers=168, worker_registers=232, copy_registers=40, programs=1)


def hopper_query_gradient(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    plan: DevicePlan,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """dQ `[T, H, D]`, and float32 `[2, H, T]`: -lse in base 2 and delta, row by row, for the keys' pass."""
    tokens, heads, width = query.shape
    kv_heads, groups = key.shape[1], len(plan.bands)
    columns, column_length = plan.column_rows()
    grad_query = torch.empty_like(query, memory_format=torch.contiguous_format)
    numbers = torch.empty(2, heads, tokens, dtype=torch.float32, device=query.device)
    works = plan.tiles.shape[0] * heads
    launch = launch_of(width)
    programs = min(multiprocessors(query.device) * launch.programs, works)
    _gradient[(programs,)](
        describe(query), describe(key), describe(value), describe(grad_out),
        out, grad_out, lse if grad_lse is None else grad_lse, lse, numbers, grad_query,
        plan.tiles, plan.query_rows, plan.query_entries, columns, plan.band_table,
        scale, scale * LOG2_E, tokens, plan.tiles.shape[0], column_length,
        works, programs, *grad_out.stride()[:2],
        HEADS=heads, GROUP=heads // kv_heads, PATTERN_HEADS=heads // groups, D=width,
        STAGES=launch.stages, HAS_COLUMNS=plan.columns is not None, HAS_GRAD_LSE=grad_lse is not None,
        WORKER_REGS=launch.worker_registers, COPY_REGS=launch.copy_registers, num_warps=4, maxnreg=launch.registers,
    )  # fmt: skip
    return grad_query, numbers


def row_numbers(lse: Tensor, delta: Tensor) -> Tensor:
    """What `hopper_query_gradient` writes, float32 `[2, H, T]`, from lse and delta `[H, T]`."""
    return torch.stack([(lse * -LOG2_E).masked_fill(lse == float("-inf"), 0), delta])
