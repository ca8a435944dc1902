"""`longwatch init`: a commented pipeline.yaml that validates as it is."""

from pathlib import Path

from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import InputError, UsageError

FILE_NAME = "pipeline.yaml"


def init(folder: Path, format_: str, source: str, force: bool, out: Path = Path()) -> None:
    """Writes `pipeline.yaml` into `folder`, which is made; of a log file, what it looks like, into `out`.

    Raises:
        UsageError: it is there and `force` is not given.
    """
    if folder.is_file():
        from longwatch.pipeline.guess.starter import init_from

        init_from(folder, out, force)
        return
    target = folder / FILE_NAME
    write_new(target, starter(format_, source), force)
    write_line(f"{target} written: {source} in, format {format_}")
    write_line(f"next: edit it, then `longwatch validate {target}`")


def write_new(target: Path, text: str, force: bool) -> None:
    """Writes a file that is not there yet, and its folder."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{target} exists", "choose another folder, or overwrite it with --force") from None
    except OSError as error:
        raise InputError(
            f"cannot write: {error.strerror}", "check the path and its rights", source=str(target)
        ) from None


def starter(format_: str, source: str) -> str:
    """The text of a configuration with that format and source."""
    sink = "kafka" if source == "kafka" else "embedded"
    return "\n".join((HEAD, _SOURCES[source], _FORMATS[format_], MIDDLE, SINKS[sink]))


HEAD = """\
# longwatch pipeline. Check it with `longwatch validate pipeline.yaml`; paths are relative to this file.
# Durations are written 500ms, 30s, 5m, 12h, 1d; sizes 64KiB, 1MiB.
pipeline: my-pipeline        # consumer group, transactional ids and metrics carry this name
"""

_SOURCES = {
    "kafka": """\
source:
  kafka:
    bootstrap_servers: ["127.0.0.1:9092"]
    topic: logs
    start: earliest          # where a new group starts: earliest or latest
    on_truncated: continue   # or stop, when the broker has deleted records that were not read yet
    # Brokers on other machines need encryption; passwords come from files or the environment:
    # client:
    #   security_protocol: SASL_SSL
    #   sasl_mechanism: SCRAM-SHA-512
    #   sasl_plain_username: longwatch
    #   sasl_plain_password_env: LONGWATCH_KAFKA_PASSWORD
""",
    "files": """\
source:
  files:
    paths: [app.log]         # read in this order; .gz and .zst are unpacked
    # as_topic: {name: logs, partitions: 1}   # number the lines as this topic would hold them
""",
    "stdin": """\
source:
  stdin: {name: stdin}       # what alerts call it
""",
}

_FORMATS = {
    "text": r"""format:
  max_bytes: 1MiB            # larger records are rejected
  text:
    # Named groups of a pattern that matches a whole line, for lines such as
    # 2026-11-24 08:15:02 web-1 INFO user 42 logged in
    header: '(?P<timestamp>\S+ \S+) (?P<host>\S+) (?P<level>\w+) (?P<message>.*)'
    timestamp: {from: '{timestamp}', format: '%Y-%m-%d %H:%M:%S', timezone: UTC}
    message: '{level} {message}'

# Whose behaviour is modelled: a group of the header, a pattern in the line, or (Kafka) the record's key.
entity: {group: host}
# entity: {pattern: '(?P<entity>session-\d+)', in: message}
# entity: {from: key}
""",
    "json": """\
format:
  max_bytes: 1MiB            # larger records are rejected
  json:
    # format: iso8601, epoch_s, epoch_ms, epoch_us, epoch_ns, or strptime such as '%Y-%m-%d %H:%M:%S'
    timestamp: {field: timestamp, format: iso8601, timezone: UTC}
    message: '{level} {message}'

# Whose behaviour is modelled: a field, a pattern in the message, or (Kafka) the record's key.
entity: {field: host}
""",
    "otel": """\
format:
  max_bytes: 1MiB            # larger records are rejected
  otel: {message: '{body}'}  # OTLP JSON, one log record to a message

# Whose behaviour is modelled: attributes.<key>, resource.<key>, scope.<key>, or a field of the record.
entity: {field: resource.service.name}
""",
    "rfc5424": """\
format:
  max_bytes: 1MiB            # larger records are rejected
  rfc5424: {message: '{app}: {message}'}

# Whose behaviour is modelled: host, app, procid, msgid, or a pattern in the message.
entity: {field: host}
""",
    "rfc3164": """\
format:
  max_bytes: 1MiB            # larger records are rejected
  # These timestamps have no time zone and no year; the year comes from the arrival (files: from the day of the run).
  rfc3164: {timezone: UTC, message: '{app}: {message}'}

# Whose behaviour is modelled: host, app, procid, or a pattern in the message.
entity: {field: host}
""",
}

MIDDLE = r"""# What varies in messages becomes `<*>`; numbers, addresses, paths and ids are known, add your own.
templates:
  masks: []
  # - {pattern: '\bord-[0-9a-f]{8}\b', name: ORDER}

# Events of one entity that are scored together; a window closes at the first of these, in event time.
windows:
  max_events: 4096
  idle_gap: 30m
  max_duration: 1d
  allowed_lateness: 0s       # how far out of order events may arrive

bundle: bundle               # the model; `longwatch train pipeline.yaml --out bundle` makes it

# An alarm budget on normal data, for single events and for whole windows.
thresholds:
  default:
    event: {false_alarms_per_day: 1}
    window: {false_alarms_per_day: 1}
  rules: []
  # - {name: payments, match: {entity: 'pay-*'}, window: {score: 4.0}}

alerts:
  top_events: 5
  include_lines: true        # false: templates only, no text of the log
"""

SINKS = {
    "kafka": """\
sink:
  kafka:                     # written in one transaction with the offsets
    alerts: logs.alerts
    dead_letters: logs.dead-letters
    late: logs.late
""",
    "embedded": """\
sink:
  embedded: {database: longwatch.db, file: alerts.jsonl, stdout: true}
""",
}
