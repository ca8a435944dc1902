"""One window through one graph in a process without torch, so that its peak memory is ONNX Runtime's and ours."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from longwatch.model.config import ModelConfig
from longwatch.model.scorer.batching import INPUT_NAMES, ModelInputs
from longwatch.model.scorer.onnx_session import open_session
from longwatch.model.scorer.onnx_step import StepSession
from longwatch.model.scorer.streaming import CHUNK
from ops.benchmarks.onnx_cpu.streams import stream

ROUNDS = 5


def main(graph: Path, threads: int) -> dict[str, object]:
    config = ModelConfig.from_dict(json.loads(graph.with_suffix(".json").read_text()))
    inputs = ModelInputs(**np.load(graph.with_suffix(".npz")))
    if graph.stem == "step":
        session = StepSession(graph.read_bytes(), config, chunk=CHUNK, threads=threads)

        def run() -> None:
            stream(session, inputs, CHUNK)
    else:
        whole = open_session(graph.read_bytes(), threads, "cpu")

        def run() -> None:
            whole.run(None, dict(zip(INPUT_NAMES, inputs.arrays, strict=True)))

    before, times = peak_mib(), []
    for _ in range(ROUNDS):
        started, of_cpu = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - started, time.process_time() - of_cpu))
    seconds, cpu_seconds = (round(min(column), 4) for column in zip(*times, strict=True))
    events = inputs.token.shape[1]
    return {
        "length": events,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mib": round(peak_mib()),
        "added_mib": round(peak_mib() - before),
    }


def peak_mib() -> float:
    """The process's own high-water mark: the one of `getrusage` is not below its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
