import pytest
import torch

from longwatch.kernels import parse_pattern
from longwatch.kernels.triton_impl.cache import KVCache
from longwatch.kernels.triton_impl.embed import embed_rows
from longwatch.kernels.triton_impl.project import project_heads
from longwatch.model.transformer import Rotary, rotate

HEADS, KV_HEADS, WIDTH, ROWS = 4, 2, 16, 70
torch.manual_seed(0)
STREAM, WEIGHT = torch.randn(ROWS, 48), torch.randn((HEADS + 2 * KV_HEADS) * WIDTH, 48)
ROTARY = Rotary(WIDTH, 10_000.0)
POSITION = torch.arange(4090, 4090 + ROWS, dtype=torch.int32)


def angles(position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    tables, zeros = (torch.zeros(1, 48),) * 3, (torch.zeros_like(position),) * 3
    return embed_rows(tables, zeros, (ROTARY.coarse, ROTARY.fine), position, 1, STREAM)[1]


def paired(heads: torch.Tensor) -> torch.Tensor:
    """[..., D] with i and i + D / 2 side by side, as the kernel has them."""
    return heads.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)


def expected() -> tuple[torch.Tensor, ...]:
    normed = STREAM * torch.rsqrt(STREAM.square().mean(-1, keepdim=True) + 1e-6)
    heads = (normed @ WEIGHT.T).view(1, ROWS, -1, WIDTH)
    cos, sin = (angle[POSITION.long()] for angle in ROTARY(5000))
    # The weight's rows of a head are in pairs already: undo it for the model's rotate.
    apart = heads.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
    turned = paired(rotate(apart, (cos, sin)))[0]
    return turned[:, :HEADS], turned[:, HEADS : HEADS + KV_HEADS], heads[0, :, HEADS + KV_HEADS :]


def test_angles_are_those_of_the_model():
    cos, sin = ROTARY(5000)
    found = angles(POSITION)
    assert torch.allclose(found[0], cos[POSITION.long()], atol=1e-6)
    assert torch.allclose(found[1], sin[POSITION.long()], atol=1e-6)


def test_heads_are_normed_projected_and_turned():
    found = project_heads(STREAM, WEIGHT, angles(POSITION), POSITION, HEADS, WIDTH, 1e-6)
    for tensor, wanted in zip(found, expected(), strict=True):
        assert torch.allclose(tensor, wanted, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 64])
def test_heads_of_a_row_depend_bitwise_on_that_row_alone(rows):
    whole = project_heads(STREAM, WEIGHT, angles(POSITION), POSITION, HEADS, WIDTH, 1e-6)
    part = slice(3, 3 + rows)
    found = project_heads(STREAM[part].contiguous(), WEIGHT, angles(POSITION[part]), POSITION[part], HEADS, WIDTH, 1e-6)
    assert all(torch.equal(tensor, wanted[part]) for tensor, wanted in zip(found, whole, strict=True))


def test_with_a_cache_keys_and_values_lie_where_steps_find_them():
    chunk = 35
    cache = KVCache.of(
        parse_pattern("sliding(20)"), slots=4, kv_heads=KV_HEADS, head_dim=WIDTH, chunk=chunk, dtype=torch.float32,
        device="cpu",
    )  # fmt: skip
    position = POSITION.clone()
    position[chunk + 30 :] = -1  # the second stream has 30 new tokens
    slots = torch.tensor([3, 1], dtype=torch.int32)
    query, key, value = project_heads(
        STREAM, WEIGHT, angles(POSITION), position, HEADS, WIDTH, 1e-6, cache=cache, slots=slots, chunk=chunk
    )
    packed = project_heads(STREAM, WEIGHT, angles(POSITION), POSITION, HEADS, WIDTH, 1e-6)
    assert torch.equal(query, packed[0])
    for row in range(chunk + 30):
        at = int(position[row])
        page = int(slots[row // chunk]) * cache.pages + at // 64 % cache.ring
        assert torch.equal(key[page, :, at % 64], packed[1][row])
        assert torch.equal(value[page, :, at % 64], packed[2][row])
    assert key.abs().sum(-1).count_nonzero() == KV_HEADS * (chunk + 30)
