"""The real engine, windows and detector, with a light scorer and a decoder of short lines: a poll costs a millisecond.

A value is `event_time_ms entity word`; anything else is rejected. Words are template ids of a small fixed vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.model.scorer import Calibration, Evidence, WindowTokens, template_id
from longwatch.pipeline.alert_builder import AlertBuilder
from longwatch.pipeline.alerts import Digests, ThresholdNote
from longwatch.pipeline.assembly import window_rules
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.decode import Decoded
from longwatch.pipeline.detector import Detector, Rule
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.reading import Reading
from longwatch.pipeline.records import EVENT_SCHEMA, REJECT_SCHEMA
from longwatch.pipeline.setting import Change, Setting, Settings
from longwatch.pipeline.share import WHOLE, Share
from support.windows import TEMPLATES, make_tokens

WORDS = TEMPLATES[:8]
IDS = [template_id(text) for text in WORDS]
BUNDLES = ("b" * 64, "d" * 64)
SETTINGS = "out.settings"


class ShortLines:
    """Decodes `event_time_ms entity word`, row by row."""

    def decode(self, frame: pl.DataFrame) -> Decoded:
        events, rejected = [], []
        for offset, timestamp, value in zip(frame["offset"], frame["timestamp_ms"], frame["value"], strict=True):
            words = (value or b"").split(b" ")
            if len(words) == 3 and words[0].isdigit():
                entity, message = words[1].decode(), words[2].decode()
                events.append((offset, timestamp, int(words[0]), entity, message, f"{entity} {message}"))
            else:
                rejected.append((offset, "header_mismatch", "not a short line"))
        return Decoded(
            pl.DataFrame(events, schema=EVENT_SCHEMA, orient="row"),
            pl.DataFrame(rejected, schema=REJECT_SCHEMA, orient="row"),
        )


class Words:
    """Template columns of messages that are a number: the place of their text in `WORDS`, `shift` further on."""

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift

    def add(self, events: pl.DataFrame, _share: Share = WHOLE) -> pl.DataFrame:
        places = [(int(message) + self.shift) % len(WORDS) for message in events["message"]]
        return events.with_columns(
            pl.Series("template_id", [IDS[place] for place in places], pl.UInt64),
            pl.Series("template", [WORDS[place] for place in places], pl.String),
            pl.Series("parameter_chars", [0] * len(places), pl.Int32),
            pl.Series("is_new", [False] * len(places), pl.Boolean),
        )


class LightScorer:
    """Surprise as a pure function of a token and the one before it."""

    name = "light"

    def score(self, tokens: WindowTokens) -> NDArray[np.float32]:
        ids = tokens.template_id
        before = np.concatenate([[np.uint64(0)], ids[:-1]])
        before[tokens.cu_seqlens[:-1][tokens.lengths > 0]] = 0
        surprise = ((ids >> np.uint64(7)) ^ (before >> np.uint64(11))) % np.uint64(9)
        return surprise[tokens.unscored_rows()].astype(np.float32)


@cache
def simulated_config(*, swaps: bool = False) -> Config:
    """The pipeline that every simulated worker runs."""
    return load_config(Path(__file__).with_name("pipeline.yaml"), {"reload.topic": SETTINGS} if swaps else {})


@cache
def _detector(bundle: str = "bundle") -> Detector:
    tokens = make_tokens([12] * 40, seed=1, end=True)
    evidence = Evidence.fit(tokens)
    calibration = Calibration.fit(LightScorer().score(tokens), evidence.signs(tokens), tokens, days=1.0)
    notes = {
        kind: ThresholdNote(calibration.threshold(kind, quantile=quantile), "quantile", quantile, 1.0)
        for kind, quantile in (("event", 0.85), ("window", 0.5))
    }
    texts = dict(zip(IDS, WORDS, strict=True))
    builder = AlertBuilder(Digests(bundle, "config", "templates"), texts, evidence.names, 2, include_lines=True)
    return Detector(LightScorer(), evidence, calibration, [Rule("default", thresholds=notes)], builder)


@cache
def setting_of(bundle: int) -> Setting:
    """The configuration under one of the two bundles, which read other templates from the same word."""
    notes = _detector()._setting.rules  # the calibration is the same, so are the thresholds
    return Setting("c" * 64, BUNDLES[bundle], notes)


class _Light:
    """Bundles by digest, without a folder."""

    def reading(self, bundle: str) -> Reading:
        place = next(at for at, each in enumerate(BUNDLES) if each.startswith(bundle))
        return Reading(bundle, Words(3 * place), _detector(BUNDLES[place]))  # type: ignore[arg-type]

    def setting(self, _change: Change | None, bundle: str, /) -> Setting:
        return setting_of(next(at for at, each in enumerate(BUNDLES) if each.startswith(bundle)))


def swapping_engine(own: int, recorded: Sequence[Change] = ()) -> Engine:
    """An engine that began with one of the two bundles, and may be swapped; with `recorded` it replays."""
    light, digests = _Light(), (BUNDLES[own], "c" * 64)
    first = light.reading(BUNDLES[own][:16])
    rules = window_rules(simulated_config().windows)
    known = Settings(setting_of(own), light.setting, None, recorded)  # type: ignore[arg-type]
    return Engine(
        ShortLines(),  # type: ignore[arg-type]
        first.templates,
        rules,
        first.detector,
        digests,
        settings=known,
        readings=light.reading,
    )


def light_engine() -> Engine:
    """A fresh engine; scorer and calibration are shared, as they hold no state."""
    digests = ("b" * 16, "c" * 16)
    return Engine(ShortLines(), Words(), window_rules(simulated_config().windows), _detector(), digests)  # type: ignore[arg-type]
