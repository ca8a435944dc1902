"""The judge: thresholds from normal days, incidents against twins."""

import numpy as np
import pytest

from long_range.catalogue import Catalogue
from long_range.episodes import wanted
from long_range.filler import Filler
from long_range.floors import Rules
from long_range.judge import BEYOND, Exam, auroc, judge, tail_of
from long_range.weave import many

LENGTH = 8192


@pytest.fixture(autouse=True)
def _short_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("long_range.judge.DAY", LENGTH)


@pytest.fixture(scope="module")
def exam(filler: Filler) -> Exam:
    plants = wanted((100, 1000), 2)
    normal = [many(filler, "calibrate", seeds, LENGTH) for seeds in (range(4), range(4, 8))]
    days = [many(filler, "test", range(4), LENGTH, plants, harm) for harm in (True, False)]
    return Exam(*normal, *days, Catalogue(filler.texts).kinds)


def test_who_knows_the_rules_catches_everything_without_a_false_alarm(filler: Filler, exam: Exam) -> None:
    figures = judge(Rules(Catalogue(filler.texts)).broken, exam)
    for cell in figures["distances"].values():
        assert (cell["incidents"], cell["recall"], cell["auroc"]) == (4 * 10, 1.0, 1.0)
    assert figures["alarms_a_day"]["untouched"] == {"1.0": 0.0, "10.0": 0.0}


def test_noise_catches_as_little_as_the_budget_allows_and_has_auroc_of_one_half(exam: Exam) -> None:
    noise = {id(day.events): np.random.default_rng(i).random(LENGTH) for i, day in enumerate(_every(exam))}
    figures = judge(lambda events: noise[id(events)], exam)
    for cell in figures["distances"].values():
        assert cell["recall"] <= 0.1
        assert 0.3 < cell["auroc"] < 0.7


def test_a_false_alarm_rate_is_counted_on_the_untouched_twins(exam: Exam) -> None:
    def score(events: np.ndarray) -> np.ndarray:
        marked = np.zeros(LENGTH)
        if any(events is day.events for day in exam.twins):
            marked[np.flatnonzero(events == np.bincount(events).argmax())[:3]] = 50.0
        return marked

    figures = judge(score, exam)
    assert figures["alarms_a_day"]["untouched"]["1.0"] == 3.0
    assert figures["alarms_a_day"]["harmed_elsewhere"]["1.0"] == 0.0


def test_ties_count_half_in_auroc() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([1.0, 0.0])) == pytest.approx(0.875)


def _every(exam: Exam) -> list:
    return [*exam.levels, *exam.threshold, *exam.harmed, *exam.twins]


def test_a_kind_seen_ten_times_in_normal_days_is_never_called_rarer_than_that_allows() -> None:
    level = tail_of(np.arange(10.0))(np.array([1e6]))
    assert level[0] == pytest.approx(np.log10(11) + BEYOND)
