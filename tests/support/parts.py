"""A history that is hard to divide: late events, silences, several partitions; and its replay by parts in turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from longwatch.pipeline.backtest import Replay
from longwatch.pipeline.commands.backtest import replay_history
from longwatch.pipeline.config import Config
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.sharded.merge import replay_in_parts
from longwatch.pipeline.sharded.shard import Done, Task, run_part
from support.demo import BUSY, demo_config, demo_frame, demo_model

WRITTEN = {"source.files.written": "2026-11-30"}
"""So that a line is in the future, or not, whenever the test runs."""


@dataclass(frozen=True)
class InTurn:
    """The parts one after the other, in this process."""

    processes: int

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Done]]:
        """The last first: what comes of it must not depend on who is ready when."""
        for number in reversed(range(len(tasks))):
            yield number, run_part(tasks[number])


def write_history(path: Path, count: int = 2500) -> Path:
    """The demo's lines with disorder beyond the allowed lateness, and lines without a header."""
    lines = demo_frame((9, 11))["line"].head(count).to_list()
    for at in range(40, len(lines), 97):
        lines.insert(at + 60, lines.pop(at))
    for at in range(0, len(lines), 211):
        lines.insert(at, f"no header {at}")
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def config_of(log: Path, partitions: int, **more: str) -> Config:
    """Busy windows over the log as a topic of so many partitions."""
    topic = f"{{name: logs, id: topic-uuid, partitions: {partitions}}}"
    return demo_config({**BUSY, **WRITTEN, "source.files.paths": f"[{log}]", "source.files.as_topic": topic, **more})


def alone(config: Config, out: Path, past: Past | None = None) -> Replay:
    """One process."""
    return replay_history(config, demo_model(), [], None, None, out, past)


def by_parts(config: Config, out: Path, processes: int, past: Past | None = None) -> Replay:
    """So many processes' parts."""
    return replay_in_parts(config, demo_model(), [], None, None, out, past, InTurn(processes))


def scores_of(done: Replay) -> pl.DataFrame:
    """Every score in one order."""
    return done.scores.collect().sort("topic", "partition", "entity", "first_offset", pl.col("offset").fill_null(2**62))
