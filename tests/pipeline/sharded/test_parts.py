"""A history replayed by parts gives the bytes of one process, however it is divided."""

from functools import cache

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwatch.pipeline.backtest import Replay
from longwatch.pipeline.config import Config
from longwatch.pipeline.records import Partition
from longwatch.pipeline.sharded.plan import parts_of
from support.parts import alone, by_parts, config_of, scores_of, write_history

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
