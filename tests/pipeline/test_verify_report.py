"""The verdict for people and machines."""

import io
import json

import pytest

from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.records import Partition
from longwatch.pipeline.verify.check import Verdict
from longwatch.pipeline.verify.findings import KEPT, Difference, Fault, Findings
from longwatch.pipeline.verify.report import SHOWN, show

RANGES = {Partition("logs", "id", 0): (0, 1200)}


def differing(count: int) -> Verdict:
    findings = Findings()
    for place in range(count):
        findings.add(Difference(Fault.MISSING, Kind.ALERT, "", f"logs[0]@{place}", "alert\x1b[2J"))
    return Verdict(findings=findings, ranges=RANGES)


def shown(verdict: Verdict) -> str:
    stream = io.StringIO()
    show(verdict, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("verdict", "code", "word"),
    [
        (Verdict(ranges=RANGES), 0, "proven"),
        (differing(1), 1, "differs"),
        (Verdict(reasons=["why"]), 2, "unchecked"),
    ],
)
def test_the_exit_code_is_the_verdict(verdict, code, word):
    assert (verdict.exit_code, verdict.word) == (code, word)


def test_a_reason_outweighs_what_was_found():
    verdict = differing(3)
    verdict.reasons.append("another bundle")
    assert verdict.exit_code == 2
    assert "another bundle" in shown(verdict)


def test_the_report_is_short_however_much_is_wrong():
    text = shown(differing(5000))
    assert len(text.splitlines()) < SHOWN + 15
    assert "and 4,980 more" in text
    assert "1,200" in text


def test_differences_are_all_counted_and_a_thousand_kept():
    found = differing(5000).as_dict()
    assert found["outputs"]["alert"]["missing"] == 5000
    assert len(found["differences"]) == KEPT
    json.dumps(found)


def test_what_an_alert_carries_cannot_steer_the_terminal():
    assert "\x1b" not in shown(differing(1))


def test_what_was_not_judged_is_noted():
    verdict = Verdict(ranges=RANGES, of_others=7)
    verdict.findings.later[Kind.ALERT] = 3
    assert "of commits after the checked one, not judged: 3" in shown(verdict)
    assert "of other input topics, not judged: 7" in shown(verdict)
