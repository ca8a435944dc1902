"""Finds a set's files and reads them as Polars frames."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from longwatch.pipeline.errors import InputError

JSON_LINE = "json"


def find_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Files of the folder that match a pattern, sorted; InputError for a pattern that matches none."""
    found: list[Path] = []
    for pattern in patterns:
        matches = sorted(path for path in folder.glob(pattern) if path.is_file())
        if not matches:
            raise InputError(f"{folder / pattern}: no such file", "check `folder` and `files`, or give --data")
        found += [path for path in matches if path not in found]
    return found


def read_table(path: Path) -> pl.DataFrame:
    """CSV, JSON lines (both plain, .gz or .zst) or Parquet."""
    names = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".zst", ".gz")]
    kind = names[-1] if names else ""
    try:
        if kind == ".parquet":
            return pl.read_parquet(path)
        if kind == ".csv":
            return pl.read_csv(path, infer_schema_length=10_000)
        if kind in (".jsonl", ".ndjson", ".json"):
            return pl.scan_lines(path, name=JSON_LINE).collect()
    except (OSError, PolarsError) as error:
        raise InputError(f"{path}: cannot be read: {error}", "see that the file is whole") from error
    raise InputError(f"{path}: a table is .parquet, .csv or .jsonl", "raw logs are read with `lines`")


def column(frame: pl.DataFrame, name: str, path: Path) -> pl.Series:
    """A column as text; `column$.path` is what a JSON column holds at that path, `path` what a JSON line does."""
    base, _, inside = name.partition("$")
    if frame.columns == [JSON_LINE] and base != JSON_LINE:
        base, inside = JSON_LINE, f".{name}"
    if base not in frame.columns:
        raise InputError(f"{path}: no column `{base}`", f"columns are {', '.join(frame.columns)}")
    series = frame[base]
    if inside:
        series = series.str.json_path_match(f"${inside}")
    return series.cast(pl.String).fill_null("")
