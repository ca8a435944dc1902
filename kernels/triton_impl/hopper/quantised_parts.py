"""Parts of the int8 forward on Hopper: which blocks are of the tile itself, a query in int8, bounds, the results."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

__all__ = ["exact_reach", "numbers_of", "own_blocks", "short_query"]


@gluon.jit
def own_blocks(entries, at, begin, end, place):
    """1 where an entry in [begin, end) is a block from this place in the document on."""
    inside = (at >= begin) & (at < end)
    entry = gl.load(entries + at, mask=inside, other=0)
    return (inside & ((entry >> 4) * 64 >= place)).to(gl.int32)


@gluon.jit
def numbers_of(table, entry, there):
    """What a step of an entry's block is worth, and the largest norm of its keys."""
    place = table + (entry >> 4) * 64
    return gl.load(place, mask=there, other=0.0), gl.load(place + 1, mask=there, other=0.0)


@gluon.jit
def short_query(q, scale_log2, layout: gl.constexpr):
    """Queries [64, D] as whole numbers for a product, and by row what a step is worth and the norm, in base 2."""
    values = q.load(gl.DotOperandLayout(0, layout, 4)).to(gl.float32)
    scale = gl.maximum(gl.max(gl.abs(values), 1), 1e-12) * (1.0 / 127.0)
    # Adding this rounds to whole numbers, ties to even.
    whole = (values / scale[:, None] + 12582912.0) - 12582912.0
    whole = gl.minimum(gl.maximum(whole, -127.0), 127.0)
    row: gl.constexpr = gl.SliceLayout(1, layout)
    factor = scale * scale_log2
    norm = factor * gl.sqrt(gl.sum(whole * whole, 1))
    factor += gl.sum(values * 0.0, 1)
    return whole.to(gl.int8), gl.convert_layout(factor, row), gl.convert_layout(norm, row)


@gluon.jit
def exact_reach(scores, reach, factor, LIMIT: gl.constexpr):
    """reach [64] of rows that see the whole block, if within LIMIT; of others their largest logit, in base 2."""
    bounded = (gl.min(scores, 1) > float("-inf")) & (reach <= LIMIT)
    return gl.where(bounded, reach, gl.fma(gl.max(scores, 1), factor, factor * -12582912.0))
