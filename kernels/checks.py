"""What every attention entry point asks of its tensors; an error names the argument, what was expected and got."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from longwatch.kernels.pattern import Pattern

__all__ = ["check_cu_seqlens", "check_heads", "check_sink", "per_group"]


def check_heads(query: Tensor, key: Tensor, value: Tensor, leading: str) -> None:
    """ValueError unless query is `[*leading, H, D]`, key and value `[*leading, Hkv, D]`, Hkv divides H, one dtype."""
    rank = 2 + len(leading.split(","))
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        heads = "H" if name == "query" else "Hkv"
        if tensor.ndim != rank:
            raise ValueError(f"{name}: expected [{leading}, {heads}, D], got shape {list(tensor.shape)}")
        if tensor.dtype != query.dtype or not tensor.is_floating_point():
            raise ValueError(f"{name}: expected one floating dtype for all, got {tensor.dtype}; query {query.dtype}")
        if tensor.device != query.device:
            raise ValueError(f"{name}: expected on {query.device} like query, got {tensor.device}")
    for name, tensor in (("key", key), ("value", value)):
        expected = [*query.shape[:-2], key.shape[-2], query.shape[-1]]
        if list(tensor.shape) != expected:
            raise ValueError(f"{name}: expected shape {expected} to go with query and key, got {list(tensor.shape)}")
    if query.shape[-2] % key.shape[-2]:
        raise ValueError(f"key: expected heads that divide query's {query.shape[-2]}, got {key.shape[-2]}")


def check_sink(sink: Tensor | None, query: Tensor) -> None:
    """ValueError unless sink is None or floating `[H]` on query's device."""
    if sink is None:
        return
    heads = query.shape[-2]
    if list(sink.shape) != [heads] or not sink.is_floating_point():
        raise ValueError(f"sink: expected floating [{heads}], a logit per head, got {sink.dtype} {list(sink.shape)}")
    if sink.device != query.device:
        raise ValueError(f"sink: expected on {query.device} like query, got {sink.device}")


def check_cu_seqlens(bounds: Sequence[int], tokens: int) -> None:
    """ValueError unless `bounds` starts at 0, never falls and ends at `tokens`."""
    falls = any(after < before for before, after in pairwise(bounds))
    if not bounds or bounds[0] != 0 or bounds[-1] != tokens or falls:
        raise ValueError(f"cu_seqlens: expected rising offsets from 0 to {tokens}, the tokens, got {list(bounds)[:8]}")


def per_group(pattern: Pattern | Sequence[Pattern], kv_heads: int) -> tuple[Pattern, ...]:
    """One pattern per head group; ValueError unless the groups divide the key heads."""
    patterns = (pattern,) if isinstance(pattern, Pattern) else tuple(pattern)
    if not patterns or kv_heads % len(patterns):
        raise ValueError(f"pattern: expected head groups that divide {kv_heads} key heads, got {len(patterns)}")
    return patterns
