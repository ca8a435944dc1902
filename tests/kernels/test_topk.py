"""What data chooses, against its definition written out in loops."""

import math
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from longwatch.kernels import (
    Pattern,
    TopK,
    build_plan,
    gather_attention,
    packed_gather_attention,
    parse_pattern,
    reference_attention,
)
from longwatch.kernels import topk as topk_module
from longwatch.kernels.topk import block_table, choose, choose_packed

TEXTS = [
    "topk(2, block=4)",
    "topk(1, block=5) | sliding(3)",
    "topk(2, block=4) | sliding(9) | global(3)",
    "topk(3, block=4) | strided(7, width=2)",
    "topk(9, block=4) | global(6) | strided(5, width=1)",
]
FEW = settings(deadline=None, max_examples=25)


def draw(tokens: int, heads: int = 4, kv_heads: int = 2, width: int = 8) -> list[Tensor]:
    torch.manual_seed(tokens)
    shapes = [(tokens, count, width) for count in (heads, kv_heads, kv_heads)]
    return [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]


def gates(query: Tensor, key: Tensor, block: int, scale: float) -> Tensor:
    """Gate of each block for each block of one document's key head; query [T, G, D], key [T, D]."""
    blocks = -(-len(key) // block)
    rows = torch.zeros(blocks, blocks, dtype=query.dtype)
    for i in range(1, blocks):
        mean = query[(i - 1) * block : i * block].mean(dim=(0, 1))
        rows[i, :i] = torch.stack([mean @ key[b * block : (b + 1) * block].mean(0) for b in range(i)]) * scale
    return rows


def chosen(gate: Tensor, count: int) -> list[list[int]]:
    """Blocks that each block chooses: highest gate first, of equals the lower, then in order."""
    ranked = [sorted(range(i), key=lambda b, i=i: (-gate[i, b].item(), b)) for i in range(len(gate))]
    return [sorted(blocks[:count]) for blocks in ranked]


def by_definition(query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, scale: float) -> Tensor:
    """One document, by an explicit softmax whose logits gain gate - stop(gate) where a block was chosen."""
    part, group, outputs = pattern.data_chosen, query.shape[1] // key.shape[1], []
    position = torch.arange(len(query))
    certain = pattern.certain(position[:, None], position[None, :])
    for head in range(query.shape[1]):
        shared = head // group
        gate = gates(query[:, shared * group : (shared + 1) * group], key[:, shared], part.block, scale)
        picked = torch.zeros(gate.shape, dtype=torch.bool)
        for i, blocks in enumerate(chosen(gate, part.count)):
            picked[i, blocks] = True
        block = position // part.block
        of_pair = picked[block[:, None], block], (gate - gate.detach())[block[:, None], block]
        logits = query[:, head] @ key[:, shared].T * scale + torch.where(of_pair[0], of_pair[1], 0)
        weights = torch.softmax(logits.masked_fill(~(certain | of_pair[0]), -math.inf), dim=-1)
        outputs.append(weights @ value[:, shared])
    return torch.stack(outputs, dim=1)


@FEW
@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.3, -0.3]))
def test_the_choice_is_the_highest_gates_of_earlier_blocks(blocks: int, block: int, count: int, scale: float) -> None:
    query, key, _ = draw(blocks * block, 2, 1)
    choice = choose(query[None], key[None, :, 0], TopK(count, block), scale)
    gate = gates(query, key[:, 0], block, scale)
    for i, expected in enumerate(chosen(gate, count)):
        assert choice.blocks[0, i].tolist() == expected + [-1] * (count - len(expected))
        torch.testing.assert_close(choice.gate[0, i, : len(expected)], gate[i, expected])
        assert not choice.gate[0, i, len(expected) :].any()


def test_of_equal_gates_the_lower_block_wins() -> None:
    query, key = torch.ones(1, 24, 1, 4), torch.ones(1, 24, 4)
    key[0, 8:12] = 2
    key[0, 0:4] = -0.0
    query[0, 12:16] = 0.0
    choice = choose(query, key, TopK(2, block=4), 1.0)
    assert choice.blocks[0].tolist() == [[-1, -1], [0, -1], [0, 1], [1, 2], [0, 1], [1, 2]]


