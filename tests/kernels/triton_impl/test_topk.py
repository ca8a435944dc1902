"""The plan of a choice against the mask it must show; and the kernels on it, against the reference."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from longwatch.kernels import Pattern, block_sparse_attention, build_plan, parse_pattern, plan_on_device
from longwatch.kernels.topk import BlockTable, block_table, choose_packed
from longwatch.kernels.triton_impl import topk_fill
from longwatch.kernels.triton_impl.device_plan import CAUSAL, DEAD, FULL, DevicePlan
from longwatch.kernels.triton_impl.topk import TopKPlan, chosen_plan

CUDA = torch.cuda.is_available()
DEVICE, DTYPE, BUDGET = ("cuda", torch.float16, 1e-2) if CUDA else ("cpu", torch.float32, 1e-5)
TEXTS = [
    "topk(2)",
    "topk(2) | global(5)",
    "topk(1) | sliding(30) | strided(100, width=3)",
    "topk(3) | sliding(200)",
    "topk(1, block=128) | sliding(3)",
    "topk(1, block=192)",
]
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log2:RuntimeWarning")


def draw(tokens: int, heads: int, kv_heads: int) -> list[Tensor]:
    torch.manual_seed(tokens)
    shapes = [(tokens, count, 32) for count in (heads, kv_heads, kv_heads)]
    tensors = [torch.randn(shape, dtype=DTYPE, device=DEVICE) for shape in shapes]
    return [tensor.requires_grad_() for tensor in (*tensors, torch.randn(heads, device=DEVICE))]


def made(plan: TopKPlan, kv_heads: int) -> tuple[DevicePlan, Tensor, Tensor, BlockTable]:
    """A plan of random choices, the entry halves, and the choice with its blocks; on the CPU to look at."""
    query, key, *_ = draw(plan.tokens, 2 * kv_heads, kv_heads)
    table, choices = table_of(plan), []
    for keys, rows, part in zip(
        key.chunk(plan.groups, 1), query.chunk(plan.groups, 1), plan.parts, strict=True
    ):  # as `select`
        blocks = torch.full((keys.shape[1], len(table.local), plan.count), -1, device=DEVICE)
        if part is not None:
            blocks[..., : part.count] = choose_packed(rows, keys, table, part, 0.2).blocks
        choices.append(blocks)
    chosen = torch.cat(choices)
    return (*chosen_plan(plan, chosen), chosen, table)


def table_of(plan: TopKPlan) -> BlockTable:
    return block_table(plan.base.cu_seqlens, plan.block, len(plan.blocks.table))


def shown(plan: DevicePlan, kind: int, query_pos: Tensor, key_pos: Tensor, group: int) -> Tensor:
    """What a half of this kind sees."""
    causal = key_pos <= query_pos
    if kind == FULL:
        return torch.ones_like(causal)
    near = query_pos - key_pos < plan.bands[group]
    if plan.columns is not None:
        near = near | (plan.columns[group].cpu()[key_pos] != 0)
    return causal if kind == CAUSAL else causal & near


def seen_by(plan: DevicePlan, group: int, lists: list[tuple[int, int, int]], entries: Tensor, by_key: bool) -> Tensor:
    """How often each pair `[T, T]` is shown by lists (tile, begin, end) whose moving side is keys or queries."""
    count = torch.zeros(plan.tokens, plan.tokens, dtype=torch.int64)
    for tile, begin, end in lists:
        first, stop, start, last = plan.tiles[tile].tolist()
        found = entries[begin:end].tolist()
        assert found == sorted(found)
        for entry, half in product(found, (0, 1)):
            kind = entry >> 2 * half & 3
            moving = torch.arange(entry >> 4 << 6, min(((entry >> 4) + 1) << 6, last - start))
            own = torch.arange(first + 64 * half, max(first + 64 * half, min(first + 64 * half + 64, stop))) - start
            if kind == DEAD:
                continue
            assert len(own)
            assert len(moving) == 64 or kind != FULL
            query_pos, key_pos = (moving[:, None], own) if by_key else (own[:, None], moving)
            count[start + query_pos, start + key_pos] += shown(plan, kind, query_pos, key_pos, group)
    return count


def expected(pattern: Pattern, chosen: Tensor, table: BlockTable, bounds: list[int]) -> Tensor:
    """The mask `[T, T]` of one key head, from its choice `[blocks, count]`."""
    mask = torch.zeros(bounds[-1], bounds[-1], dtype=torch.int64)
    for start, stop in pairwise(bounds):
        position = torch.arange(stop - start)
        seen = pattern.certain(position[:, None], position[None, :])
        if pattern.data_chosen is not None and stop > start:
            block = position // pattern.data_chosen.block
            row = next(row for row, at in enumerate(table.start.tolist()) if at == start and table.stop[row] > at)
            picked = chosen.cpu()[row + block]
            seen = seen | (picked[:, :, None] == block).any(1)
        mask[start:stop, start:stop] = seen
    return mask


def assert_shows(
    plan: DevicePlan, chosen: Tensor, table: BlockTable, patterns: list[Pattern], bounds: list[int]
) -> None:
    used = {tile for tile, row in enumerate(plan.tiles.tolist()) if row[1] > row[0]}
    for head in range(plan.groups):
        mask = expected(patterns[head * len(patterns) // plan.groups], chosen[head], table, bounds)
        rows = [(tile, *plan.query_rows[head, tile].tolist()) for tile in sorted(used)]
        assert torch.equal(seen_by(plan, head, rows, plan.query_entries, False), mask)
        items = [item for item in plan.key_items[head].tolist() if item[0] >= 0]
        assert torch.equal(seen_by(plan, head, [tuple(item[:3]) for item in items], plan.key_entries, True), mask)
        assert {item[0] for item in items} == used
        sizes = [end - begin if tile >= 0 else -1 for tile, begin, end, _ in plan.key_items[head].tolist()]
        assert sizes == sorted(sizes, reverse=True)
        for tile, _, _, part in items:
            first, count = plan.key_parts[head, tile].tolist()
            assert (first, count, part) == (0, 0, -1) or first <= part < first + count <= plan.parts


@pytest.mark.parametrize("text", TEXTS)
def test_both_lists_show_exactly_what_is_certain_or_chosen(text: str) -> None:
    pattern, bounds = parse_pattern(text), [0, 64, 64, 192, 193, 550]
    plan, _, chosen, table = made(plan_on_device(pattern, bounds, device=DEVICE), 2)
    assert_shows(plan, chosen, table, [pattern], bounds)


@settings(deadline=None, max_examples=5)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=3), st.sampled_from(TEXTS))
def test_lengths_that_only_the_device_knows_give_the_same(lengths: list[int], text: str) -> None:
    bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0).int()
    pattern, total = parse_pattern(text), int(bounds[-1])
    if not total:
        return
    plan = plan_on_device(pattern, bounds.to(DEVICE), tokens=total, max_seqlen=max(lengths))
    plan, _, chosen, table = made(plan, 1)
    assert_shows(plan, chosen, table, [pattern], bounds.tolist())


def test_head_groups_choose_each_in_their_own_way_or_not_at_all() -> None:
    texts = ["topk(1)", "topk(3) | sliding(70)", "strided(128, width=64)", "dense"]
    patterns, bounds = [parse_pattern(text) for text in texts], [0, 300, 520]
    plan, _, chosen, table = made(plan_on_device(patterns, bounds, device=DEVICE), 4)
    assert_shows(plan, chosen, table, patterns, bounds)


def test_heavy_key_tiles_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topk_fill, "_ITEM", 3)
    pattern, bounds = parse_pattern("topk(2) | global(1)"), [0, 70, 600]
    plan, _, chosen, table = made(plan_on_device(pattern, bounds, device=DEVICE), 2)
    assert int((plan.key_items[..., 3] >= 0).sum()) > 4
    assert_shows(plan, chosen, table, [pattern], bounds)


def test_each_chosen_block_names_the_halves_of_its_entries() -> None:
    plan, index, chosen, table = made(
        plan_on_device(parse_pattern("topk(2, block=128) | sliding(9)"), [0, 70, 700], device=DEVICE), 2
    )
    none = 2 * len(plan.query_entries)
    for head, tile, half, rank, step in product(*map(range, index.shape)):
        at, (first, stop) = int(index[head, tile, half, rank, step]), plan.tiles[tile, :2].tolist()
        row = int((table.start <= min(first + 64 * half, stop - 1)).sum()) - 1 - int((table.stop == 0).sum())
        block = int(chosen[head, row, rank])
        if block < 0 or first + 64 * half >= stop:
            assert at == none
            continue
        begin, end = plan.query_rows[head, tile].tolist()
        assert begin <= at // 2 < end
        assert at % 2 == half
        assert int(plan.query_entries[at // 2]) >> 4 == 2 * block + step


@pytest.mark.parametrize(
    ("texts", "bounds", "scale"),
    [
        (["topk(1)"], [0, 70, 330], None),
        (["topk(2) | global(5)"], [0, 70, 70, 71, 330], -0.3),
        (["topk(1, block=128) | sliding(70)", "strided(70, width=3)"], [0, 300], 0.3),
    ],
)
def test_output_lse_and_all_gradients_are_the_references(
    texts: list[str], bounds: list[int], scale: float | None
) -> None:
    patterns, inputs = [parse_pattern(text) for text in texts], draw(bounds[-1], 4, 2)
    same = [tensor.detach().double().requires_grad_() for tensor in inputs]
    host = build_plan(patterns, bounds, patterns[0].data_chosen.block)
    got, wanted = (
        block_sparse_attention(*some[:3], host, scale, name, some[3], return_lse=True)
        for some, name in ((inputs, "triton"), (same, "gather"))
    )
    finite = [torch.nan_to_num(lse, neginf=0) for _, lse in (got, wanted)]
    upstream = torch.randn_like(got[0]), torch.randn_like(finite[0])
    ours = torch.autograd.grad([got[0], finite[0]], inputs, upstream)
    theirs = torch.autograd.grad([wanted[0], finite[1]], same, [each.double() for each in upstream])
    for one, other in zip([got[0], finite[0], *ours], [wanted[0], finite[1], *theirs], strict=True):
        torch.testing.assert_close(one.double(), other, rtol=BUDGET, atol=BUDGET)


def test_one_graph_without_breaks_gives_the_same_numbers() -> None:
    inputs, plan = draw(200, 2, 1), plan_on_device(parse_pattern("topk(1)"), [0, 70, 200], device=DEVICE)
    compiled = torch.compile(block_sparse_attention, backend="aot_eager", fullgraph=True)
    outputs = [attend(*inputs[:3], plan) for attend in (compiled, block_sparse_attention)]
    slopes = [torch.autograd.grad(out.square().sum(), inputs[:3]) for out in outputs]
    for ours, other in zip([outputs[0], *slopes[0]], [outputs[1], *slopes[1]], strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-6, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA, reason="no GPU")
def test_the_host_never_waits_for_the_device() -> None:
    bounds = torch.tensor([0, 700, 1500], dtype=torch.int32, device=DEVICE)
    inputs = draw(1500, 4, 2)
    for _ in range(2):  # the first call fills what is kept
        torch.cuda.set_sync_debug_mode("error" if _ else "default")
        try:
            plan = plan_on_device(parse_pattern("topk(2) | sliding(70)"), bounds, tokens=1500, max_seqlen=800)
            block_sparse_attention(*inputs[:3], plan).sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_errors_say_which_blocks_the_kernels_take() -> None:
    with pytest.raises(ValueError, match=r"patterns: expected a topk block that is a multiple of 64 .*, got 32"):
        plan_on_device(parse_pattern("topk(2, block=32)"), [0, 9], device=DEVICE)
    with pytest.raises(ValueError, match="patterns: expected topk blocks of one size in all head groups"):
        plan_on_device([parse_pattern("topk(2)"), parse_pattern("topk(2, block=128)")], [0, 9], device=DEVICE)
