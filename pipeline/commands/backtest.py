"""`longwatch backtest pipeline.yaml old.log.zst`: history through the worker's own loop, and a report on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

from longwatch.pipeline.assembly import Model, build_engine, open_model, rules_for, window_rules
from longwatch.pipeline.backtest import Replay, replay
from longwatch.pipeline.bundles import Bundles
from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.commands.bounded import bounded_source, event_time_ms
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.configured_settings import settings_of_past
from longwatch.pipeline.console import ProgressReport, days_in_words, write_line
from longwatch.pipeline.errors import UsageError
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.feedback.recorded import read_file
from longwatch.pipeline.labels import Labels, read_labels
from longwatch.pipeline.report import Slice, floors, summary, threshold_sweep, tokens_of, windows_of
from longwatch.pipeline.report_page.history import History
from longwatch.pipeline.report_page.page import write_report
from longwatch.pipeline.report_page.provenance import command_of, provenance
from longwatch.pipeline.sharded.engines import pool_of
from longwatch.pipeline.sharded.merge import replay_in_parts
from longwatch.pipeline.template_columns import TemplateColumns

LOCAL = "local"
REPORT, PROVENANCE = "report.html", "provenance.json"


def backtest(
    config: Path,
    overrides: Mapping[str, str],
    files: list[Path],
    start: str | None,
    end: str | None,
    labels: Path | None,
    out: Path,
    marks: Path | None = None,
    engine: str = LOCAL,
    processes: int | None = None,
) -> int:
    """Replays files, or the configured source, and writes scores, alerts, summary and threshold sweep to `out`."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty folder", "choose another folder with --out")
    loaded = load_config(config, overrides)
    truth = None if labels is None else read_labels(labels)
    model = open_model(loaded)
    in_topic = not files and loaded.source.kafka is not None
    part = Slice() if in_topic else _slice(start, end)
    past = None if marks is None else read_file(marks).past()
    pool = None if engine == LOCAL else pool_of(engine, processes)
    if pool is None:
        done = replay_history(loaded, model, files, start, end, out, past)
    else:
        done = replay_in_parts(loaded, model, files, start, end, out, past, pool)
    windows = part.keep(windows_of(done.scores, done.alerts))
    texts = texts_of(loaded, model, past)
    figures = report(done, model, truth, windows, out, texts)
    write_line(render(figures))
    if len(windows) and not figures["alerts"]:
        highest = float(windows["score"].max())  # type: ignore[arg-type]
        write_line(f"no alert: the highest window score is {highest:.2f}; needed was {thresholds_of(loaded, model)}")
        write_line(f"{out / 'thresholds.csv'} and the report say what a lower threshold would have given")
    write_line(f"scores, alerts, summary and threshold sweep: {out}")
    if len(windows):
        options = {"start": start, "end": end, "labels": labels, "marks": marks, "out": out}
        read = [*_read_files(loaded, files), *(each for each in (labels, marks) if each is not None)]
        # Not the engine: it changes nothing of what is written.
        told = provenance(command_of(config, files, options, overrides), loaded, model, read, done.scores)
        (out / PROVENANCE).write_text(json.dumps(told, indent=2) + "\n")
        history = History(windows, done.scores, done.alerts, truth, texts, model, loaded.masking.masker())
        write_report(out / REPORT, history, figures, loaded.pipeline, told)
        write_line(f"report, to open in a browser: {out / REPORT}")
    return 0


def replay_history(
    config: Config,
    model: Model,
    files: list[Path],
    start: str | None,
    end: str | None,
    out: Path,
    past: Past | None = None,
) -> Replay:
    """Replay with progress; scores and alerts go to `out`."""
    settings = settings_of_past(config, model, past)
    engine = build_engine(
        config, model, instance="backtest", keep_scores=True, past=past, masked=False, settings=settings
    )
    with (
        closing(bounded_source(config, files, start, end)) as source,
        ProgressReport("replaying", unit="records") as progress,
    ):
        return replay(
            source,
            engine,
            SystemClock(),
            out,
            idle_timeout_ms=window_rules(config.windows).idle_timeout_ms,
            on_progress=lambda now: progress.reach(now.records),
            masker=config.masking.masker(),
        )


