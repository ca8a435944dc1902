"""Dynamic int8 of a graph's linear layers: weights a channel each, activations as they come; the rest stays float32."""

import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from longwatch.model.export import check_graph

# Products of the layers, in their order: query, keys and values, out, gate and up, feed out.
PER_LAYER = 5
KEPT_SHARE = 0.2


def quantise(graph: bytes, num_layers: int, kept: Collection[int] = ()) -> bytes:
    """The graph with its layers' weights in int8, but for the products numbered in `kept`; the same numbers, any graph.

    Embeddings, norms, attention itself and the output classes stay as they are.
    """
    chosen = [name for number, name in enumerate(linear_products(graph, num_layers)) if number not in kept]
    if not chosen:  # which the quantiser would take for all of them
        return graph
    with tempfile.TemporaryDirectory(prefix="longwatch-int8-") as scratch:
        before, after = Path(scratch) / "before.onnx", Path(scratch) / "after.onnx"
        before.write_bytes(graph)
        quantize_dynamic(before, after, weight_type=QuantType.QInt8, per_channel=True, nodes_to_quantize=chosen)
        content = after.read_bytes()
    check_graph(content)
    return content


def linear_products(graph: bytes, num_layers: int) -> list[str]:
    """Names of the layers' products with a weight, in the order of the network."""
    proto = onnx.load_from_string(graph)
    weights = {tensor.name for tensor in proto.graph.initializer}
    names = [node.name for node in proto.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    return names[: PER_LAYER * num_layers]


def sensitive_products(
    graph: bytes, num_layers: int, score: Callable[[bytes], np.ndarray], share: float = KEPT_SHARE
) -> list[int]:
    """The products that move scores most when they alone are int8, a share of all; `score` runs a graph."""
    reference = score(graph)
    numbers = range(len(linear_products(graph, num_layers)))
    moved = [
        float(np.square(score(quantise(graph, num_layers, set(numbers) - {number})) - reference).mean())
        for number in numbers
    ]
    return sorted(np.argsort(moved)[::-1][: round(share * len(moved))].tolist())
