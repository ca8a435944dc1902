"""The report's alerts as columns, and for the highest of them every event around the one that stands out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from msgspec import UnsetType

from longwatch.pipeline.alerts import Alert, TopEvent
from longwatch.pipeline.masking.alert import masked
from longwatch.pipeline.packing import END_ID
from longwatch.pipeline.report import WINDOW
from longwatch.pipeline.report_page.history import History, shown

MAX_EVENTS, MAX_OPENED = 200_000, 5_000
BEFORE, AFTER = 160, 40
_LAST = 1 << 62


@dataclass
class Words:
    """Texts that come again and again, each written once; its number stands for it."""

    texts: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """Number of a text."""
        if text not in self.numbers:
            self.numbers[text] = len(self.texts)
            self.texts.append(text)
        return self.numbers[text]


def alert_rows(history: History) -> dict[str, Any]:
    """One row an alert, as it stood last; the highest with the events `around` them, as far as the limits go."""
    words = Words()
    anomalous = {row[:4]: row[4] for row in history.marked.select(*WINDOW, "anomalous").iter_rows()}
    rows = [_row(_shown(history, life), anomalous[key_of(life[-1])], words) for life in history.alerts]
    columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    around = dict(_surroundings(history, words))
    return {"count": len(rows), "columns": columns, "around": around, "words": words.texts}


def _shown(history: History, life: list[Alert]) -> list[Alert]:
    """The first and the last message, masked."""
    return [masked(life[at], history.masker) for at in (0, -1)]


def key_of(alert: Alert) -> tuple[str, int, str, int]:
    """The alert's window as the score log names it."""
    return alert.source.topic, alert.source.partition, alert.entity, alert.window.first_offset


def _row(life: list[Alert], anomalous: bool | None, words: Words) -> dict[str, Any]:
    first, last = life[0], life[-1]
    return {
        "id": last.alert_id,
        "entity": words.number(shown(last.entity)),
        "rule": words.number(shown(f"{last.rule}/{last.kind}")),
        "opened": time_ms(first.window.end_time),
        "score": round(last.score, 2),
        "threshold": round(last.threshold.value, 2),
        "events": last.window.num_events,
        "span": [time_ms(last.window.start_time), time_ms(last.window.end_time)],
        "source": [words.number(shown(last.source.topic)), last.source.partition, first.source.trigger_offset],
        "closed": words.number(last.window.closed_by or ""),
        "true": anomalous,
        "top": [_top(event, words) for event in last.top_events],
    }


def _top(event: TopEvent, words: Words) -> list[Any]:
    line = "" if event.line is None else shown(event.line)
    evidence = words.number(", ".join(event.evidence))
    texts = words.number(shown(event.template)), evidence, line
    scores = round(event.surprise, 2), round(event.score, 2)
    return [event.offset, time_ms(event.event_time), *texts, *scores, *_usual(event, words)]


def _usual(event: TopEvent, words: Words) -> list[Any]:
    """[template before, how often it was followed, [template, share] of what follows it], where an alert says so."""
    if isinstance(event.expected, UnsetType):
        return []
    instead = [[words.number(shown(each.template)), each.share] for each in event.expected.instead]
    return [[words.number(shown(event.expected.after)), event.expected.times, instead]]


def _surroundings(history: History, words: Words) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row of the alert, its events) from the highest score down."""
    chosen = _affordable(history)
    keys = [key_of(history.alerts[at][-1]) for at in chosen]
    names = {"topic": pl.String, "partition": pl.Int64, "entity": pl.String, "first_offset": pl.Int64}
    wanted = pl.DataFrame(sorted(set(keys)), schema=names, orient="row")
    windows = history.all_scores.join(wanted.lazy(), on=WINDOW, how="semi").collect()
    parts = windows.sort(pl.col("offset").fill_null(_LAST)).partition_by(WINDOW, as_dict=True)
    for at, key in zip(chosen, keys, strict=True):
        yield at, _around(history, history.alerts[at][-1], parts[key], words)


def _affordable(history: History) -> list[int]:
    """Rows of the alerts with the highest scores, as many as `MAX_EVENTS` and `MAX_OPENED` allow."""
    ranked = sorted(range(len(history.alerts)), key=lambda at: (-history.alerts[at][-1].score, at))
    chosen, events = [], 0
    for at in ranked[:MAX_OPENED]:
        events += min(history.alerts[at][-1].window.num_events, BEFORE + AFTER)
        if events > MAX_EVENTS:
            break
        chosen.append(at)
    return chosen


def _around(history: History, alert: Alert, window: pl.DataFrame, words: Words) -> dict[str, Any]:
    """Events of the window from some before the one that stands out most to some after it."""
    offsets = window["offset"].fill_null(_LAST).to_list()
    top = alert.top_events[0].offset if alert.top_events else alert.window.last_offset
    place = min(offsets.index(_LAST if top is None else top), len(offsets) - 1)
    first = max(0, place - BEFORE)
    rows = window.slice(first, place + AFTER - first)
    templates = [words.number(history.template(key)) for key in rows["template_id"].to_list()]
    return {
        "skipped": [first, len(window) - first - len(rows)],
        "place": place - first,
        "time": (rows["event_time_ms"] - rows["event_time_ms"][0]).to_list(),
        "start": rows["event_time_ms"][0],
        "template": templates,
        "end": rows["template_id"][-1] == END_ID,
        "surprise": [round(value, 2) for value in rows["surprise"].to_list()],
        "score": [round(value, 2) for value in rows["event_score"].to_list()],
        "evidence": rows["evidence"].to_list(),
        "offset": rows["offset"].to_list(),
    }


def time_ms(text: str) -> int:
    """Epoch ms of an alert's time."""
    moment = datetime.fromisoformat(text)
    return round(moment.timestamp() * 1000)
