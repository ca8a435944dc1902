"""How well templates agree with the true ones of the public samples: GA and FGA."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import zstandard


@dataclass(frozen=True)
class GroupingAccuracy:
    """Share of lines whose group is exactly a true one (GA), and F1 of the groups themselves (FGA)."""

    lines: float
    templates: float


def grouping_accuracy(found: pl.Series, truth: pl.Series) -> GroupingAccuracy:
    """Both series give one group to each line."""
    pairs = pl.DataFrame({"found": found, "truth": truth}).group_by("found", "truth").len()
    sizes = pairs.select("len", found=pl.col("len").sum().over("found"), truth=pl.col("len").sum().over("truth"))
    exact = sizes.filter((pl.col("found") == pl.col("len")) & (pl.col("truth") == pl.col("len")))
    groups = found.n_unique() + truth.n_unique()
    return GroupingAccuracy(exact["len"].sum() / len(found), 2 * len(exact) / groups)


def unpacked(path: Path) -> bytes:
    """A zstd file's content."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        return stream.read()


def raw_lines(path: Path) -> pl.Series:
    """Lines of a zstd file, as they are."""
    return pl.Series("line", unpacked(path).decode(errors="replace").splitlines())


def hdfs_lines(folder: Path) -> pl.Series:
    """Raw lines of hdfs_raw."""
    return raw_lines(folder / "hdfs.log.zst")


def hdfs_messages(folder: Path) -> tuple[pl.Series, pl.Series]:
    """Messages of hdfs_raw without their header, and their true templates."""
    messages = hdfs_lines(folder).str.replace(r"^\d+ \d+ \d+ \w+ ", "")
    return messages, pl.read_parquet(folder / "line_events.parquet")["event_id"]


def loghub_names(folder: Path) -> list[str]:
    """Systems of loghub_2k, in the order of `loghub_samples`."""
    return [path.parent.name for path in _loghub_files(folder)]


def loghub_samples(folder: Path) -> Iterator[tuple[pl.Series, pl.Series]]:
    """Messages and corrected templates of each system in loghub_2k."""
    for path in _loghub_files(folder):
        table = pl.read_csv(io.BytesIO(unpacked(path)), infer_schema=False).fill_null("")
        yield table["Content"], table["EventTemplate"]


def _loghub_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*_2k.log_structured_corrected.csv.zst"))
