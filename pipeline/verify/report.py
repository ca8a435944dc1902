"""The verdict for a person."""

from __future__ import annotations

import sys
from typing import TextIO

from longwatch.pipeline.console import sanitise, write_line
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.verify.check import Verdict
from longwatch.pipeline.verify.findings import Fault, Findings

SHOWN = 20

_WORDS = {
    "proven": "proven: every output up to the committed offsets is the replay's, none is missing, none is double",
    "differs": "differs: the output topics are not what a replay of the input gives",
    "unchecked": "cannot be checked: nothing is proven and nothing disproven",
}


def show(verdict: Verdict, stream: TextIO | None = None) -> None:
    """Write it to standard output or `stream`."""
    target = sys.stdout if stream is None else stream
    write_line(_WORDS[verdict.word], target)
    for reason in verdict.reasons:
        write_line(f"  {reason}", target)
    for partition, (start, stop) in verdict.ranges.items():
        write_line(f"  replayed {partition} from {start:,} to {stop:,}", target)
    if verdict.ranges:
        _table(verdict.findings, target)
    for note in _notes(verdict):
        write_line(f"  {note}", target)
    for difference in verdict.findings.differences[:SHOWN]:
        write_line(f"  {difference}", target)
    if (more := verdict.findings.total - SHOWN) > 0:
        write_line(f"  and {more:,} more; --json lists up to a thousand", target)


def _table(findings: Findings, stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("output", "as replayed", *Fault):
        table.add_column(sanitise(name), justify="left" if name == "output" else "right")
    for kind in (each for each in Kind if not each.is_record):
        counts = (findings.checked[kind], *(findings.counts[kind, fault] for fault in Fault))
        table.add_row(kind.value.replace("_", " "), *(f"{count:,}" for count in counts))
    Console(file=stream).print(table)


def _notes(verdict: Verdict) -> list[str]:
    findings = verdict.findings
    counted = {
        "equal but for the last decimal of a score, as other batches give it": findings.rounded,
        "of commits after the checked one, not judged": findings.later.total(),
        "of other input topics, not judged": verdict.of_others,
    }
    return [f"{what}: {count:,}" for what, count in counted.items() if count]
