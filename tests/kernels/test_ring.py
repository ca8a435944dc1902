"""Attention of a stream's next events: whatever the chunks, what the definition gives for the whole stream."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.kernels import Pattern, parse_pattern, reference_attention
from longwatch.kernels.ring import Ring, ring_attention, ring_write, stream_view
from longwatch.kernels.ring_layout import cache_parts

HEADS, KV_HEADS, WIDTH, SLOTS = 4, 2, 8, 5
PATTERNS = (
    "sliding(1)",
    "sliding(7)",
    "dense",
    "global(3)",
    "strided(8, width=3)",
    "strided(1, width=1)",
    "sliding(5) | global(9)",
    "sliding(6) | strided(7, width=2)",
    "sliding(4) | global(3) | strided(5, width=5)",
    "global(5) | strided(7, width=3) | strided(5, width=1)",
    "sliding(3) | dense",
)


def streamed(pattern: Pattern, heads: list[torch.Tensor], slots: torch.Tensor, cuts: list[int]) -> torch.Tensor:
    """Output of streams `[S, T, H, D]` fed in chunks that end at `cuts`."""
    length, chunk = heads[0].shape[1], max(b - a for a, b in zip([0, *cuts], [*cuts, heads[0].shape[1]], strict=True))
    rings = [
        Ring(*(torch.full((SLOTS, KV_HEADS, part.rows(length, chunk), WIDTH), 1e3) for _ in range(2)))
        for part in cache_parts(pattern)
    ]
    outputs = []
    for first, last in zip([0, *cuts], [*cuts, length], strict=True):
        query, key, value = (tensor[:, first:last] for tensor in heads)
        places = torch.arange(first, last).expand(len(slots), -1)
        view = stream_view(pattern, places, [ring.key.shape[2] for ring in rings], torch.float32)
        rings = [ring_write(ring, slots, rows, key, value) for ring, rows in zip(rings, view.rows, strict=True)]
        outputs.append(ring_attention(query, rings, slots, view))
    return torch.cat(outputs, dim=1)


@pytest.mark.parametrize("text", PATTERNS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_stream_in_any_chunks_is_the_definition_of_the_whole(text, data):
    pattern = parse_pattern(text)
    length = data.draw(st.integers(1, 40))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, length - 1)), max_size=6)) - {length})
    torch.manual_seed(data.draw(st.integers(0, 99)))
    heads = [torch.randn(2, length, count, WIDTH) for count in (HEADS, KV_HEADS, KV_HEADS)]
    found = streamed(pattern, heads, torch.tensor([3, 0]), cuts)
    packed = [tensor.flatten(0, 1) for tensor in heads]
    expected = reference_attention(*packed, pattern, torch.tensor([0, length, 2 * length]), WIDTH**-0.5)
    torch.testing.assert_close(found.flatten(0, 1), expected, atol=1e-5, rtol=0)


def test_a_sliding_stream_remembers_no_more_than_its_span():
    (part,) = cache_parts(parse_pattern("sliding(64)"))
    assert part.rows(1_000_000, 1) == 64
    assert not part.grows


def test_columns_need_a_row_each_and_one_to_spare():
    strided, dense = (cache_parts(parse_pattern(text))[0] for text in ("strided(8, width=3)", "dense"))
    assert [strided.rows(n, 4) for n in (0, 5, 6, 8, 16)] == [1, 1, 2, 4, 7]
    assert dense.rows(10, 4) == 11


def test_what_data_chooses_has_no_ring():
    with pytest.raises(ValueError, match="what a stream must remember depends on the data"):
        cache_parts(parse_pattern("sliding(8) | topk(2, block=16)"))
