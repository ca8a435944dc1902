"""`longwatch relay pipeline.yaml`: committed alerts to whoever must know, until it is told to stop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog

from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.commands.run import DRAIN_SECONDS, stopped_by_signals
from longwatch.pipeline.config import Relay, load_config
from longwatch.pipeline.config.load import error_at
from longwatch.pipeline.config.secrets import UnreadableSecretError
from longwatch.pipeline.console import settle_logging
from longwatch.pipeline.errors import ConfigError
from longwatch.pipeline.metrics.opened import relay_metrics
from longwatch.pipeline.relay.guard import Guard
from longwatch.pipeline.relay.kafka import open_relay, open_sends
from longwatch.pipeline.relay.targets import Send
from longwatch.pipeline.relay.watch import UNWATCHED_RELAY

log = structlog.get_logger("longwatch.relay")


def relay(
    config: Path, overrides: Mapping[str, str], until_end: bool, instance: str | None, max_seconds: float | None
) -> int:
    """Delivers alert messages at least once; SIGTERM and SIGINT wait for what is under way, commit, and stop."""
    loaded = load_config(config, overrides)
    if loaded.relay is None:
        raise ConfigError(
            "`relay` is missing", "name the targets there: see configs/pipeline/relay.yaml", file=str(config)
        )
    settle_logging(loaded.logging)
    clock = SystemClock()
    sends = _sends(config, loaded.relay, clock)
    drain_s = max(DRAIN_SECONDS, loaded.relay.drain.seconds + 1.5)
    with (
        stopped_by_signals(max_seconds, drain_s) as stop,
        relay_metrics(loaded, clock, instance or "") as metrics,
        open_relay(loaded, sends, clock, instance, metrics.kept if metrics else UNWATCHED_RELAY) as opened,
    ):
        if metrics is not None:
            metrics.pulse.draining = stop.is_set
        log.info("started", pipeline=loaded.pipeline, targets=",".join(each.name for each in loaded.relay.targets))
        done = opened.relay.run(stop, opened.at_end if until_end else lambda: False)
    log.info("stopped", read=done.read, dead_letters=done.dead_letters, commits=done.commits)
    return 0


def _sends(config: Path, section: Relay, clock: SystemClock) -> list[Send]:
    try:
        return open_sends(section, Guard(section.allow), clock)
    except UnreadableSecretError as error:
        raise error_at(config, error.problem) from None
