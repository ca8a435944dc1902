"""What the softmax's gradient subtracts from each row, on its own: only the atomic backward needs it apart from dQ."""

import triton
import triton.language as tl
from torch import Tensor

from longwatch.kernels.triton_impl.plan_tables import BY_LENGTHS

__all__ = ["row_delta"]


@triton.jit(do_not_specialize=BY_LENGTHS)
def _delta(
    out, grad_out, grad_lse, delta, tokens, grad_row, grad_head,
    HEADS: tl.constexpr, D: tl.constexpr, ROWS: tl.constexpr, HAS_GRAD_LSE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    head = tl.program_id(1)
    lane = tl.arange(0, D)
    live = row < tokens
    wide = row.to(tl.int64)[:, None]
    o = tl.load(out + (wide * HEADS + head) * D + lane[None, :], live[:, None], other=0.0)
    do = tl.load(grad_out + wide * grad_row + head * grad_head + lane[None, :], live[:, None], other=0.0)
    total = tl.sum(o.to(tl.float32) * do.to(tl.float32), 1)
    if HAS_GRAD_LSE:
        total -= tl.load(grad_lse + head * tokens + row, live, other=0.0)
    tl.store(delta + head * tokens + row, total, live)


def row_delta(out: Tensor, grad_out: Tensor, grad_lse: Tensor | None, delta: Tensor) -> None:
    """Writes sum(out * grad_out) - grad_lse into delta, float32 `[H, T]`; out and grad_out are `[T, H, D]`."""
    tokens, heads, width = out.shape
    _delta[(-(-tokens // 64), heads)](
        out, grad_out, delta if grad_lse is None else grad_lse, delta, tokens, *grad_out.stride()[:2],
        HEADS=heads, D=width, ROWS=64, HAS_GRAD_LSE=grad_lse is not None, num_warps=4,
    )  # fmt: skip
