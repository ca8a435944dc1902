"""Traces of commits, for OpenTelemetry."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import Field

from longwatch.pipeline.config.base import Model, Problem
from longwatch.pipeline.config.values import Text


class Tracing(Model):
    """One trace to a commit, sent by OTLP over HTTP; needs `pip install 'longwatch[otel]'`."""

    endpoint: Text = Field(
        default="http://127.0.0.1:4318/v1/traces", description="Where a collector takes traces (OTLP over HTTP)."
    )
    sample: float = Field(default=0.01, gt=0, le=1, description="Share of commits that are traced.")

    def _problems(self) -> Iterator[Problem]:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            yield Problem(
                f"`{self.endpoint}` is no http(s) URL", "for example http://127.0.0.1:4318/v1/traces", ("endpoint",)
            )
        elif parts.username or parts.password:
            yield Problem("the URL holds a password", "let the collector listen on this machine", ("endpoint",))
