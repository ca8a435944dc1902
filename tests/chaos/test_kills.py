"""Promise 1: kill -9 at random moments, whatever it hits, loses no output, doubles none and changes none."""

import pytest

from chaos.kills import run

pytestmark = pytest.mark.broker

SEED = 6


def test_30_kills_at_random_moments_lose_nothing_and_double_nothing(kafka, tmp_path, record_property):
    report = run(kafka, tmp_path, kills=30, seed=SEED)
    record_property("report", report.as_json())
    again = f"make chaos-kills KILLS=30 SEED={SEED}"
    assert not report.difference, f"{report.difference}\nto repeat: {again}"
    assert report.killed.count >= 30
    # Which steps random moments hit is reported, and left to chance; test_crash_points hits each of them.
    assert len(report.killed.at) > 1, report.as_json()
    assert min(report.expected.kinds[name] for name in ("alerts", "dlq", "late")) > 0
