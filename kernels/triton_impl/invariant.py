"""Linear layers and norms whose rows come out bitwise the same whatever other rows are computed with them."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from longwatch.kernels.triton_impl.forward import upcast
from longwatch.kernels.triton_impl.softmax import widened

__all__ = [
    "FEW_ROWS",
    "after_previous",
    "column_tile",
    "fetch_ahead",
    "invariant_linear",
    "invariant_rms_norm",
    "normed_product",
    "pipeline_stages",
    "reduction_tile",
    "row_factors",
]

# Rows of every product, masked where there are fewer: one row is computed by the same instructions as 64.
ROW_TILE: tl.constexpr = tl.constexpr(64)
FEW_ROWS = 16  # up to which a norm is made where it is used


@triton.jit
def after_previous(OVERLAP: tl.constexpr):
    """Where launches overlap, lets the next kernel take its place on the device and waits for the one before."""
    if OVERLAP:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def fetch_ahead(weight, first, end, K: tl.constexpr, BN: tl.constexpr, LANES: tl.constexpr, OVERLAP: tl.constexpr):
    """Asks for rows first to first + BN (before end) of the weights [N, K]: they wait for no kernel, so ask before."""
    if OVERLAP:
        LINE: tl.constexpr = 1024 // weight.dtype.element_ty.primitive_bitwidth
        at = first.to(tl.int64) * K + tl.arange(0, BN * LANES // LINE) * LINE
        at = tl.minimum(at, end.to(tl.int64) * K - 1)
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.u32 $0, 0;", "=r,l", [(weight + at).to(tl.int64)], tl.int32, False, 1
        )


@triton.jit
def row_tile(rows, at, there, K: tl.constexpr, LANES: tl.constexpr):
    """Whole rows [16, LANES], zeros past K."""
    lane = tl.arange(0, LANES)
    return tl.load(rows + at.to(tl.int64)[:, None] * K + lane[None, :], mask=there[:, None] & (lane < K), other=0.0)


@triton.jit
def over_norm(tile, eps, K: tl.constexpr):
    """What RMSNorm multiplies each row of a tile [16, LANES] by, float32 [16]: one shape, so one order of the sum."""
    wide = tile.to(tl.float32)
    return tl.rsqrt(tl.sum(wide * wide, 1) / K + eps)


@triton.jit
def normed_product(
    rows, row_at, row_ok, few_at, few_ok, weight, col_at, col_ok, factors, eps,
    K: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, LANES: tl.constexpr,
    NORM: tl.constexpr, FEW: tl.constexpr, STAGES: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """rows[row_at] @ weight[col_at].T, float32 [64, BN], where NORM times what RMSNorm multiplies each row by.

    Sums run over rising K in the instruction's steps of 16, which no tile shape changes. FEW: there are 16 rows at
    most, few_at, and their factors are made here; else factors has those of all rows.
    """
    lane = tl.arange(0, BK)
    row_ptr = rows + row_at.to(tl.int64)[:, None] * K + lane[None, :]
    weight_ptr = weight + col_at.to(tl.int64)[None, :] * K + lane[:, None]
    acc = tl.zeros([ROW_TILE, BN], tl.float32)
    # Rows for the norm are read apart: the pipeline would overwrite a tile that both a product and a sum still need.
    if NORM and FEW:
        whole = row_tile(rows, few_at, few_ok, K, LANES)
    for k in tl.range(0, K, BK, num_stages=STAGES):
        if K % BK == 0:
            left = tl.load(row_ptr + k, mask=row_ok[:, None], other=0.0)
            right = tl.load(weight_ptr + k, mask=col_ok[None, :], other=0.0)
        else:
            left = tl.load(row_ptr + k, mask=row_ok[:, None] & (lane + k < K)[None, :], other=0.0)
            right = tl.load(weight_ptr + k, mask=col_ok[None, :] & (lane + k < K)[:, None], other=0.0)
        acc = tl.dot(widened(left, UPCAST), widened(right, UPCAST), acc, input_precision="ieee")
    if NORM:
        if FEW:
            # Rows past the sixteenth are not there; they take any factor.
            factor = tl.reshape(tl.broadcast_to(over_norm(whole, eps, K)[None, :], [4, 16]), [ROW_TILE])
        else:
            factor = tl.load(factors, mask=row_ok, other=0.0)
        acc = acc * factor[:, None]
    return acc


@triton.jit(do_not_specialize=["count"])
def _linear(
    rows, weight, bias, residual, factors, out, count, eps,
    N: tl.constexpr, K: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, LANES: tl.constexpr, STAGES: tl.constexpr,
    FEW: tl.constexpr, NORM: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_RESIDUAL: tl.constexpr, GATED: tl.constexpr,
    OVERLAP: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    row_at = tl.program_id(1) * ROW_TILE + tl.arange(0, ROW_TILE)
    col_at = tl.program_id(0) * BN + tl.arange(0, BN)
    row_ok, col_ok = row_at < count, col_at < N
    at = row_at.to(tl.int64)[:, None] * N + col_at[None, :]
    inside = row_ok[:, None] & col_ok[None, :]
    fetch_ahead(weight, tl.program_id(0) * BN, tl.minimum(tl.program_id(0) * BN + BN, N), K, BN, LANES, OVERLAP)
    after_previous(OVERLAP)
    # Narrow tiles are for few rows, where time is latency: what is added later is asked for first.
    EARLY: tl.constexpr = HAS_RESIDUAL and BN <= 32
    if EARLY:
        early = tl.load(residual + at, mask=inside, other=0.0)
    few_at = tl.arange(0, 16)
    acc = normed_product(
        rows, row_at, row_ok, few_at, few_at < count, weight, col_at, col_ok, factors + row_at, eps,
        K, BN, BK, LANES, NORM, FEW, STAGES, UPCAST,
    )  # fmt: skip
    if HAS_BIAS:
        acc = acc + tl.load(bias + col_at, mask=col_ok, other=0.0)[None, :]
    if GATED:
        gate, up = tl.split(tl.reshape(acc, [ROW_TILE, BN // 2, 2]))
        # Written out: one formula for both paths, in float32.
        gated = gate / (1.0 + tl.math.exp2(gate * -1.4426950408889634)) * up
        half_at = tl.program_id(0) * (BN // 2) + tl.arange(0, BN // 2)
        out_ptr = out + row_at.to(tl.int64)[:, None] * (N // 2) + half_at[None, :]
        tl.store(out_ptr, gated.to(out.dtype.element_ty), mask=row_ok[:, None] & (half_at < N // 2)[None, :])
    else:
        if EARLY:
            acc = acc + early.to(tl.float32)
        elif HAS_RESIDUAL:
            acc = acc + tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(out + at, acc.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["count"])
def _row_factors(
    rows, source, factors, count, eps, K: tl.constexpr, LANES: tl.constexpr, GATHER: tl.constexpr, OVERLAP: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0) * 16 + tl.arange(0, 16)
    there = row < count
    after_previous(OVERLAP)
    at = tl.load(source + row, mask=there, other=0) if GATHER else row
    tl.store(factors + row, over_norm(row_tile(rows, at, there, K, LANES), eps, K), mask=there)


@triton.jit
def _rms_norm(rows, gain, out, count, eps, K: tl.constexpr, LANES: tl.constexpr):
    row = tl.program_id(0) * 16 + tl.arange(0, 16)
    there = row < count
    tile = row_tile(rows, row, there, K, LANES)
    lane = tl.arange(0, LANES)
    scaled = tile.to(tl.float32) * over_norm(tile, eps, K)[:, None]
    scaled = scaled * tl.load(gain + lane, mask=lane < K, other=0.0).to(tl.float32)[None, :]
    at = row.to(tl.int64)[:, None] * K + lane[None, :]
    tl.store(out + at, scaled.to(out.dtype.element_ty), mask=there[:, None] & (lane < K)[None, :])


def invariant_linear(
    rows: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    norm_eps: float | None = None,
    gated: bool = False,
    out: Tensor | None = None,
    overlap: bool = False,
) -> Tensor:
    """`rows [M, K] @ weight [N, K].T`, `[M, N]` in rows' dtype: row m depends bitwise on row m alone, not on M.

    bias float32 [N] and residual [M, N] are added in float32. norm_eps: each product is divided by its row's root mean
    square (an RMSNorm before the layer, its gain folded into weight). gated: rows 2i and 2i + 1 of weight are a gate
    and its value, and the result is `silu(gate) * value` [M, N / 2], without residual. All tensors contiguous.
    overlap: the kernel may be put in place while the one before it runs, which must be one of these too.
    """
    count, width = rows.shape
    columns = weight.shape[0]
    shape = (count, columns // 2 if gated else columns)
    out = rows.new_empty(shape) if out is None else out
    if count == 0:
        return out
    tile, few = column_tile(count), count <= FEW_ROWS
    factors = None if norm_eps is None or few else row_factors(rows, norm_eps, overlap=overlap)
    grid = (triton.cdiv(columns, tile), triton.cdiv(count, ROW_TILE.value))
    _linear[grid](
        rows, weight, rows if bias is None else bias, rows if residual is None else residual,
        rows if factors is None else factors, out, count, norm_eps or 0.0,
        N=columns, K=width, BN=tile, BK=reduction_tile(width, tile), LANES=triton.next_power_of_2(width),
        STAGES=pipeline_stages(width, tile), FEW=few, NORM=norm_eps is not None, HAS_BIAS=bias is not None,
        HAS_RESIDUAL=residual is not None, GATED=gated, OVERLAP=overlap, UPCAST=upcast(rows),
        num_warps=4, launch_pdl=overlap,
    )  # fmt: skip
    return out


def invariant_rms_norm(rows: Tensor, gain: Tensor, eps: float = 1e-6) -> Tensor:
    """Rows `[M, K]` over their root mean square, times gain `[K]`; computed in float32, row by row, in rows' dtype."""
    count, width = rows.shape
    out = torch.empty_like(rows)
    if count:
        lanes = triton.next_power_of_2(width)
        _rms_norm[(triton.cdiv(count, 16),)](rows, gain, out, count, eps, K=width, LANES=lanes, num_warps=4)
    return out


