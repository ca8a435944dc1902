"""One process's part of a backtest: the engine and the worker's loop over it, and all that came of it, in one piece.

In one piece, so that a process that dies is simply run again: nothing of it was taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from longwatch.pipeline.assembly import build_engine, open_model, window_rules
from longwatch.pipeline.backtest import run_through
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.commands.bounded import bounded_source
from longwatch.pipeline.config import Config
from longwatch.pipeline.configured_settings import settings_of_past
from longwatch.pipeline.console import set_up_logging
from longwatch.pipeline.errors import BundleUnusableError
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.progress import Progress
from longwatch.pipeline.sharded.plan import Part


@dataclass(frozen=True)
class Task:
    """What a process needs to know; `offsets` are the ranges of a topic, fixed once for all of them."""

    config: Config
    files: tuple[Path, ...]
    now_ms: int
    bundle: str
    part: Part
    past: Past | None = None
    offsets: Mapping[int, tuple[int, int]] | None = None


@dataclass(frozen=True)
class Done:
    """Alert messages as JSON, score files as bytes, and what was counted."""

    alerts: list[bytes]
    scores: list[bytes]
    progress: Progress


def run_part(task: Task) -> Done:
    """Replays the task's part of the history.

    Raises:
        BundleUnusableError: this machine's bundle is another one.
    """
    set_up_logging(level="warning")
    model = open_model(task.config)
    if model.bundle.digest != task.bundle:
        raise BundleUnusableError(
            f"{task.config.bundle}: {model.bundle.digest[:16]} here, {task.bundle[:16]} where the backtest was started",
            "every machine must see the same folder",
        )
    engine = build_engine(
        task.config,
        model,
        instance="backtest",
        keep_scores=True,
        past=task.past,
        masked=False,
        share=task.part.share,
        settings=settings_of_past(task.config, model, task.past),
    )
    clock = ManualClock(task.now_ms)
    idle_ms = window_rules(task.config.windows).idle_timeout_ms
    with (
        TemporaryDirectory(prefix="longwatch-part-") as folder,
        closing(bounded_source(task.config, task.files, clock=clock, offsets=_own_ranges(task))) as source,
    ):
        scores = Path(folder) / "scores"
        outputs, progress = run_through(
            source, engine, clock, scores, idle_timeout_ms=idle_ms, partitions=task.part.partitions
        )
        files = [path.read_bytes() for path in sorted(scores.iterdir())]
    return Done([output.value for output in outputs], files, progress)


def _own_ranges(task: Task) -> Mapping[int, tuple[int, int]] | None:
    """The ranges of the part's partitions; of the others nothing, so that they are not read."""
    if task.offsets is None:
        return None
    own = {partition.partition for partition in task.part.partitions}
    return {each: (start, end if each in own else start) for each, (start, end) in task.offsets.items()}
