"""One event at a time: microseconds an event after 0 to 64k events of history, and the difference from a whole run."""

import argparse
import time
from collections.abc import Iterator

import numpy as np

from longwatch.model.config import ModelConfig
from longwatch.model.deploy.step_graph import export_step
from longwatch.model.scorer.batching import ModelInputs
from longwatch.model.scorer.onnx_step import StepSession
from ops.benchmarks.onnx_cpu.networks import NETWORKS, chosen, network, window
from ops.benchmarks.onnx_cpu.streams import piece, stream

HISTORY = (0, 1024, 4096, 16_384, 65_536)
EVENTS = 400
SMALL = ModelConfig(d_model=128, num_kv_heads=2, layers=("sliding(128)",) * 4, ffn_multiple=2.667)


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    for name, config in chosen(NETWORKS | {"configs/model/small.yaml": SMALL}, arguments.networks).items():
        graph = export_step(network(config), config)
        session = StepSession(graph, config, chunk=128, threads=arguments.threads, device=arguments.device)
        inputs = window(config, HISTORY[-1] + EVENTS)
        whole = stream(session, inputs, 128)
        for history in HISTORY:
            before = piece(inputs, 0, history)
            if history:
                stream(session, before, 128)
            times, worst = steps(session, piece(inputs, history, history + EVENTS), history, whole)
            p50, p99 = np.quantile(times, (0.5, 0.99)) * 1e6
            yield {
                "network": name,
                "layers": config.layers,
                "history": history,
                "p50_us": round(p50, 1),
                "p99_us": round(p99, 1),
                "largest_difference_from_chunks_of_128": worst,
                "cache_kib": session.cache_bytes // 1024,
            }


def steps(session: StepSession, inputs: ModelInputs, history: int, whole: np.ndarray) -> tuple[np.ndarray, float]:
    times, worst, slot = [], 0.0, np.zeros(1, np.int64)
    for at in range(EVENTS):
        event = piece(inputs, at, at + 1)
        started = time.perf_counter()
        found = session.run(slot, np.array([history + at], np.int64), event)
        times.append(time.perf_counter() - started)
        worst = max(worst, float(np.abs(found[0, 0] - whole[0, history + at])))
    return np.array(times), worst
