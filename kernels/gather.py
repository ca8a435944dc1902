"""Block-sparse attention in plain torch operations: differentiable, compilable, exportable to ONNX."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from longwatch.kernels.checks import check_heads, per_group
from longwatch.kernels.pattern import Global, Pattern, Strided

__all__ = ["gather_attention"]

# A position after every query.
_NEVER = 2**62


def gather_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pattern: Pattern | Sequence[Pattern],
    block_size: int,
    scale: float | None = None,
) -> Tensor:
    """Causal attention output `[B, T, H, D]`; T must be a multiple of block_size (ValueError otherwise).

    query `[B, T, H, D]`, key and value `[B, T, Hkv, D]` with Hkv dividing H; position 0 of each row is its document's
    start, so pad on the right. scale is 1/sqrt(D) unless given. A sequence of patterns is one per head group.
    Memory is O(T * (span + block_size)) for sliding and global; strided adds T scores per strided column.
    """
    check_heads(query, key, value, "B, T")
    if block_size < 1 or query.shape[1] % block_size:
        raise ValueError(f"query: expected T a multiple of block_size {block_size}, got T {query.shape[1]}")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    kv_heads = key.shape[2]
    group = query.shape[2] // kv_heads
    patterns = per_group(pattern, kv_heads)
    outputs = []
    # One key head at a time: the gathered keys and scores of one head are the peak, whatever the number of heads.
    for head in range(kv_heads):
        rows = query[:, :, head * group : (head + 1) * group] * scale
        one = patterns[head * len(patterns) // kv_heads]
        attend = _dense if one.band is None else _sparse
        outputs.append(attend(rows, key[:, :, head], value[:, :, head], one, block_size))
    return torch.cat(outputs, dim=2) if kv_heads > 1 else outputs[0]


def _sparse(query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, block_size: int) -> Tensor:
    batch, tokens, group, width = query.shape
    blocks, band = tokens // block_size, pattern.band or 0
    # [B, blocks, G * block, D]: the heads that share a key head are rows of one product.
    rows = query.view(batch, blocks, block_size, group, width).transpose(2, 3)
    rows = rows.reshape(batch, blocks, group * block_size, width)
    reads = _reads(key, value, pattern, block_size)
    scores = [rows @ keys.transpose(-1, -2) for keys, _, _ in reads]
    mask = torch.cat([mask for _, _, mask in reads], dim=-1)[:, None]
    score = (torch.cat(scores, dim=-1) if len(scores) > 1 else scores[0]).view(batch, blocks, group, block_size, -1)
    # The lowest finite number, not -inf: a row that sees nothing would be NaN, forward and backward.
    weight = torch.softmax(score.masked_fill(~mask, torch.finfo(score.dtype).min), dim=-1)
    if not band:
        weight = weight * mask
    weight = weight.view(batch, blocks, group * block_size, -1)
    output = weight[..., : reads[0][1].shape[-2]] @ reads[0][1]
    for _, values, _ in reads[1:]:
        output = output + weight[..., -values.shape[-2] :] @ values
    return output.view(batch, blocks, group, block_size, width).transpose(2, 3).reshape(batch, tokens, group, width)


def _reads(key: Tensor, value: Tensor, pattern: Pattern, block_size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The band, the columns: each keys and values `[B, blocks or 1, N, D]` and their mask `[blocks, block, N]`."""
    blocks, band = key.shape[1] // block_size, pattern.band or 0
    reads = []
    if band:
        back = _blocks_back(band, block_size, blocks)
        mask = _band_mask(blocks, band, back, block_size, key.device)
        reads.append((_band(key, back, block_size), _band(value, back, block_size), mask))
    columns = _column_positions(pattern, key)
    if columns is not None:
        # Columns past the end only repeat the last key; causality hides them.
        index = columns.clamp(max=key.shape[1] - 1)
        mask = _column_mask(blocks, columns, band, block_size)
        reads.append((key.index_select(1, index)[:, None], value.index_select(1, index)[:, None], mask))
    return reads


def _blocks_back(band: int, block_size: int, blocks: int) -> int:
    back = -(-(band - 1) // block_size)
    # An exported or compiled graph must not depend on this call's length.
    return back if torch.compiler.is_compiling() else min(back, max(blocks - 1, 0))


def _band(tensor: Tensor, back: int, block_size: int) -> Tensor:
    batch, tokens, width = tensor.shape
    blocks = tokens // block_size
    padded = F.pad(tensor.reshape(batch, blocks, block_size, width), (0, 0, 0, 0, back, 0))
    return torch.cat([padded[:, shift : shift + blocks] for shift in range(back + 1)], dim=2)


def _band_mask(blocks: int, band: int, back: int, block_size: int, device: torch.device) -> Tensor:
    query_pos = torch.arange(block_size, device=device)[:, None]
    key_pos = torch.arange((back + 1) * block_size, device=device) - back * block_size
    distance = query_pos - key_pos
    exists = torch.arange(blocks, device=device)[:, None, None] * block_size + key_pos >= 0
    return ((distance >= 0) & (distance < band)) & exists


def _column_positions(pattern: Pattern, key: Tensor) -> Tensor | None:
    positions: list[Tensor] = []
    earlier: list[Pattern] = []
    for part in pattern.parts:
        if not isinstance(part, Global | Strided):
            continue
        found = _positions(part, key)
        for other in earlier:
            # A key that an earlier part shows moves beyond every query, so it is counted once.
            found = found.masked_fill(other.column(found), _NEVER)
        positions.append(found)
        earlier.append(part)
    return torch.cat(positions) if positions else None


def _positions(part: Global | Strided, key: Tensor) -> Tensor:
    if isinstance(part, Global):
        return torch.arange(part.first, device=key.device)
    runs = torch.arange(key.shape[1] // part.stride + 1, device=key.device)[:, None] * part.stride
    return (runs + torch.arange(part.stride - part.width, part.stride, device=key.device)).reshape(-1)


def _column_mask(blocks: int, columns: Tensor, band: int, block_size: int) -> Tensor:
    starts = torch.arange(blocks, device=columns.device)[:, None, None] * block_size
    query_pos = starts + torch.arange(block_size, device=columns.device)[:, None]
    # Keys inside the band are read there.
    return (columns <= query_pos) & (query_pos - columns >= band)


def _dense(query: Tensor, key: Tensor, value: Tensor, _pattern: Pattern, _block_size: int) -> Tensor:
    group = query.shape[2]
    rows, keys, values = query.transpose(1, 2), key[:, None], value[:, None]
    keys, values = (tensor.expand(-1, group, -1, -1) for tensor in (keys, values))
    return F.scaled_dot_product_attention(rows, keys, values, is_causal=True, scale=1.0).transpose(1, 2)
