import pytest
import torch

from longwatch.kernels import parse_pattern
from longwatch.kernels.triton_impl.cache import KVCache, write_cache


def make_cache(text: str, chunk: int = 16, capacity: int = 4096, key_block: int = 64) -> KVCache:
    return KVCache.of(
        parse_pattern(text), slots=2, kv_heads=1, head_dim=16, key_block=key_block, chunk=chunk, capacity=capacity,
        dtype=torch.float32, device="cpu",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "pages", "bounded"),
    [
        ("sliding(512)", 10, False),
        ("sliding(512) | global(65)", 12, False),
        ("global(1)", 3, False),
        ("strided(256)", 64, True),
        ("dense", 64, True),
    ],
)
def test_a_stream_keeps_what_its_pattern_can_still_see(text, pages, bounded):
    cache = make_cache(text)
    assert (cache.pages, cache.capacity == 4096) == (pages, bounded)
    assert cache.key.shape == (2 * pages, 1, cache.key_block, 16)


@pytest.mark.parametrize("chunk", [1, 2, 16])
@pytest.mark.parametrize("span", [1, 2, 63, 64, 65, 66, 512])
def test_the_ring_holds_the_band_of_the_first_new_token_and_the_last_new_token(span, chunk):
    cache = make_cache(f"sliding({span})", chunk)
    for first in range(span, span + 64):
        blocks = (first + chunk - 1) // 64 - (first - span + 1) // 64 + 1
        assert blocks <= cache.ring


def test_column_blocks_are_listed_by_rising_key():
    cache = make_cache("sliding(8) | strided(200, width=10)", capacity=640)
    assert cache.column_blocks is not None
    assert cache.column_rank is not None
    assert cache.column_blocks.tolist() == [2, 3, 6, 9]
    assert cache.column_rank.tolist() == [0, 0, 0, 1, 2, 2, 2, 3, 3, 3, 4]


def test_a_whole_sequence_leaves_its_newest_pages_and_the_pinned_ones():
    cache = make_cache("sliding(8) | global(3)", chunk=1)
    rows = torch.arange(300.0)[:, None, None].expand(300, 1, 16).contiguous()
    place = torch.arange(300, dtype=torch.int32)
    write_cache(rows, -rows, cache, torch.ones_like(place), place, torch.full_like(place, 300))
    held = cache.key[cache.pages :, 0, :, 0]
    # Blocks 3 and 4 in a ring of two, of which 4 (rows 256 to 299) is half full.
    assert held[0].tolist() == list(range(64))
    assert held[1].tolist() == list(range(192, 256)) or held[2].tolist() == list(range(192, 256))
    assert {255.0, 256.0, 299.0} <= set(held.flatten().tolist())
    assert torch.equal(cache.value, -cache.key)
    assert cache.key[: cache.pages].eq(0).all()


def test_rows_without_a_slot_are_not_written():
    cache = make_cache("sliding(8)")
    place = torch.arange(4, dtype=torch.int32)
    write_cache(
        torch.ones(4, 1, 16), torch.ones(4, 1, 16), cache, torch.full_like(place, -1), place, torch.full_like(place, 4)
    )
    assert cache.key.eq(0).all()
