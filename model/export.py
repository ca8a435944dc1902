"""A trained model as one ONNX graph, compared with torch before anyone gets it."""

import io
import logging
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from longwatch.model.bundle import Bundle
from longwatch.model.config import ModelConfig
from longwatch.model.onnx_wire import uses_external_data
from longwatch.model.scorer.batching import INPUT_NAMES, ModelInputs
from longwatch.model.scorer.torch import load_network
from longwatch.model.train import TrainedModel
from longwatch.model.transformer import EventTransformer, load_transformer

OUTPUT_NAME = "surprise"
OPSET = 18
TOLERANCE = 1e-4
MAX_BYTES = 2_000_000_000
# Batch, blocks and lexicon rows; the first is used to export, none of the others share a number with it.
EXPORT_SIZE = (2, 3, 5)
CHECK_SIZES = ((1, 1, 1), (3, 2, 7), (1, 9, 40))


class ExportError(RuntimeError):
    """The ONNX graph could not be made or does not give torch's scores; nothing was written."""


def export_onnx(trained: TrainedModel) -> bytes:
    """ONNX model with dynamic batch, length (a multiple of the block size) and lexicon; opset 18, no custom ops.

    Raises ExportError unless every surprise is within 1e-4 of torch's at sizes that the export never saw.
    """
    model = load_transformer(trained.config, trained.vocabulary.known_words, trained.weights)
    return _checked(model, trained.config)[0]


def export_weights(bundle: Bundle) -> tuple[bytes, float]:
    """A bundle's network exported again from its weights, as `export_onnx` does; the largest difference, nats.

    Raises BundleError where the weights do not fit the config, ExportError as `export_onnx` does.
    """
    return _checked(load_network(bundle), bundle.model_config)


def check_parity(graph: bytes, model: EventTransformer, config: ModelConfig) -> float:
    """Largest difference, nats; ExportError unless it is within 1e-4 of torch at sizes that the export never saw."""
    difference = max_difference(graph, model, config)
    if not difference <= TOLERANCE:
        raise ExportError(
            f"ONNX Runtime differs from torch by {difference:.1e} nats, expected at most {TOLERANCE:.0e}; "
            "nothing was written: try another onnxruntime or torch version and report this"
        )
    return difference


def max_difference(graph: bytes, model: EventTransformer, config: ModelConfig) -> float:
    """Largest difference in surprise between ONNX Runtime and torch on random inputs of several sizes, nats."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    worst = 0.0
    for seed, size in enumerate(CHECK_SIZES):
        inputs = random_inputs(config, len(model.known_words), size, seed)
        expected = model(*(torch.from_numpy(array) for array in inputs.arrays)).numpy()
        (found,) = session.run([OUTPUT_NAME], dict(zip(INPUT_NAMES, inputs.arrays, strict=True)))
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def random_inputs(
    config: ModelConfig, num_classes: int, size: tuple[int, int, int], seed: int, block_size: int | None = None
) -> ModelInputs:
    """Inputs drawn at random for a batch of `size`: rows, blocks (the config's unless given) and lexicon rows."""
    rng = np.random.default_rng(seed)
    num_rows, num_blocks, num_templates = size
    grid = (num_rows, num_blocks * (block_size or config.block_size))
    return ModelInputs(
        token=rng.integers(0, num_templates, grid),
        gap=rng.integers(0, config.gap_buckets, grid),
        shape=rng.integers(0, config.shape_buckets, grid),
        lexicon_words=rng.integers(0, config.word_buckets, (num_templates, config.max_words)),
        lexicon_known=rng.integers(0, num_classes, num_templates),
        target=rng.integers(0, num_classes, grid),
    )


def _checked(model: EventTransformer, config: ModelConfig) -> tuple[bytes, float]:
    """The graph, and its largest difference from torch."""
    graph = export_graph(model, config)
    check_graph(graph)
    return graph, check_parity(graph, model, config)


def export_graph(model: EventTransformer, config: ModelConfig) -> bytes:
    """The graph of a network, not yet compared with it; ExportError where torch gives none."""
    inputs = random_inputs(config, len(model.known_words), EXPORT_SIZE, seed=0)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that it does not need
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            model,
            tuple(torch.from_numpy(array) for array in inputs.arrays),
            dynamo=True,
            dynamic_shapes=_dynamic_shapes(config),
            input_names=INPUT_NAMES,
            output_names=(OUTPUT_NAME,),
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export gave no program; install the train extra's torch and onnxscript")
    buffer = io.BytesIO()
    onnx.save_model(program.model_proto, buffer)
    return buffer.getvalue()


def _dynamic_shapes(config: ModelConfig) -> tuple[dict[int, Any], ...]:
    batch, templates = torch.export.Dim("batch"), torch.export.Dim("templates")
    length = config.block_size * torch.export.Dim("blocks")
    grid: dict[int, Any] = {0: batch, 1: length}
    return grid, grid, grid, {0: templates}, {0: templates}, grid


def check_graph(graph: bytes) -> None:
    """ExportError unless the graph holds its own weights, is small enough and has standard operators alone."""
    if len(graph) >= MAX_BYTES:
        raise ExportError(f"the graph has {len(graph):,} bytes, expected under {MAX_BYTES:,}; use a smaller model")
    if uses_external_data(graph):
        raise ExportError("the graph keeps weights in other files; a bundle's graph must hold its own")
    proto = onnx.load_from_string(graph)
    foreign = sorted({node.domain for node in proto.graph.node} - {"", "ai.onnx"})
    if foreign or proto.functions:
        raise ExportError(f"the graph uses operators of {foreign or 'local functions'}, expected standard ones alone")
