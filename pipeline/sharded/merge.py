"""Parts of a backtest put together: the same alerts in the same order as one process, every score once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path

from longwatch.pipeline.assembly import Model
from longwatch.pipeline.backtest import Replay, written
from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.commands.bounded import bounded_source
from longwatch.pipeline.config import Config
from longwatch.pipeline.console import ProgressReport
from longwatch.pipeline.errors import UsageError
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.progress import Progress
from longwatch.pipeline.sharded.engines import Pool
from longwatch.pipeline.sharded.plan import parts_of
from longwatch.pipeline.sharded.shard import Done, Task
from longwatch.pipeline.sources.range import RangeSource
from longwatch.pipeline.sources.stdin import StdinSource


def replay_in_parts(
    config: Config,
    model: Model,
    files: Sequence[Path],
    start: str | None,
    end: str | None,
    out: Path,
    past: Past | None,
    pool: Pool,
) -> Replay:
    """Replay by the pool's processes; scores and alerts go to `out`."""
    tasks = tasks_of(config, model, files, start, end, past, pool.processes)
    folder, done = out / "scores", list[Done]()
    folder.mkdir(parents=True, mode=0o700)
    with ProgressReport("replaying", len(tasks), unit="parts") as progress:
        for number, part in pool.run(tasks):
            for at, content in enumerate(part.scores):
                (folder / f"part-{number:03d}-{at:05d}.parquet").write_bytes(content)
            done.append(Done(part.alerts, [], part.progress))
            progress.advance()
    alerts = [alert for part in done for alert in part.alerts]
    return written(alerts, total([part.progress for part in done]), out, config.masking.masker())


def tasks_of(
    config: Config,
    model: Model,
    files: Sequence[Path],
    start: str | None,
    end: str | None,
    past: Past | None,
    processes: int,
) -> list[Task]:
    """One for each process, with one moment as the present and one end of each partition for all."""
    clock = SystemClock()
    with closing(bounded_source(config, files, start, end, clock=clock)) as source:
        if isinstance(source, StdinSource):
            raise UsageError("standard input can be read by one process only", "name files, or leave --engine out")
        ranges: Mapping[int, tuple[int, int]] | None = None
        if isinstance(source, RangeSource):
            ranges = {partition.partition: both for partition, both in source.ranges.items()}
        parts = parts_of(source.partitions, processes, by_entity=not config.thresholds.follow)
    paths = tuple(path.absolute() for path in files)
    now_ms = clock.now_ms()
    return [Task(config, paths, now_ms, model.bundle.digest, part, past, ranges) for part in parts]


def total(counted: Sequence[Progress]) -> Progress:
    """What all parts did."""
    return Progress(**{each.name: sum(getattr(part, each.name) for part in counted) for each in fields(Progress)})
