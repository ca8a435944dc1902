"""The kernels' lists of a choice against those of the plain torch construction that they replaced."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longwatch.kernels import block_sparse_attention, parse_pattern, plan_on_device
from longwatch.kernels.topk import BlockTable, block_table
from longwatch.kernels.triton_impl.device_plan import DevicePlan
from longwatch.kernels.triton_impl.topk import TopKPlan, chosen_plan
from support.chosen_lists import chosen_by_torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GROUPS = [
    ["topk(3)"],
    ["topk(2) | sliding(200) | global(70)"],
    ["topk(2, block=128) | strided(100, width=3)"],
    ["topk(1, block=192)", "sliding(70)"],
    ["dense", "topk(1)", "topk(4) | global(5)"],
]
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log2:RuntimeWarning")


def any_choice(plan: TopKPlan, table: BlockTable, kv_heads: int, seed: int) -> Tensor:
    """Earlier blocks at random, rising, then -1: int32 `[Hkv, M, count]`."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.full((kv_heads, len(table.local), plan.count), -1, dtype=torch.int32)
    for head, (row, local) in product(range(kv_heads), enumerate(table.local.tolist())):
        part = plan.parts[head * plan.groups // kv_heads]
        most = 0 if part is None else min(part.count, local)
        picked = torch.randperm(local, generator=generator)[:most].sort().values
        chosen[head, row, : len(picked)] = picked.int()
    return chosen.to(DEVICE)


def query_lists(plan: DevicePlan) -> list[list[int]]:
    return [plan.query_entries[begin:end].tolist() for begin, end in plan.query_rows.flatten(0, 1).tolist()]


def key_lists(plan: DevicePlan) -> list[dict[int, list[int]]]:
    """Per head, the entries of each tile, its items put together."""
    heads = []
    for items in plan.key_items.tolist():
        found: dict[int, list[int]] = {}
        for tile, begin, end, _ in sorted(item for item in items if item[0] >= 0):
            found.setdefault(tile, []).extend(plan.key_entries[begin:end].tolist())
        heads.append(found)
    return heads


def named(plan: DevicePlan, index: Tensor) -> list[tuple[int, int]]:
    """The block and half that each index stands for; -1, -1 for none."""
    none = 2 * len(plan.query_entries)
    entries = [*plan.query_entries.tolist()]
    return [(-1, -1) if at == none else (entries[at // 2] >> 4, at % 2) for at in index.flatten().tolist()]


@settings(deadline=None, max_examples=10)
@given(
    st.lists(st.integers(0, 420), min_size=1, max_size=4).filter(any),
    st.sampled_from(GROUPS),
    st.sampled_from([1, 2]),
    st.integers(0, 1000),
    st.booleans(),
)
def test_lists_are_those_of_the_plain_construction(
    lengths: list[int], texts: list[str], share: int, seed: int, on_device: bool
) -> None:
    bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0).int()
    known = {"tokens": int(bounds[-1]), "max_seqlen": max(lengths)} if on_device else {}
    patterns = [parse_pattern(text) for text in texts]
    plan = plan_on_device(patterns, bounds.to(DEVICE) if on_device else bounds, device=DEVICE, **known)
    table = block_table(plan.base.cu_seqlens, plan.block, len(plan.blocks.table))
    chosen = any_choice(plan, table, share * len(texts), seed)
    made, index = chosen_plan(plan, chosen)
    wanted, old_index, _ = chosen_by_torch(plan, chosen.long(), table)
    assert query_lists(made) == query_lists(wanted)
    assert key_lists(made) == key_lists(wanted)
    assert torch.equal(made.key_parts[..., 1], wanted.key_parts[..., 1])
    assert named(made, index) == named(wanted, old_index)
    assert (made.bands, made.band_table.tolist()) == (wanted.bands, wanted.band_table.tolist())


def test_blocks_lie_where_the_plain_table_has_them() -> None:
    plan = plan_on_device(parse_pattern("topk(2, block=128)"), [0, 0, 5, 300, 300, 556, 556], device=DEVICE)
    table = block_table(plan.base.cu_seqlens, 128, len(plan.blocks.table))
    start, stop, first, last, _ = plan.blocks.table.long().T
    assert torch.equal(torch.stack([start, stop]), torch.stack([table.start, table.stop]))
    live = stop > start
    assert torch.equal((torch.arange(len(start), device=DEVICE) - first)[live], table.local[live])
    assert (last - first)[live].tolist() == [1, 3, 3, 3, 2, 2]


def test_without_gradients_only_the_query_side_is_listed_and_the_output_is_the_same() -> None:
    torch.manual_seed(1)
    dtype = torch.float16 if DEVICE == "cuda" else torch.float32
    inputs = [torch.randn(260, heads, 32, dtype=dtype, device=DEVICE).requires_grad_() for heads in (4, 2, 2)]
    plan = plan_on_device(parse_pattern("topk(1)"), [0, 70, 260], device=DEVICE)
    with torch.no_grad():
        plain = block_sparse_attention(*inputs, plan)
    assert torch.equal(plain, block_sparse_attention(*inputs, plan))
