"""Block-sparse attention in plain torch operations: differentiable, compilable, exportable to ONNX."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from longwatch.kernels.checks import check_heads, check_sink, per_group
from longwatch.kernels.gather_reads import Read, chosen_reads, fixed_reads
from longwatch.kernels.pattern import Pattern, TopK
from longwatch.kernels.topk import choose

__all__ = ["gather_attention"]


def gather_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pattern: Pattern | Sequence[Pattern],
    block_size: int,
    scale: float | None = None,
    sink: Tensor | None = None,
) -> Tensor:
    """Causal attention output `[B, T, H, D]`; T must be a multiple of block_size (ValueError otherwise).

    query `[B, T, H, D]`, key and value `[B, T, Hkv, D]` with Hkv dividing H; position 0 of each row is its document's
    start, so pad on the right. scale is 1/sqrt(D) unless given. A sequence of patterns is one per head group. sink
    `[H]` is one more logit of every query, without a value.
    Memory is O(T * (span + block_size)) for sliding and global; strided adds T scores per strided column, topk
    T * (count + 1) * block.
    """
    check_heads(query, key, value, "B, T")
    check_sink(sink, query)
    if block_size < 1 or query.shape[1] % block_size:
        raise ValueError(f"query: expected T a multiple of block_size {block_size}, got T {query.shape[1]}")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    kv_heads = key.shape[2]
    group = query.shape[2] // kv_heads
    patterns = per_group(pattern, kv_heads)
    outputs = []
    # One key head at a time: the gathered keys and scores of one head are the peak, whatever the number of heads.
    for head in range(kv_heads):
        heads = slice(head * group, (head + 1) * group)
        rows, logit = query[:, :, heads], None if sink is None else sink[heads]
        one = patterns[head * len(patterns) // kv_heads]
        outputs.append(_attend(rows, key[:, :, head], value[:, :, head], one, block_size, scale, logit))
    return torch.cat(outputs, dim=2) if kv_heads > 1 else outputs[0]


def _attend(
    query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, block_size: int, scale: float, sink: Tensor | None
) -> Tensor:
    """Output `[B, T, G, D]` of the heads that share key `[B, T, D]`."""
    if pattern.data_chosen is not None:
        return _choosing(query, key, value, pattern.fixed, pattern.data_chosen, block_size, scale, sink)
    if pattern.band is None:
        return _dense(query * scale, key, value, sink)
    reads = fixed_reads(key, value, pattern, block_size)
    return _weighted(query * scale, reads, block_size, bool(pattern.band), sink)


def _choosing(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    fixed: Pattern | None,
    part: TopK,
    block_size: int,
    scale: float,
    sink: Tensor | None,
) -> Tensor:
    tokens = query.shape[1]
    if block_size % part.block:
        beyond = -tokens % part.block
        query = F.pad(query, (0, 0, 0, 0, 0, beyond))
        key, value = (F.pad(tensor, (0, 0, 0, beyond)) for tensor in (key, value))
    choice = choose(query, key, part, scale)
    reads = chosen_reads(key, value, fixed, choice, part.block)
    return _weighted(query * scale, reads, part.block, True, sink)[:, :tokens]


def _weighted(query: Tensor, reads: list[Read], block_size: int, sees_itself: bool, sink: Tensor | None) -> Tensor:
    """Softmax over all that the blocks read, output `[B, T, G, D]`; query is scaled."""
    batch, tokens, group, width = query.shape
    blocks = tokens // block_size
    # [B, blocks, G * block, D]: the heads that share a key head are rows of one product.
    rows = query.view(batch, blocks, block_size, group, width).transpose(2, 3)
    rows = rows.reshape(batch, blocks, group * block_size, width)
    scores = [_scores(rows, read) for read in reads]
    mask = torch.cat([read.mask for read in reads], dim=-1).unsqueeze(-3)
    score = (torch.cat(scores, dim=-1) if len(scores) > 1 else scores[0]).view(batch, blocks, group, block_size, -1)
    weight = _softmax(score + _bias(mask, score.dtype), sink)
    if not sees_itself:
        weight = weight * mask
    weight = weight.reshape(batch, blocks, group * block_size, -1)
    first = reads[0].value.shape[-2]
    output = weight[..., :first] @ reads[0].value
    for read in reads[1:]:
        last = first + read.value.shape[-2]
        output = output + weight[..., first:last] @ read.value
        first = last
    return output.view(batch, blocks, group, block_size, width).transpose(2, 3).reshape(batch, tokens, group, width)


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What hides a key once it is added: exported, a choice for each score takes a twelfth of a network's time more.

    Finite, not -inf: a row that sees nothing would be NaN, forward and backward; half the lowest, as a score is added.
    """
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min / 2)


def _scores(rows: Tensor, read: Read) -> Tensor:
    scores = rows @ read.key.transpose(-1, -2)
    return scores if read.gain is None else scores + read.gain[:, :, None]


def _softmax(score: Tensor, sink: Tensor | None) -> Tensor:
    """Over the last axis of score `[B, blocks, G, block, N]`; the logit of sink `[G]` takes part but is left out."""
    if sink is None:
        return torch.softmax(score, dim=-1)
    logit = sink.to(score.dtype)[:, None, None].expand(*score.shape[:-1], 1)
    return torch.softmax(torch.cat([score, logit], dim=-1), dim=-1)[..., :-1]


def _dense(query: Tensor, key: Tensor, value: Tensor, sink: Tensor | None) -> Tensor:
    group = query.shape[2]
    if sink is not None:
        query, key, value = _with_sink(query, key, value, sink)
    rows, keys, values = query.transpose(1, 2), key[:, None], value[:, None]
    keys, values = (tensor.expand(-1, group, -1, -1) for tensor in (keys, values))
    output = F.scaled_dot_product_attention(rows, keys, values, is_causal=True, scale=1.0).transpose(1, 2)
    return output if sink is None else output[:, 1:, :, :-1]


def _with_sink(query: Tensor, key: Tensor, value: Tensor, sink: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sink as a key of value 0 before all others, in a width of its own that the other keys have 0 in."""
    logit = sink.to(query.dtype)[:, None].expand(*query.shape[:-1], 1)
    query = F.pad(torch.cat([query, logit], dim=-1), (0, 0, 0, 0, 1, 0))
    front = F.pad(torch.zeros_like(key[:, :1]), (0, 1), value=1.0)
    return query, torch.cat([front, F.pad(key, (0, 1))], dim=1), F.pad(value, (0, 1, 1, 0))
