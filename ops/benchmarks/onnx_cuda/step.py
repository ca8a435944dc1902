"""One event of each of many streams at once, from the host and back: time of a step, and events a second."""

import argparse
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch

from longwatch.model.config import ModelConfig
from longwatch.model.export import random_inputs
from longwatch.model.scorer.batching import ModelInputs
from longwatch.model.scorer.onnx_step import StepSession
from longwatch.model.transformer import EventTransformer
from ops.benchmarks.onnx_cpu.networks import CLASSES, NETWORKS, network
from ops.benchmarks.onnx_cpu.streams import piece
from ops.benchmarks.onnx_cuda.contenders import NAMES, Run, lines

STREAMS = (1, 32, 256, 1024)
STEPS = 300


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    for number, name in enumerate(NAMES):
        config, model = NETWORKS[name], network(NETWORKS[name])
        graph = (arguments.folder / f"step-{number}.onnx").read_bytes()
        for streams in STREAMS:
            inputs = random_inputs(config, CLASSES, (streams, 1, 40), 0, block_size=STEPS + 1)
            makers = {f"onnxruntime {arguments.device} float32": onnx_steps(graph, config, inputs, arguments)}
            if arguments.device == "cuda":
                makers["triton bfloat16, CUDA graph"] = triton_steps(model, inputs)
            yield from lines(makers, {"network": name, "streams": streams}, streams, STEPS)


def onnx_steps(
    graph: bytes, config: ModelConfig, inputs: ModelInputs, arguments: argparse.Namespace
) -> Callable[[], Run]:
    def make() -> Run:
        streams = len(inputs.token)
        session = StepSession(graph, config, streams, 1, arguments.threads, arguments.device)
        slots, at = np.arange(streams), count()

        def step() -> np.ndarray:
            number = next(at)
            events = piece(inputs, number, number + 1)
            return session.run(slots, np.full(streams, number), events)[:, 0]

        return step

    return make


def triton_steps(model: EventTransformer, inputs: ModelInputs) -> Callable[[], Run]:
    def make() -> Run:
        from longwatch.model.stream import StepGraph, StreamNetwork

        streams = len(inputs.token)
        net = StreamNetwork(model, "cuda")
        events = net.events(*(torch.from_numpy(a).cuda() for a in (inputs.lexicon_words, inputs.lexicon_known)))
        graph = StepGraph(net, events, net.new_state(streams, chunk=1), streams)
        slots, ones, at = np.arange(streams), np.ones(streams, np.int64), count()
        columns = (inputs.token, inputs.gap, inputs.shape, inputs.target)

        def step() -> np.ndarray:
            number = next(at)
            return graph.run(slots, ones, *(column[:, number] for column in columns))[:, 0]

        return step

    return make
