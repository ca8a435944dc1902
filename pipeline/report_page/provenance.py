"""What a person needs to get the same report again: the command, and digests of all that went into it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path

import polars as pl

from longwatch.pipeline.assembly import Model
from longwatch.pipeline.config import Config

MAX_PARTITIONS = 32

_NOT_TOLD = {"pseudonym_key_file", "pseudonym_key_env", "entity", "dead_letters"}


def command_of(
    config: Path, files: Sequence[Path], options: Mapping[str, object], overrides: Mapping[str, str] | None = None
) -> str:
    """The command line with these arguments, quoted for a shell; options that are None were not given."""
    words = ["longwatch", "backtest", str(config), *map(str, files)]
    for name, value in options.items():
        words += [] if value is None else [f"--{name}", str(value)]
    for key, value in (overrides or {}).items():
        words += ["--set", f"{key}={value}"]
    return shlex.join(words)


def provenance(
    command: str, config: Config, model: Model, files: Sequence[Path], scores: pl.LazyFrame
) -> dict[str, str]:
    """Name and value of each line of the reproducibility box."""
    return {
        "command": command,
        "bundle folder": str(model.bundle.path.resolve()),
        "longwatch": f"{version('longwatch')}, scores by {model.scorer.name}",
        "bundle": f"sha256 {model.bundle.digest}",
        "templates": f"sha256 {model.templates.digest}",
        "configuration": f"sha256 {config.digest}",
        "masking": config.masking.model_dump_json(exclude=_NOT_TOLD),
        **{f"file {path.name}": f"sha256 {_digest(path)}" for path in files if path.is_file()},
        **_records(scores),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _records(scores: pl.LazyFrame) -> dict[str, str]:
    """Offsets of the first and last event that was scored, of each partition."""
    ends = pl.col("offset").min().alias("first"), pl.col("offset").max().alias("last")
    read = scores.group_by("topic", "partition").agg(*ends).sort("topic", "partition").head(MAX_PARTITIONS).collect()
    return {
        f"records {topic} [{partition}]": f"offsets {first} to {last}" for topic, partition, first, last in read.rows()
    }
