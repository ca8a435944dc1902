"""int8 of a graph's linear layers: weights a channel each, activations as they come or were seen; the rest float32."""

import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from longwatch.model.export import check_graph
from longwatch.model.scorer.batching import INPUT_NAMES, ModelInputs

# Products of the layers, in their order: query, keys and values, out, gate and up, feed out.
PER_LAYER = 5
KEPT_SHARE = 0.2


def quantise(graph: bytes, num_layers: int, kept: Collection[int] = ()) -> bytes:
    """The graph with its layers' weights in int8, but for the products numbered in `kept`; the same numbers, any graph.

    Embeddings, norms, attention itself and the output classes stay as they are.
    """

    def dynamic(before: Path, after: Path, chosen: list[str]) -> None:
        quantize_dynamic(before, after, weight_type=QuantType.QInt8, per_channel=True, nodes_to_quantize=chosen)

    return _rewritten(graph, num_layers, kept, dynamic)


def quantise_static(graph: bytes, num_layers: int, batches: Sequence[ModelInputs], kept: Collection[int] = ()) -> bytes:
    """As `quantise`, but with the ranges of activations taken once, from these inputs."""

    def static(before: Path, after: Path, chosen: list[str]) -> None:
        quantize_static(
            before,
            after,
            _Batches(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=chosen,
        )

    return _rewritten(graph, num_layers, kept, static)


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Batches as the calibrator asks for them, one after another, then None."""

    def __init__(self, batches: Sequence[ModelInputs]) -> None:
        self._left: Iterator[ModelInputs] = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.int64]] | None:
        batch = next(self._left, None)
        return None if batch is None else dict(zip(INPUT_NAMES, batch.arrays, strict=True))


def _rewritten(
    graph: bytes, num_layers: int, kept: Collection[int], rewrite: Callable[[Path, Path, list[str]], None]
) -> bytes:
    chosen = [name for number, name in enumerate(linear_products(graph, num_layers)) if number not in kept]
    if not chosen:  # which the quantiser would take for all of them
        return graph
    with tempfile.TemporaryDirectory(prefix="longwatch-int8-") as scratch:
        before, after = Path(scratch) / "before.onnx", Path(scratch) / "after.onnx"
        before.write_bytes(graph)
        with _without_advice():
            rewrite(before, after, chosen)
        content = after.read_bytes()
    check_graph(content)
    return content


@contextmanager
def _without_advice() -> Iterator[None]:
    """At each call ONNX Runtime advises, by the root logger, to pre-process the graph: it has no shapes to infer."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


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
