"""Records as a source gives them, and a decoder for them from settings as YAML would hold them."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from longwatch.pipeline.config import Entity, Format
from longwatch.pipeline.decode import Decoded, Decoder
from longwatch.pipeline.records import RECORD_SCHEMA

ARRIVAL_MS = 1_700_000_000_000


def records(
    values: Sequence[bytes | None], arrival_ms: int = ARRIVAL_MS, keys: Sequence[bytes | None] | None = None
) -> pl.DataFrame:
    """`RECORD_SCHEMA` frame with offsets from 0."""
    rows = len(values)
    columns = {"offset": range(rows), "timestamp_ms": [arrival_ms] * rows, "key": keys or [None] * rows}
    return pl.DataFrame({**columns, "value": list(values)}, schema=RECORD_SCHEMA)


def decoder_of(settings: dict[str, Any], entity: dict[str, Any]) -> Decoder:
    """The decoder of `format:` and `entity:`."""
    return Decoder(Format.model_validate(settings), Entity.model_validate(entity))


def reasons(decoded: Decoded) -> dict[int, str]:
    """Reason of each rejected offset."""
    return dict(decoded.rejected.select("offset", "reason").iter_rows())
