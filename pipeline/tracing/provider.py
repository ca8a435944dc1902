"""The OpenTelemetry SDK as this project uses it: batches on a thread of their own, dropped when nobody takes them."""

from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from longwatch.pipeline.config import Config, Tracing

FLUSH_MS = 1000


def open_provider(section: Tracing, config: Config, instance: str) -> TracerProvider:
    """Sends a share of the traces to the collector; the environment's own OTEL settings of endpoints are not read."""
    resource = Resource.create(
        {
            "service.name": "longwatch",
            "service.namespace": config.pipeline,
            "service.instance.id": instance,
            "service.version": version("longwatch"),
        }
    )
    provider = TracerProvider(sampler=TraceIdRatioBased(section.sample), resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(section.endpoint, timeout=2)))
    return provider
