"""One fault of each kind among 100,000 alerts is found, in memory that does not grow with their number."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.verify.comparison import Comparison
from longwatch.pipeline.verify.findings import Fault, Findings
from longwatch.pipeline.verify.ledger import Ledger
from longwatch.pipeline.verify.record import Content, Written
from support.verifying import PARTITIONS, contents, scope

COUNT = 100_000
DROPPED, DOUBLED, CHANGED, SWAPPED = 20_001, 40_001, 60_001, 80_001


def outputs(count: int) -> Iterator[Output]:
    """So many alerts, each of its own id and record."""
    template = msgspec.json.decode(contents()[0].value, type=Alert)
    for place in range(count):
        source = msgspec.structs.replace(template.source, partition=0, trigger_offset=place)
        alert = msgspec.structs.replace(template, alert_id=f"{place:032x}", revision=1, source=source)
        yield Output(Kind.ALERT, PARTITIONS[0], place, alert.alert_id.encode(), alert.encode())


def with_faults(count: int) -> Iterator[Content]:
    held: Content | None = None
    for place, output in enumerate(outputs(count)):
        content = Content.of(output)
        if place == CHANGED:
            content = Content(content.key, _flipped(content.value), ())
        if place == SWAPPED:
            held = content
            continue
        if place != DROPPED:
            yield content
        if place == DOUBLED:
            yield content
        if held is not None:
            yield held
            held = None


def _flipped(value: bytes) -> bytes:
    at = value.index(b'"entity":"') + len(b'"entity":"')
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


def findings(folder: Path, contents_: Iterator[Content], count: int) -> Findings:
    with closing(Ledger(folder / "written.db")) as ledger:
        made = Comparison(scope(), ledger)
        for offset, content in enumerate(contents_):
            made.found(Kind.ALERT, Written("alerts", 0, offset, content))
        for output in outputs(count):
            made.expected(output)
        return made.finish()


def test_each_of_four_faults_in_a_hundred_thousand_alerts_is_found(tmp_path):
    found = findings(tmp_path, with_faults(COUNT), COUNT)
    causes = {each.fault: each.cause for each in found.differences}
    assert {fault: found.counts[Kind.ALERT, fault] for fault in Fault} == {
        Fault.MISSING: 1,
        Fault.DOUBLED: 1,
        Fault.CHANGED: 1,
        Fault.REORDERED: 1,
        Fault.EXTRA: 0,
    }
    assert causes[Fault.MISSING].endswith(f"@{DROPPED}")
    assert causes[Fault.DOUBLED].endswith(f"@{DOUBLED}")
    assert causes[Fault.CHANGED].endswith(f"@{CHANGED}")
    assert causes[Fault.REORDERED].endswith(f"@{SWAPPED}")
    assert found.checked[Kind.ALERT] == COUNT - 2


def test_memory_does_not_grow_with_the_alerts(tmp_path):
    """Peak memory of 4,000 and of 20,000 alerts, of 2 KB each, in a process of its own."""
    peaks = {count: int(_in_a_process(tmp_path / str(count), count)) for count in (4_000, 20_000)}
    assert peaks[20_000] - peaks[4_000] < 8_000, peaks


def _in_a_process(folder: Path, count: int) -> str:
    folder.mkdir()
    code = (
        "import resource, sys; from pathlib import Path; sys.path[:0] = sys.argv[3:]; import test_verify_scale as t\n"
        "from longwatch.pipeline.verify.record import Content\n"
        "count = int(sys.argv[2]); found = t.findings(Path(sys.argv[1]), map(Content.of, t.outputs(count)), count)\n"
        "assert found.total == 0; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    done = subprocess.run([sys.executable, "-c", code, folder, str(count), *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
