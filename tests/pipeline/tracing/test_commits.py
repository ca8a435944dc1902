"""One trace to a commit, its stages below it, and nothing in it that came from the input."""

import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from longwatch.pipeline.assembly import build_engine
from longwatch.pipeline.clock import ManualClock
from longwatch.pipeline.config import Tracing
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.kafka_errors import CommitAbortedError
from longwatch.pipeline.sinks.memory import MemoryStore
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.tracing.commits import SPAN, CommitTraces
from longwatch.pipeline.tracing.opened import opened_traces
from longwatch.pipeline.worker import Worker, WorkerSettings
from support.demo import ARRIVAL_MS, BUSY, demo_config, demo_frame, demo_model

CONFIG = demo_config(BUSY)


class AbortsOnce(MemoryStore):
    """Aborts the third commit."""

    calls = 0

    def commit(self, outputs, positions) -> None:
        self.calls += 1
        if self.calls == 3:
            raise CommitAbortedError("the group is rebalancing")
        super().commit(outputs, positions)


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """The spans of a worker's run, and its progress."""
    path = tmp_path_factory.mktemp("log") / "demo.log"
    path.write_text("".join(f"{line}\n" for line in demo_frame((9, 10))["line"].head(600)))
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = CommitTraces(provider.get_tracer("test"))
    decoder = Decoder(CONFIG.format, CONFIG.entity)
    source = FilesSource([path], TopicShape("logs", "uuid", 1), decoder, arrival_ms=ARRIVAL_MS, poll_records=100)
    engine = build_engine(CONFIG, demo_model(), timed=traces.timed)
    store = AbortsOnce()
    worker = Worker(source, engine, store, ManualClock(), WorkerSettings(0.0), watch=traces, timed=traces.timed)
    worker.assigned(source.partitions)
    worker.run(threading.Event())
    return exporter.get_finished_spans(), worker.progress, store


def test_each_commit_is_one_trace_and_an_aborted_one_is_an_error(traced):
    spans, progress, _ = traced
    roots = [span for span in spans if span.name == SPAN]
    assert all(span.parent is None for span in roots)
    assert len({span.context.trace_id for span in roots}) == len(roots) == progress.commits + 1
    assert [span.status.status_code for span in roots].count(StatusCode.ERROR) == progress.aborted == 1


def test_the_stages_of_a_commit_are_below_it_in_their_order(traced):
    spans, _, _ = traced
    root = next(span for span in spans if span.name == SPAN)
    below = [span for span in spans if span.parent and span.parent.span_id == root.context.span_id]
    names = [span.name.removeprefix("longwatch.") for span in below]
    assert names == ["decode", "templates", "windows", "score", "detect", "commit"]
    assert all(root.start_time <= span.start_time <= span.end_time <= root.end_time for span in below)


def test_outputs_are_counted_on_the_span_of_the_commit_that_holds_them(traced):
    spans, _, store = traced
    alerts = sum(span.attributes.get("longwatch.alerts", 0) for span in spans if span.name == SPAN)
    assert alerts == len(store.outputs) > 0


def test_no_span_holds_anything_of_the_input(traced):
    spans, _, _ = traced
    held = {key: value for span in spans for key, value in span.attributes.items()}
    assert {value for value in held.values() if isinstance(value, str)} == {"kafka"}


def test_nothing_is_traced_unless_configured():
    with opened_traces(None, CONFIG, "w1") as traces:
        assert traces is None


def test_a_collector_that_is_not_there_holds_nothing_up():
    """The batch of spans is dropped; the way out takes no longer than its limit."""
    config = CONFIG.model_copy(update={"tracing": Tracing(endpoint="http://127.0.0.1:9/v1/traces", sample=1.0)})
    with opened_traces(config.tracing, config, "w1") as traces:
        traces.committed([])
