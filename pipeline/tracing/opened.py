"""From a configuration to traces that are sent, or to none where it has no `tracing`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from longwatch.pipeline.config import Config, Tracing

if TYPE_CHECKING:
    from longwatch.pipeline.tracing.commits import CommitTraces


@contextmanager
def opened_traces(section: Tracing | None, config: Config, instance: str) -> Iterator[CommitTraces | None]:
    """What the worker tells; the last traces are sent on the way out, for as long as `FLUSH_MS` allows."""
    if section is None:
        yield None
        return
    from longwatch.pipeline.tracing.commits import CommitTraces
    from longwatch.pipeline.tracing.provider import FLUSH_MS, open_provider

    provider = open_provider(section, config, instance)
    try:
        yield CommitTraces(provider.get_tracer("longwatch"))
    finally:
        provider.force_flush(FLUSH_MS)
        provider.shutdown()