def texts_of(config: Config, model: Model, past: Past | None) -> dict[int, str]:
    """Of all templates that a score may name: those of every bundle that judged a part of the history."""
    texts, bundles = TemplateColumns(model.templates).texts, Bundles(config, model)
    recorded = {change.bundle[:16] for change in (past.changes if past is not None else ()) if change.bundle}
    for bundle in sorted(recorded):
        texts |= TemplateColumns(bundles.model(bundle).templates).texts
    return texts


def report(
    done: Replay, model: Model, truth: Labels | None, windows: pl.DataFrame, out: Path, texts: Mapping[int, str]
) -> dict[str, Any]:
    """Figures of the windows that begin within the slice, also written to `out`."""
    figures = summary(windows, truth)
    figures["records"] = {
        "read": done.progress.records,
        "dead_letters": done.progress.dead_letters,
        "late": done.progress.late,
        "suppressed": done.progress.suppressed,
    }
    if truth is not None and len(windows):
        tokens = tokens_of(done.scores, windows, texts)
        figures["floors"] = floors(windows, tokens, model.bundle.evidence, truth)
    (out / "summary.json").write_text(json.dumps(figures, indent=2) + "\n")
    windows.write_parquet(out / "windows.parquet")
    if len(windows):
        threshold_sweep(windows, truth).write_csv(out / "thresholds.csv")
    return figures


def render(figures: Mapping[str, Any]) -> str:
    """The figures for a person."""
    lines = [
        f"{figures['events']:,} events in {figures['windows']:,} windows over {days_in_words(figures['days'])}: "
        f"{figures['alerts']} alerted{_a_day(figures)}; "
        f"{figures['records']['dead_letters']} dead letters, {figures['records']['late']} late"
        + (f", {silent} alert messages silenced" if (silent := figures["records"]["suppressed"]) else "")
    ]
    if (found := figures.get("detection")) is not None:
        lines.append(f"{found['units']:,} judged, {found['anomalous']} of them anomalous")
        rows = [("longwatch", found["auroc"], found, "threshold from normal validation")]
        rows += [
            (name, floor["auroc"], floor["any"], f"any at all; best F1 in hindsight {floor['f1_in_hindsight']}")
            for name, floor in figures.get("floors", {}).items()
        ]
        lines += [
            f"  {name:14} AUROC {_shown(area)}  F1 {rates['f1']:.3f}  precision {rates['precision']:.3f}  "
            f"recall {rates['recall']:.3f}  false alarms {rates['false_alarms']}  ({how})"
            for name, area, rates, how in rows
        ]
        lines.append(f"  median delay to the alert: {found['delay_events_median']} events")
    return "\n".join(lines)


def _a_day(figures: Mapping[str, Any]) -> str:
    """What that is a day; nothing for less than a day, of which nobody knows the rest."""
    return f" ({figures['alerts_per_day']:.3g} a day)" if figures["days"] >= 1 else ""


def thresholds_of(config: Config, model: Model) -> str:
    """What an alert would have needed."""
    notes = [
        (rule.name, kind, note)
        for rule in rules_for(config, model.bundle.calibration)
        for kind, note in rule.thresholds.items()
    ]
    return ", ".join(f"{kind} score {note.value:.2f} (rule {name})" for name, kind, note in notes)


def _read_files(config: Config, files: list[Path]) -> list[Path]:
    return list(files) or list(config.source.files.paths if config.source.files is not None else ())


def _shown(area: float | None) -> str:
    return "-" if area is None else f"{area:.4f}"


def _slice(start: str | None, end: str | None) -> Slice:
    """Files are read whole, so that windows have their history; the times say which windows are reported on."""
    return Slice(*(None if text is None else event_time_ms(text) for text in (start, end)))
