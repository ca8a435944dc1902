"""Template keys to lines: parameters drawn and text joined a column at a time."""

import re
from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.pipeline.demo.trail import seeded
from longwatch.pipeline.demo.wording import TEMPLATES, Template

_PLACE = re.compile(r"\{(\w+)\}")

Uniform = NDArray[np.float64]


def render(seed: int, day: int, events: pl.DataFrame) -> pl.DataFrame:
    """`events` (event_time_ms Int64, entity String, key String, ...) with a String column `line` added, order kept.

    Parameters depend on seed, day (ordinal), template and how many lines of it came before that day, on nothing else.
    """
    parts = [
        group.with_columns(line=_line(TEMPLATES[str(key)], seeded(seed, day, str(key)).random, group.height))
        for (key,), group in events.with_row_index("row").group_by("key", maintain_order=True)
    ]
    return pl.concat(parts).sort("row").drop("row")


def _line(template: Template, random: Callable[[int], Uniform], height: int) -> pl.Expr:
    literals = _PLACE.split(template.text)
    stamp = pl.col("event_time_ms").cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    columns = [stamp, pl.lit(f" {template.level} "), pl.col("entity"), pl.lit(f" {template.service}: ")]
    for index, piece in enumerate(literals):
        columns.append(pl.lit(_PARAMETERS[piece](random, height)) if index % 2 else pl.lit(piece))
    return pl.concat_str(columns)


def _whole(random: Callable[[int], Uniform], height: int, low: int, high: int) -> pl.Series:
    return pl.Series((random(height) * (high - low + 1)).astype(np.int64) + low)


def _joined(*parts: str | pl.Series) -> pl.Series:
    return pl.select(pl.concat_str([pl.lit(part) for part in parts])).to_series()


def _number(random: Callable[[int], Uniform], height: int) -> pl.Series:
    return _whole(random, height, 100, 9999)


def _few(random: Callable[[int], Uniform], height: int) -> pl.Series:
    return _whole(random, height, 1, 9)


def _percent(random: Callable[[int], Uniform], height: int) -> pl.Series:
    return _whole(random, height, 80, 99)


def _skewed(random: Callable[[int], Uniform], height: int) -> pl.Series:
    # A product of two uniforms is skewed as durations are, and unlike a logarithm exact on every machine.
    return pl.Series((random(height) * random(height) * 2000).astype(np.int64) + 3)


def _bytes(random: Callable[[int], Uniform], height: int) -> pl.Series:
    return pl.Series((random(height) * random(height) * 900_000).astype(np.int64) + 200)


def _amount(random: Callable[[int], Uniform], height: int) -> pl.Series:
    return _joined(_whole(random, height, 4, 480), ".", _whole(random, height, 10, 99))


def _identifier(random: Callable[[int], Uniform], height: int) -> pl.Series:
    return _joined("x", _whole(random, height, 10**8, 10**9 - 1))


def _user(random: Callable[[int], Uniform], height: int) -> pl.Series:
    return _joined("u", _whole(random, height, 1000, 1059))


def _address(random: Callable[[int], Uniform], height: int) -> pl.Series:
    return _joined("10.", _whole(random, height, 10, 40), ".", _number(random, height) % 250, ".", _few(random, height))


def _path(random: Callable[[int], Uniform], height: int) -> pl.Series:
    return _joined("/srv/p", _whole(random, height, 10, 60), "/f", _whole(random, height, 1000, 9999))


_PARAMETERS: dict[str, Callable[[Callable[[int], Uniform], int], pl.Series]] = {
    "n": _number,
    "few": _few,
    "pct": _percent,
    "ms": _skewed,
    "bytes": _bytes,
    "amount": _amount,
    "id": _identifier,
    "user": _user,
    "ip": _address,
    "path": _path,
}
