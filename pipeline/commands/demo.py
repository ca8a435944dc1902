"""`longwatch demo`: a made-up company's day and a half through the real worker, alerts as they come, then the score."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from time import monotonic

import msgspec

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import build_engine, open_model, window_rules
from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.commands.run import stopped_by_signals
from longwatch.pipeline.config import load_config
from longwatch.pipeline.console import sanitise, write_line
from longwatch.pipeline.demo.generator import DEMO_DAYS, DEMO_FIRST_DAY, generate
from longwatch.pipeline.demo.incidents import Incident, incidents
from longwatch.pipeline.demo.verdict import judge
from longwatch.pipeline.embedded_worker import open_embedded_worker
from longwatch.pipeline.errors import UsageError
from longwatch.pipeline.progress import Progress
from longwatch.pipeline.worker import WorkerSettings

LINE_CHARACTERS = 110


def demo(seed: int, days: int | None, out: Path | None) -> int:
    """Generates the log, watches it with the shipped bundle, prints alerts and what was caught, missed and false."""
    length = DEMO_DAYS if days is None else max(float(days), DEMO_DAYS)
    with ExitStack() as stack:
        folder = (
            Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="longwatch-demo-"))) if out is None else out
        )
        if out is not None and ((out / "demo.db").exists() or out.is_file()):
            raise UsageError(f"{out} is a file, or holds an earlier demo", "choose another folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        home = stack.enter_context(as_file(files("longwatch.pipeline.demo")))
        shutil.copy(home / "demo.yaml", folder / "demo.yaml")
        lines = write_log(folder / "demo.log", seed, length)
        write_line(f"{lines:,} lines of a made-up company, {length:g} days from {DEMO_FIRST_DAY}, seed {seed}")
        started = monotonic()
        alerts, progress = watch(folder, home / "bundle")
        planted = incidents(seed, DEMO_FIRST_DAY)
        _say(alerts, planted, progress, monotonic() - started, length)
        if out is not None:
            write_line(f"log, configuration, alerts and database: {out}")
    return 0


def write_log(path: Path, seed: int, days: float) -> int:
    """Writes the scored period's lines; gives how many."""
    count = 0
    with path.open("w") as file:
        for hour in generate(seed, DEMO_FIRST_DAY, days, incidents=True, deploy=True):
            file.writelines(f"{line}\n" for line in hour["line"])
            count += len(hour)
    return count


def watch(folder: Path, bundle: Path) -> tuple[list[Alert], Progress]:
    """Runs the embedded worker of `folder`/demo.yaml to the end of its log; every alert message, in commit order."""
    config = load_config(folder / "demo.yaml", {"bundle": str(bundle)})
    engine = build_engine(config, open_model(config), instance="demo")
    settings = WorkerSettings(0.5, until_end=True, idle_timeout_ms=window_rules(config.windows).idle_timeout_ms)
    alerts: list[Alert] = []
    started = monotonic()

    def show(values: Sequence[bytes]) -> None:
        for value in values:
            alert = msgspec.json.decode(value, type=Alert)
            alerts.append(alert)
            if alert.lifecycle == "open":
                write_line(_headline(alert, monotonic() - started))

    with (
        stopped_by_signals() as stop,
        open_embedded_worker(config, engine, SystemClock(), settings, deliver=[show]) as worker,
    ):
        progress = worker.run(stop)
    return alerts, progress


def _headline(alert: Alert, seconds: float) -> str:
    top = alert.top_events[0]
    why = ", ".join(top.evidence) or f"surprise {top.surprise:.1f} nats"
    what = sanitise(top.line or top.template)[:LINE_CHARACTERS]
    return (
        f"[{seconds:5.1f} s] ALERT {sanitise(alert.entity)} {alert.kind} score {alert.score:.1f} "
        f"(threshold {alert.threshold.value:.1f}) after {alert.window.num_events} events, {alert.window.end_time}\n"
        f"          {what}\n          {why}"
    )


def _say(alerts: Sequence[Alert], planted: Sequence[Incident], progress: Progress, seconds: float, days: float) -> None:
    verdict = judge(alerts, planted)
    write_line("")
    for incident, alert in verdict.caught:
        delay = f"first alert {alert.window.end_time}, score {alert.score:.1f}"
        write_line(f"  caught  {incident.name} on {incident.entity} [{incident.kind}]: {delay}")
    for incident in verdict.missed:
        write_line(f"  missed  {incident.name} on {incident.entity} [{incident.kind}]: {incident.description}")
    for alert in verdict.false:
        write_line(f"  false   {alert.entity}, {alert.kind} score {alert.score:.1f}, {alert.window.end_time}")
    write_line(
        f"{len(verdict.caught)} of {len(planted)} incidents caught, {len(verdict.false)} false alarms "
        f"({len(verdict.false) / days:.1f} a day); {progress.records:,} lines in {seconds:.1f} s "
        f"({progress.records / seconds:,.0f} a second, CPU, ONNX Runtime)"
    )
