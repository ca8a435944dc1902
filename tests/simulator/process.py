"""A worker process: `open_kafka_worker` on the simulated cluster, stepped one poll at a time, killed at any call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from longwatch.pipeline.errors import BrokerError, FatalError, LongwatchError
from longwatch.pipeline.kafka_client import consumer_options, producer_options
from longwatch.pipeline.kafka_settings import KafkaSettings, TopicDescription
from longwatch.pipeline.kafka_transactions import Transactions
from longwatch.pipeline.kafka_watchdog import Watchdog
from longwatch.pipeline.kafka_worker import open_kafka_worker
from longwatch.pipeline.setting import Setting
from longwatch.pipeline.worker import Worker, WorkerSettings
from simulator.cluster import Cluster
from simulator.consumer import Consumer
from simulator.engine import light_engine, setting_of, simulated_config, swapping_engine
from simulator.producer import Producer

Fault = Callable[["Process"], None]


class Died(BaseException):
    """SIGKILL, or the watchdog's exit: nothing is cleaned up."""


class Fate:
    """Whether the process lives and runs, and what will happen to it at which call of its client."""

    def __init__(self) -> None:
        self.alive = True
        self.stopped = False
        self.plan: dict[str, Callable[[], None]] = {}
        self.met = 0

    def meet(self, point: str) -> None:
        """Called by the clients at each of their calls; a planned fault happens once."""
        if not self.alive:
            raise Died
        self.met += 1
        if fault := self.plan.pop(point, None):
            fault()


class _Patience(Watchdog):
    """Time is virtual here and calls that hang are planned deaths, so nothing has to be watched."""

    @contextmanager
    def guard(self, what: str, seconds: float) -> Iterator[None]:
        yield


GATHER_S = 0.12
"""Two or three rounds of the simulator: long enough that a rebalance or a kill meets records that wait."""


class SimulatedPort:
    """The product's edge to Kafka, on the simulated cluster."""

    def __init__(self, cluster: Cluster, fate: Fate) -> None:
        self.cluster = cluster
        self.fate = fate
        self.producers: list[Producer] = []
        self.consumers: list[Consumer] = []

    def open_consumer(self, settings: KafkaSettings, *, group: bool = False, columns: bool = False) -> Any:
        self.consumers.append(Consumer(self.cluster, self.fate, consumer_options(settings, group=group)))
        return self.consumers[-1]

    def open_producer(self, settings: KafkaSettings, transactional_id: str) -> Any:
        self.producers.append(Producer(self.cluster, self.fate, producer_options(settings, transactional_id)))
        return Transactions(self.producers[-1], settings.commit_seconds, self.cluster.clock.monotonic)

    def describe_topic(self, settings: KafkaSettings, topic: str) -> TopicDescription:
        return self.cluster.describe(topic)

    def create_missing_topics(
        self, settings: KafkaSettings, topics: Mapping[str, int], *, allowed: bool, for_ever: bool = False
    ) -> tuple[str, ...]:
        for name, partitions in topics.items():
            self.cluster.create(name, partitions)
        return ()

    def has_orphans(self, settings: KafkaSettings, topic: TopicDescription) -> bool:
        group = self.cluster.group
        owned = set().union(*(member.assignment for member in group.members.values()))
        return group.rebalancing_until is None and len(owned) < topic.partitions

    def watchdog(self) -> Watchdog:
        return _Patience()


class _File:
    """The configuration file of a slot: which bundle it names now."""

    def __init__(self, wanted: Callable[[], int]) -> None:
        self._wanted = wanted

    @property
    def current(self) -> Setting:
        return setting_of(self._wanted())

    def look(self) -> None:
        """There is no other change to see."""


class Process:
    """One life of a worker; `ended` says how it went once it is over."""

    def __init__(self, cluster: Cluster, instance: str | None, wanted: Callable[[], int] | None = None) -> None:
        self.wanted = wanted
        self.fate = Fate()
        self.port = SimulatedPort(cluster, self.fate)
        self.instance = instance
        self.ended = ""
        self.busy = False
        self._cluster = cluster
        self._worker: Worker | None = None
        self._opened: AbstractContextManager[Worker] | None = None

    @property
    def is_member(self) -> bool:
        """Whether the group has given it a place and no further round is on."""
        return bool(self.port.consumers) and self.port.consumers[0].is_member

    def step(self) -> None:
        """One round of the worker's loop; the first also opens it."""
        self._run(self._step)

    def drain(self) -> None:
        """SIGTERM: commit what is done and leave."""
        self._run(self._drain)

    def kill(self) -> None:
        """SIGKILL between two calls."""
        self._end("killed")

    def _step(self) -> None:
        if self._worker is None:
            idle_ms = simulated_config().windows.idle_timeout.ms  # type: ignore[union-attr]
            settings = WorkerSettings(0.5, gather_records=8, gather_s=GATHER_S, idle_timeout_ms=idle_ms)
            swaps = self.wanted is not None
            self._opened = open_kafka_worker(
                simulated_config(swaps=swaps),
                light_engine() if self.wanted is None else swapping_engine(self.wanted()),
                self._cluster.clock,
                settings,
                self.instance,
                port=self.port,
                settings_source=None if self.wanted is None else _File(self.wanted),
            )
            self._worker = self._opened.__enter__()
        self._worker.step()

    def _drain(self) -> None:
        stop = threading.Event()
        stop.set()
        if self._worker is not None and self._opened is not None:
            self._worker.run(stop)
            self._opened.__exit__(None, None, None)
        self._end("stopped")

    def _run(self, what: Callable[[], None]) -> None:
        if self.busy or self.ended:
            return
        self.busy = True
        try:
            what()
        except Died:
            self._end("killed")
        except (FatalError, BrokerError) as error:
            self._leave(error)
        finally:
            self.busy = False

    def _leave(self, error: LongwatchError) -> None:
        """The process ends by itself: its clients are closed on the way out."""
        try:
            if self._opened is not None:
                self._opened.__exit__(type(error), error, error.__traceback__)
        except (Died, LongwatchError):
            pass
        self._end(type(error).__name__)

    def _end(self, how: str) -> None:
        self.ended = how
        self.fate.alive = False
        self._worker = self._opened = None
