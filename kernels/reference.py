"""The definition of block-sparse attention: an explicit mask and a softmax per document. Slow, exact, any dtype."""

import math
from itertools import pairwise
from typing import Literal, overload

import torch
from torch import Tensor
from torch.nn import functional as F

from longwatch.kernels.checks import check_cu_seqlens, check_heads, check_sink
from longwatch.kernels.pattern import Pattern, TopK
from longwatch.kernels.topk import choose, straight_through

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
    sink: Tensor | None = None,
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
    sink: Tensor | None = None,
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
    sink: Tensor | None = None,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention output `[T, H, D]` of packed documents, and on request the log-sum-exp of the scores `[T, H]`.

    query `[T, H, D]`, key and value `[T, Hkv, D]` with Hkv dividing H; cu_seqlens int `[B + 1]`; scale 1/sqrt(D)
    unless given; sink `[H]` is one more logit of every query, without a value. A query that sees no key gives 0 and
    -inf, or the sink. Every result is differentiable. Memory grows with the longest document's square.
    """
    check_heads(query, key, value, "T")
    check_sink(sink, query)
    bounds = [int(bound) for bound in cu_seqlens]
    check_cu_seqlens(bounds, query.shape[0])
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    outputs, sums = [query.new_zeros(0, *query.shape[1:])], [query.new_zeros(0, query.shape[1])]
    for start, stop in pairwise(bounds):
        output, lse = _document(query[start:stop], key[start:stop], value[start:stop], pattern, scale, sink)
        outputs.append(output)
        sums.append(lse)
    return (torch.cat(outputs), torch.cat(sums)) if return_lse else torch.cat(outputs)


def _document(
    query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, scale: float, sink: Tensor | None
) -> tuple[Tensor, Tensor]:
    group = query.shape[1] // key.shape[1]
    position = torch.arange(query.shape[0], device=query.device)
    visible = pattern.certain(position[:, None], position[None, :])[None]
    scores = torch.einsum("qhd,khd->hqk", query, key.repeat_interleave(group, dim=1)) * scale
    if pattern.data_chosen is not None and query.shape[0]:
        chosen, gain = _chosen(query, key, pattern.data_chosen, scale)
        visible = (visible | chosen).repeat_interleave(group, dim=0)
        scores = scores + gain.repeat_interleave(group, dim=0)
    scores = scores.masked_fill(~visible, -math.inf)
    lse = torch.logsumexp(scores, dim=-1)
    if sink is not None:
        lse = torch.logaddexp(lse, sink.to(lse.dtype)[:, None])
    # A row with no visible key has lse -inf; 0 in its place keeps exp(-inf - lse) at 0 instead of NaN.
    weights = torch.exp(scores - lse.masked_fill(lse == -math.inf, 0)[..., None])
    return torch.einsum("hqk,khd->qhd", weights, value.repeat_interleave(group, dim=1)), lse.T


def _chosen(query: Tensor, key: Tensor, part: TopK, scale: float) -> tuple[Tensor, Tensor]:
    """Which keys lie in blocks that a query's block chose, bool `[Hkv, T, T]`, and what their logits gain."""
    tokens, kv_heads, width = key.shape
    beyond = -tokens % part.block
    queries = F.pad(query.view(tokens, kv_heads, -1, width), (0, 0, 0, 0, 0, 0, 0, beyond)).transpose(0, 1)
    queries = queries.reshape(kv_heads, tokens + beyond, -1, width)
    choice = choose(queries, F.pad(key, (0, 0, 0, 0, 0, beyond)).transpose(0, 1), part, scale)
    blocks = choice.blocks.shape[1]
    # One more column takes what was not chosen.
    at = choice.blocks.masked_fill(choice.blocks < 0, blocks)
    empty = query.new_zeros(kv_heads, blocks, blocks + 1)
    maps = empty.scatter(2, at, 1.0), empty.scatter(2, at, straight_through(choice, query.dtype))
    block = torch.arange(tokens, device=query.device) // part.block
    chosen, gain = (each[:, block[:, None], block[None, :]] for each in maps)
    return chosen > 0, gain
