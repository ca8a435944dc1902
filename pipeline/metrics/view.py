"""Two scrapes as one screen: how it stands, where its time goes, what is behind. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from longwatch.pipeline.console import sanitise
from longwatch.pipeline.metrics.scrape import Scrape
from longwatch.pipeline.stages import Stage

MOST_ROWS = 24


@dataclass(frozen=True)
class Moment:
    """A scrape, when it was taken in seconds of any clock, and why the process is not ready."""

    scrape: Scrape
    at: float
    reasons: Sequence[str] = ()


def screen(before: Moment | None, now: Moment) -> Group:
    """Rates are since `before`; without it, since the start."""
    is_relay = any(about.get("role") == "relay" for _, about, _ in now.scrape.samples("longwatch_up_info"))
    parts = _relay_parts(before, now) if is_relay else _worker_parts(before, now)
    return Group(_headline(now), *parts)


def _worker_parts(before: Moment | None, now: Moment) -> Iterable[Table]:
    rates = {
        "records/s": "longwatch_records_total",
        "events/s": "longwatch_events_total",
        "dead letters/s": "longwatch_dead_letters_total",
        "late/s": "longwatch_late_events_total",
        "commits/s": "longwatch_commits_total",
        "aborts/s": "longwatch_aborted_commits_total",
    }
    gauges = {"open windows": "longwatch_open_windows", "pending": "longwatch_pending_outputs"}
    yield _numbers(before, now, rates, gauges)
    yield _stages(before, now)
    yield _partitions(now)
    yield _table(
        ("rule", "kind", "lifecycle", "alerts"),
        ((*key, f"{count:,.0f}") for key, count in _top(now, "longwatch_alerts_total", "rule", "kind", "lifecycle")),
    )


def _relay_parts(before: Moment | None, now: Moment) -> Iterable[Table]:
    rates = {"messages/s": "longwatch_relay_messages_total", "commits/s": "longwatch_commits_total"}
    gauges = {"pending": "longwatch_relay_pending_messages", "reading paused": "longwatch_relay_paused"}
    yield _numbers(before, now, rates, gauges)
    tries = _grown(before, now, "longwatch_relay_deliveries_total", "target", "outcome")
    waiting = now.scrape.by("longwatch_relay_waiting_messages", "target")
    names = sorted({target for target, _ in tries})
    yield _table(
        ("target", "delivered/s", "failed/s", "refused/s", "waiting"),
        (
            (
                name,
                *(f"{tries.get((name, outcome), 0.0):,.1f}" for outcome in ("delivered", "failed", "refused")),
                f"{waiting.get((name,), 0.0):,.0f}",
            )
            for name in names[:MOST_ROWS]
        ),
    )
    yield _partitions(now)


def _headline(now: Moment) -> Text:
    about: Mapping[str, str] = next((has for _, has, _ in now.scrape.samples("longwatch_up_info")), {})
    bundle: Mapping[str, str] = next((has for _, has, _ in now.scrape.samples("longwatch_bundle_info")), {})
    words = [about.get(key, "") for key in ("role", "pipeline", "instance", "version")]
    text = Text(sanitise(" ".join(word for word in words if word)), style="bold")
    if bundle:
        text.append(sanitise(f"  bundle {bundle.get('bundle', '')}  config {bundle.get('config', '')}"), style="dim")
    why = "; ".join(now.reasons)
    text.append(f"\nnot ready: {sanitise(why)}" if why else "\nready", style="red" if why else "green")
    return text


def _numbers(before: Moment | None, now: Moment, rates: Mapping[str, str], gauges: Mapping[str, str]) -> Table:
    cells = [f"{sum(_grown(before, now, name).values()):,.1f}" for name in rates.values()]
    cells += [f"{sum(now.scrape.by(name).values()):,.0f}" for name in gauges.values()]
    return _table((*rates, *gauges), [cells])


def _stages(before: Moment | None, now: Moment) -> Table:
    """Seconds of each stage in a second, and how long one takes."""
    seconds = _grown(before, now, "longwatch_stage_seconds_sum", "stage")
    counts = _grown(before, now, "longwatch_stage_seconds_count", "stage")
    rows = []
    for stage in Stage:
        took, times = seconds.get((stage.value,), 0.0), counts.get((stage.value,), 0.0)
        rows.append((stage.value, f"{took:.1%}", f"{took / times * 1000:,.2f}" if times else "-"))
    return _table(("stage", "of the time", "ms each"), rows)


def _partitions(now: Moment) -> Table:
    """Those that are furthest behind."""
    columns = {
        "lag": "longwatch_lag_records",
        "seconds behind": "longwatch_watermark_delay_seconds",
        "replay": "longwatch_replay_records",
    }
    found = {title: now.scrape.by(name, "topic", "partition") for title, name in columns.items()}
    keys = sorted({key for values in found.values() for key in values}, key=lambda key: -found["lag"].get(key, 0.0))
    rows = (
        (f"{topic}[{partition}]", *(_number(found[title].get((topic, partition))) for title in columns))
        for topic, partition in keys[:MOST_ROWS]
    )
    return _table(("partition", *columns), rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _top(now: Moment, name: str, *labels: str) -> list[tuple[tuple[str, ...], float]]:
    found = [(key, count) for key, count in now.scrape.by(name, *labels).items() if count]
    return sorted(found, key=lambda item: (-item[1], item[0]))[:MOST_ROWS]


def _grown(before: Moment | None, now: Moment, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Growth a second; a counter that fell has begun again."""
    values = now.scrape.by(name, *labels)
    started = sum(now.scrape.by("process_start_time_seconds").values())
    earlier = {} if before is None else before.scrape.by(name, *labels)
    restarted = before is not None and started != sum(before.scrape.by("process_start_time_seconds").values())
    seconds = now.at - (started if before is None else before.at)
    gone = {} if restarted else earlier
    return {key: max(0.0, value - gone.get(key, 0.0)) / max(seconds, 1e-3) for key, value in values.items()}


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(sanitise(cell)) for cell in row))
    return table
