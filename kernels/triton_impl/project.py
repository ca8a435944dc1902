"""The first kernel of a layer: norm, queries, keys and values, rotary turn, and rows into packed tensors or a cache."""

import triton
import triton.language as tl
from torch import Tensor

from longwatch.kernels.triton_impl.cache import KVCache, page_row
from longwatch.kernels.triton_impl.forward import upcast
from longwatch.kernels.triton_impl.invariant import (
    FEW_ROWS,
    ROW_TILE,
    after_previous,
    column_tile,
    fetch_ahead,
    normed_product,
    pipeline_stages,
    reduction_tile,
    row_factors,
)

__all__ = ["project_heads"]


@triton.jit
def _angles(cos, sin, row_at, row_ok, first, HALF: tl.constexpr, BN: tl.constexpr):
    """Cosine and sine of the tile's pairs of neighbouring columns, [64, BN / 2]."""
    pair = (first // 2 + tl.arange(0, BN // 2)) % HALF
    at = row_at.to(tl.int64)[:, None] * HALF + pair[None, :]
    return tl.load(cos + at, mask=row_ok[:, None], other=0.0), tl.load(sin + at, mask=row_ok[:, None], other=0.0)


@triton.jit
def _turned(acc, c, s, BN: tl.constexpr):
    """Pairs of neighbouring columns turned by their angles; each sum is one fused multiply-add."""
    left, right = tl.split(tl.reshape(acc, [ROW_TILE, BN // 2, 2]))
    turned = tl.join(tl.fma(left, c, -(right * s)), tl.fma(right, c, left * s))
    return tl.reshape(turned, [ROW_TILE, BN])


@triton.jit(do_not_specialize=["count", "CHUNK", "PAGES", "PINNED", "RING"])
def _project(
    rows, weight, cos, sin, position_of, slots, table, factors, query, key, value,
    count, eps, CHUNK, PAGES, PINNED, RING,
    K: tl.constexpr, HEADS: tl.constexpr, HKV: tl.constexpr, D: tl.constexpr, KB: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr, LANES: tl.constexpr, STAGES: tl.constexpr, FEW: tl.constexpr,
    CACHED: tl.constexpr, PAGED: tl.constexpr, OVERLAP: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0) * BN
    row_at = tl.program_id(1) * ROW_TILE + tl.arange(0, ROW_TILE)
    col_at = first + tl.arange(0, BN)
    row_ok = row_at < count
    fetch_ahead(weight, first, first + BN, K, BN, LANES, OVERLAP)
    after_previous(OVERLAP)
    # Narrow tiles are for few rows, where time is latency: what is needed later is asked for first.
    EARLY: tl.constexpr = BN <= 32
    if CACHED:
        position = tl.load(position_of + row_at, mask=row_ok, other=-1)
        slot = tl.load(slots + row_at // CHUNK, mask=row_ok, other=0)
    if EARLY:
        c, s = _angles(cos, sin, row_at, row_ok, first, D // 2, BN)
    few_at = tl.arange(0, 16)
    acc = normed_product(
        rows, row_at, row_ok, few_at, few_at < count, weight, col_at, col_at >= 0, factors + row_at, eps,
        K, BN, BK, LANES, True, FEW, STAGES, UPCAST,
    )  # fmt: skip
    # BN divides every region's width, so a program writes to one of the three.
    if first < (HEADS + HKV) * D:
        if not EARLY:
            c, s = _angles(cos, sin, row_at, row_ok, first, D // 2, BN)
        acc = _turned(acc, c, s, BN)
    if first < HEADS * D:
        to = row_at.to(tl.int64)[:, None] * (HEADS * D) + col_at[None, :]
        tl.store(query + to, acc.to(query.dtype.element_ty), mask=row_ok[:, None])
    else:
        is_key = first < (HEADS + HKV) * D
        target = key if is_key else value
        place = col_at - tl.where(is_key, HEADS * D, (HEADS + HKV) * D)
        if CACHED:
            row_ok = row_ok & (position >= 0) & (slot >= 0)
            position = tl.where(row_ok, position, 0)
            page = page_row(table, tl.where(row_ok, slot, 0), position, PAGES, PINNED, RING, KB, PAGED)
            to = page[:, None] * (HKV * KB * D) + (position % KB)[:, None] * D
            to += ((place // D) * (KB * D) + place % D)[None, :]
        else:
            to = row_at.to(tl.int64)[:, None] * (HKV * D) + place[None, :]
        tl.store(target + to, acc.to(query.dtype.element_ty), mask=row_ok[:, None])


def project_heads(
    rows: Tensor,
    weight: Tensor,
    angles: tuple[Tensor, Tensor],
    position: Tensor,
    heads: int,
    head_dim: int,
    eps: float,
    *,
    cache: KVCache | None = None,
    slots: Tensor | None = None,
    chunk: int = 1,
    overlap: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries `[M, H, D]`, keys and values `[M, Hkv, D]` of rows `[M, K]`, each row bitwise whatever M is.

    weight `[(H + 2 * Hkv) * D, K]`: heads of queries, of keys, of values, RMSNorm's gain folded in; the columns of a
    head of queries or keys come in the pairs that are turned together. angles: cosine and sine, float32 [M, D / 2].
    With a cache, keys and values go into it instead (and the cache's tensors are returned): rows are chunks of streams
    as in `attention_decode`, position int32 [M] is -1 for a row that is no token.
    """
    count, width = rows.shape
    kv_heads = (weight.shape[0] // head_dim - heads) // 2
    query = rows.new_empty(count, heads, head_dim)
    if cache is None:
        key, value = (rows.new_empty(count, kv_heads, head_dim) for _ in range(2))
    else:
        key, value = cache.key, cache.value
    if count == 0:
        return query, key, value
    tile, few = column_tile(count, kv_heads * head_dim), count <= FEW_ROWS
    factors = angles[0] if few else row_factors(rows, eps, overlap=overlap)
    table = position if cache is None or cache.table is None else cache.table
    _project[(weight.shape[0] // tile, triton.cdiv(count, ROW_TILE.value))](
        rows, weight, *angles, position, position if slots is None else slots, table, factors,
        query, key, value, count, eps, chunk, 0 if cache is None else cache.pages, 0 if cache is None else cache.pinned,
        1 if cache is None else cache.ring,
        K=width, HEADS=heads, HKV=kv_heads, D=head_dim, KB=1 if cache is None else cache.key_block,
        BN=tile, BK=reduction_tile(width, tile), LANES=triton.next_power_of_2(width),
        STAGES=pipeline_stages(width, tile), FEW=few, CACHED=cache is not None,
        PAGED=cache is not None and cache.table is not None, OVERLAP=overlap, UPCAST=upcast(rows),
        num_warps=4, launch_pdl=overlap,
    )  # fmt: skip
    return query, key, value
