import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from longwatch.kernels import Pattern, gather_attention, parse_pattern

BLOCK = 16
# Ops with a CPU kernel of their own in ONNX Runtime: none of them is run through its function body.
NATIVE_OPS = {
    *("Add", "And", "Attention", "Cast", "Clip", "Concat", "Div", "Equal", "Expand", "Gather", "GreaterOrEqual"),
    *(
        "LessOrEqual",
        "MatMul",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Pad",
        "Range",
        "Reshape",
        "Shape",
        "Slice",
        "Softmax",
        "Split",
    ),
    *("Squeeze", "Sub", "Transpose", "Trilu", "Unsqueeze", "Where", "Mod", "Less"),
}


class Layers(nn.Module):
    """One output per pattern, so that one export serves them all."""

    def __init__(self, patterns: list[Pattern]) -> None:
        super().__init__()
        self.patterns = patterns

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        return tuple(gather_attention(query, key, value, pattern, BLOCK) for pattern in self.patterns)


def draw(batch: int, blocks: int) -> list[Tensor]:
    torch.manual_seed(blocks)
    return [torch.randn(batch, blocks * BLOCK, heads, 16) for heads in (4, 2, 2)]


def export(layers: Layers, path: Path, opset: int) -> None:
    sizes = {0: torch.export.Dim("batch"), 1: BLOCK * torch.export.Dim("blocks")}
    with warnings.catch_warnings():
        # The exporter's own deprecations are none of ours.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            layers.eval(),
            tuple(draw(2, 4)),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes={"query": sizes, "key": sizes, "value": sizes},
            verbose=False,
        )
        assert program is not None
        program.save(path)


@pytest.mark.parametrize(
    ("texts", "opset"),
    [
        (["sliding(40)", "sliding(20) | strided(24, width=5) | global(70)"], 18),
        (["sliding(20) | global(9)", "strided(24, width=5)", "dense"], 23),
    ],
)
def test_the_exported_graph_is_the_module_at_lengths_not_seen_in_export(
    texts: list[str], opset: int, tmp_path: Path
) -> None:
    layers = Layers([parse_pattern(text) for text in texts])
    export(layers, tmp_path / "graph.onnx", opset)
    model = onnx.load(tmp_path / "graph.onnx")
    assert not model.functions
    assert {node.op_type for node in model.graph.node} - NATIVE_OPS == set()
    session = ort.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    for batch, blocks in [(2, 4), (1, 1), (1, 2), (3, 9), (5, 31)]:
        inputs = draw(batch, blocks)
        got = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
        for ours, expected in zip(got, layers(*inputs), strict=True):
            np.testing.assert_allclose(ours, expected.numpy(), rtol=0, atol=4e-6)
