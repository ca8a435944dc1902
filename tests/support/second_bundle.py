"""A second real bundle of the demo's log: other templates, another network, another calibration; made in seconds."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import polars as pl

from longwatch.pipeline.assembly import Model, model_at
from longwatch.pipeline.cli import main
from support.demo import HOME, demo_frame

MODEL = "d_model: 16\nnum_heads: 2\nnum_kv_heads: 1\nlayers: [sliding(16)]\nblock_size: 16\nword_buckets: 128\n"
TRAIN = "max_steps: 20\ntokens_per_batch: 2048\nmax_window_tokens: 256\nvalidation_every: 10\ndevice: cpu\n"
SETTINGS = ("windows.max_events=100", "windows.overlap=16", "templates.merge_above=4")


@cache
def _trained() -> Path:
    """Once a process: exporting the network is what takes long."""
    folder = Path(tempfile.mkdtemp(prefix="longwatch-second-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copy(HOME / "demo.yaml", folder / "demo.yaml")
    lines = demo_frame((9, 11)).filter(pl.col("incident").is_null())["line"]
    (folder / "demo.log").write_text("".join(f"{line}\n" for line in lines))
    (folder / "model.yaml").write_text(MODEL)
    (folder / "train.yaml").write_text(TRAIN)
    words = ["train", str(folder / "demo.yaml"), "--out", str(folder / "bundle")]
    words += ["--model-config", str(folder / "model.yaml"), "--train-config", str(folder / "train.yaml")]
    assert main([*words, *(word for setting in SETTINGS for word in ("--set", setting))]) == 0
    return folder / "bundle"


def train_second(out: Path) -> Path:
    """Trained on two hours without their incidents, with templates merged otherwise than the demo's."""
    return Path(shutil.copytree(_trained(), out))


@cache
def second_model() -> Model:
    """The same, opened."""
    return model_at(_trained())
