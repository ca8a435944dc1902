"""A worker's life under bundles that change, its replay, and what is due: told by plain runs that know of no swap."""

import itertools
from collections import defaultdict
from typing import Any

import msgspec
import polars as pl

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import Model, build_engine
from longwatch.pipeline.bundles import Bundles
from longwatch.pipeline.checkpoint import Position, decode_position
from longwatch.pipeline.config import Config
from longwatch.pipeline.configured_settings import recorded_settings
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.setting import Change, Setting
from support.demo import BUSY, LOGS, batch, demo_config
from support.marking import alerts_of

QUIET = {"thresholds.default.event.false_alarms_per_day": "60"}
LOUD, SOFT = demo_config(BUSY), demo_config(BUSY | QUIET)
END = 1 << 60
Message = tuple[Any, ...]


class Life:
    """A worker's life as its store sees it: only what is committed lasts, and each life may have other files."""

    def __init__(self, records: pl.DataFrame, models: tuple[Model, Model], wanted: Setting) -> None:
        self.records, self.models, self.kept = records, models, list[Output]()
        self.position: Position | None = None
        self.start(wanted)

    def start(self, wanted: Setting) -> None:
        own = next(model for model in self.models if model.bundle.digest == wanted.bundle)
        self.engine = swapping_engine(self.models, own, LOUD if wanted.digest == LOUD.digest else SOFT)
        assert self.engine.settings is not None
        self.engine.settings.learn(changes_of(self.kept))
        self.wanted, self.pending = wanted, list[Output]()
        self.at = self.engine.assign(LOGS, self.position, 0)

    def step(self, size: int) -> None:
        """One round of the loop."""
        self.pending += self.engine.adopt(self.wanted).outputs
        part = self.records.slice(self.at, size)
        self.pending += self.engine.process([batch(part)] if len(part) else []).outputs
        self.at += len(part)
        if self.engine.swaps:
            self.commit()
            self.at = self.engine.swap(LOGS)

    def commit(self) -> None:
        if found := self.engine.positions():
            self.kept += self.pending
            self.position = decode_position(LOGS, found[LOGS].next_offset, found[LOGS].encode_metadata())
            self.pending = []

    def finish(self) -> list[Output]:
        while self.at < len(self.records) or self.engine.rebuilding:
            self.step(500)
        self.step(1)
        self.commit()
        return self.kept


def swapping_engine(
    models: tuple[Model, Model], own: Model, config: Config, changes: list[Change] | None = None
) -> Engine:
    bundles = Bundles(config, own)
    for model in models:
        bundles.add(model)
    return build_engine(config, own, instance="test", settings=recorded_settings(config, own, changes or [], bundles))


def replayed(records: pl.DataFrame, models: Any, own: Model, changes: list[Change], cuts: list[int]) -> list[Output]:
    """As `verify` and `backtest` do it: from the start, by what was recorded alone."""
    engine = swapping_engine(models, own, LOUD, changes)
    at, outputs = engine.assign(LOGS, None, 0), list[Output]()
    while True:
        while engine.swaps:
            at = engine.swap(LOGS)
        if at >= len(records):
            return [*outputs, *engine.process([]).outputs]
        stop = min((each for each in [*cuts, len(records)] if each > at), default=len(records))
        outputs += engine.process([batch(records.slice(at, stop - at))]).outputs
        at = stop


def live(records: pl.DataFrame, models: Any, plan: dict[int, Setting], cuts: list[int]) -> list[Output]:
    life = Life(records, models, plan[0])
    for start, stop in itertools.pairwise(sorted({*plan, *cuts, len(records)})):
        life.wanted = plan.get(start, life.wanted)
        life.step(0)
        while life.engine.rebuilding:
            life.step(start - life.at)
        life.step(stop - start)
    return life.finish()


def changes_of(outputs: list[Output]) -> list[Change]:
    return [msgspec.json.decode(each.value, type=Change) for each in outputs if each.kind is Kind.CHANGE]


def essence(outputs: list[Output]) -> list[bytes]:
    return sorted(each.value for each in outputs if each.kind is Kind.ALERT)


def tenures(changes: list[Change]) -> list[tuple[str, int, int]]:
    """Of each bundle in turn: from which offset on, and up to which."""
    ordered = sorted(changes, key=lambda each: each.number)
    swaps = [each for at, each in enumerate(ordered) if at == 0 or ordered[at - 1].bundle != each.bundle]
    ends = [*(each.offset for each in swaps[1:]), END]
    return [(each.bundle, each.offset, end) for each, end in zip(swaps, ends, strict=True)]


def said(alert: Alert) -> Message:
    window = alert.window
    return alert.entity, window.first_offset, alert.kind, alert.revision, alert.source.trigger_offset, alert.score


def due(plain: dict[str, list[Alert]], changes: list[Change]) -> list[Message]:
    """What opens or goes on: of each tenure, what its bundle says of all records with a trigger within it."""
    return sorted(
        said(alert)
        for bundle, start, end in tenures(changes)
        for alert in plain[bundle]
        if start <= alert.source.trigger_offset < end and alert.lifecycle != "close"
    )


def check_lives(alerts: list[Alert], changes: list[Change]) -> None:
    """Each alert opens once and first, ends at most once and last, and is of one bundle."""
    by_id = defaultdict(list)
    for alert in alerts:
        by_id[alert.alert_id].append(alert)
    borders = {start for _, start, _ in tenures(changes)[1:]}
    for messages in by_id.values():
        messages.sort(key=lambda each: each.revision)
        lifecycles = [each.lifecycle for each in messages]
        assert lifecycles[0] == "open"
        assert set(lifecycles[1:-1]) <= {"update"}
        assert lifecycles[-1] in ("open", "update", "close")
        assert len({each.digests.bundle for each in messages}) == 1
        opened, last = messages[0].source.trigger_offset, messages[-1].source.trigger_offset
        crossed = [at for at in borders if opened < at <= last]
        assert crossed in ([], [last]), "an alert was said across a swap"
        if crossed:
            assert messages[-1].lifecycle == "close"


def left_open(alerts: list[Alert]) -> set[str]:
    last = {alert.alert_id: alert for alert in sorted(alerts, key=lambda each: each.revision)}
    return {each.alert_id for each in last.values() if each.lifecycle != "close"}


def check(outputs: list[Output], plain: dict[str, list[Alert]]) -> None:
    """The whole rule, for a run under one configuration."""
    alerts, changes = alerts_of(outputs), changes_of(outputs)
    assert sorted(said(each) for each in alerts if each.lifecycle != "close") == due(plain, changes)
    assert len({(each.alert_id, each.revision) for each in alerts}) == len(alerts)
    check_lives(alerts, changes)
    final = tenures(changes)[-1][1]
    opened = {each.alert_id: each.source.trigger_offset for each in alerts if each.lifecycle == "open"}
    assert all(opened[each] >= final for each in left_open(alerts)), "a bundle that went left an alert open"
