"""`longwatch feedback export pipeline.yaml`: marks and where they took effect, for a backtest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from longwatch.pipeline.config import load_config
from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import UsageError
from longwatch.pipeline.feedback.recorded import read_record


def feedback_export(config: Path, overrides: Mapping[str, str], out: Path) -> int:
    """Writes one JSON object."""
    record = read_record(load_config(config, overrides))
    try:
        out.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}", "choose another file with --out") from error
    write_line(f"{len(record.entries)} entries, in force since {len(record.effects)} places: {out}")
    write_line(f"replay them: longwatch backtest {config} --marks {out}")
    return 0
