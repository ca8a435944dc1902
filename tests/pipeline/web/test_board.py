"""What the page shows is what the worker did: counts, open windows, scores reached, and bounded however much comes."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.assembly import build_engine
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.sinks.memory import MemoryStore
from longwatch.pipeline.web.board import SEEN_EVERY, Board, Throughput
from longwatch.pipeline.web.entities import BUCKET_MS, BUCKETS, EntityTrails
from longwatch.pipeline.web.page import thresholds
from longwatch.pipeline.web.seen import KINDS, STEP, SeenScores
from longwatch.pipeline.worker import Worker, WorkerSettings
from support.demo import BUSY, LOGS, as_records, batch, demo_config, demo_frame, demo_model

NUM = 3000
CONFIG = demo_config(BUSY)


def fresh() -> Engine:
    engine = build_engine(CONFIG, demo_model())
    engine.assign(LOGS, None, 0)
    return engine


def told(step: int, *watching: Any) -> Engine:
    engine = fresh()
    lines = [line.encode() for line in demo_frame((9, 11))["line"][:NUM]]
    for start in range(0, NUM, step):
        result = engine.process([batch(as_records(list(lines[start : start + step]), start))])
        for each in watching:
            for item in result.touched:
                each(item)
    return engine


def final_scores() -> list[tuple[str, float, float]]:
    """(entity, highest event score, highest window score) of every window, from the score frames of one big poll."""
    engine = build_engine(CONFIG, demo_model(), keep_scores=True)
    engine.assign(LOGS, None, 0)
    lines = [line.encode() for line in demo_frame((9, 11))["line"][:NUM]]
    result = engine.process([batch(as_records(list(lines)))])
    return [
        (
            item.window.entity,
            float(item.window.detection.scores.event.max()),
            float(item.window.detection.scores.window[-1]),
        )
        for item in result.touched
        if item.window.detection is not None and item.window.detection.num_scores
    ]


@pytest.mark.parametrize("step", [250, NUM])
def test_windows_that_reach_a_threshold_are_counted_whatever_the_polls(step):
    seen = SeenScores()
    told(step, seen.add)
    expected = final_scores()
    found = {kind: (windows, reaching) for _, kind, windows, reaching in seen.reaching()}
    for place, kind in enumerate(KINDS, start=1):
        windows, reaching = found[kind]
        assert windows == len(expected)
        scores = np.array([each[place] for each in expected])
        for at, count in enumerate(reaching):
            # A score within float noise of the multiple may fall on either side of it.
            near = int((np.abs(scores - at * STEP) < 1e-3).sum())
            assert abs(int((scores >= at * STEP).sum()) - count) <= near, (kind, at)


def test_open_windows_are_those_that_the_engine_has_and_let_go_ones_are_gone():
    seen = SeenScores()
    engine = told(500, seen.add)
    assert 0 < len(seen.highest_open(1000)) <= engine.num_open_windows
    highest = [row.highest for row in seen.highest_open(5)]
    assert highest == sorted(highest, reverse=True)
    seen.forget([LOGS])
    assert seen.highest_open(10) == []


def test_entities_are_ranked_by_their_surprise_and_fade_with_time():
    trails = EntityTrails()
    told(500, lambda item: trails.add(item, 0))
    ranked = trails.highest(5, 0)
    assert [max(each[1]) for each in ranked] == sorted((max(each[1]) for each in ranked), reverse=True)
    assert ranked[0][1][-1] > 0
    moved = trails.highest(5, 3 * BUCKET_MS)
    assert moved[0][1][-4] == ranked[0][1][-1]
    assert all(max(each[1]) == 0 for each in trails.highest(50, BUCKETS * BUCKET_MS))


def test_more_entities_than_remembered_push_out_those_heard_of_first():
    trails = EntityTrails(most=3)
    order: list[str] = []

    def add(item: Touched) -> None:
        trails.add(item, 0)
        order.append(item.window.entity)

    told(NUM, add)
    assert {each[0] for each in trails.highest(10, 0)} == set(list(dict.fromkeys(reversed(order)))[:3])


def test_throughput_is_by_second_and_bounded():
    throughput = Throughput(100.0)
    for second in range(1, 700):
        throughput.reach(second * 10, 100.0 + second)
    assert throughput.rate == 10
    assert len(throughput.by_second) == 300
    assert set(throughput.by_second) == {10}


class _Ended:
    """A source of the demo's lines that ends."""

    exhausted = False

    def __init__(self) -> None:
        lines = [line.encode() for line in demo_frame((9, 11))["line"][:NUM]]
        self._batches = [batch(as_records(list(lines[at : at + 500]), at)) for at in range(0, NUM, 500)]

    def poll(self) -> list[Any]:
        self.exhausted = len(self._batches) == 0
        return [] if self.exhausted else [self._batches.pop(0)]

    def seek(self, partition: object, offset: int) -> None: ...

    def start(self, partition: object) -> int:
        return 0

    def readable_from(self, partition: object) -> int:
        return 0

    def at_end(self, partition: object) -> bool:
        return self.exhausted

    def known_ends(self) -> dict[Any, int]:
        return {LOGS: NUM + 70}

    def close(self) -> None: ...


def test_a_workers_snapshot_says_what_it_did_and_its_feed_holds_what_it_committed():
    clock, store, engine = ManualClock(), MemoryStore(), build_engine(CONFIG, demo_model())
    board = Board(clock)
    worker = Worker(_Ended(), engine, store, clock, WorkerSettings(commit_interval_s=0.0), watch=board)
    worker.assigned([LOGS])
    while not worker.step():
        clock.advance(600)
        worker._watch.told(worker._state())
    clock.advance(600)
    for _ in range(SEEN_EVERY):
        worker._watch.told(worker._state())
        clock.advance(600)
    content = board.snapshot.content
    assert content["records"] == NUM
    assert content["lagTotal"] == 70
    assert content["alerts"] == len([each for each in store.outputs if each.kind.holds_alert])
    assert [entry.value for entry in board.feed.after(0)[0]] == [
        each.value for each in store.outputs if each.kind.holds_alert
    ][-1000:]
    assert content["seen"]["counts"]


def test_the_slider_knows_what_each_threshold_in_force_costs():
    model = demo_model()
    from longwatch.pipeline.assembly import rules_for

    rules = list(rules_for(CONFIG, model.bundle.calibration))
    told_of = thresholds(rules, model.bundle.calibration)
    for each in told_of["inForce"]:
        note = rules[0].thresholds[each["kind"]]
        curve = told_of["normalPerDay"][each["kind"]]
        below, above = int(np.floor(note.value / STEP)), int(np.ceil(note.value / STEP))
        assert curve[above] * 0.999 <= note.expected_per_day <= curve[below] * 1.001
        assert all(left >= right for left, right in pairwise(curve))
