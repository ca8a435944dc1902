"""The definition of block-sparse attention: an explicit mask and a softmax per document. Slow, exact, any dtype."""

import math
from itertools import pairwise
from typing import Literal, overload

import torch
from torch import Tensor

from longwatch.kernels.checks import check_cu_seqlens, check_heads
from longwatch.kernels.pattern import Pattern

__all__ = ["reference_attention"]


@overload
def reference_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pattern: Pattern,
    cu_seqlens: Tensor,
    scale: float | None = None,
    *,
    return_lse: Literal[False] = False,
) -> Tensor: ...


@overload
def reference_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pattern: Pattern,
    cu_seqlens: Tensor,
    scale: float | None = None,
    *,
    return_lse: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def reference_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pattern: Pattern,
    cu_seqlens: Tensor,
    scale: float | None = None,
    *,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention output `[T, H, D]` of packed documents, and on request the log-sum-exp of the scores `[T, H]`.

    query `[T, H, D]`, key and value `[T, Hkv, D]` with Hkv dividing H; cu_seqlens int `[B + 1]`; scale 1/sqrt(D)
    unless given. A query that sees no key gives 0 and -inf. Memory grows with the longest document's square.
    """
    check_heads(query, key, value, "T")
    bounds = [int(bound) for bound in cu_seqlens]
    check_cu_seqlens(bounds, query.shape[0])
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    outputs, sums = [query.new_zeros(0, *query.shape[1:])], [query.new_zeros(0, query.shape[1])]
    for start, stop in pairwise(bounds):
        output, lse = _document(query[start:stop], key[start:stop], value[start:stop], pattern, scale)
        outputs.append(output)
        sums.append(lse)
    return (torch.cat(outputs), torch.cat(sums)) if return_lse else torch.cat(outputs)


def _document(query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, scale: float) -> tuple[Tensor, Tensor]:
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)
    position = torch.arange(query.shape[0], device=query.device)
    visible = pattern.visible(position[:, None], position[None, :])
    scores = torch.einsum("qhd,khd->hqk", query, key) * scale
    scores = scores.masked_fill(~visible, -math.inf)
    lse = torch.logsumexp(scores, dim=-1)
    # A row with no visible key has lse -inf; 0 in its place keeps exp(-inf - lse) at 0 instead of NaN.
    weights = torch.exp(scores - lse.masked_fill(lse == -math.inf, 0)[..., None])
    return torch.einsum("hqk,khd->qhd", weights, value), lse.T
