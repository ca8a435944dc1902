"""The step network as an ONNX graph of standard operators: any number of streams, events, slots and cache rows."""

import io
import logging
import warnings
from typing import Any

import numpy as np
import onnx
import torch

from longwatch.model.config import ModelConfig
from longwatch.model.deploy.step_network import StepNetwork
from longwatch.model.export import OPSET, ExportError, check_graph, random_inputs
from longwatch.model.scorer.batching import INPUT_NAMES
from longwatch.model.scorer.step_cache import CacheSpec, cache_specs
from longwatch.model.transformer import EventTransformer

# Sizes of the example. Rows are no part's own: a size of 1, as that of columns still to come, would become the graph's.
STREAMS, EVENTS, TEMPLATES, SLOTS, ROWS = 2, 3, 5, 7, 100


def export_step(model: EventTransformer, config: ModelConfig) -> bytes:
    """The step graph; ExportError where an operator is not standard, ValueError where a layer's pattern has topk."""
    specs = cache_specs(config)
    arguments = example(config, len(model.known_words), specs)
    names = ("slot", "position", *INPUT_NAMES, "newest", *(spec.input for spec in specs))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that it does not need
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            StepNetwork(model).eval(),
            arguments,
            dynamo=True,
            dynamic_shapes=_dynamic_shapes(specs),
            input_names=names,
            output_names=("surprise", "next_newest", *(spec.output for spec in specs)),
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export gave no program; install the train extra's torch and onnxscript")
    buffer = io.BytesIO()
    onnx.save_model(program.model_proto, buffer)
    check_graph(buffer.getvalue())
    return buffer.getvalue()


def example(config: ModelConfig, num_classes: int, specs: list[CacheSpec]) -> tuple[Any, ...]:
    """Arguments of a StepNetwork, drawn at random, its caches empty."""
    inputs = random_inputs(config, num_classes, (STREAMS, 1, TEMPLATES), seed=0, block_size=EVENTS)
    names = list(dict.fromkeys(spec.rows_name for spec in specs))
    rows = [ROWS + names.index(spec.rows_name) for spec in specs]
    caches = [torch.zeros(SLOTS, config.num_kv_heads, count, config.head_dim) for count in rows]
    position = torch.tensor([EVENTS, 0])
    columns = [torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.arrays]
    return (torch.tensor([4, 1]), position, *columns, torch.zeros(SLOTS, 2, config.d_model), caches)


def _dynamic_shapes(specs: list[CacheSpec]) -> tuple[Any, ...]:
    streams, events, templates, slots = (torch.export.Dim(name) for name in ("streams", "events", "templates", "slots"))
    rows = {spec.rows_name: torch.export.Dim(spec.rows_name) for spec in specs}
    grid: dict[int, Any] = {0: streams, 1: events}
    caches: list[dict[int, Any]] = [{0: slots, 2: rows[spec.rows_name]} for spec in specs]
    return ({0: streams}, {0: streams}, grid, grid, grid, {0: templates}, {0: templates}, grid, {0: slots}, caches)
