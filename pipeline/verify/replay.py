"""The input once more through the worker's own loop, each output handed over as it comes; none is kept."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from longwatch.pipeline.assembly import Model, build_engine, window_rules
from longwatch.pipeline.checkpoint import Position
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.config import Config
from longwatch.pipeline.configured_settings import settings_of_past
from longwatch.pipeline.feedback.configured import Past
from longwatch.pipeline.kafka_range import KafkaRange
from longwatch.pipeline.kafka_settings import Unreadable
from longwatch.pipeline.outputs import Output, unreadable
from longwatch.pipeline.progress import Progress
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.sources import POLL_MS
from longwatch.pipeline.sources.range import RangeSource
from longwatch.pipeline.verify.fields import SPARE_TOP_EVENTS
from longwatch.pipeline.worker import Worker, WorkerSettings


class _Handing:
    """A store that begins with nothing and hands every output on."""

    def __init__(self, expected: Callable[[Output], None]) -> None:
        self._expected = expected

    def committed(self, partition: Partition) -> Position | None:
        return None

    def commit(self, outputs: list[Output], positions: dict[Partition, Position]) -> None:
        for output in outputs:
            self._expected(output)

    def close(self) -> None:
        pass


class _WithGaps(RangeSource):
    """A range that tells of the batches no client can read, as the group's source does: they were dead-lettered."""

    def __init__(self, kafka: KafkaRange, on_gap: Callable[[Unreadable], None]) -> None:
        super().__init__(kafka)
        self._range = kafka
        self._on_gap = on_gap
        self._told = 0

    def poll(self, timeout_ms: int = POLL_MS) -> list[RecordBatch]:
        batches = super().poll(timeout_ms)
        for gap in self._range.unreadable[self._told :]:
            self._on_gap(gap)
        self._told = len(self._range.unreadable)
        return batches


def replay(
    config: Config,
    model: Model,
    records: KafkaRange,
    clock: Clock,
    expected: Callable[[Output], None],
    on_progress: Callable[[Progress], None] | None = None,
    past: Past | None = None,
) -> Progress:
    """Run the range to its end, under `past`; `expected` gets every output, a partition's in order."""

    def letter(gap: Unreadable) -> None:
        output = unreadable(gap.partition, gap.first, gap.next_offset, gap.reason)
        worker.dead_letter(output, gap.next_offset)

    recorded = settings_of_past(config, model, past)
    engine = build_engine(
        config, model, instance="verify", spare_top_events=SPARE_TOP_EVENTS, past=past, settings=recorded
    )
    source = _WithGaps(records, letter)
    settings = WorkerSettings(commit_interval_s=0.0, idle_timeout_ms=window_rules(config.windows).idle_timeout_ms)
    worker = Worker(source, engine, _Handing(expected), clock, settings, on_progress=on_progress)
    worker.assigned(source.partitions)
    return worker.run(Event())
