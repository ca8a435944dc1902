"""What a model is trained on is what the live worker would have scored."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from longwatch.pipeline.assembly import window_rules
from longwatch.pipeline.config import Config
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.history import History, Selection, drain, read_leaves, read_windows
from longwatch.pipeline.packing import has_end
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.template_columns import TemplateColumns
from support.demo import ARRIVAL_MS, BUSY, demo_config, demo_engine, demo_frame, demo_model

EVENT = ["entity", "first_offset", "offset", "template_id", "event_time_ms"]
IDLE = {"windows.idle_timeout": "5s"}
ALL = Selection()


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """Two thousand lines, among them three that cannot be read and one that is late."""
    lines = demo_frame((9, 11))["line"].head(2000).to_list()
    for place, line in ((40, "no header here"), (300, ""), (1500, "\x00")):
        lines.insert(place, line)
    lines.insert(900, lines[10])
    path = tmp_path_factory.mktemp("log") / "demo.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def source_of(log: Path, poll_records: int = 4096) -> FilesSource:
    return FilesSource([log], TopicShape("logs", "uuid", 1), arrival_ms=ARRIVAL_MS, poll_records=poll_records)


def read(log: Path, config: Config, selection: Selection = ALL, poll_records: int = 4096) -> History:
    decoder, templates = Decoder(config.format, config.entity), TemplateColumns(demo_model().templates)
    return read_windows(source_of(log, poll_records), decoder, templates, window_rules(config.windows), selection)


def events_of(history: History) -> pl.DataFrame:
    """One row for each event that training has a target for; a window's end has no offset."""
    rows = []
    for window in history.windows:
        columns = window.columns
        for row in range(window.context, len(columns)):
            place = [int(columns[name][row]) for name in ("offset", "template_id", "event_time_ms")]
            rows.append((window.entity, window.first_offset, *place))
    schema = {"entity": pl.String, "first_offset": pl.Int64, "offset": pl.Int64, "template_id": pl.UInt64}
    return pl.DataFrame(rows, schema=schema | {"event_time_ms": pl.Int64}, orient="row").sort(EVENT)


def live_scores(log: Path, config: Config, poll_records: int) -> pl.DataFrame:
    """Every score that the live engine gives for the same records; with `idle_timeout` it closes the rest."""
    engine = demo_engine(config, keep_scores=True)
    source = source_of(log, poll_records)
    for partition in source.partitions:
        engine.assign(partition, None, 0)
    frames = [frame for batch in drain(source) for frame in engine.process([batch]).score_frames]
    if config.windows.idle_timeout is not None:
        frames += engine.close_idle(source.partitions[0]).score_frames
    return pl.concat(frames)


@pytest.mark.parametrize("overrides", [BUSY, BUSY | IDLE], ids=["left open", "closed by silence"])
def test_the_windows_read_are_those_that_the_engine_scores(log, overrides):
    config = demo_config(overrides)
    history, live = read(log, config), live_scores(log, config, poll_records=170)
    assert events_of(history).equals(live.filter(pl.col("offset").is_not_null()).select(EVENT).sort(EVENT))
    ends = {(window.entity, window.first_offset) for window in history.windows if has_end(window)}
    assert ends == set(live.filter(pl.col("offset").is_null()).select("entity", "first_offset").iter_rows())
    assert len(ends) >= 3


def test_the_tokens_trained_on_get_the_surprise_that_live_events_get(log):
    config = demo_config(BUSY | IDLE)
    history, live = read(log, config), live_scores(log, config, poll_records=170)
    surprise = demo_model().scorer.score(history.tokens())
    keys = [
        (window.entity, window.first_offset, at)
        for window in history.windows
        for at in [*window.columns["offset"][window.context :].tolist(), *([None] if has_end(window) else [])]
    ]
    found = dict(zip(keys, surprise.tolist(), strict=True))
    expected = {(entity, first, at): value for entity, first, at, value in live.select(*EVENT[:3], "surprise").rows()}
    assert found.keys() == expected.keys()
    assert max(abs(found[key] - expected[key]) for key in keys) < 1e-4


@pytest.mark.parametrize("size", [13, 333])
def test_windows_do_not_depend_on_the_poll_size(log, size):
    config = demo_config(BUSY)
    assert events_of(read(log, config, poll_records=size)).equals(events_of(read(log, config)))


def test_records_that_could_not_be_used_are_counted(log):
    history = read(log, demo_config(BUSY))
    assert (history.records, history.rejected, history.late) == (2004, 3, 1)


def test_a_windows_times_are_those_of_its_own_events_not_of_its_context(log):
    history = read(log, demo_config(BUSY))
    starts, ends = history.times()
    assert any(window.context for window in history.windows)
    for window, start, end in zip(history.windows, starts, ends, strict=True):
        times = window.columns["event_time_ms"][window.context :]
        assert (start, end) == (times[0], times[-1])
    assert [times.dtype for times in History().times()] == [np.int64, np.int64]


def test_excluded_entities_and_events_from_until_on_are_left_out(log):
    frame = demo_frame((9, 11)).head(2000)
    until = int(frame["event_time_ms"][1200])
    history = read(log, demo_config(BUSY), Selection({"vpn-01", "web-02"}, until))
    kept = frame.filter((pl.col("event_time_ms") < until) & ~pl.col("entity").is_in(["vpn-01", "web-02"]))
    events = events_of(history)
    assert (
        events["entity"]
        .value_counts(sort=True, name="n")
        .sort("entity")
        .equals(kept["entity"].value_counts(sort=True, name="n").sort("entity"))
    )
    assert events["event_time_ms"].max() < until


def test_leaves_are_a_set_whatever_the_poll_size_and_only_of_kept_events(log):
    config = demo_config()
    masks = [mask.pattern for mask in config.templates.masks]
    decoder = Decoder(config.format, config.entity)
    whole = read_leaves(source_of(log), decoder, masks, ALL)
    assert whole == read_leaves(source_of(log, 57), decoder, masks, ALL)
    without = read_leaves(source_of(log), decoder, masks, Selection({"vpn-01"}))
    assert without < whole


def test_all_templates_come_with_their_text(log):
    tokens = read(log, demo_config(BUSY)).tokens()
    assert set(tokens.template_id.tolist()) <= set(tokens.templates)