@FEW
@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.integers(1, 6), st.integers(1, 3), st.integers(0, 2))
def test_a_packed_document_chooses_as_it_would_alone(lengths: list[int], block: int, count: int, spare: int) -> None:
    query, key, _ = draw(sum(lengths), 4, 2)
    bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0)
    total = sum(-(-length // block) for length in lengths)
    table = block_table(bounds, block, total + spare)
    choice = choose_packed(query, key, table, TopK(count, block), 0.5)
    row = 0
    for start, stop in pairwise(bounds.tolist()):
        blocks = -(-(stop - start) // block)
        assert table.local[row : row + blocks].tolist() == list(range(blocks))
        for head in range(2):
            gate = gates(query[start:stop, 2 * head : 2 * head + 2], key[start:stop, head], block, 0.5)
            for i, expected in enumerate(chosen(gate, count)):
                assert [b for b in choice.blocks[head, row + i].tolist() if b >= 0] == expected
        row += blocks
    assert bool((choice.blocks[:, total:] == -1).all())


def test_gates_of_minus_infinity_are_chosen_wherever_the_document_lies_in_the_pack() -> None:
    query, key, _ = (tensor.abs().detach() for tensor in draw(36, 1, 1))
    key[16:] = -torch.inf
    packed = choose_packed(query, key, block_table(torch.tensor([0, 16, 36]), 4, 9), TopK(2, block=4), 0.5)
    alone = choose(query[None, 16:], key[None, 16:, 0], TopK(2, block=4), 0.5)
    assert torch.equal(packed.blocks[0, 4:], alone.blocks[0])
    assert alone.blocks[0, -1].tolist() == [0, 1]


def test_few_gates_at_once_choose_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, _ = draw(90)
    table = block_table(torch.tensor([0, 50, 90]), 4, 23)
    whole = choose_packed(query, key, table, TopK(3, block=4), 0.5)
    monkeypatch.setattr(topk_module, "_GATES", 100)
    assert torch.equal(choose_packed(query, key, table, TopK(3, block=4), 0.5).blocks, whole.blocks)


@pytest.mark.parametrize("tokens", [1, 4, 23, 40])
@pytest.mark.parametrize("text", TEXTS)
def test_reference_has_the_output_and_the_straight_through_gradient_of_the_definition(text: str, tokens: int) -> None:
    inputs, pattern = draw(tokens), parse_pattern(text)
    got = reference_attention(*inputs, pattern, torch.tensor([0, tokens]), 0.7)
    expected = by_definition(*inputs, pattern, 0.7)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    upstream = torch.randn_like(got)
    slopes = [torch.autograd.grad(output, inputs, upstream) for output in (got, expected)]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("with_sink", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_packed_gather_is_the_reference(text: str, with_sink: bool) -> None:
    inputs, pattern, bounds = draw(61), parse_pattern(text), torch.tensor([0, 22, 22, 23, 61])
    sink = torch.linspace(-1, 1, 4, dtype=torch.float64).requires_grad_() if with_sink else None
    plan = build_plan(pattern, bounds, pattern.data_chosen.block)
    got = packed_gather_attention(*inputs, plan, sink=sink, return_lse=True)
    expected = reference_attention(*inputs, pattern, bounds, sink=sink, return_lse=True)
    upstream = [torch.randn_like(each) for each in got]
    slopes = [
        torch.autograd.grad(outputs, inputs if sink is None else [*inputs, sink], upstream)
        for outputs in (got, expected)
    ]
    for ours, theirs in zip([*got, *slopes[0]], [*expected, *slopes[1]], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("text", TEXTS)
def test_gather_of_padded_rows_is_the_reference(text: str) -> None:
    packed, pattern = draw(96), parse_pattern(text)
    inputs = [tensor.detach().view(2, 48, -1, 8).requires_grad_() for tensor in packed]
    got = gather_attention(*inputs, pattern, 8)
    expected = reference_attention(*packed, pattern, torch.tensor([0, 48, 96])).view_as(got)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    upstream = torch.randn_like(got)
    ours, theirs = torch.autograd.grad(got, inputs, upstream), torch.autograd.grad(expected, packed, upstream)
    for slope, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(slope.flatten(0, 1), other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("text", TEXTS)
def test_a_later_token_never_changes_an_earlier_output_nor_the_length_a_choice(text: str) -> None:
    query, key, value = (tensor.detach()[None] for tensor in draw(64))
    pattern = parse_pattern(text)
    before = gather_attention(query, key, value, pattern, 8)
    short = gather_attention(query[:, :40], key[:, :40], value[:, :40], pattern, 8)
    for tensor in (query, key, value):
        tensor[:, 37:] = torch.randn_like(tensor[:, 37:]) * 50
    after = gather_attention(query, key, value, pattern, 8)
    torch.testing.assert_close(after[:, :37], before[:, :37], rtol=0, atol=1e-14)
    torch.testing.assert_close(short, before[:, :40], rtol=0, atol=1e-14)


def test_a_neighbours_nan_reaches_neither_a_choice_nor_a_gradient() -> None:
    bounds, pattern = [0, 13, 34, 43], parse_pattern("topk(2, block=4) | sliding(3)")
    plan, clean = build_plan(pattern, bounds, 4), draw(43)
    spoiled = [tensor.detach().clone() for tensor in clean]
    for tensor in spoiled:
        tensor[:13] = torch.nan
        tensor[34:] = torch.nan
        tensor.requires_grad_()
    outputs = [packed_gather_attention(*inputs, plan)[13:34] for inputs in (spoiled, clean)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)
    slopes = [torch.autograd.grad(out.sum(), inputs) for out, inputs in zip(outputs, (spoiled, clean), strict=True)]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours[13:34], theirs[13:34], rtol=0, atol=1e-13)


def test_one_compiled_graph_serves_every_length() -> None:
    pattern = parse_pattern("topk(2, block=16)")
    compiled = torch.compile(gather_attention, backend="eager", fullgraph=True, dynamic=True)
    for blocks in (3, 7):
        inputs = [tensor.detach()[None] for tensor in draw(16 * blocks, 1, 1)]
        expected = gather_attention(*inputs, pattern, 16)
        torch.testing.assert_close(compiled(*inputs, pattern, 16), expected)


class Attention(nn.Module):
    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return gather_attention(query, key, value, parse_pattern("topk(3, block=16) | global(20)"), 16)


def test_the_exported_graph_chooses_as_the_module_at_lengths_not_seen_in_export(tmp_path: Path) -> None:
    sizes = {1: 16 * torch.export.Dim("blocks")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Attention().eval(),
            tuple(tensor.detach().float()[None] for tensor in draw(64, 2, 1)),
            dynamo=True,
            opset_version=18,
            dynamic_shapes={"query": sizes, "key": sizes, "value": sizes},
            verbose=False,
        )
    assert program is not None
    assert {node.domain for node in program.model_proto.graph.node} == {""}
    program.save(tmp_path / "graph.onnx")
    session = ort.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    for blocks in (1, 2, 9):
        inputs = [tensor.detach().float()[None] for tensor in draw(16 * blocks, 2, 1)]
        got = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})[0]
        np.testing.assert_allclose(got, Attention()(*inputs).numpy(), rtol=0, atol=4e-6)
