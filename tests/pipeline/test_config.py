from pathlib import Path

import pytest
from pydantic import ValidationError

from longwatch.pipeline.config import Config, Duration, Size, load_config
from longwatch.pipeline.errors import ConfigError, ConfigFileError

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "pipeline").glob("*.yaml"))

GOOD = """\
pipeline: app
source:
  kafka: {bootstrap_servers: ["127.0.0.1:9092"], topic: logs}
format:
  text:
    header: '(?P<date>\\d{6}) (?P<host>\\S+) (?P<message>.*)'
    timestamp: {from: '{date}', format: '%y%m%d'}
entity: {group: host}
windows:
  idle_gap: 30m
thresholds:
  default:
    window: {score: 4.0}
sink:
  kafka: {}
"""


@pytest.fixture
def load(tmp_path):
    """Loads a text as `pipeline.yaml`."""

    def from_text(text: str, **overrides: str) -> Config:
        path = tmp_path / "pipeline.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, {key.replace("__", "."): value for key, value in overrides.items()})

    return from_text


def refused(load, text: str, **overrides: str) -> list[ConfigError]:
    with pytest.raises(ConfigError) as caught:
        load(text, **overrides)
    assert caught.value.exit_code == 2
    return list(caught.value.problems) if isinstance(caught.value, ConfigFileError) else [caught.value]


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_loads(path: Path, monkeypatch):
    monkeypatch.setenv("LONGWATCH_KAFKA_PASSWORD", "not-shown")
    config = load_config(path)
    assert config.pipeline == {"json": "web"}.get(path.stem, path.stem)
    assert config.bundle is not None
    assert config.bundle.parent.parent == path.parent


def test_seven_configurations_are_shipped():
    assert [path.stem for path in CONFIGS] == ["embedded", "hdfs", "json", "live", "otel", "relay", "syslog"]


def test_defaults_are_those_of_the_documentation(load):
    config = load(GOOD)
    assert (config.format.max_bytes, config.format.max_future) == (Size(1 << 20), Duration(86_400_000))
    assert (config.windows.max_events, config.windows.overlap, config.windows.idle_timeout) == (4096, 0, None)
    assert (config.alerts.top_events, config.alerts.include_lines) == (5, True)
    assert (config.scorer.backend, config.scorer.threads) == ("auto", 1)
    assert (config.source.kafka.poll_records, config.source.kafka.start) == (2000, "earliest")
    assert config.group_id == "app"
    assert (config.templates.masks, config.templates.merge_above) == ((), 4)


def test_without_thresholds_both_kinds_cost_one_false_alarm_a_day(load):
    default = load(changed("thresholds:\n  default:\n    window: {score: 4.0}\n", "")).thresholds.default
    assert default.event.false_alarms_per_day == default.window.false_alarms_per_day == 1


def test_a_written_threshold_replaces_the_default_of_both_kinds(load):
    default = load(GOOD).thresholds.default
    assert (default.event, default.window.score) == (None, 4.0)


