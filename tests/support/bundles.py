"""A small trained bundle, made in some seconds, of the windows in `support.windows`."""

from pathlib import Path

import numpy as np
import onnx

from longwatch.model.bundle import Bundle, BundleParts, write_bundle
from longwatch.model.calibrate import Calibration
from longwatch.model.config import ModelConfig, TrainConfig
from longwatch.model.dataset import split_in_time
from longwatch.model.evidence import Evidence
from longwatch.model.export import export_onnx
from longwatch.model.train import TrainedModel, train
from support.windows import make_windows

TINY = ModelConfig(
    d_model=32, num_heads=2, num_kv_heads=1, layers=("sliding(24)", "sliding(24)"), block_size=16, word_buckets=256
)
QUICK = TrainConfig(max_steps=60, tokens_per_batch=1024, validation_every=20, device="cpu", learning_rate=5e-3)


def train_tiny(config: ModelConfig = TINY, settings: TrainConfig = QUICK) -> TrainedModel:
    split = split_in_time(make_windows(120, seed=1))
    tokens = split.fit.tokens
    return train(config, settings, tokens, split.early_stop.tokens, tokens.templates)


def make_parts(trained: TrainedModel, onnx: bytes) -> BundleParts:
    split = split_in_time(make_windows(120, seed=1))
    evidence, held_out = Evidence.fit(split.fit.tokens), split.calibration.tokens
    surprise = np.random.default_rng(0).exponential(0.5, held_out.num_scores).astype(np.float32)
    calibration = Calibration.fit(surprise, evidence.signs(held_out), held_out, days=1.0)
    config = {"model": trained.config.to_dict(), "train": trained.train_config.to_dict()}
    return BundleParts(trained.weights, onnx, "{}\n", trained.vocabulary, evidence, calibration, config, {"test": "1"})


def make_bundle(path: Path) -> Bundle:
    trained = train_tiny()
    return write_bundle(path, make_parts(trained, export_onnx(trained)), "2026-01-01T00:00:00Z")


def make_branching_graph(location: int) -> onnx.ModelProto:
    """A graph whose branches hold one tensor; location 1 says that it is kept in another file."""
    tensor = onnx.numpy_helper.from_array(np.ones(3, np.float32), "w")
    if location:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="secrets.bin")
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3])
    inner = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["w"], ["y"])], "inner", [], [output], [tensor])
    branch = onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    condition = onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [])
    return onnx.helper.make_model(onnx.helper.make_graph([branch], "outer", [condition], [output]))
