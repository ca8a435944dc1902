"""One trace to a commit: a span from the first records that it holds until they are durable, its stages below it.

Names follow OpenTelemetry's conventions for messaging, which are not final: they are written here and nowhere else.
Attributes are counts and names of the configuration, never an entity, a template or a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, StatusCode, Tracer

from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition
from longwatch.pipeline.stages import Stage
from longwatch.pipeline.watch import State

SPAN = "longwatch.batch"
SYSTEM = "messaging.system"


class CommitTraces:
    """A Watch, and what puts spans around the stages. Waiting for records is no work: `poll` has no span."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._span: Span | None = None
        self._aborted = 0

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """A span around the block, below that of the commit to come."""
        if stage is Stage.POLL:
            yield
            return
        parent = trace.set_span_in_context(self._open())
        with self._tracer.start_as_current_span(f"longwatch.{stage.value}", context=parent):
            yield

    def scored(self, touched: Sequence[Touched], /) -> None:
        """How many windows."""
        if touched:
            self._open().add_event("scored", {"longwatch.windows": len(touched)})

    def committed(self, outputs: Sequence[Output], /) -> None:
        """The trace is whole."""
        counts = Counter(output.kind for output in outputs)
        self._end({f"longwatch.{kind.value}s": counts[kind] for kind in Kind})

    def let_go(self, partitions: Collection[Partition], /) -> None:
        """A rebalance, or an abort, after which the work begins again."""
        if self._span is not None:
            self._span.add_event("let_go", {"longwatch.partitions": len(partitions)})

    def told(self, state: State, /) -> None:
        """A round is over: what was aborted is a trace of its own."""
        if self._span is not None and state.progress.aborted > self._aborted:
            self._span.set_status(StatusCode.ERROR, "commit aborted")
            self._end({})
        self._aborted = state.progress.aborted

    def _open(self) -> Span:
        if self._span is None:
            self._span = self._tracer.start_span(SPAN, attributes={SYSTEM: "kafka"})
        return self._span

    def _end(self, attributes: dict[str, int]) -> None:
        if self._span is not None:
            self._span.set_attributes(attributes)
            self._span.end()
            self._span = None