@pytest.mark.parametrize(
    ("old", "new", "position", "words"),
    [
        ("windows:", "windws:", "9:1", ["unknown key `windws`", "did you mean `windows`?"]),
        ("idle_gap: 30m", "idle_gp: 30m", "10:3", ["unknown key `idle_gp` in `windows`", "`idle_gap`"]),
        ("topic: logs", "topics: logs", "3:50", ["unknown key `topics`", "`topic`"]),
        ("topic: logs", "topic: [logs]", "3:57", ["expected text; found a list"]),
        ("idle_gap: 30m", "idle_gap: 30", "10:13", ["expected a duration, found `30`", "has no unit", "30m"]),
        ("idle_gap: 30m", "idle_gap: 30 min", "10:13", ["found `30 min`", "ms s m h d"]),
        ("idle_gap: 30m", "idle_gap: -5m", "10:13", ["expected a duration"]),
        ("idle_gap: 30m", "idle_gap: 0s", "10:13", ["more than 0s"]),
        ("idle_gap: 30m", "max_events: '5'", "10:15", ["expected a whole number; found `5`"]),
        ("idle_gap: 30m", "max_events: 1.5", "10:15", ["whole number"]),
        ("idle_gap: 30m", "max_events: true", "10:15", ["whole number"]),
        ("idle_gap: 30m", "max_events: 0", "10:15", ["greater than or equal to 1"]),
        ("idle_gap: 30m", "overlap: 4096", "10:12", ["no room in a window of max_events 4096"]),
        ("windows:\n  idle_gap: 30m", "windows: 5", "9:10", ["expected keys and values; found `5`"]),
        ("{score: 4.0}", "{score: .nan}", "13:21", ["expected a number"]),
        ("{score: 4.0}", "{score: 4, quantile: 0.5}", "13:24", ["one too many", "score and quantile"]),
        ("{score: 4.0}", "{quantile: 1}", "13:24", ["less than 1"]),
        ("{score: 4.0}", "{false_alarms_per_day: 0}", "13:36", ["greater than 0"]),
        ("{score: 4.0}", "{}", "13:5", ["exactly one of false_alarms_per_day, quantile, score; found none"]),
        ("    window: {score: 4.0}", "    {}", "13:5", ["`event` or `window`"]),
        ("{group: host}", "{group: hst}", "8:17", ["no group `hst`", "did you mean `host`?", "date, host, message"]),
        ("{group: host}", "{field: host}", "8:17", ["lines of text have no fields"]),
        ("{group: host}", "{from: value}", "8:16", ["expected one of key"]),
        ("{group: host}", "{pattern: 'a(?=b)'}", "8:21", ["look-around"]),
        ("{group: host}", "{pattern: 'a', in: lin}", "8:28", ["expected one of message, line", "`line`"]),
        ("{group: host}", "{group: host, in: line}", "8:27", ["only read with `pattern`"]),
        ("'{date}'", "'{dat}'", "7:23", ["no group `dat`", "`date`"]),
        ("'{date}'", "'{date'", "7:23", ["not a template"]),
        ("'%y%m%d'", "'%H:%M'", "7:41", ["cannot read the time it writes", "month, day"]),
        ("'%y%m%d'", "iso8602", "7:41", ["unknown timestamp format", "`iso8601`"]),
        ("'%y%m%d'}", "'%y%m%d', timezone: Mars/Base}", "7:61", ["unknown time zone `Mars/Base`"]),
        ('"127.0.0.1:9092"', '"127.0.0.1"', "3:31", ["is not `host:port`"]),
        ('"127.0.0.1:9092"', "", "3:30", ["the list is empty"]),
        ("{}\n", "{late: logs}\n", "15:17", ["topic `logs` is also source.kafka.topic"]),
        ("{}\n", "{commit_interval: 1m}\n", "15:28", ["not below transaction_timeout 15s"]),
        ("  kafka: {}\n", "  kafka:\n", "14:1", ["exactly one of kafka, embedded; found none", "`kafka: {}`"]),
        ("pipeline: app", "pipeline: a b", "1:11", ["should match"]),
        ("pipeline: app\n", "", "1:1", ["`pipeline` is missing"]),
        ("entity: {group: host}\n", "", "1:1", ["`entity` is missing", "exactly one of from, pattern, group, field"]),
    ],
)
def test_a_mistake_is_named_at_its_place(load, old: str, new: str, position: str, words: list[str]):
    (error,) = refused(load, changed(old, new))
    assert f"{error.line}:{error.column}" == position
    assert error.file.endswith("pipeline.yaml")
    for word in words:
        assert word in str(error)


def test_the_source_is_missing(load):
    source = '  kafka: {bootstrap_servers: ["127.0.0.1:9092"], topic: logs}\n'
    (error,) = refused(load, changed(f"source:\n{source}", ""))
    assert error.message == "`source` is missing"
    assert "kafka, files, stdin" in error.hint


def test_two_sources_at_once_are_refused_at_the_second(load):
    (error,) = refused(load, changed("format:\n", "  stdin: {}\nformat:\n"))
    assert (error.line, error.column) == (4, 3)
    assert "exactly one of kafka, files, stdin; found kafka and stdin" in error.message


def test_a_misspelt_source_is_one_error_and_not_two(load):
    (error,) = refused(load, changed("  kafka: {boot", "  kafkaa: {boot"))
    assert "did you mean `kafka`?" in error.hint


def test_all_mistakes_are_reported_together_in_the_order_of_the_file(load):
    text = (
        changed("idle_gap: 30m", "idle_gap: 30\n  overlp: 1")
        .replace("topic: logs", "topic: ''")
        .replace("{}", "{x: 1}")
    )
    errors = refused(load, text)
    assert [error.line for error in errors] == [3, 10, 11, 16]


def test_two_kinds_and_a_mistake_inside_one_of_them_are_both_reported(load):
    errors = refused(load, changed("format:\n", "  stdin: {nam: x}\nformat:\n"))
    assert [error.message.split(":")[0] for error in errors] == ["source.stdin", "unknown key `nam` in `source.stdin`"]


@pytest.mark.parametrize(
    ("pattern", "column", "why"),
    [
        ("'ab(c'", 24, "unclosed group"),
        ("'ab(?=c)'", 24, "look-around"),
        ("'(a)\\1'", 25, "backreferences"),
        ('"ab(c"', 24, "unclosed group"),
        ("ab(c", 23, "unclosed group"),
        ("'it''s (c'", 21, "unclosed group"),
        ("'a{1000}{1000}{1000}'", 21, "size limit"),
        ("'a*'", 21, "matches the empty text"),
    ],
)
def test_a_bad_pattern_is_named_at_its_column(load, pattern: str, column: int, why: str):
    (error,) = refused(load, GOOD + f"templates:\n  masks: [{{pattern: {pattern}, name: X}}]\n")
    assert (error.line, error.column) == (17, column)
    assert why in error.message


