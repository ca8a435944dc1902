"""The first kernel of a network over streams: rows of tables added up, rotary angles, and what each row follows."""

import triton
import triton.language as tl
from torch import Tensor

from longwatch.kernels.triton_impl.invariant import after_previous

__all__ = ["embed_rows", "fetch_inputs"]


@triton.jit(do_not_specialize=["count"])
def _fetch(host, device, count, LANES: tl.constexpr):
    at = tl.program_id(0) * LANES + tl.arange(0, LANES)
    tl.store(device + at, tl.load(host + at, mask=at < count, volatile=True), mask=at < count)


def fetch_inputs(host: Tensor, device: Tensor) -> None:
    """Copies int32 [N] of pinned memory to the device, as a kernel: a copy engine's hand-over costs a step more."""
    count = host.numel()
    _fetch[(triton.cdiv(count, 128),)](host, device, count, LANES=128, num_warps=1)


@triton.jit(do_not_specialize=["CHUNK", "base"])
def _embed(
    first, second, third, first_at, second_at, third_at, coarse, fine, slots, cursors, counts,
    position_of, source_of, out, cos, sin, CHUNK, base,
    K: tl.constexpr, LANES: tl.constexpr, HALF: tl.constexpr, STEPS: tl.constexpr, STREAMED: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    after_previous(OVERLAP)
    if STREAMED:
        slot = tl.load(slots + row // CHUNK)
        step = row % CHUNK
        there = (slot >= 0) & (step < tl.load(counts + row // CHUNK))
        position = tl.load(cursors + tl.maximum(slot, 0)) + step
        before = tl.where(step == 0, 1 + slot, base + row - 1)
        tl.store(position_of + row, tl.where(there, position, -1))
    else:
        position = tl.load(position_of + row)
        there = position >= 0
        before = base + row - 1
    tl.store(source_of + row, tl.where(there & (position > 0), before, 0))
    at = row.to(tl.int64)
    lane = tl.arange(0, LANES)
    inside = lane < K
    if there:
        total = tl.load(first + tl.load(first_at + row).to(tl.int64) * K + lane, mask=inside, other=0.0)
        total += tl.load(second + tl.load(second_at + row).to(tl.int64) * K + lane, mask=inside, other=0.0)
        total += tl.load(third + tl.load(third_at + row).to(tl.int64) * K + lane, mask=inside, other=0.0)
        tl.store(out + at * K + lane, total.to(out.dtype.element_ty), mask=inside)
        pair = tl.arange(0, HALF)
        high, low = position // STEPS * HALF + pair, position % STEPS * HALF + pair
        cos_high, sin_high = tl.load(coarse + high), tl.load(coarse + STEPS * HALF + high)
        cos_low, sin_low = tl.load(fine + low), tl.load(fine + STEPS * HALF + low)
        tl.store(cos + at * HALF + pair, tl.fma(cos_high, cos_low, -(sin_high * sin_low)))
        tl.store(sin + at * HALF + pair, tl.fma(sin_high, cos_low, cos_high * sin_low))
    else:
        # Idle rows run through the layers too: zeros stay numbers.
        tl.store(out + at * K + lane, tl.zeros([LANES], out.dtype.element_ty), mask=inside)
        tl.store(cos + at * HALF + tl.arange(0, HALF), tl.zeros([HALF], tl.float32))
        tl.store(sin + at * HALF + tl.arange(0, HALF), tl.zeros([HALF], tl.float32))


def embed_rows(
    tables: tuple[Tensor, Tensor, Tensor],
    at: tuple[Tensor, Tensor, Tensor],
    rotary: tuple[Tensor, Tensor],
    position: Tensor,
    base: int,
    like: Tensor,
    streams: tuple[Tensor, Tensor, Tensor] | None = None,
    chunk: int = 1,
    overlap: bool = False,
) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
    """Rows `[M, K]` in `like`'s dtype, the sum of one row of each float32 table; their angles; what each row follows.

    at: rows of the tables, int32 [M] each. rotary: coarse and fine steps, float32 [2, steps, D / 2] as the model holds
    them (D / 2 a power of two); the angles are cosine and sine, float32 [M, D / 2]. position: int32 [M]; with
    streams = (slots, cursors, counts), as `attention_decode` takes them, it is filled, -1 for a row that is no token.
    overlap: this kernel may be put in place while the one before runs, and the next while this does. The last
    result is int32 [M], a row of a buffer: 0 at position 0, 1 + slot for a stream's first new token, else base +
    the row before.
    """
    rows, width = len(position), tables[0].shape[1]
    steps, half = rotary[0].shape[1:]
    out = like.new_empty(rows, width)
    cos, sin = (tables[0].new_empty(rows, half) for _ in range(2))
    source = position.new_empty(rows)
    if rows:
        slots, cursors, counts = streams or (position, position, position)
        _embed[(rows,)](
            *tables, *at, *rotary, slots, cursors, counts, position, source, out, cos, sin, chunk, base,
            K=width, LANES=triton.next_power_of_2(width), HALF=half, STEPS=steps, STREAMED=streams is not None,
            OVERLAP=overlap, num_warps=1, launch_pdl=overlap,
        )  # fmt: skip
    return out, (cos, sin), source