def column_tile(rows: int, divides: int = 128) -> int:
    """Columns of one program, a divisor of `divides`: few for few rows, so that the whole device pulls the weights.

    It changes no bit of a result: an element's sum runs over K inside one instruction column.
    """
    wanted = 16 if rows <= 256 else 32 if rows <= 512 else 64 if rows <= 1024 else 128
    return min(wanted, divides & -divides)


def reduction_tile(width: int, column_tile: int) -> int:
    """Step over K: long for narrow tiles, whose time is that of their barriers. It changes no bit of a result."""
    longest = 256 if column_tile <= 16 else 128 if column_tile <= 32 else 64
    return max(16, min(longest, 1 << (width - 1).bit_length()))


def pipeline_stages(width: int, column_tile: int) -> int:
    """Steps over K whose operands are on their way at once: all of a narrow tile's, as far as memory goes."""
    return max(2, min(-(-width // reduction_tile(width, column_tile)), 4)) if column_tile <= 32 else 4


def row_factors(rows: Tensor, eps: float, source: Tensor | None = None, overlap: bool = False) -> Tensor:
    """What RMSNorm multiplies rows `[M, K]`, or rows[source] (int32), by before its gain, float32 [M]."""
    count, width = len(rows if source is None else source), rows.shape[1]
    factors = torch.empty(count, dtype=torch.float32, device=rows.device)
    _row_factors[(triton.cdiv(count, 16),)](
        rows, rows if source is None else source, factors, count, eps, K=width, LANES=triton.next_power_of_2(width),
        GATHER=source is not None, OVERLAP=overlap, num_warps=4, launch_pdl=overlap,
    )  # fmt: skip
    return factors
