import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from longwatch.kernels import Dense, Global, Pattern, Sliding, Strided
from longwatch.kernels.triton_impl.device_plan import DEAD, EDGE, FULL, HALF, SPLIT, DevicePlan, build_device_plan
from longwatch.kernels.triton_impl.plan_tables import bounded_capacity, exact_capacity, pattern_tables
from support.device_plans import slow_device_plan

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LISTS = ("tiles", "query_rows", "query_entries", "key_items", "key_entries", "key_parts")
SIMPLE = st.one_of(
    st.builds(Sliding, st.sampled_from([1, 2, 63, 64, 65, 127, 128, 130, 200])),
    st.builds(Global, st.sampled_from([1, 64, 70, 128, 129])),
    st.builds(Strided, st.sampled_from([128, 150, 192]), st.sampled_from([1, 64, 100, 128])),
    st.just(Dense()),
)
PATTERN = st.lists(SIMPLE, min_size=1, max_size=2).map(lambda parts: parts[0] | parts[-1])
LENGTH = st.one_of(st.sampled_from([0, 1, 63, 64, 65, 127, 128, 129, 256]), st.integers(0, 450))
LENGTHS = st.lists(LENGTH, max_size=3)
FEW = settings(max_examples=14, deadline=None, derandomize=True)


def offsets(lengths: list[int]) -> list[int]:
    return np.cumsum([0, *lengths]).tolist()


def assert_same(plan: DevicePlan, expected: DevicePlan) -> None:
    numbers, expected_numbers = plan.flatten()[1], expected.flatten()[1]
    assert numbers == expected_numbers
    for name in ("cu_seqlens", "band_table", *LISTS):
        found = getattr(plan, name).cpu()
        assert found.dtype == torch.int32
        torch.testing.assert_close(
            found, getattr(expected, name), rtol=0, atol=0, msg=lambda text, name=name: name + text
        )
    assert (plan.columns is None) == (expected.columns is None)
    if plan.columns is not None:
        width = expected.columns.shape[1]
        assert plan.columns.dtype == torch.uint8
        assert torch.equal(plan.columns[:, :width].cpu(), expected.columns)


def seen_by_queries(plan: DevicePlan, pattern: Pattern, group: int) -> NDArray[np.bool_]:
    """The mask that the query lists stand for: all of a FULL half's keys, what the pattern shows of an EDGE half's."""
    mask = np.zeros((plan.tokens, plan.tokens), dtype=bool)
    for tile, (begin, end) in zip(plan.tiles.tolist(), plan.query_rows[group].tolist(), strict=True):
        for entry in plan.query_entries[begin:end].tolist():
            show(mask, pattern, tile, entry, plan.key_block)
    return mask


def seen_by_keys(plan: DevicePlan, pattern: Pattern, group: int) -> NDArray[np.bool_]:
    """The same from the key items."""
    mask = np.zeros((plan.tokens, plan.tokens), dtype=bool)
    for tile, begin, end, _ in plan.key_items[group].tolist():
        for entry in plan.key_entries[begin:end].tolist():
            show(mask.T, pattern, plan.tiles[tile].tolist(), entry, plan.key_block, transposed=True)
    return mask


def show(
    mask: NDArray[np.bool_], pattern: Pattern, tile: list[int], entry: int, block: int, transposed: bool = False
) -> None:
    first, stop, start, document_stop = tile
    moving = np.arange(start + (entry >> 4) * block, min(start + ((entry >> 4) + 1) * block, document_stop))
    for half, kind in enumerate((entry & 3, entry >> 2 & 3)):
        rows = np.arange(first + half * HALF, max(min(first + (half + 1) * HALF, stop), first + half * HALF))
        query, key = (moving[None, :], rows[:, None]) if transposed else (rows[:, None], moving[None, :])
        seen = np.broadcast_to(pattern.visible(query - start, key - start), (len(rows), len(moving)))
        if kind != EDGE:
            assert not len(rows) or seen.all() == (kind == FULL)
            assert kind == FULL or not seen.any()
        assert kind == DEAD or not mask[np.ix_(rows, moving)].any()
        mask[np.ix_(rows, moving)] |= seen & (kind != DEAD)


