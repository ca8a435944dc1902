"""`longwatch verify pipeline.yaml`: proves on the cluster itself that nothing was lost, doubled or changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.config import load_config
from longwatch.pipeline.console import ProgressReport, write_line
from longwatch.pipeline.errors import UsageError


def verify(config: Path, overrides: Mapping[str, str], as_json: bool) -> int:
    """0 proven, 1 differences found, 2 cannot be checked; only reads, so a worker may run meanwhile."""
    loaded = load_config(config, overrides)
    source, sink = loaded.source.kafka, loaded.sink.kafka
    if source is None or sink is None:
        raise UsageError(f"{config} has no source.kafka with sink.kafka", "`verify` compares topics: nothing else has")
    from longwatch.pipeline.verify.check import check
    from longwatch.pipeline.verify.report import show

    with _progress() as report:
        verdict = check(loaded, source, sink, SystemClock(), report)
    if as_json:
        write_line(json.dumps(verdict.as_dict(), indent=2))
    else:
        show(verdict)
    return verdict.exit_code


@contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    """Each step's progress on standard error, one after the other."""
    steps: dict[str, ProgressReport] = {}

    def report(step: str, done: int) -> None:
        if step not in steps:
            _end(steps)
            steps[step] = ProgressReport(step).__enter__()
        steps[step].reach(done)

    try:
        yield report
    finally:
        _end(steps)


def _end(steps: dict[str, ProgressReport]) -> None:
    for step in list(steps):
        steps.pop(step).__exit__(None, None, None)
