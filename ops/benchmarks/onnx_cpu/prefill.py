"""Whole windows from 1k to 64k events through the step graph: seconds, their slope, peak memory; beside one whole run.

Every length runs in a process of its own, so that its peak memory is its own. The slope is of CPU time: other work on
the machine must not show in it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from longwatch.model.deploy.step_graph import export_step
from longwatch.model.export import export_graph
from ops.benchmarks.onnx_cpu.networks import NETWORKS, chosen, network, window

LENGTHS = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
WHOLE = (1024, 4096, 16_384)


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory() as scratch:
        for name, config in chosen(NETWORKS, arguments.networks).items():
            model = network(config)
            (Path(scratch) / "step.onnx").write_bytes(export_step(model, config))
            (Path(scratch) / "whole.onnx").write_bytes(export_graph(model, config))
            seconds = []
            for length in LENGTHS:
                line = child(Path(scratch) / "step.onnx", name, length, arguments.threads)
                seconds.append(line["cpu_seconds"])
                yield {"network": name, "graph": "step", **line}
            for length in WHOLE:
                line = child(Path(scratch) / "whole.onnx", name, length, arguments.threads)
                yield {"network": name, "graph": "whole", **line}
            slope = np.polyfit(np.log(LENGTHS), np.log(seconds), 1)[0]
            yield {"network": name, "graph": "step", "slope": round(float(slope), 3), "lengths": LENGTHS}


def child(graph: Path, name: str, length: int, threads: int) -> dict[str, object]:
    config = NETWORKS[name]
    np.savez(graph.with_suffix(".npz"), **vars(window(config, length)))
    graph.with_suffix(".json").write_text(json.dumps(config.to_dict()))
    command = [sys.executable, "-m", "ops.benchmarks.onnx_cpu.one_window", str(graph), str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
