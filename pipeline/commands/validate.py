"""`longwatch validate`: what a configuration means, or everything that is wrong with it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from longwatch.pipeline.config import (
    Config,
    EmbeddedSink,
    Entity,
    Format,
    Limits,
    Relay,
    Source,
    Threshold,
    load_config,
)
from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import ConfigError


def validate(config: Path, overrides: Mapping[str, str], show: bool = False) -> None:
    """Prints a summary (with `show`, the resolved YAML); ConfigError when anything is wrong, the bundle included."""
    loaded = load_config(config, overrides)
    if show:
        write_line(loaded.to_yaml().rstrip("\n"))
        return
    write_line(f"{config} is valid")
    for name, text in summary(loaded, str(config)):
        write_line(f"  {name:<11} {text}")
    for warning in loaded.warnings():
        write_line(f"warning: {warning}")


def summary(config: Config, file: str) -> Iterator[tuple[str, str]]:
    """Name and text of each line of the summary; `file` is what an error about the bundle names."""
    yield "pipeline", f"{config.pipeline}, digest {config.digest[:16]}"
    yield "source", _source(config.source, config.group_id)
    yield "format", _format(config.format)
    yield "entity", _entity(config.entity)
    yield "windows", _windows(config)
    yield "bundle", _bundle(config, file)
    yield "thresholds", _thresholds(config)
    yield "sink", _sink(config)
    if config.relay is not None:
        yield "relay", _relay(config.relay)


def _source(source: Source, group: str) -> str:
    if source.kafka is not None:
        servers = ", ".join(source.kafka.bootstrap_servers)
        return f"topic {source.kafka.topic} at {servers} as group {group}, {source.kafka.client.security_protocol}"
    if source.files is not None:
        return ", ".join(f"{path}{'' if path.exists() else ' (not there)'}" for path in source.files.paths)
    return "standard input"


def _format(format_: Format) -> str:
    limits = f"records up to {format_.max_bytes}"
    if format_.text is not None:
        time = format_.text.timestamp
        return f"text with groups {', '.join(format_.text.groups)}; time {time.from_} as {time.format}; {limits}"
    if format_.json_ is not None:
        time_field = format_.json_.timestamp
        return f"json; time {time_field.field} as {time_field.format}; message {format_.json_.message}; {limits}"
    return f"{format_.kind}; {limits}"


def _entity(entity: Entity) -> str:
    if entity.pattern is not None:
        return f"pattern {entity.pattern} in the {entity.in_}"
    if entity.group is not None:
        return f"header group {entity.group}"
    return f"field {entity.field}" if entity.field is not None else "the record's key"


def _windows(config: Config) -> str:
    windows = config.windows
    idle = f", or the source is silent for {windows.idle_timeout}" if windows.idle_timeout else ""
    closes = f"close after {windows.max_events:,} events, {windows.max_duration}, a pause of {windows.idle_gap}{idle}"
    return f"{closes}; events may be {windows.allowed_lateness} late"


def _bundle(config: Config, file: str) -> str:
    if config.bundle is None:
        return "none yet: `longwatch train` makes one"
    if not config.bundle.exists():
        return f"{config.bundle} (not there yet: `longwatch train` makes it)"
    from longwatch.model.scorer import BundleError, open_bundle

    try:
        return f"{config.bundle}, digest {open_bundle(config.bundle).digest[:16]}"
    except BundleError as error:
        raise ConfigError(f"bundle: {error}", file=file) from None


def _thresholds(config: Config) -> str:
    rules = [*((rule.name, rule) for rule in config.thresholds.rules), ("default", config.thresholds.default)]
    return "; ".join(f"{name}: {_limits(limits)}" for name, limits in rules)


def _limits(limits: Limits) -> str:
    pairs = (("event", limits.event), ("window", limits.window))
    return ", ".join(f"{name} {_threshold(threshold)}" for name, threshold in pairs if threshold is not None)


def _threshold(threshold: Threshold) -> str:
    if threshold.false_alarms_per_day is not None:
        return f"{threshold.false_alarms_per_day:g} false alarms a day"
    if threshold.quantile is not None:
        return f"above {threshold.quantile:g} of normal scores"
    return f"score {threshold.score:g}"


def _sink(config: Config) -> str:
    if config.sink.kafka is not None:
        kafka = config.sink.kafka
        copies = "".join(f", {copy.topic} ({copy.format})" for copy in kafka.copies)
        return (
            f"topics {kafka.alerts}, {kafka.dead_letters}, {kafka.late}{copies}; commits every {kafka.commit_interval}"
        )
    embedded = config.sink.embedded or EmbeddedSink()
    also = [str(embedded.file)] if embedded.file is not None else []
    return " and ".join([f"database {embedded.database}", *also, *(["standard output"] if embedded.stdout else [])])


def _relay(relay: Relay) -> str:
    targets = ", ".join(f"{target.name} ({target.kind})" for target in relay.targets)
    letters = relay.dead_letters.topic or relay.dead_letters.file
    return f"to {targets}; given up after {relay.retry.give_up_after}; its dead letters in {letters}"
