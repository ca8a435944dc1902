"""Every metric by name, meaning and labels: the one list behind the endpoint, the reference and the dashboards' test.

A label's values come from a set that the configuration or the code bounds: never an entity, a template or a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
DELIVERY_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_KINDS: Mapping[str, Any] = {"counter": Counter, "gauge": Gauge, "info": Info}


@dataclass(frozen=True)
class Family:
    """One metric; `name` as Prometheus stores it."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names that a query may use."""
        if self.kind == "histogram":
            return tuple(self.name + end for end in ("_bucket", "_sum", "_count"))
        return (self.name,)

    def collector(self, registry: CollectorRegistry) -> Any:
        """The client library's object."""
        if self.kind == "histogram":
            return Histogram(self.name, self.help, self.labels, registry=registry, buckets=self.buckets)
        # The library appends these ends itself.
        name = self.name.removesuffix("_total" if self.kind == "counter" else "_info")
        return _KINDS[self.kind](name, self.help, self.labels, registry=registry)


_PARTITION = ("topic", "partition")

BOTH = (
    Family("longwatch_up_info", "info", "What runs: role, version, pipeline, instance."),
    Family("longwatch_healthy", "gauge", "1 while the loop goes round: what /healthz says."),
    Family("longwatch_ready", "gauge", "1 while it does its work: what /readyz says."),
    Family("longwatch_loop_age_seconds", "gauge", "Seconds since the loop last went round."),
    Family("longwatch_uncommitted_seconds", "gauge", "Seconds that the oldest uncommitted work has waited; 0: none."),
    Family("longwatch_last_commit_timestamp_seconds", "gauge", "Unix time of the last successful commit; 0: none yet."),
    Family("longwatch_commits_total", "counter", "Successful commits."),
    Family("longwatch_aborted_commits_total", "counter", "Commits aborted or unknown; their work was done again."),
    Family("longwatch_fenced_total", "counter", "Times another process took this one's name; it leaves with 76."),
    Family("longwatch_lag_records", "gauge", "Records not read yet, as far as the last fetch knew.", _PARTITION),
    Family("longwatch_dead_letters_total", "counter", "Dead letters committed, by reason.", ("reason",)),
)

WORKER = (
    *BOTH,
    Family("longwatch_bundle_info", "info", "Digests of what scores: bundle, templates, configuration."),
    Family("longwatch_config_info", "info", "Digest of the configuration that the worker goes by, after reloads."),
    Family(
        "longwatch_reload_failures_total", "counter", "Changed configurations that were refused; the old one holds."
    ),
    Family("longwatch_records_total", "counter", "Records read; those read again after an abort count again."),
    Family("longwatch_events_total", "counter", "Events decoded and put into windows, or found late."),
    Family("longwatch_unseen_template_events_total", "counter", "Events whose template training had not seen."),
    Family("longwatch_late_events_total", "counter", "Late events committed to the late output."),
    Family(
        "longwatch_alerts_total",
        "counter",
        "Alert messages committed, by rule, kind and lifecycle.",
        ("rule", "kind", "lifecycle"),
    ),
    Family("longwatch_suppressed_total", "counter", "Alert messages committed to the output of what is silenced."),
    Family("longwatch_stage_seconds", "histogram", "Time in each stage of a round.", ("stage",), FAST_S),
    Family("longwatch_open_windows", "gauge", "Entities with an open session."),
    Family("longwatch_pending_outputs", "gauge", "Outputs that wait for the next commit."),
    Family("longwatch_assigned_partitions", "gauge", "Partitions that this worker reads."),
    Family("longwatch_watermark_delay_seconds", "gauge", "Now less the event time reached.", _PARTITION),
    Family("longwatch_replay_records", "gauge", "Records that a restart would read again.", _PARTITION),
    Family("longwatch_rebalances_total", "counter", "Times partitions were assigned by the group."),
    Family("longwatch_partitions_lost_total", "counter", "Times others had the partitions before this worker let go."),
)

RELAY = (
    *BOTH,
    Family("longwatch_relay_messages_total", "counter", "Alert messages read."),
    Family(
        "longwatch_relay_deliveries_total",
        "counter",
        "Tries by target and outcome: delivered, failed (tried again), refused (a dead letter).",
        ("target", "outcome"),
    ),
    Family("longwatch_relay_delivery_seconds", "histogram", "Time of one try, by target.", ("target",), DELIVERY_S),
    Family("longwatch_relay_pending_messages", "gauge", "Messages that some target lacks."),
    Family("longwatch_relay_pending_bytes", "gauge", "Bytes of those messages."),
    Family("longwatch_relay_waiting_messages", "gauge", "Messages that a target lacks, by target.", ("target",)),
    Family("longwatch_relay_paused", "gauge", "1 while reading waits for a slow target."),
)


def families(roles: Iterable[tuple[Family, ...]] = (WORKER, RELAY)) -> dict[str, Family]:
    """By name, each once."""
    return {family.name: family for role in roles for family in role}


class Collectors:
    """The collectors of one role in a registry of their own; beside them what the process itself uses."""

    def __init__(self, role: tuple[Family, ...]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._by_name = {family.name: family.collector(self.registry) for family in role}
        self._series: dict[str, frozenset[tuple[str, ...]]] = {}
        ProcessCollector(registry=self.registry)

    def __getitem__(self, name: str) -> Any:
        return self._by_name[name]

    def raise_to(self, name: str, before: int, now: int) -> None:
        """Count what came since `before`."""
        if now > before:
            self._by_name[name].inc(now - before)

    def only(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """A gauge with exactly these series: of what is no longer assigned, nothing is said."""
        gauge = self._by_name[name]
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        for labels in self._series.get(name, frozenset()) - values.keys():
            gauge.remove(*labels)
        self._series[name] = frozenset(values)
