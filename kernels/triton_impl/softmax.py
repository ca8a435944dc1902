"""The arithmetic that every kernel shares: one step of the online softmax, and which keys an edge block shows."""

import triton
import triton.language as tl

__all__ = ["edge_mask", "held_to", "normalised", "online_softmax", "start_softmax", "to_lse", "widened"]


@triton.jit
def widened(tensor, UPCAST: tl.constexpr):
    """The tensor as a dot takes it. The interpreter multiplies bfloat16 as raw bits, so there it becomes float32."""
    return tensor.to(tl.float32) if UPCAST else tensor


@triton.jit
def start_softmax(sink, ROWS: tl.constexpr, HAS_SINK: tl.constexpr):
    """Running maximum (base 2) and sum [ROWS] before any key; a sink logit is a key without a value."""
    if HAS_SINK:
        row_max = tl.full([ROWS], 0.0, tl.float32) + sink * 1.4426950408889634
        row_sum = tl.full([ROWS], 1.0, tl.float32)
    else:
        row_max = tl.full([ROWS], float("-inf"), tl.float32)
        row_sum = tl.full([ROWS], 0.0, tl.float32)
    return row_max, row_sum


@triton.jit
def online_softmax(scores, row_max, row_sum, scale_log2):
    """Weights of a block [M, N], the new maximum and sum [M], and what earlier results are multiplied by [M].

    scores are unscaled and -inf where not seen. A row that has seen nothing keeps -inf and 0, and a block that a row
    does not see leaves its numbers bitwise as they were: chunked, packed and whole runs agree because of that.
    """
    new_max = tl.maximum(row_max, tl.max(scores, 1) * scale_log2)
    shift = tl.where(new_max == float("-inf"), 0.0, new_max)
    weights = tl.math.exp2(
        tl.fma(
            scores,
            tl.full(scores.shape, 0, tl.float32) + scale_log2,
            -shift[:, None] + tl.zeros(scores.shape, tl.float32),
        )
    )
    rescale = tl.math.exp2(row_max - shift)
    return weights, new_max, row_sum * rescale + tl.sum(weights, 1), rescale


@triton.jit
def normalised(acc, row_sum):
    """Weighted values by their weights' sum; 0 for a row that saw nothing. One reciprocal a row, in every kernel."""
    return acc * (1.0 / tl.where(row_sum > 0, row_sum, 1.0))[:, None]


@triton.jit
def to_lse(row_max, row_sum):
    """Natural log-sum-exp [M]; -inf for a row that saw nothing."""
    return tl.where(row_sum > 0, (row_max + tl.math.log2(row_sum)) * 0.6931471805599453, float("-inf"))


@triton.jit
def held_to(entry, half, band):
    """The band [M] that rows of these halves are held to in a block: blocks of odd kind are only causal, or whole."""
    return tl.where((entry >> 2 * half & 1) != 0, 1 << 30, band)


@triton.jit
def edge_mask(query_pos, key_pos, band, columns, HAS_COLUMNS: tl.constexpr):
    """Bool [M, N] from places in the document, [M, 1] and [1, N] or turned: causal, and in the band or a column."""
    near = query_pos - key_pos < band
    if HAS_COLUMNS:
        near = near | (tl.load(columns + key_pos) != 0)
    return (key_pos <= query_pos) & near