@given(st.lists(PATTERN, min_size=1, max_size=2), LENGTHS, st.sampled_from([64, 128]))
@FEW
def test_the_device_fills_what_the_dense_mask_says(patterns: list[Pattern], lengths: list[int], block: int) -> None:
    plan = build_device_plan(patterns, offsets(lengths), device=DEVICE, key_block=block)
    assert_same(plan, slow_device_plan(patterns, offsets(lengths), block))


@given(PATTERN, LENGTHS, st.sampled_from([64, 128]))
@FEW
def test_both_sides_show_exactly_what_the_pattern_shows(pattern: Pattern, lengths: list[int], block: int) -> None:
    patterns = [Sliding(3), pattern]
    plan = build_device_plan(patterns, offsets(lengths), device=DEVICE, key_block=block)
    expected = np.zeros((plan.tokens, plan.tokens), dtype=bool)
    for start, stop in pairwise(offsets(lengths)):
        position = np.arange(stop - start)
        expected[start:stop, start:stop] = pattern.visible(position[:, None], position[None, :])
    np.testing.assert_array_equal(seen_by_queries(plan, pattern, 1), expected)
    np.testing.assert_array_equal(seen_by_keys(plan, pattern, 1), expected)


@given(st.lists(PATTERN, min_size=1, max_size=2), LENGTHS, st.sampled_from([64, 128]), st.sampled_from([0, 1, 200]))
@FEW
def test_lengths_that_only_the_device_knows_give_the_same_plan_with_room_left(
    patterns: list[Pattern], lengths: list[int], block: int, slack: int
) -> None:
    bounds = offsets(lengths)
    exact = slow_device_plan(patterns, bounds, block)
    plan = build_device_plan(
        patterns,
        torch.tensor(bounds, device=DEVICE),
        tokens=bounds[-1],
        max_seqlen=max(lengths, default=0) + slack,
        key_block=block,
    )
    tiles, items = len(exact.tiles), exact.key_items.shape[1]
    assert plan.parts >= exact.parts
    assert torch.equal(plan.tiles[:tiles].cpu(), exact.tiles)
    assert not plan.tiles[tiles:].any()
    assert torch.equal(plan.query_rows[:, :tiles].cpu(), exact.query_rows)
    assert not plan.query_rows[:, tiles:].any()
    assert torch.equal(plan.query_entries[: len(exact.query_entries)].cpu(), exact.query_entries)
    assert torch.equal(plan.key_items[:, :items].cpu(), exact.key_items)
    assert torch.all(plan.key_items[:, items:].cpu() == torch.tensor([-1, 0, 0, -1]))
    assert torch.equal(plan.key_entries[: len(exact.key_entries)].cpu(), exact.key_entries)
    assert torch.equal(plan.key_parts[:, :tiles].cpu(), exact.key_parts)
    assert not plan.key_parts[:, tiles:].any()


LONG = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 40_000)), min_size=1, max_size=12)


@given(st.lists(st.from_type(Pattern) | PATTERN, min_size=1, max_size=2), LONG, st.sampled_from([64, 128]))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_room_for_unknown_lengths_is_enough_for_all_lengths(
    patterns: list[Pattern], lengths: list[int], block: int
) -> None:
    limit, longest, chosen = 1 << 16, max(lengths), tuple(patterns)
    exact = exact_capacity(pattern_tables(chosen, limit), np.array(lengths), block)
    bounded = bounded_capacity(chosen, limit, sum(lengths), len(lengths), longest, block)
    for name in ("tiles", "query_entries", "key_entries", "key_items", "parts", "work"):
        assert getattr(bounded, name) >= getattr(exact, name), name


