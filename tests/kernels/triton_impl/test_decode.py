import math
from dataclasses import replace

import pytest
import torch

from longwatch.kernels import parse_pattern, reference_attention
from longwatch.kernels.triton_impl.cache import KVCache, write_cache
from longwatch.kernels.triton_impl.decode import attention_decode
from longwatch.kernels.triton_impl.device_plan import build_device_plan
from longwatch.kernels.triton_impl.forward import attention_forward

PATTERNS = pytest.mark.parametrize(
    "text",
    [
        "sliding(30)", "sliding(20) | global(5)", "global(70)", "strided(48, width=16)",
        "sliding(9) | strided(70, width=7)", "dense",
    ],
)  # fmt: skip
WIDTH = 32
SCALE = 1 / math.sqrt(WIDTH)
LENGTH = 150  # three key blocks, and the ring of every sliding pattern here goes round
# The forward pass takes the logarithm of a masked row's sum.
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log2:RuntimeWarning")


def draw(heads: int, kv_heads: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(LENGTH, count, WIDTH).to(dtype) for count in (heads, kv_heads, kv_heads)]


def make_cache(text: str, kv_heads: int, chunk: int, dtype: torch.dtype = torch.float32) -> KVCache:
    return KVCache.of(
        parse_pattern(text), slots=3, kv_heads=kv_heads, head_dim=WIDTH, key_block=64, chunk=chunk, capacity=LENGTH,
        dtype=dtype, device="cpu",
    )  # fmt: skip


def streamed(
    rows: list[torch.Tensor], cache: KVCache, sizes: list[int], sink: torch.Tensor | None = None
) -> torch.Tensor:
    """The sequence in chunks through slot 2; beside it an idle stream."""
    query, key, value = rows
    outputs, first = [], 0
    for size in sizes:
        stop = first + size
        place = torch.arange(first, stop, dtype=torch.int32)
        write_cache(
            key[first:stop], value[first:stop], cache, torch.full_like(place, 2), place, torch.full_like(place, stop)
        )
        padded = torch.full((2, cache.chunk, *query.shape[1:]), torch.nan, dtype=query.dtype)
        padded[1, :size] = query[first:stop]
        position = torch.full((2, cache.chunk), -1, dtype=torch.int32)
        position[1, :size] = place
        slots, counts = (torch.tensor(numbers, dtype=torch.int32) for numbers in ([-1, 2], [cache.chunk, size]))
        flat = padded.flatten(0, 1)
        found = attention_decode(flat, cache, slots, position.flatten(), counts, cache.chunk, SCALE, sink)
        outputs.append(found[cache.chunk : cache.chunk + size])
        first = stop
    return torch.cat(outputs)


def forward(rows: list[torch.Tensor], text: str, sink: torch.Tensor | None = None) -> torch.Tensor:
    plan = build_device_plan(parse_pattern(text), [0, LENGTH], device="cpu", key_block=64, backward=False)
    return attention_forward(*rows, plan, SCALE, sink)[0]


@PATTERNS
def test_chunks_give_what_the_pattern_defines_and_the_forward_pass_gives_bitwise(text):
    rows = draw(2, 1)
    found = streamed(rows, make_cache(text, 1, 16), [16, 1, 15, 7, 16, 16, 9, 16, 3, 16, 16, 16, 3])
    expected = reference_attention(*rows, parse_pattern(text), torch.tensor([0, LENGTH]))
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(found, forward(rows, text))


def test_one_token_at_a_time_is_the_forward_pass_bitwise():
    rows = draw(1, 1)
    found = streamed(rows, make_cache("sliding(30)", 1, 1), [1] * LENGTH)
    assert torch.equal(found, forward(rows, "sliding(30)"))


@pytest.mark.parametrize(("heads", "kv_heads", "chunk"), [(2, 2, 16), (6, 2, 10), (16, 2, 16)])
def test_query_heads_share_key_heads_in_any_group(heads, kv_heads, chunk):
    rows = draw(heads, kv_heads)
    found = streamed(rows, make_cache("sliding(70)", kv_heads, chunk), [chunk] * (LENGTH // chunk) + [LENGTH % chunk])
    expected = reference_attention(*rows, parse_pattern("sliding(70)"), torch.tensor([0, LENGTH]))
    assert torch.allclose(found, expected[: len(found)], atol=1e-5)


def test_chunks_of_more_than_a_tile_work():
    rows = draw(2, 1)
    found = streamed(rows, make_cache("sliding(30)", 1, 100), [100, 50])
    assert torch.equal(found, forward(rows, "sliding(30)"))


def test_bfloat16_is_the_forward_pass_bitwise():
    rows = draw(2, 1, torch.bfloat16)
    found = streamed(rows, make_cache("sliding(30) | global(4)", 1, 16, torch.bfloat16), [16] * 9 + [6])
    assert torch.equal(found, forward(rows, "sliding(30) | global(4)"))


def test_a_sink_takes_its_share():
    rows, sink = draw(2, 1), torch.tensor([0.5, -3.0])
    found = streamed(rows, make_cache("sliding(30)", 1, 16), [16] * 9 + [6], sink)
    assert torch.equal(found, forward(rows, "sliding(30)", sink))
    assert not torch.allclose(found, forward(rows, "sliding(30)"), atol=1e-3)


def test_pages_may_lie_anywhere():
    rows, text = draw(2, 1), "sliding(30) | global(5)"
    ring = make_cache(text, 1, 16)
    table = torch.tensor([[0] * ring.pages, [0] * ring.pages, [7, 1, 4]], dtype=torch.int32)
    shape = (9, *ring.key.shape[1:])
    paged = replace(ring, table=table, key=torch.zeros(shape), value=torch.zeros(shape))
    sizes = [16] * 9 + [6]
    assert torch.equal(streamed(rows, paged, sizes), streamed(rows, ring, sizes))
    assert paged.key[[0, 2, 3, 5, 6, 8]].eq(0).all()


def test_what_another_stream_left_in_the_slot_is_not_seen():
    rows = draw(1, 1)
    cache = make_cache("sliding(30)", 1, 16)
    clean = streamed(rows, cache, [16] * 3)
    cache.key.fill_(1e4)
    cache.value.fill_(-1e4)
    assert torch.equal(streamed(rows, cache, [16] * 3), clean)
