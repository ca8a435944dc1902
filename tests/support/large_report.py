"""A report of very many alerts: real ones of the demo, each again and again under other names and times."""

from pathlib import Path

import msgspec
import polars as pl

from longwatch.pipeline.alerts import Alert, iso_time
from longwatch.pipeline.report import summary, windows_of
from longwatch.pipeline.report_page.history import History
from longwatch.pipeline.report_page.page import write_report
from longwatch.pipeline.score_log import SCORE_SCHEMA
from longwatch.pipeline.template_columns import TemplateColumns
from support.demo import BUSY, as_records, batch, demo_config, demo_engine, demo_frame, demo_model

START_MS = 1_790_000_000_000
OFFSETS_APART = 1000


def real_alert() -> Alert:
    """The highest alert of two busy demo hours."""
    lines: list[bytes | None] = [line.encode() for line in demo_frame()["line"]]
    engine = demo_engine(demo_config(BUSY))
    records = batch(as_records(lines))
    engine.assign(records.partition, None, 0)
    alerts = [msgspec.json.decode(output.value, type=Alert) for output in engine.process([records]).outputs]
    return max(alerts, key=lambda alert: (alert.lifecycle == "open", alert.score))


def copies(alert: Alert, count: int) -> list[Alert]:
    return [
        msgspec.structs.replace(
            alert,
            alert_id=f"{at:032x}",
            lifecycle="open",
            entity=f"host-{at % 997:03d}",
            score=round(3 + (at * 7919 % 100_003) / 10_000, 4),
            window=msgspec.structs.replace(
                alert.window,
                first_offset=at * OFFSETS_APART,
                last_offset=at * OFFSETS_APART + 1,
                start_time=iso_time(START_MS + at * 1000),
                end_time=iso_time(START_MS + at * 1000 + 500),
                num_events=2,
            ),
            top_events=[msgspec.structs.replace(event, offset=at * OFFSETS_APART) for event in alert.top_events[:3]],
        )
        for at in range(count)
    ]


def scores_of(alerts: list[Alert]) -> pl.LazyFrame:
    """Two events for each alert's window."""
    first = pl.Series("first_offset", [alert.window.first_offset for alert in alerts])
    frame = pl.DataFrame({"first_offset": first, "entity": [alert.entity for alert in alerts]})
    return (
        frame.lazy()
        .with_columns(
            topic=pl.lit(alerts[0].source.topic),
            partition=pl.lit(alerts[0].source.partition),
            offset=pl.concat_list(pl.col("first_offset"), pl.col("first_offset") + 1),
            event_time_ms=START_MS + pl.col("first_offset") // OFFSETS_APART * 1000,
            template_id=pl.lit(int(alerts[0].top_events[0].template_id, 16), pl.UInt64),
            gap_ms=pl.lit(500),
            parameter_chars=pl.lit(0),
            surprise=pl.lit(3.0),
            event_score=pl.lit(2.0),
            window_score=pl.lit(3.0),
            evidence=pl.lit(0),
            new_template=pl.lit(alerts[0].top_events[0].template),
        )
        .explode("offset")
        .select(pl.col(name).cast(dtype) for name, dtype in SCORE_SCHEMA.items())
    )


def write_large_report(path: Path, count: int) -> None:
    alerts = copies(real_alert(), count)
    scores = scores_of(alerts)
    windows, model = windows_of(scores, alerts), demo_model()
    figures = {**summary(windows, None), "records": {"read": 2 * count, "dead_letters": 0, "late": 0}}
    history = History(windows, scores, alerts, None, TemplateColumns(model.templates).texts, model)
    write_report(path, history, figures, "large", {"command": "longwatch backtest"})