def test_room_for_one_long_document_is_not_far_above_what_it_needs() -> None:
    for pattern in (Sliding(512) | Global(64), Dense(), Sliding(2048), Sliding(512) | Strided(1024)):
        exact = exact_capacity(pattern_tables((pattern,), 1 << 16), np.array([1 << 16]), 64)
        bounded = bounded_capacity((pattern,), 1 << 16, 1 << 16, 1, 1 << 16, 64)
        assert bounded.query_entries <= 1.01 * exact.query_entries + 128
        assert bounded.key_entries <= 1.01 * exact.key_entries + 128
        assert bounded.parts <= 4 * exact.parts


@pytest.mark.parametrize("block", [64, 128])
def test_only_blocks_that_need_a_mask_are_edges(block: int) -> None:
    # By 64 queries: the diagonal, and where a span ends inside a block; columns whole blocks wide are full.
    for pattern, most in ((Dense(), 1), (Sliding(256), 3), (Global(128), 1), (Strided(256, width=128), 1)):
        plan = build_device_plan(pattern, [0, 1024], device=DEVICE, key_block=block)
        for begin, end in plan.query_rows[0].tolist():
            kinds = plan.query_entries[begin:end].cpu()
            for half in (kinds & 3, kinds >> 2 & 3):
                assert (half == EDGE).sum() <= most


def test_heavy_key_tiles_are_cut_and_the_longest_items_come_first() -> None:
    patterns, bounds = [Sliding(2) | Global(1), Sliding(1), Strided(4000, width=2)], [0, 60, 4300]
    plan = build_device_plan(patterns, bounds, device=DEVICE)
    assert_same(plan, slow_device_plan(patterns, bounds))
    tile, begin, end, part = plan.key_items[0].T
    sizes = (end - begin)[tile >= 0]
    assert sizes.max() == SPLIT
    assert torch.all(sizes.diff() <= 0)
    assert sorted(part[part >= 0].tolist()) == [0, 1]
    assert plan.parts == 2  # 67 query blocks see the global column; the strided one comes late


def test_one_row_and_no_rows_are_plans_too() -> None:
    for bounds in ([0], [0, 0], [0, 1], [0, 0, 1, 1, 2], [0, 129]):
        for pattern in (Sliding(1), Global(3), Strided(64, width=1), Dense()):
            plan = build_device_plan(pattern, bounds, device=DEVICE)
            assert_same(plan, slow_device_plan(pattern, bounds))


def test_blocks_are_of_64_rows_unless_asked_otherwise() -> None:
    assert build_device_plan([Sliding(1), Dense()], [0, 5], device=DEVICE).key_block == 64
    assert build_device_plan(Sliding(1), [0, 5], device=DEVICE, key_block=128).key_block == 128


def test_without_a_backward_pass_the_key_lists_are_empty() -> None:
    plan = build_device_plan(Sliding(9), [0, 300], device=DEVICE, backward=False)
    assert torch.equal(plan.query_entries.cpu(), slow_device_plan(Sliding(9), [0, 300]).query_entries)
    assert (plan.key_items.numel(), plan.key_entries.numel(), plan.key_parts.numel(), plan.parts) == (0, 0, 0, 0)


def test_known_lengths_are_planned_once_in_whatever_form_they_come() -> None:
    bounds = [0, 7, 7, 300]
    plan = build_device_plan(Sliding(9), bounds, device=DEVICE)
    for form in (np.array(bounds), torch.tensor(bounds), torch.tensor(bounds, dtype=torch.int32)):
        assert build_device_plan([Sliding(9)], form, device=DEVICE) is plan


