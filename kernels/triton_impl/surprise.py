"""The last kernels of a network over streams: norm, class logits, and -log p of the class that came, row by row."""

import triton
import triton.language as tl
from torch import Tensor

from longwatch.kernels.triton_impl.forward import upcast
from longwatch.kernels.triton_impl.invariant import (
    FEW_ROWS,
    ROW_TILE,
    after_previous,
    fetch_ahead,
    normed_product,
    pipeline_stages,
    reduction_tile,
    row_factors,
)

__all__ = ["class_surprise"]

# Classes of one partial sum: the same for any number of rows, since sums depend on it.
CLASS_TILE = 32


@triton.jit(do_not_specialize=["count", "classes", "tiles"])
def _partial(
    buffer, source, table, bias, target, factors, best, total, chosen, count, classes, tiles, eps,
    K: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, LANES: tl.constexpr, STAGES: tl.constexpr,
    FEW: tl.constexpr, OVERLAP: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    row_at = tl.program_id(1) * ROW_TILE + tl.arange(0, ROW_TILE)
    col_at = tile * BN + tl.arange(0, BN)
    row_ok, col_ok = row_at < count, col_at < classes
    fetch_ahead(table, tile * BN, tl.minimum(tile * BN + BN, classes), K, BN, LANES, OVERLAP)
    after_previous(OVERLAP)
    from_at = tl.load(source + row_at, mask=row_ok, other=0)
    offset = tl.load(bias + col_at, mask=col_ok, other=float("-inf"))
    wanted = tl.load(target + row_at, mask=row_ok, other=-1)
    few_ok = tl.arange(0, 16) < count
    few_at = tl.load(source + tl.arange(0, 16), mask=few_ok, other=0)
    acc = normed_product(
        buffer, from_at, row_ok, few_at, few_ok, table, col_at, col_ok, factors + row_at, eps,
        K, BN, BK, LANES, True, FEW, STAGES, UPCAST,
    )  # fmt: skip
    logits = acc + offset[None, :]
    highest = tl.max(logits, 1)
    # Every tile holds a class, so the highest is a number.
    sums = tl.sum(tl.math.exp2((logits - highest[:, None]) * 1.4426950408889634), 1)
    hit = col_at[None, :] == wanted[:, None]
    at = row_at.to(tl.int64) * tiles + tile
    tl.store(best + at, highest, mask=row_ok)
    tl.store(total + at, sums, mask=row_ok)
    own = (wanted >= tile * BN) & (wanted < tile * BN + BN)
    tl.store(chosen + row_at, tl.sum(tl.where(hit, logits, 0.0), 1), mask=row_ok & own)


@triton.jit(do_not_specialize=["tiles", "CHUNK", "base"])
def _surprise(
    best, total, chosen, surprise, buffer, slots, cursors, counts, tiles, CHUNK, base,
    TILES: tl.constexpr, K: tl.constexpr, LANES: tl.constexpr, STREAMED: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    after_previous(OVERLAP)
    if STREAMED:
        slot = tl.load(slots + row // CHUNK)
        step = row % CHUNK
        new = tl.load(counts + row // CHUNK)
        if (slot < 0) | (step >= new):
            tl.store(surprise + row, 0.0)
            return
    at = row.to(tl.int64) * tiles + tl.arange(0, TILES)
    inside = tl.arange(0, TILES) < tiles
    highs = tl.load(best + at, mask=inside, other=float("-inf"))
    highest = tl.max(highs, 0)
    sums = tl.load(total + at, mask=inside, other=0.0)
    total_sum = tl.sum(sums * tl.math.exp2((highs - highest) * 1.4426950408889634), 0)
    found = highest + tl.math.log2(total_sum) * 0.6931471805599453 - tl.load(chosen + row)
    # Rounding can leave a class of probability 1 a hair below 0.
    tl.store(surprise + row, tl.maximum(found, 0.0))
    if STREAMED:  # noqa: SIM102  a constant: without it step is not there
        if step == new - 1:
            lane = tl.arange(0, LANES)
            last = tl.load(buffer + (base + row).to(tl.int64) * K + lane, mask=lane < K)
            tl.store(buffer + (1 + slot).to(tl.int64) * K + lane, last, mask=lane < K)
            tl.store(cursors + slot, tl.load(cursors + slot) + new)


def class_surprise(
    buffer: Tensor,
    source: Tensor,
    table: Tensor,
    bias: Tensor,
    target: Tensor,
    eps: float,
    *,
    streams: tuple[Tensor, Tensor, Tensor] | None = None,
    chunk: int = 1,
    base: int = 0,
    overlap: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Surprise `[M]` in nats, float32: of class target[m] (int32) as predicted from row source[m] of buffer `[R, K]`.

    table `[V, K]`, RMSNorm's gain folded in; bias float32 [V]. With streams = (slots, cursors, counts), rows are
    chunks as in `attention_decode` and the streams go on: the newest row of each, buffer[base + m], is kept at
    buffer[1 + slot], its cursor rises by its count, and a row that is no token gets 0. out: where to write it, which
    may be pinned memory of the host.
    """
    count, classes = len(source), len(table)
    tiles = triton.cdiv(classes, CLASS_TILE)
    best, total = (bias.new_empty(count, tiles) for _ in range(2))
    chosen = bias.new_empty(count)
    surprise = bias.new_empty(count) if out is None else out
    if count == 0:
        return surprise
    width, few = table.shape[1], count <= FEW_ROWS
    factors = bias if few else row_factors(buffer, eps, source, overlap)
    _partial[(tiles, triton.cdiv(count, ROW_TILE.value))](
        buffer, source, table, bias, target, factors, best, total, chosen, count, classes, tiles, eps,
        K=width, BN=CLASS_TILE, BK=reduction_tile(width, CLASS_TILE), LANES=triton.next_power_of_2(width),
        STAGES=pipeline_stages(width, CLASS_TILE), FEW=few, OVERLAP=overlap, UPCAST=upcast(table),
        num_warps=4, launch_pdl=overlap,
    )  # fmt: skip
    slots, cursors, counts = streams or (source, source, source)
    _surprise[(count,)](
        best, total, chosen, surprise, buffer, slots, cursors, counts, tiles, chunk, base,
        TILES=triton.next_power_of_2(tiles), K=width, LANES=triton.next_power_of_2(width),
        STREAMED=streams is not None, OVERLAP=overlap, num_warps=1, launch_pdl=overlap,
    )  # fmt: skip
    return surprise
