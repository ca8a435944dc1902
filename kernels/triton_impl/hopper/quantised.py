"""The int8 forward on Hopper: one warp copies blocks in, two warpgroups of 64 query rows each compute.

The same blocks in the same order by the same instructions as the portable kernel: outputs are bitwise the same.
"""

import torch
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma, warpgroup_mma, warpgroup_mma_wait

from longwatch.kernels.triton_impl.device_plan import DevicePlan
from longwatch.kernels.triton_impl.forward import LOG2_E
from longwatch.kernels.triton_impl.hopper.forward import launch_of
from longwatch.kernels.triton_impl.hopper.launch import describe, multiprocessors
from longwatch.kernels.triton_impl.hopper.quantised_parts import (
    exact_reach,
    numbers_of,
    own_blocks,
    short_query,
)
from longwatch.kernels.triton_impl.hopper.ring import (
    copy_block,
    ends_of,
    mask_scores,
    online_rows,
    open_barriers,
    skip,
    span,
    start_rows,
    store_rows,
    tile_of,
    trim,
    turn_of,
)
from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS
from longwatch.kernels.triton_impl.quantised import QuantisedKeys, bound_limit

__all__ = ["hopper_quantised", "launch_of"]


@gluon.jit
def _copy(
    query, key, value, steps, q_smem, k_smem, v_smem, q_full, q_empty, full, empty, tail,
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
            mbarrier.expect(q_full.index(slot), 2 * 64 * D * 2)
            for half in gl.static_range(2):
                at_row = [first + 64 * half, head * D]
                tma.async_copy_global_to_shared(query, at_row, q_full.index(slot), q_smem.index(slot * 2 + half))
            lane = head // GROUP * D
            for at in range(begin, end):
                start = document + (gl.load(entries + at) >> 4) * 64
                stage = step % STAGES
                mbarrier.wait(empty.index(stage), (step // STAGES & 1) ^ 1)
                if start < first:
                    # Blocks before the tile lie whole inside the document.
                    mbarrier.expect(full.index(stage), 3 * 64 * D)
                    short = k_smem.index(stage)._reinterpret(gl.int8, [64, D], steps.layout)
                    tma.async_copy_global_to_shared(steps, [start, lane], full.index(stage), short)
                    tma.async_copy_global_to_shared(value, [start, lane], full.index(stage), v_smem.index(stage))
                else:
                    tails = copy_block(
                        key, value, [start, lane], k_smem.index(stage), v_smem.index(stage), full.index(stage), tail,
                        tails, document_stop - start, 2 * 64 * D * 2,
                    )  # fmt: skip
                step += 1


@gluon.jit
def _earlier(
    q, k_smem, v_smem, full, empty, acc, peak, total, step,
    entries, begin, last, worth, scale_log2, first, band, column,
    HALF: gl.constexpr, D: gl.constexpr, STAGES: gl.constexpr, HAS_COLUMNS: gl.constexpr, LIMIT: gl.constexpr,
    short_layout: gl.constexpr,
):  # fmt: skip
    """The blocks of earlier tiles, int8; first is the place of row 0 in the document."""
    short_smem: gl.constexpr = gl.NVMMASharedLayout.get_default_for([64, D], gl.int8)
    out_layout: gl.constexpr = acc.type.layout
    weights_layout: gl.constexpr = gl.DotOperandLayout(0, out_layout, 2)
    out_row: gl.constexpr = gl.SliceLayout(1, out_layout)
    # What each row's maximum stands for at least, as a norm of keys.
    low = -1.0
    whole, by_row, norm = short_query(q, scale_log2, short_layout)
    widest = gl.max(norm, 0)
    # A block's numbers are asked for while the block before is computed.
    entry = gl.load(entries + begin, mask=begin < last, other=0)
    step_worth, top = numbers_of(worth, entry, begin < last)
    for at in range(begin, last):
        next_entry = gl.load(entries + at + 1, mask=at + 1 < last, other=0)
        start = (entry >> 4) * 64
        kind = entry >> 2 * HALF & 3
        factor = by_row * step_worth
        stage = step % STAGES
        mbarrier.wait(full.index(stage), step // STAGES & 1)
        short = k_smem.index(stage)._reinterpret(gl.int8, [64, D], short_smem)
        # Sums from 3 * 2**22 in float32: the bits of an integer sum below 2**22 are then the float's own.
        zero = gl.full([64, 64], 0x4B400000, gl.int32, short_layout)
        sums = warpgroup_mma(whole, short.permute([1, 0]), zero, is_async=True)
        sums = warpgroup_mma_wait(0, deps=[sums])
        next_worth, next_top = numbers_of(worth, next_entry, at + 1 < last)
        scores = sums.to(gl.float32, bitcast=True)
        bounded = (kind == 1) & (widest * top <= LIMIT)
        if (not bounded) | (top > low):
            reach = norm * top
            if bounded:
                low = top
            else:
                if kind != 1:
                    line = first + gl.arange(0, 64, layout=gl.SliceLayout(1, short_layout))
                    held_to = span(kind, band)
                    scores = mask_scores(scores, line, start, first, held_to, column, HAS_COLUMNS, short_layout)
                reach = exact_reach(scores, reach, factor, LIMIT)
            new_max = gl.maximum(peak, reach)
            rescale = gl.exp2(peak - gl.where(new_max == float("-inf"), 0.0, new_max))
            # Rounded before the sum is added, as where nothing moves.
            total = gl.fma(total, rescale, 0.0)
            peak = new_max
            acc = acc * gl.convert_layout(rescale, out_row)[:, None]
        entry, step_worth, top = next_entry, next_worth, next_top
        shift = gl.where(peak == float("-inf"), 0.0, peak)
        weights = gl.exp2(gl.fma(scores, factor[:, None], gl.fma(factor, -12582912.0, -shift)[:, None]))
        total += gl.sum(weights, 1)
        weights = gl.convert_layout(weights.to(v_smem.dtype), weights_layout)
        acc = warpgroup_mma(weights, v_smem.index(stage), acc, is_async=True)
        acc = warpgroup_mma_wait(0, deps=[acc])
        mbarrier.arrive(empty.index(stage), count=1)
        step += 1
    return acc, peak, total, step


@gluon.jit
def _attend(
    q_smem, k_smem, v_smem, q_full, q_empty, full, empty,
    table, sink, out, lse, tiles, rows, entries, columns, bands,
    scale_log2, tokens, tile_count, column_length, works, programs,
    HALF: gl.constexpr, HEADS: gl.constexpr, GROUP: gl.constexpr, PATTERN_HEADS: gl.constexpr, D: gl.constexpr,
    STAGES: gl.constexpr, HAS_SINK: gl.constexpr, HAS_COLUMNS: gl.constexpr, LIMIT: gl.constexpr,
):  # fmt: skip
    scores_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 16])
    short_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 32])
    short_row: gl.constexpr = gl.SliceLayout(1, short_layout)
    out_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    weights_layout: gl.constexpr = gl.DotOperandLayout(0, out_layout, 2)
    row_layout: gl.constexpr = gl.SliceLayout(1, scores_layout)
    out_row: gl.constexpr = gl.SliceLayout(1, out_layout)
    dtype: gl.constexpr = v_smem.dtype
    step = 0
    for lap in range(0, (works + programs - 1) // programs):
        work = turn_of(lap, programs)
        if work < works:
            head, first, stop, document, _, begin, end = tile_of(
                work, works, tiles, rows, tile_count, HEADS, PATTERN_HEADS
            )
            first_entry, last_entry = ends_of(begin, end, entries)
            band = gl.load(bands + head // PATTERN_HEADS)
            column = columns + head // PATTERN_HEADS * column_length
            own = first - document
            split = end - own_blocks(entries, end - 1, begin, end, own) - own_blocks(entries, end - 2, begin, end, own)
            first += HALF * 64
            lead, trail = trim(first_entry, last_entry, end - begin, HALF)
            slot = lap & 1
            mbarrier.wait(q_full.index(slot), lap >> 1 & 1)
            q = q_smem.index(slot * 2 + HALF)
            row_max, row_sum = start_rows(sink + head, HAS_SINK, row_layout)
            row = first - document + gl.arange(0, 64, layout=row_layout)
            acc = gl.zeros([64, D], gl.float32, out_layout)
            step = skip(step, lead, full, empty, STAGES)

            worth = table + head // GROUP * tokens + document
            acc, peak, total, step = _earlier(
                q, k_smem, v_smem, full, empty, acc, gl.convert_layout(row_max, short_row),
                gl.convert_layout(row_sum, short_row), step, entries, begin + lead, gl.minimum(split, end - trail),
                worth, scale_log2, first - document, band, column, HALF, D, STAGES, HAS_COLUMNS, LIMIT, short_layout,
            )  # fmt: skip
            row_max = gl.convert_layout(peak, row_layout)
            row_sum = gl.convert_layout(total, row_layout)
            for at in range(gl.maximum(split, begin + lead), end - trail):
                entry = gl.load(entries + at)
                start = (entry >> 4) * 64
                kind = entry >> 2 * HALF & 3
                stage = step % STAGES
                mbarrier.wait(full.index(stage), step // STAGES & 1)
                zero = gl.zeros([64, 64], gl.float32, scores_layout)
                scores = warpgroup_mma(q, k_smem.index(stage).permute([1, 0]), zero, use_acc=False, is_async=True)
                scores = warpgroup_mma_wait(0, deps=[scores])
                if kind != 1:
                    held_to = span(kind, band)
                    scores = mask_scores(
                        scores, row, start, first - document, held_to, column, HAS_COLUMNS, scores_layout
                    )
                weights, row_max, rescale = online_rows(scores, row_max, scale_log2)
                left = gl.convert_layout(weights.to(dtype), weights_layout)
                acc = acc * gl.convert_layout(rescale, out_row)[:, None]
                acc = warpgroup_mma(left, v_smem.index(stage), acc, is_async=True)
                row_sum = row_sum * rescale + gl.sum(weights, 1)
                acc = warpgroup_mma_wait(0, deps=[acc])
                mbarrier.arrive(empty.index(stage), count=1)
                step += 1
            mbarrier.arrive(q_empty.index(slot), count=1)
            step = skip(step, trail, full, empty, STAGES)
            store_rows(out, lse, acc, row_max, row_sum, first, stop, head, tokens, HEADS, D)


@gluon.jit(do_not_specialize=BY_LENGTHS)
def _forward(
    query, key, value, steps, table, sink, out, lse, tiles, rows, entries, columns, bands,
    scale_log2, tokens, tile_count, column_length, works, programs,
    HEADS: gl.constexpr, GROUP: gl.constexpr, PATTERN_HEADS: gl.constexpr, D: gl.constexpr,
    STAGES: gl.constexpr, HAS_SINK: gl.constexpr, HAS_COLUMNS: gl.constexpr, LIMIT: gl.constexpr,
    WORKER_REGS: gl.constexpr, COPY_REGS: gl.constexpr,
):  # fmt: skip
    dtype: gl.constexpr = query.dtype
    q_smem = gl.allocate_shared_memory(dtype, [4, 64, D], query.layout)
    k_smem = gl.allocate_shared_memory(dtype, [STAGES, 64, D], key.layout)
    v_smem = gl.allocate_shared_memory(dtype, [STAGES, 64, D], value.layout)
    q_full, q_empty, full, empty, tail = open_barriers(STAGES)
    gl.warp_specialize(
        [
            (_attend, (
                q_smem, k_smem, v_smem, q_full, q_empty, full, empty,
                table, sink, out, lse, tiles, rows, entries, columns, bands,
                scale_log2, tokens, tile_count, column_length, works, programs,
                0, HEADS, GROUP, PATTERN_HEADS, D, STAGES, HAS_SINK, HAS_COLUMNS, LIMIT,
            )),
            (_attend, (
                q_smem, k_smem, v_smem, q_full, q_empty, full, empty,
                table, sink, out, lse, tiles, rows, entries, columns, bands,
                scale_log2, tokens, tile_count, column_length, works, programs,
                1, HEADS, GROUP, PATTERN_HEADS, D, STAGES, HAS_SINK, HAS_COLUMNS, LIMIT,
            )),
            (_copy, (
                query, key, value, steps, q_smem, k_smem, v_smem, q_full, q_empty, full, empty, tail,
                tiles, rows, entries, tile_count, works, programs,
                HEADS, GROUP, PATTERN_HEADS, D, STAGES,
            )),
        ],
        [4, 1],
        [WORKER_REGS, COPY_REGS],
    )  # fmt: skip


def hopper_quantised(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    keys: QuantisedKeys,
    plan: DevicePlan,
    scale: float,
    sink: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention output `[T, H, D]` and log-sum-exp `[H, T]`, float32; arguments as of `hopper_forward`."""
    tokens, heads, width = query.shape
    kv_heads, groups = key.shape[1], len(plan.bands)
    columns, column_length = plan.column_rows()
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    lse = torch.empty(heads, tokens, dtype=torch.float32, device=query.device)
    launch = launch_of(width)
    works = plan.tiles.shape[0] * heads
    programs = min(multiprocessors(query.device) * launch.programs, works)
    _forward[(programs,)](
        describe(query), describe(key), describe(value), describe(keys.steps), keys.table,
        lse if sink is None else sink, out, lse, plan.tiles, plan.query_rows, plan.query_entries,
        columns, plan.band_table,
        scale * LOG2_E, tokens, plan.tiles.shape[0], column_length, works, programs,
        HEADS=heads, GROUP=heads // kv_heads, PATTERN_HEADS=heads // groups, D=width,
        STAGES=launch.stages, HAS_SINK=sink is not None, HAS_COLUMNS=plan.columns is not None,
        LIMIT=bound_limit(value.dtype), WORKER_REGS=launch.worker_registers, COPY_REGS=launch.copy_registers,
        num_warps=4, maxnreg=launch.registers,
    )  # fmt: skip
    return out, lse
