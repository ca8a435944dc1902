"""The gradients of keys and values: one warp copies query blocks in, two warpgroups of 64 keys each sum."""

import torch
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma, warpgroup_mma, warpgroup_mma_wait

from longwatch.kernels.triton_impl.backward_key import sum_parts
from longwatch.kernels.triton_impl.device_plan import TILE, DevicePlan
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
    trim,
    turn_of,
)
from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS

__all__ = ["hopper_key_gradients", "launch_of"]


@gluon.jit
def _item_of(
    work, works, items, item_count, KV_HEADS: gl.constexpr, PATTERN_HEADS: gl.constexpr
):  # fmt: skip
    """Key head, tile (-1 for none), entries and partial slot of a work."""
    there = work < works
    head = work % KV_HEADS
    item = items + (head // PATTERN_HEADS * item_count + work // KV_HEADS) * 4
    tile = gl.load(item, mask=there, other=-1)
    begin = gl.load(item + 1, mask=there, other=0)
    end = gl.load(item + 2, mask=there, other=0)
    part = gl.load(item + 3, mask=there, other=-1)
    return head, tile, begin, end, part


@gluon.jit
def _place_of(tile, tiles):
    """First row, stop row, document start and stop of a tile; all zero of none."""
    live = tile >= 0
    first = gl.load(tiles + tile * 4, mask=live, other=0)
    stop = gl.load(tiles + tile * 4 + 1, mask=live, other=0)
    document = gl.load(tiles + tile * 4 + 2, mask=live, other=0)
    document_stop = gl.load(tiles + tile * 4 + 3, mask=live, other=0)
    return first, stop, document, document_stop


@gluon.jit
def _copy(
    query, key, value, grad_out, numbers, k_smem, v_smem, q_smem, do_smem, n_smem, k_full, k_empty, full, empty, tail,
    items, tiles, entries, tokens, item_count, works, programs,
    KV_HEADS: gl.constexpr, GROUP: gl.constexpr, PATTERN_HEADS: gl.constexpr, D: gl.constexpr,
    STAGES: gl.constexpr,
):  # fmt: skip
    place = gl.arange(0, 64, layout=gl.BlockedLayout([2], [32], [1], [0]))
    step = 0
    turn = 0
    tails = 0
    for lap in range(0, (works + programs - 1) // programs):
        head, tile, begin, end, _ = _item_of(turn_of(lap, programs), works, items, item_count, KV_HEADS, PATTERN_HEADS)
        first, stop, document, document_stop = _place_of(tile, tiles)
        if first < stop:
            slot = turn & 1
            mbarrier.wait(k_empty.index(slot), (turn >> 1 & 1) ^ 1)
            mbarrier.expect(k_full.index(slot), 4 * 64 * D * 2)
            for half in gl.static_range(2):
                at_row = [first + 64 * half, head * D]
                tma.async_copy_global_to_shared(key, at_row, k_full.index(slot), k_smem.index(slot * 2 + half))
                tma.async_copy_global_to_shared(value, at_row, k_full.index(slot), v_smem.index(slot * 2 + half))
            turn += 1
            for shared in range(0, GROUP):
                query_head = head * GROUP + shared
                for at in range(0, end - begin):
                    start = document + (gl.load(entries + begin + at) >> 4) * 64
                    stage = step % STAGES
                    mbarrier.wait(empty.index(stage), (step // STAGES & 1) ^ 1)
                    tails = copy_block(
                        query, grad_out, [start, query_head * D], q_smem.index(stage), do_smem.index(stage),
                        full.index(stage), tail, tails, document_stop - start, 2 * 64 * D * 2, True,
                    )  # fmt: skip
                    # The copy engine takes rows from any place, but columns from multiples of 16 bytes only.
                    number_at = start + place
                    there = number_at < document_stop
                    shift = gl.load(numbers + query_head * tokens + number_at, mask=there, other=0.0)
                    delta = gl.load(
                        numbers + (KV_HEADS * GROUP + query_head) * tokens + number_at, mask=there, other=0.0
                    )
                    n_smem.index(2 * stage).store(shift)
                    n_smem.index(2 * stage + 1).store(delta)
                    mbarrier.arrive(full.index(stage), count=1)
                    step += 1


@gluon.jit
def _weights(
    scores, shift, scale_log2, kind, row, start, first, band, column,
    HAS_COLUMNS: gl.constexpr, layout: gl.constexpr,
):  # fmt: skip
    """Attention weights [64 keys, 64 queries], 0 where a query does not see a key; row [64] is the key's place."""
    weights = gl.exp2(gl.fma(scores, scale_log2, shift))
    if kind != 1:
        low = row - start - 1
        limit = span(kind, band)
        place = gl.arange(0, 64, layout=gl.SliceLayout(0, layout))[None, :]
        if HAS_COLUMNS:
            near = (place <= (low + limit)[:, None]) | (gl.load(column + row) != 0)[:, None]
            weights = gl.where((place > low[:, None]) & near, weights, 0.0)
        else:
            needs_high = start + 63 >= first + limit
            weights = keep_columns(weights, low, low + limit, first + 63 > start, needs_high, 0.0, layout)
    return weights


@gluon.jit
def _gather(
    k_smem, v_smem, q_smem, do_smem, n_smem, k_full, k_empty, full, empty,
    grad_key, grad_value, parts, items, tiles, entries, columns, bands,
    scale, scale_log2, item_count, column_length, part_count, works, programs,
    HALF: gl.constexpr, KV_HEADS: gl.constexpr, GROUP: gl.constexpr, PATTERN_HEADS: gl.constexpr, D: gl.constexpr,
    STAGES: gl.constexpr, HAS_COLUMNS: gl.constexpr, SPLIT: gl.constexpr,
):  # fmt: skip
    scores_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 64, 16])
    sum_layout: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    left_layout: gl.constexpr = gl.DotOperandLayout(0, sum_layout, 2)
    query_layout: gl.constexpr = gl.SliceLayout(0, scores_layout)
    dtype: gl.constexpr = q_smem.dtype
    step = 0
    turn = 0
    # An item's numbers are asked for while the item before is computed.
    head, tile, begin, end, part = _item_of(turn_of(0, programs), works, items, item_count, KV_HEADS, PATTERN_HEADS)
    first, stop, document, _ = _place_of(tile, tiles)
    first_entry, last_entry = ends_of(begin, end, entries)
    for lap in range(0, (works + programs - 1) // programs):
        next_head, next_tile, next_begin, next_end, next_part = _item_of(
            turn_of(lap + 1, programs), works, items, item_count, KV_HEADS, PATTERN_HEADS
        )
        next_first, next_stop, next_document = first, stop, document
        if first < stop:
            band = gl.load(bands + head // PATTERN_HEADS)
            column = columns + head // PATTERN_HEADS * column_length
            at_first = first + HALF * 64 - document
            row = at_first + gl.arange(0, 64, layout=gl.SliceLayout(1, scores_layout))
            steps = end - begin
            lead, trail = trim(first_entry, last_entry, steps, HALF)
            dk = gl.zeros([64, D], gl.float32, sum_layout)
            dv = gl.zeros([64, D], gl.float32, sum_layout)
            slopes = gl.zeros([64, 64], dtype, left_layout)
            zero = gl.zeros([64, 64], gl.float32, scores_layout)
            mbarrier.wait(k_full.index(turn & 1), turn >> 1 & 1)
            k = k_smem.index((turn & 1) * 2 + HALF)
            v = v_smem.index((turn & 1) * 2 + HALF)
            next_first, next_stop, next_document, _ = _place_of(next_tile, tiles)
            for _ in range(0, GROUP):
                step = skip(step, lead, full, empty, STAGES)
                if lead + trail < steps:
                    entry = gl.load(entries + begin + lead)
                    start = (entry >> 4) * 64
                    stage = step % STAGES
                    mbarrier.wait(full.index(stage), step // STAGES & 1)
                    do = do_smem.index(stage)
                    scores = warpgroup_mma(k, q_smem.index(stage).permute([1, 0]), zero, use_acc=False, is_async=True)
                    grads = warpgroup_mma(v, do.permute([1, 0]), zero, use_acc=False, is_async=True)
                    shift = n_smem.index(2 * stage).load(query_layout)[None, :]
                    delta = n_smem.index(2 * stage + 1).load(query_layout)[None, :]
                    scores, grads = warpgroup_mma_wait(0, deps=[scores, grads])
                    weights = _weights(
                        scores, shift, scale_log2, entry >> 2 * HALF & 3, row, start, at_first,
                        band, column, HAS_COLUMNS, scores_layout,
                    )  # fmt: skip
                    left = gl.convert_layout(weights.to(dtype), left_layout)
                    dv = warpgroup_mma(left, do, dv, is_async=True)
                    slope = (weights * (grads - delta)).to(dtype)
                    dv, left = warpgroup_mma_wait(0, deps=[dv, left])
                    slopes = gl.convert_layout(slope, left_layout)
                    step += 1
                # A block's queries are multiplied while the scores of the next one are made.
                for at in range(lead + 1, steps - trail):
                    entry = gl.load(entries + begin + at)
                    start = (entry >> 4) * 64
                    stage = step % STAGES
                    held = (step - 1) % STAGES
                    mbarrier.wait(full.index(stage), step // STAGES & 1)
                    do = do_smem.index(stage)
                    scores = warpgroup_mma(k, q_smem.index(stage).permute([1, 0]), zero, use_acc=False, is_async=True)
                    grads = warpgroup_mma(v, do.permute([1, 0]), zero, use_acc=False, is_async=True)
                    dk = warpgroup_mma(slopes, q_smem.index(held), dk, is_async=True)
                    shift = n_smem.index(2 * stage).load(query_layout)[None, :]
                    delta = n_smem.index(2 * stage + 1).load(query_layout)[None, :]
                    scores = warpgroup_mma_wait(2, deps=[scores])
                    weights = _weights(
                        scores, shift, scale_log2, entry >> 2 * HALF & 3, row, start, at_first,
                        band, column, HAS_COLUMNS, scores_layout,
                    )  # fmt: skip
                    left = gl.convert_layout(weights.to(dtype), left_layout)
                    dv = warpgroup_mma(left, do, dv, is_async=True)
                    grads = warpgroup_mma_wait(2, deps=[grads])
                    slope = (weights * (grads - delta)).to(dtype)
                    dk, dv, slopes, left = warpgroup_mma_wait(0, deps=[dk, dv, slopes, left])
                    mbarrier.arrive(empty.index(held), count=1)
                    slopes = gl.convert_layout(slope, left_layout)
                    step += 1
                if lead + trail < steps:
                    held = (step - 1) % STAGES
                    dk = warpgroup_mma(slopes, q_smem.index(held), dk, is_async=True)
                    dk, slopes = warpgroup_mma_wait(0, deps=[dk, slopes])
                    mbarrier.arrive(empty.index(held), count=1)
                step = skip(step, trail, full, empty, STAGES)
            first_entry, last_entry = ends_of(next_begin, next_end, entries)
            mbarrier.arrive(k_empty.index(turn & 1), count=1)
            turn += 1
            dk = dk * scale
            whole = True
            if SPLIT:
                whole = part < 0
                if part >= 0:
                    line = HALF * 64 + gl.arange(0, 64, layout=gl.SliceLayout(1, sum_layout))[:, None]
                    lane = gl.arange(0, D, layout=gl.SliceLayout(0, sum_layout))[None, :]
                    place = ((head * part_count + part).to(gl.int64) * 128 + line) * D + lane
                    gl.store(parts + place, dk)
                    gl.store(parts + KV_HEADS * part_count * 128 * D + place, dv)
            if whole:
                store_block(grad_key, dk, first + HALF * 64, stop, head, KV_HEADS, D)
                store_block(grad_value, dv, first + HALF * 64, stop, head, KV_HEADS, D)
        else:
            next_first, next_stop, next_document, _ = _place_of(next_tile, tiles)
            first_entry, last_entry = ends_of(next_begin, next_end, entries)
        head, tile, begin, end, part = next_head, next_tile, next_begin, next_end, next_part
        first, stop, document = next_first, next_stop, next_document


@gluon.jit(do_not_specialize=BY_LENGTHS)
def _gradients(
    query, key, value, grad_out, numbers, grad_key, grad_value, parts, items, tiles, entries, columns, bands,
    scale, scale_log2, tokens, item_count, column_length, part_count, works, programs,
    KV_HEADS: gl.constexpr, GROUP: gl.constexpr, PATTERN_HEADS: gl.constexpr, D: gl.constexpr,
    STAGES: gl.constexpr, HAS_COLUMNS: gl.constexpr, SPLIT: gl.constexpr,
    WORKER_REGS: gl.constexpr, COPY_REGS: gl.constexpr,
):  # fmt: skip
    dtype: gl.constexpr = query.dtype
    k_smem = gl.allocate_shared_memory(dtype, [4, 64, D], key.layout)
    v_smem = gl.allocate_shared_memory(dtype, [4, 64, D], value.layout)
    q_smem = gl.allocate_shared_memory(dtype, [STAGES, 64, D], query.layout)
    do_smem = gl.allocate_shared_memory(dtype, [STAGES, 64, D], grad_out.layout)
    n_smem = gl.allocate_shared_memory(gl.float32, [STAGES * 2, 64], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    k_full, k_empty, full, empty, tail = open_barriers(STAGES, 2)
    gl.warp_specialize(
        [
            (_gather, (
                k_smem, v_smem, q_smem, do_smem, n_smem, k_full, k_empty, full, empty,
                grad_key, grad_value, parts, items, tiles, entries, columns, bands,
                scale, scale_log2, item_count, column_length, part_count, works, programs,
                0, KV_HEADS, GROUP, PATTERN_HEADS, D, STAGES, HAS_COLUMNS, SPLIT,
            )),
            (_gather, (
                k_smem, v_smem, q_smem, do_smem, n_smem, k_full, k_empty, full, empty,
                grad_key, grad_value, parts, items, tiles, entries, columns, bands,
                scale, scale_log2, item_count, column_length, part_count, works, programs,
                1, KV_HEADS, GROUP, PATTERN_HEADS, D, STAGES, HAS_COLUMNS, SPLIT,
            )),
            (_copy, (
                query, key, value, grad_out, numbers, k_smem, v_smem, q_smem, do_smem, n_smem,
                k_full, k_empty, full, empty, tail, items, tiles, entries, tokens, item_count, works, programs,
                KV_HEADS, GROUP, PATTERN_HEADS, D, STAGES,
            )),
        ],
        [4, 1],
        [WORKER_REGS, COPY_REGS],
    )  # fmt: skip


def launch_of(_width: int) -> HopperLaunch:
    """The launch, the same for both head widths; timings in ops/EXPERIMENTS.md."""
    return HopperLaunch(stages=6, registers=168, worker_registers=224, copy_registers=56, programs=1)


def hopper_key_gradients(
    grad_out: Tensor, query: Tensor, key: Tensor, value: Tensor, numbers: Tensor, plan: DevicePlan, scale: float
) -> tuple[Tensor, Tensor]:
    """dK and dV `[T, Hkv, D]`, D 32 or 64; numbers as `hopper_query_gradient` gave them."""
    kv_heads, width, groups = key.shape[1], key.shape[2], len(plan.bands)
    columns, column_length = plan.column_rows()
    grad_key = torch.empty_like(key, memory_format=torch.contiguous_format)
    grad_value = torch.empty_like(grad_key)
    parts = numbers.new_empty(2, kv_heads, plan.parts, TILE, width) if plan.parts else numbers
    item_count = plan.key_items.shape[1]
    works = item_count * kv_heads
    launch = launch_of(width)
    programs = min(multiprocessors(query.device) * launch.programs, works)
    _gradients[(programs,)](
        describe(query), describe(key), describe(value), describe(grad_out),
        numbers, grad_key, grad_value, parts,
        plan.key_items, plan.tiles, plan.key_entries, columns, plan.band_table,
        scale, scale * LOG2_E, query.shape[0], item_count, column_length,
        plan.parts, works, programs,
        KV_HEADS=kv_heads, GROUP=query.shape[1] // kv_heads, PATTERN_HEADS=kv_heads // groups, D=width,
        STAGES=launch.stages, HAS_COLUMNS=plan.columns is not None, SPLIT=plan.parts > 0,
        WORKER_REGS=launch.worker_registers, COPY_REGS=launch.copy_registers, num_warps=4, maxnreg=launch.registers,
    )  # fmt: skip
    if plan.parts:
        sum_parts(grad_key, grad_value, parts, plan)
    return grad_key, grad_value
