"""What a run needs, made where the pipeline and the exporter are: the demo's windows, its bundle, untrained graphs."""

from pathlib import Path

import numpy as np

from longwatch.model.bundle import open_bundle, write_bundle
from longwatch.model.dataset import Windows
from longwatch.model.deploy.package import deployable_parts
from longwatch.model.deploy.step_graph import export_step
from longwatch.model.export import export_graph
from longwatch.pipeline.commands.windows_of import read_tokens
from ops.benchmarks.onnx_cpu.networks import NETWORKS, network
from ops.benchmarks.onnx_cpu.parity import DEMO, dated_config, write_log
from ops.benchmarks.onnx_cuda.contenders import NAMES

WINDOWS, BUNDLE = "windows.safetensors", "bundle"


def prepare(folder: Path, days: float) -> None:
    """Writes bundle, windows and graphs; the log itself stays behind."""
    folder.mkdir(parents=True)
    parts = deployable_parts(open_bundle(DEMO / "bundle"))
    bundle = write_bundle(folder / BUNDLE, parts, "2026-01-01T00:00:00Z")
    for number, name in enumerate(NAMES):
        model = network(NETWORKS[name])
        (folder / f"whole-{number}.onnx").write_bytes(export_graph(model, NETWORKS[name]))
        (folder / f"step-{number}.onnx").write_bytes(export_step(model, NETWORKS[name]))
    log, config = folder / "demo.log", folder / "demo.yaml"
    write_log(log, days)
    config.write_text(dated_config(days))
    tokens = read_tokens(config, bundle)
    none = np.zeros(len(tokens.scored), np.int64)
    Windows(tokens, none, none).save(folder / WINDOWS)
    for path in (log, config):
        path.unlink()
