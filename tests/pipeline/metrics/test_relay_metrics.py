"""A relay's metrics say what its targets took, and its health what its loop does."""

import threading
from collections.abc import Iterator

import polars as pl
import pytest

from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.kafka_errors import CommitAbortedError
from longwatch.pipeline.metrics.families import RELAY
from longwatch.pipeline.metrics.health import Limits, Pulse
from longwatch.pipeline.metrics.relay import RelayMetrics
from longwatch.pipeline.records import RECORD_SCHEMA, Partition, RecordBatch
from longwatch.pipeline.relay.backoff import Backoff
from longwatch.pipeline.relay.deliverer import Deliverer
from longwatch.pipeline.relay.lane import Lane
from longwatch.pipeline.relay.ledger import Ledger
from longwatch.pipeline.relay.relay import Relay, RelaySettings
from longwatch.pipeline.relay.verdict import Delivered, Refused, TryAgain, Verdict
from support.alert_messages import alert
from support.scraping import names_in, scrape_of

ALERTS = Partition("alerts", "uuid", 0)
REFUSED, FAILS_ONCE = f"{1:032x}", f"{2:032x}"


class Topic:
    """Three alerts and a record that is none, and then nothing."""

    def __init__(self) -> None:
        values = [alert(number).encode() for number in range(3)] + [b"no alert"]
        columns = {"offset": range(4), "timestamp_ms": [0] * 4, "key": [None] * 4, "value": values}
        self._frames = iter([pl.DataFrame(columns, schema=RECORD_SCHEMA)])

    def poll(self, timeout_ms: int = 0) -> list[RecordBatch]:
        return [RecordBatch(ALERTS, frame, 4) for frame in self._frames]

    def assignment(self) -> frozenset[Partition]:
        return frozenset([ALERTS])

    def known_ends(self) -> dict[Partition, int]:
        return {ALERTS: 7}

    def answers(self) -> bool:
        return True

    def pause(self, partition: Partition) -> None:
        pass

    def resume(self, partition: Partition) -> None:
        pass


def verdicts() -> Iterator[Verdict]:
    yield TryAgain("busy")
    while True:
        yield Delivered()


@pytest.fixture
def said():
    clock = ManualClock(5_000_000)
    pulse = Pulse(clock, Limits())
    metrics, ledger, tries = RelayMetrics(pulse, clock), Ledger(), verdicts()

    def send(message) -> Verdict:
        if message.alert.alert_id == REFUSED:
            return Refused("http_400", "no")
        return next(tries) if message.alert.alert_id == FAILS_ONCE else Delivered()

    aborts = iter([True])

    def commit(settled) -> None:
        if next(aborts, False):
            raise CommitAbortedError("the group is rebalancing")

    lane = Lane(Backoff(0.0, 0.0), 3600.0)
    pager = Deliverer("pager", lane, send, clock, ledger.done, 1, metrics)
    relay = Relay(
        Topic(), ledger, [(pager, frozenset(["open"]))], commit, clock, RelaySettings(100, 1 << 20, 0.0), metrics
    )
    relay.assigned()
    stop = threading.Event()
    relay.run(stop, at_end=lambda: True)
    return scrape_of(metrics.collectors.registry), pulse


def test_tries_are_counted_by_target_and_outcome(said):
    scrape, _ = said
    counts = {
        outcome: scrape.value("longwatch_relay_deliveries_total", target="pager", outcome=outcome)
        for outcome in ("delivered", "failed", "refused")
    }
    assert counts == {"delivered": 2, "failed": 1, "refused": 1}
    assert scrape.value("longwatch_relay_delivery_seconds_count", target="pager") == 4


def test_what_is_committed_is_counted_once_though_a_commit_was_aborted(said):
    scrape, _ = said
    assert scrape.value("longwatch_relay_messages_total") == 4
    assert scrape.value("longwatch_aborted_commits_total") == 1
    assert scrape.value("longwatch_dead_letters_total", reason="http_400") == 1
    assert scrape.value("longwatch_dead_letters_total") == 2


def test_lag_is_what_lies_behind_the_last_record_read(said):
    assert said[0].value("longwatch_lag_records", topic="alerts", partition="0") == 3


def test_a_relay_at_work_is_healthy(said):
    assert said[1].sick() == []
    assert said[1].unready() == ["the bundle is not loaded"]


def test_no_family_is_missing_or_unknown(said):
    scrape, _ = said
    names = {name for name in names_in(scrape) if name.startswith("longwatch_")}
    assert names <= {name for family in RELAY for name in family.series}
    assert {name for family in RELAY if family.kind != "info" for name in family.series} <= names
