"""The worker's own loop over past records: every score and alert on disk, and the same as live."""

import msgspec
import polars as pl
import pytest

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.backtest import ROWS_PER_FILE, Replay, ScoreFiles, alert_frame, replay
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.commands.bounded import bounded_source
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.score_log import SCORE_SCHEMA
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from support.demo import ARRIVAL_MS, BUSY, LOGS, as_records, batch, demo_config, demo_engine, demo_frame

SHAPE = TopicShape(LOGS.topic, LOGS.topic_id, 1)
IDLE = BUSY | {"windows.idle_timeout": "5s"}


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return demo_frame((9, 10))["line"].head(1200).to_list()


@pytest.fixture(scope="module")
def log(lines, tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "demo.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def run(log, folder, overrides: dict[str, str], poll_records: int = 4096) -> Replay:
    config = demo_config(overrides)
    timeout = config.windows.idle_timeout
    source = FilesSource([log], SHAPE, arrival_ms=ARRIVAL_MS, poll_records=poll_records)
    engine = demo_engine(config, keep_scores=True)
    idle_ms = None if timeout is None else timeout.ms
    return replay(source, engine, ManualClock(ARRIVAL_MS), folder, idle_timeout_ms=idle_ms)


def scores_frame(rows: int) -> pl.DataFrame:
    columns = {name: pl.Series([0] * rows).cast(kind) for name, kind in SCORE_SCHEMA.items()}
    return pl.DataFrame(columns).with_columns(pl.int_range(rows, dtype=pl.Int64).alias("offset"))


def test_a_replay_raises_the_alerts_that_live_raised(log, lines, tmp_path):
    engine = demo_engine(demo_config(BUSY))
    engine.assign(LOGS, None, 0)
    records = as_records([line.encode() for line in lines])
    live = [
        msgspec.json.decode(output.value, type=Alert)
        for start in range(0, len(records), 70)
        for output in engine.process([batch(records.slice(start, 70))]).outputs
        if output.kind is Kind.ALERT
    ]
    found = run(log, tmp_path, BUSY).alerts
    expected = {(alert.alert_id, alert.revision): alert for alert in live}
    assert len(found) == len(expected) > 20
    for alert in found:
        other = expected[alert.alert_id, alert.revision]
        assert (alert.lifecycle, alert.window, alert.source) == (other.lifecycle, other.window, other.source)
        assert alert.score == pytest.approx(other.score, abs=2e-4)


@pytest.mark.parametrize("overrides", [BUSY, IDLE], ids=["left open", "closed by silence"])
def test_every_event_is_scored_once_and_the_end_of_history_is_silence_only_with_idle_timeout(log, overrides, tmp_path):
    done = run(log, tmp_path, overrides, poll_records=300)
    scores = done.scores.collect()
    assert sorted(scores["offset"].drop_nulls()) == list(range(1200))
    assert done.progress.records == 1200
    idle = {alert.window.closed_by for alert in done.alerts} >= {"partition_idle"}
    assert idle == (overrides is IDLE)


def test_lines_ahead_of_the_clock_are_read_where_the_configuration_says_when_the_log_was_written(log, lines, tmp_path):
    first = demo_frame((9, 10))["event_time_ms"][0]

    def put_aside(minutes: int, **written: str) -> int:
        config = demo_config({"source.files.paths": f"[{log}]", "format.max_future": "1m"} | written)
        clock = ManualClock(first + minutes * 60_000)
        folder = tmp_path / f"{minutes} {len(written)}"
        source = bounded_source(config, clock=clock)
        return replay(source, demo_engine(config), clock, folder, idle_timeout_ms=None).progress.dead_letters

    assert 0 < put_aside(20) < put_aside(10) < len(lines)
    assert put_aside(10, **{"source.files.written": "2026-11-02"}) == 0


def test_alerts_are_on_disk_one_row_a_message(log, tmp_path):
    done = run(log, tmp_path, BUSY)
    written = pl.read_parquet(tmp_path / "alerts.parquet")
    assert written.equals(alert_frame(done.alerts))
    for row, alert in zip(written.iter_rows(named=True), done.alerts, strict=True):
        same = ("alert_id", "revision", "lifecycle", "rule", "kind", "entity", "score")
        assert [row[name] for name in same] == [getattr(alert, name) for name in same]
        assert (row["first_offset"], row["num_events"]) == (alert.window.first_offset, alert.window.num_events)
        assert row["trigger_offset"] == alert.source.trigger_offset
        assert [top["offset"] for top in msgspec.json.decode(row["top_events"])] == [t.offset for t in alert.top_events]


def test_no_alerts_and_no_records_still_give_files_with_their_columns(tmp_path):
    (tmp_path / "empty.log").write_text("")
    done = run(tmp_path / "empty.log", tmp_path / "out", BUSY)
    assert done.alerts == []
    assert done.scores.collect().schema == SCORE_SCHEMA
    assert pl.read_parquet(tmp_path / "out" / "alerts.parquet").schema == alert_frame([]).schema


def test_scores_are_written_in_bounded_files_in_order_and_none_is_lost(tmp_path):
    files = ScoreFiles(tmp_path)
    part = scores_frame(400_000)
    for _ in range(6):
        files([part])
    files.flush()
    written = [pl.read_parquet(path) for path in sorted(tmp_path.glob("*.parquet"))]
    assert [len(frame) for frame in written] == [1_200_000, 1_200_000, 0]
    assert max(len(frame) for frame in written) < ROWS_PER_FILE + len(part)
    assert written[0]["offset"].to_list()[::400_000] == [0, 0, 0]
