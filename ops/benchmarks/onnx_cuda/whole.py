"""Whole windows of 1k to 64k events, 65,536 events at once: events a second through the graph and our kernels."""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import torch

from longwatch.model.export import random_inputs
from longwatch.model.scorer.batching import INPUT_NAMES, ModelInputs
from longwatch.model.scorer.onnx_session import open_session
from longwatch.model.transformer import EventTransformer
from ops.benchmarks.onnx_cpu.networks import CLASSES, NETWORKS, network
from ops.benchmarks.onnx_cuda.contenders import NAMES, Run, lines

EVENTS = 65_536
LENGTHS = (1024, 4096, 16_384, 65_536)
ROUNDS = 10


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    for number, name in enumerate(NAMES):
        model = network(NETWORKS[name])
        graph = (arguments.folder / f"whole-{number}.onnx").read_bytes()
        for length in LENGTHS:
            inputs = random_inputs(NETWORKS[name], CLASSES, (EVENTS // length, 1, 40), 0, block_size=length)
            makers = {f"onnxruntime {arguments.device} float32": onnx_run(graph, inputs, arguments)}
            if arguments.device == "cuda":
                makers |= {f"triton {dtype}": triton_run(model, inputs, dtype) for dtype in ("bfloat16", "float32")}
            yield from lines(makers, {"network": name, "window": length}, EVENTS, ROUNDS)


def onnx_run(graph: bytes, inputs: ModelInputs, arguments: argparse.Namespace) -> Callable[[], Run]:
    def make() -> Run:
        session = open_session(graph, arguments.threads, arguments.device)
        feeds = dict(zip(INPUT_NAMES, inputs.arrays, strict=True))
        return lambda: session.run(None, feeds)[0].reshape(-1)

    return make


def triton_run(model: EventTransformer, inputs: ModelInputs, dtype: str) -> Callable[[], Run]:
    def make() -> Run:
        from longwatch.model.stream import EventRows, StreamNetwork

        net = StreamNetwork(model, "cuda", getattr(torch, dtype))
        events = net.events(*(torch.from_numpy(a).cuda() for a in (inputs.lexicon_words, inputs.lexicon_known)))
        windows, length = inputs.token.shape
        columns = (inputs.token, inputs.gap, inputs.shape, inputs.target)
        bounds = np.arange(windows + 1) * length
        return lambda: net.whole(events, EventRows.of(*columns), bounds).cpu().numpy()

    return make
