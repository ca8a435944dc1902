"""A worker's metrics say what it did: counted at the commit, without a label that an input could fill."""

import threading
from collections import Counter

import msgspec
import pytest

from longwatch.pipeline.alerts import Alert
from longwatch.pipeline.assembly import build_engine
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.metrics.families import WORKER, families
from longwatch.pipeline.metrics.health import Limits, Pulse
from longwatch.pipeline.metrics.worker import MOST_REASONS, WorkerMetrics, bounded
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition
from longwatch.pipeline.sinks.memory import MemoryStore
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.stages import Stage
from longwatch.pipeline.worker import Worker, WorkerSettings
from support.aborting_store import AbortingStore
from support.demo import ARRIVAL_MS, BUSY, demo_config, demo_frame, demo_model
from support.scraping import labels_of, names_in, scrape_of

CONFIG = demo_config(BUSY)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    lines = demo_frame((9, 10))["line"].head(1200).to_list()
    lines[100] = "no such header"
    lines[200] = lines[200].partition(": ")[0] + ": a line that no training has ever seen"
    path = tmp_path_factory.mktemp("log") / "demo.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def watched(log, store):
    """A worker's run to the end of the log, and the scrape after it."""
    clock = ManualClock(ARRIVAL_MS)
    metrics = WorkerMetrics(Pulse(clock, Limits()), clock)
    decoder = Decoder(CONFIG.format, CONFIG.entity)
    source = FilesSource([log], TopicShape("logs", "uuid", 1), decoder, arrival_ms=ARRIVAL_MS, poll_records=100)
    engine = build_engine(CONFIG, demo_model(), timed=metrics.timed)
    worker = Worker(source, engine, store, clock, WorkerSettings(0.0), watch=metrics, timed=metrics.timed)
    worker.assigned(source.partitions)
    worker.run(threading.Event())
    return scrape_of(metrics.collectors.registry)


@pytest.fixture(scope="module")
def calm(log):
    store = MemoryStore()
    return watched(log, store), store


def test_counters_agree_with_what_was_committed(calm):
    said, store = calm
    alerts = [msgspec.json.decode(output.value, type=Alert) for output in store.of(Kind.ALERT)]
    assert said.value("longwatch_records_total") == 1200
    assert said.value("longwatch_events_total") == 1199
    assert said.value("longwatch_dead_letters_total") == 1
    assert labels_of(said, "longwatch_dead_letters_total") == {(("reason", "header_mismatch"),)}
    assert said.value("longwatch_late_events_total") == len(store.of(Kind.LATE))
    for (rule, kind, lifecycle), count in Counter((a.rule, a.kind, a.lifecycle) for a in alerts).items():
        assert said.value("longwatch_alerts_total", rule=rule, kind=kind, lifecycle=lifecycle) == count
    assert said.value("longwatch_alerts_total") == len(alerts) > 0
    assert 0 < said.value("longwatch_unseen_template_events_total") < 1199


def test_an_aborted_commit_counts_its_records_again_and_its_outputs_once(log, calm):
    store = AbortingStore(aborts={2, 3, 7})
    said = watched(log, store)
    assert said.value("longwatch_aborted_commits_total") == 3
    assert said.value("longwatch_records_total") > 1200
    for name in ("longwatch_alerts_total", "longwatch_dead_letters_total"):
        assert said.value(name) == calm[0].value(name)


def test_what_is_silenced_is_counted_as_that_and_as_no_dead_letter():
    clock = ManualClock()
    metrics = WorkerMetrics(Pulse(clock, Limits()), clock)
    partition = Partition("logs", "uuid", 0)
    metrics.committed([Output(kind, partition, 5, b"key", b"{}") for kind in (Kind.SUPPRESSED, Kind.EFFECT)])
    said = scrape_of(metrics.collectors.registry)
    assert said.value("longwatch_suppressed_total") == 1
    assert labels_of(said, "longwatch_dead_letters_total") == set()


def test_every_stage_of_a_round_is_timed(calm):
    said, _ = calm
    counts = {stage: said.value("longwatch_stage_seconds_count", stage=stage.value) for stage in Stage}
    assert counts[Stage.DECODE] == counts[Stage.TEMPLATES] == counts[Stage.WINDOWS] == 12
    assert 0 < counts[Stage.SCORE] == counts[Stage.DETECT]
    assert 0 < counts[Stage.COMMIT] <= counts[Stage.POLL]


def test_every_family_is_there_and_no_other(calm):
    said, _ = calm
    unlabelled = {name for family in WORKER if not family.labels for name in family.series}
    ours = {name for name in names_in(said) if name.startswith("longwatch_")}
    assert unlabelled <= ours | {"longwatch_up_info", "longwatch_bundle_info"}
    assert ours <= {name for family in WORKER for name in family.series}


def test_labels_come_from_bounded_sets(log, calm):
    """No entity, template or word of the input is in any label."""
    said, _ = calm
    labels = {label for family in families().values() for label in family.labels}
    assert labels == {"topic", "partition", "reason", "rule", "kind", "lifecycle", "stage", "target", "outcome"}
    entities = set(demo_frame((9, 10))["entity"].head(1200))
    values = {value for _, has, _ in said.samples() for value in has.values()}
    assert not values & entities
    assert not {value for value in values if " " in value}


def test_reasons_beyond_a_bound_are_one():
    known: set[str] = set()
    found = {bounded(known, f"reason {number}") for number in range(1000)}
    assert len(found) == MOST_REASONS + 1
    assert "other" in found
    assert bounded(known, "reason 0") == "reason 0"


def test_a_partition_that_was_let_go_is_no_longer_spoken_of():
    clock = ManualClock()
    metrics = WorkerMetrics(Pulse(clock, Limits()), clock)
    metrics.collectors.only("longwatch_lag_records", {("t", "0"): 3.0, ("t", "1"): 4.0})
    metrics.collectors.only("longwatch_lag_records", {("t", "1"): 5.0})
    assert labels_of(scrape_of(metrics.collectors.registry), "longwatch_lag_records") == {
        (("partition", "1"), ("topic", "t"))
    }