def test_a_plan_survives_being_taken_apart() -> None:
    for pattern in (Sliding(9), Global(4)):
        plan = build_device_plan([pattern, Dense()], [0, 7, 300], device=DEVICE)
        tensors, numbers = plan.flatten()
        again = DevicePlan.unflatten(tensors, numbers)
        assert all(
            getattr(again, name) is getattr(plan, name) for name in DevicePlan.__dataclass_fields__ if name != "bands"
        )
        assert again.bands == plan.bands


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((Sliding(4), [1, 5]), {}, "cu_seqlens: expected to start at 0"),
        ((Sliding(4), [0, 5, 3]), {}, "cu_seqlens: expected to start at 0 and never fall"),
        ((Sliding(4), [0.0, 5.0]), {}, "cu_seqlens: expected integers"),
        ((Sliding(4), []), {}, "cu_seqlens: expected integers"),
        ((Sliding(4), [0, 1 << 30]), {}, "below 2"),
        ((Sliding(4), [0, 5]), {"key_block": 32}, "key_block: expected 64 or 128, got 32"),
        (([], [0, 5]), {}, "patterns: expected at least one"),
        ((Sliding(4), [0, 5]), {"tokens": 5}, "cu_seqlens: expected a tensor"),
        ((Sliding(4), torch.tensor([0, 5])), {"tokens": -1}, "tokens: expected 0"),
        ((Sliding(4), torch.empty(2, device="meta")), {}, "tokens: expected their number"),
    ],
)
def test_an_error_names_the_argument(arguments: tuple[object, object], options: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_device_plan(*arguments, **options)


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from longwatch.kernels.triton_impl import plan_kernels

SIZES = {"documents", "tiles", "tokens", "longest", "groups", "cells", "steps", "bins", "items", "limit"}
FIXED = {"CHUNK": 64, "KEY_BLOCK": 64, "BACKWARD": True, "ROWS": 128}
for name in ["count_tiles", "cut_items", "fill_lists", "lay_tiles", "order_tiles"]:
    kernel = getattr(plan_kernels, name)
    fixed = {key: value for key, value in FIXED.items() if key in kernel.arg_names}
    types = {key: "constexpr" if key in fixed else "i32" if key in SIZES else "*i32" for key in kernel.arg_names}
    compile(ASTSource(kernel, types, fixed), target=GPUTarget("cuda", 90, 32))
    print(name)
"""


def test_every_kernel_compiles_for_hopper_without_a_gpu(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE]
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 5


@pytest.mark.gpu
def test_a_captured_graph_plans_new_lengths_at_each_replay() -> None:
    patterns, first, second = [Sliding(100) | Global(8), Dense()], [0, 900, 901, 6000], [0, 10, 5100, 6000]
    bounds = torch.tensor(first, dtype=torch.int32, device="cuda")
    build_device_plan(patterns, bounds, tokens=6000)  # the kernels and the tables are there before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        plan = build_device_plan(patterns, bounds, tokens=6000)
    for lengths in (first, second):
        bounds.copy_(torch.tensor(lengths, dtype=torch.int32))
        graph.replay()
        fresh = build_device_plan(patterns, torch.tensor(lengths, device="cuda"), tokens=6000)
        exact = build_device_plan(patterns, lengths)
        for name in LISTS:
            size = getattr(exact, name).numel() if name.endswith("entries") else None
            assert torch.equal(getattr(plan, name)[:size], getattr(fresh, name)[:size])
        assert torch.equal(plan.tiles[: len(exact.tiles)], exact.tiles)


@pytest.mark.gpu
def test_the_plan_of_64k_tokens_takes_no_more_than_100_us_on_the_device() -> None:
    for patterns in ([Sliding(512)], [Dense()], [Sliding(512) | Global(64), Sliding(512) | Strided(1024)]):
        bounds = torch.tensor([0, 1 << 16], dtype=torch.int32, device="cuda")
        build_device_plan(patterns, bounds, tokens=1 << 16)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            build_device_plan(patterns, bounds, tokens=1 << 16)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        graph.replay()
        begin.record()
        for _ in range(20):
            graph.replay()
        end.record()
        end.synchronize()
        assert begin.elapsed_time(end) / 20 <= 0.1
