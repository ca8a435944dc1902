"""25 mistakes that people make: what to do to a good pipeline, and the command that shows it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

YAML = """\
pipeline: app
source:
  kafka:
    bootstrap_servers: ["127.0.0.1:1"]
    topic: logs
format:
  json:
    timestamp: {field: time, format: iso8601}
    message: '{level} {message}'
entity: {field: host}
windows:
  max_events: 512
  idle_gap: 30m
bundle: bundle
thresholds:
  default:
    window: {false_alarms_per_day: 1}
sink:
  kafka: {alerts: app.alerts}
"""


@dataclass(frozen=True)
class Mistake:
    """`old` becomes `new` in the YAML; `also` does what else is wrong in its folder."""

    name: str
    old: str = ""
    new: str = ""
    command: tuple[str, ...] = ("validate", "pipeline.yaml")
    also: Callable[[Path], object] = lambda _: None
    exit_code: int = 2


RUN = ("run", "pipeline.yaml", "--until-end")
LOGIN = "    topic: logs\n    client: {security_protocol: SASL_SSL, sasl_mechanism: SCRAM-SHA-512, "
REMOTE = '["kafka.example.net:9093"]'


def _without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _with(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


YAML_MISTAKES = [
    Mistake("a tab instead of spaces", "  max_events: 512", "\tmax_events: 512"),
    Mistake("a misspelt key", "idle_gap", "idle_gapp"),
    Mistake("a misspelt section", "windows:", "window:"),
    Mistake("a duration without a unit", "30m", "30"),
    Mistake("text where a number belongs", "max_events: 512", "max_events: many"),
    Mistake("the same key twice", "  max_events: 512", "  max_events: 512\n  max_events: 256"),
    Mistake("a missing section", "entity: {field: host}\n", ""),
    Mistake("two kinds of one thing", "entity: {field: host}", "entity: {field: host, from: key}"),
    Mistake(
        "a group that the header does not have",
        "  json:\n    timestamp: {field: time, format: iso8601}\n    message: '{level} {message}'",
        "  text:\n    header: '(?P<timestamp>\\S+) (?P<mesage>.*)'\n    timestamp: {format: iso8601}",
    ),
    Mistake(
        "a pattern that could take for ever",
        "bundle: bundle",
        "bundle: bundle\nmasking:\n  patterns:\n    - {name: ID, pattern: '(?<=id )[a-z]+'}",
    ),
    Mistake("a broker without a port", '["127.0.0.1:1"]', "[127.0.0.1]"),
    Mistake("another machine without encryption", '["127.0.0.1:1"]', REMOTE),
    Mistake("a password in the file", "    topic: logs\n", LOGIN + "sasl_plain_password: hunter2}\n"),
    Mistake(
        "a variable that is not set",
        "    topic: logs\n",
        LOGIN + "sasl_plain_username: me, sasl_plain_password_env: LW_NOT_SET}\n",
    ),
    Mistake("a login without a user", "    topic: logs\n", LOGIN + "sasl_plain_password_env: LW_SET}\n"),
    Mistake("alerts into the topic that is read", "app.alerts", "logs"),
    Mistake("an overlap as long as the window", "  idle_gap: 30m", "  idle_gap: 30m\n  overlap: 512"),
    Mistake("no such form", "{alerts: app.alerts}", "{alerts: app.alerts, copies: [{topic: o, format: oscf}]}"),
]
OTHER_MISTAKES = [
    Mistake("no such file", command=("validate", "pipelin.yaml")),
    Mistake("a verb that is none", command=("valdiate", "pipeline.yaml")),
    Mistake("no bundle", command=RUN, exit_code=1),
    Mistake("a bundle that was changed", command=RUN, exit_code=1, also=_with("bundle/templates.json", b"[]")),
    Mistake("a bundle without its manifest", command=RUN, exit_code=1, also=_without("bundle/manifest.json")),
    Mistake("no broker", command=RUN, exit_code=1),
    Mistake(
        "a log that is not there", command=("backtest", "pipeline.yaml", "app.log", "--out", "report"), exit_code=1
    ),
    Mistake(
        "labels with other columns",
        exit_code=1,
        also=_with("labels.csv", b"host,bad\nweb,1\n"),
        command=("backtest", "pipeline.yaml", "app.log", "--labels", "labels.csv", "--out", "report"),
    ),
]
NO_BUNDLE = {"no bundle"}
MISTAKES = [*YAML_MISTAKES, *OTHER_MISTAKES]