def test_overrides_are_yaml_by_dotted_key(load):
    config = load(
        GOOD, windows__idle_gap="5m", thresholds__rules="[{name: a, match: {entity: 'x*'}, event: {score: 1}}]"
    )
    assert config.windows.idle_gap == Duration(300_000)
    assert config.thresholds.limits_for("x1", "logs")[0] == "a"
    assert load(GOOD, alerts__top_events="0").alerts.top_events == 0
    assert load(GOOD, source__kafka__bootstrap_servers__0="localhost:1").source.kafka.bootstrap_servers == (
        "localhost:1",
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("windows__idle_gap", "5", "expected a duration"),
        ("windws__idle_gap", "5m", "unknown key `windws`"),
        ("pipeline__name", "x", "has no keys"),
        ("source__kafka__bootstrap_servers__7", "x", "not an item of a list of 1"),
        ("windows__idle_gap", "[", "not YAML"),
    ],
)
def test_a_wrong_override_is_named_by_its_key(load, key: str, value: str, message: str):
    (error,) = refused(load, GOOD, **{key: value})
    assert error.file == f"--set {key.replace('__', '.')}"
    assert message in error.message


def test_relative_paths_start_at_the_yaml_file(load, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    config = load(changed("sink:\n  kafka: {}", "bundle: models/a\nsink:\n  embedded: {database: x.db}"))
    assert config.bundle == tmp_path.resolve() / "models" / "a"
    assert config.sink.embedded.database == tmp_path.resolve() / "x.db"
    assert (
        load(changed("sink:\n  kafka: {}", "sink:\n  embedded: {}")).sink.embedded.database.parent == tmp_path.resolve()
    )


def test_a_command_that_needs_a_bundle_says_so(load):
    with pytest.raises(ConfigError, match="`bundle` is missing"):
        load(GOOD).require_bundle()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_plaintext_to_this_machine_is_allowed(load, host: str):
    assert load(changed("127.0.0.1:9092", f"{host}:9092"))


@pytest.mark.parametrize("host", ["10.0.0.1", "kafka", "localhost.example.net", "[::ffff:10.0.0.1]"])
def test_plaintext_to_another_machine_must_be_allowed(load, host: str):
    text = changed("127.0.0.1:9092", f"{host}:9092")
    (error,) = refused(load, text)
    assert "is not encrypted" in error.message
    assert load(text, source__kafka__allow_plaintext="true")
    assert load(text, source__kafka__client="{security_protocol: SSL}")


@pytest.mark.parametrize(
    ("source", "old", "new", "message"),
    [
        ("files: {paths: [a.log]}", "kafka: {}", "kafka: {}", "needs `source.kafka`"),
        ("stdin: {}", "entity: {group: host}", "entity: {from: key}", "have no key"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(load, source: str, old: str, new: str, message: str):
    text = changed('kafka: {bootstrap_servers: ["127.0.0.1:9092"], topic: logs}', source).replace(old, new)
    assert any(message in error.message for error in refused(load, text))


@pytest.mark.parametrize("format_", ["text", "rfc3164"])
def test_files_with_timestamps_without_a_year_are_warned_about(load, format_: str):
    text = changed('kafka: {bootstrap_servers: ["127.0.0.1:9092"], topic: logs}', "files: {paths: [a.log]}")
    text = text.replace("kafka: {}", "embedded: {}").replace("'%y%m%d'", "'%b %d'")
    if format_ == "rfc3164":
        text = text[: text.index("  text:")] + "  rfc3164: {}\nentity: {field: host}\n" + text[text.index("windows:") :]
    assert load(GOOD).warnings() == []
    assert "no year" in load(text).warnings()[0]


def test_the_digest_follows_what_affects_alerts_and_nothing_else(load):
    digest = load(GOOD).digest
    assert len(digest) == 64
    same = {
        "pipeline": "other",
        "bundle": "x",
        "source__kafka__topic": "t2",
        "scorer__threads": "2",
        "sink__kafka__late": "l",
    }
    for key, value in same.items():
        assert load(GOOD, **{key: value}).digest == digest
    assert load(GOOD.replace("30m", "1800s")).digest == digest
    other = {
        "windows__overlap": "1",
        "format__max_future": "2d",
        "alerts__top_events": "4",
        "thresholds__default__window__score": "5",
        "entity__group": "date",
        "templates__merge_above": "5",
    }
    digests = {load(GOOD, **{key: value}).digest for key, value in other.items()}
    assert len(digests | {digest}) == len(other) + 1


def test_a_configuration_does_not_change(load):
    config = load(GOOD)
    with pytest.raises(ValidationError):
        config.windows.overlap = 3
