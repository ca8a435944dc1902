"""What the kernels choose against the definition, also where gates are equal or no numbers."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longwatch.kernels import parse_pattern, plan_on_device
from longwatch.kernels.topk import block_table, choose, choose_packed
from longwatch.kernels.triton_impl.topk import TopKPlan, select
from longwatch.kernels.triton_impl.topk_op import choose_lists

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")


def made(plan: TopKPlan, query: Tensor, key: Tensor, scale: float) -> Tensor:
    return select(query, key, plan, scale, backward=False, traced=False).gates.chosen.long()


def drawn(kind: str, tokens: int, seed: int) -> tuple[Tensor, Tensor]:
    """Query and key of four and two heads; few different values make many gates equal."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(tokens, 4, 32), (tokens, 2, 32)]
    if kind == "equal":
        return tuple(torch.ones(shape, dtype=DTYPE, device=DEVICE) for shape in shapes)  # type: ignore[return-value]
    some = [torch.randn(shape, generator=generator) for shape in shapes]
    if kind == "few":
        some = [tensor[::64].sign().repeat_interleave(64, 0)[:tokens] for tensor in some]
    return some[0].to(DEVICE, DTYPE), some[1].to(DEVICE, DTYPE)


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.integers(0, 900), min_size=1, max_size=3).filter(any),
    st.sampled_from(["topk(1)", "topk(3)", "topk(2, block=128)"]),
    st.sampled_from(["normal", "few", "equal"]),
    st.sampled_from([0.2, -0.3, 0.0]),
    st.integers(0, 1000),
)
def test_blocks_are_those_of_the_definition(lengths: list[int], text: str, kind: str, scale: float, seed: int) -> None:
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    plan = plan_on_device(parse_pattern(text), bounds, device=DEVICE)
    query, key = drawn(kind, int(bounds[-1]), seed)
    table = block_table(plan.base.cu_seqlens, plan.block, len(plan.blocks.table))
    part = plan.parts[0]
    assert part is not None
    assert torch.equal(made(plan, query, key, scale), choose_packed(query, key, table, part, scale).blocks)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("rows", [slice(386, 387), slice(256, 768)], ids=["one key", "every key"])
def test_what_is_no_number_counts_as_in_the_definition(value: float, rows: slice) -> None:
    plan = plan_on_device(parse_pattern("topk(2)"), [0, 256, 768], device=DEVICE)
    query, key = (tensor.abs() for tensor in drawn("normal", 768, 3))
    key[rows] = value
    part = plan.parts[0]
    assert part is not None
    for head, got in enumerate(made(plan, query, key, 0.2)[:, 4:12]):
        shared = query[None, 256:, 2 * head : 2 * head + 2]
        assert torch.equal(got, choose(shared, key[None, 256:, head], part, 0.2).blocks[0])


def test_a_neighbour_in_the_pack_changes_nothing() -> None:
    alone, packed = (
        plan_on_device(parse_pattern("topk(2)"), bounds, device=DEVICE) for bounds in ([0, 400], [0, 150, 550, 700])
    )
    query, key = drawn("normal", 700, 5)
    query[:150], key[:150], key[550:] = float("nan"), float("nan"), float("nan")
    rows = packed.blocks.table[:, 2] == 3
    together = made(packed, query, key, 0.2)[:, rows]
    assert torch.equal(together, made(alone, query[150:550], key[150:550], 0.2))


def test_head_groups_choose_as_many_as_their_pattern_says() -> None:
    patterns = [parse_pattern(text) for text in ("topk(1)", "topk(3)")]
    chosen = made(plan_on_device(patterns, [0, 500], device=DEVICE), *drawn("normal", 500, 7), 0.2)
    assert (chosen[:, -1] >= 0).sum(-1).tolist() == [1, 3]


def test_opcheck_is_clean() -> None:
    plan = plan_on_device(parse_pattern("topk(1)"), [0, 70, 200], device=DEVICE)
    tensors, numbers = plan.base.flatten()
    given: tuple[Any, ...] = (
        *drawn("equal", 200, 0),
        [*plan.blocks, *tensors],
        [plan.block, plan.count, *numbers],
        0.2,
    )
    # Room that nobody uses is never filled, so two runs need not agree on it.
    torch.library.opcheck(choose_lists, (*given, True), test_utils=("test_schema", "test_faketensor"))
