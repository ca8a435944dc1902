"""A history replayed by parts gives the bytes of one process, however it is divided."""

import shutil
from functools import cache

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.model.scorer import open_bundle
from longwatch.pipeline.backtest import Replay
from longwatch.pipeline.config import Config
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.records import Partition
from longwatch.pipeline.setting import Change
from longwatch.pipeline.sharded.plan import parts_of
from support.demo import HOME, demo_model
from support.parts import alone, by_parts, config_of, scores_of, write_history
from support.second_bundle import train_second

FOLLOWING = {"thresholds.follow": "true", "thresholds.default.window.false_alarms_per_day": "30"}
SILENT = {"windows.idle_timeout": "5s"}
ENTITIES = pl.Series([f"host-{number}" for number in range(40)])


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """(configuration, what one process gives, its alerts file) by partitions and settings, each made once."""
    folder = tmp_path_factory.mktemp("history")
    log = write_history(folder / "demo.log")

    @cache
    def made(partitions: int, changes: tuple[tuple[str, str], ...]) -> tuple[Config, Replay, bytes]:
        config = config_of(log, partitions, **dict(changes))
        out = folder / f"one-{partitions}-{len(changes)}-{hash(changes)}"
        done = alone(config, out)
        return config, done, (out / "alerts.parquet").read_bytes()

    return made


@given(st.integers(1, 7), st.integers(1, 12), st.booleans())
def test_each_entity_of_each_partition_is_in_one_part(partitions, processes, by_entity):
    all_partitions = [Partition("logs", "id", number) for number in range(partitions)]
    parts = parts_of(all_partitions, processes, by_entity=by_entity)
    assert len(parts) <= processes
    assert by_entity is False or len(parts) == processes
    for partition in all_partitions:
        own = [part for part in parts if partition in part.partitions]
        assert sum(part.share.own(ENTITIES).cast(int) for part in own).to_list() == [1] * len(ENTITIES)
        assert [part.share.leads for part in own].count(True) == 1
        assert by_entity or len(own) == 1


@settings(max_examples=12, deadline=None)
@given(
    processes=st.integers(1, 7),
    partitions=st.sampled_from([1, 3]),
    changes=st.sampled_from([{}, SILENT, FOLLOWING]),
)
def test_parts_give_the_bytes_of_one_process(history, tmp_path_factory, processes, partitions, changes):
    config, expected, alerts = history(partitions, tuple(changes.items()))
    out = tmp_path_factory.mktemp("parts")
    found = by_parts(config, out, processes)
    assert len(expected.alerts) > 20
    assert found.alerts == expected.alerts
    assert (out / "alerts.parquet").read_bytes() == alerts
    assert scores_of(found).equals(scores_of(expected))
    counts = ("records", "events", "unseen", "late", "dead_letters", "alerts", "suppressed")
    assert [getattr(found.progress, name) for name in counts] == [getattr(expected.progress, name) for name in counts]
    assert min(expected.progress.late, expected.progress.dead_letters) > 5


def test_the_order_of_alerts_does_not_depend_on_the_polls(history, tmp_path, monkeypatch):
    config, _, alerts = history(1, ())
    monkeypatch.setattr("longwatch.pipeline.commands.bounded.open_local", _polling(77))
    alone(config, tmp_path)
    assert (tmp_path / "alerts.parquet").read_bytes() == alerts


def _polling(poll_records: int):
    from longwatch.pipeline.sources.local import open_local

    return lambda config, clock, **_: open_local(config, clock, poll_records=poll_records)


def test_parts_give_the_bytes_of_one_process_where_bundles_were_swapped(history, tmp_path):
    """Each part swaps where it is recorded, reads again what is open, and finds the bundles by their digests."""
    config, plain, _ = history(1, ())
    shutil.copytree(HOME / "bundle", tmp_path / "first")
    second = open_bundle(train_second(tmp_path / "second"))
    config = config.model_copy(update={"bundle": tmp_path / "first"})
    place, limits = ("logs", "topic-uuid", 0), config.thresholds.model_dump(mode="json", exclude_none=True)
    digests = [demo_model().bundle.digest, second.digest, demo_model().bundle.digest]
    changes = [
        Change(*place, offset, False, number, config.digest, limits, [], digest)
        for number, (offset, digest) in enumerate(zip((0, 700, 1600), digests, strict=True), 1)
    ]
    past = Past(changes=changes)
    expected = alone(config, tmp_path / "one", past)
    found = by_parts(config, tmp_path / "parts", 3, past)
    assert {alert.digests.bundle for alert in expected.alerts} == set(digests)
    assert found.alerts == expected.alerts
    assert (tmp_path / "parts" / "alerts.parquet").read_bytes() == (tmp_path / "one" / "alerts.parquet").read_bytes()
    assert scores_of(found).equals(scores_of(expected))
    assert scores_of(found).select("offset", "entity").drop_nulls().is_unique().all()
    assert scores_of(plain).height == scores_of(found).height
