"""A configuration file that is changed under a running worker: what is taken over, and what changes nothing."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from longwatch.pipeline.config import load_config
from longwatch.pipeline.reloading import Reloader, Told
from support.demo import HOME, demo_model

YAML = f"""pipeline: reloaded
source: {{kafka: {{bootstrap_servers: ["127.0.0.1:1"], topic: logs}}}}
format: {{json: {{timestamp: {{field: ts, format: epoch_s}}, message: "{{msg}}"}}}}
entity: {{field: host}}
bundle: {HOME / "bundle"}
thresholds: {{default: {{event: {{score: 5.0}}}}}}
sink: {{kafka: {{alerts: a, dead_letters: d, late: l}}}}
feedback: {{}}
reload: {{}}
"""
STRICTER = YAML.replace("score: 5.0", "score: 6.5")


class Followed:
    """A file, the reloader that follows it, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pipeline.yaml"
        self.path.write_text(YAML)
        self.seconds, self.failures, self.adopted = 0.0, 0, list[str]()
        config = load_config(self.path)
        told = Told(lambda _, digest: self.adopted.append(digest), self.fail)
        self.reloader = Reloader(self.path, {}, config, demo_model(), lambda: self.seconds, told)

    def fail(self) -> None:
        self.failures += 1

    def look(self, text: str | None = None, after: float = 1.0) -> list[dict[str, object]]:
        if text is not None:
            self.path.write_text(text)
        self.seconds += after
        with capture_logs() as logs:
            self.reloader.look()
        return list(logs)

    @property
    def limit(self) -> float:
        return self.reloader.current.rules[-1].thresholds["event"].value


@pytest.fixture
def followed(tmp_path) -> Followed:
    return Followed(tmp_path)


def test_a_changed_threshold_is_taken_over(followed):
    before = followed.reloader.current.digest
    followed.look(STRICTER)
    assert followed.limit == 6.5
    assert followed.adopted == [before, load_config(followed.path).digest]
    assert followed.failures == 0


def test_the_file_is_looked_at_once_a_second_and_at_once_where_asked(followed):
    followed.look(STRICTER, after=0.5)
    assert followed.limit == 5.0
    followed.reloader.ask()
    followed.look(after=0.0)
    assert followed.limit == 6.5


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (YAML.replace("score: 5.0", "scor: 5.0"), ":6:32", "unknown key `scor`"),
        (YAML.replace("{event: {score: 5.0}}", "{event: {score: 5.0}"), ":", "pipeline.yaml"),
        (YAML.replace("topic: logs", "topic: others"), ":2:", "cannot change while a worker runs"),
        (YAML + "windows: {max_events: 7}\n", ":10:", "cannot change while a worker runs"),
        ("", ":1:1", "expected keys and values"),
    ],
)
def test_a_bad_file_keeps_the_old_one_and_says_where_it_is_wrong_once(followed, text, place, said):
    (line,) = followed.look(text)
    assert line["event"] == "reload_failed"
    assert f"pipeline.yaml{place}" in str(line["why"])
    assert said in str(line["why"])
    assert (followed.limit, followed.failures) == (5.0, 1)
    assert followed.look() == []
    followed.look(STRICTER)
    assert followed.limit == 6.5


def test_a_file_that_is_gone_changes_nothing(followed):
    followed.path.unlink()
    (line,) = followed.look()
    assert (line["event"], followed.limit, followed.failures) == ("reload_failed", 5.0, 1)


def test_a_silence_rule_is_taken_over(followed):
    rule = "feedback: {rules: [{name: deploy, templates: ['*deploy*']}]}"
    followed.look(YAML.replace("feedback: {}", rule))
    assert [each.name for each in followed.reloader.current.standing or ()] == ["deploy"]


def test_what_needs_a_restart_is_told_apart_from_what_does_not(followed):
    (line,) = followed.look(STRICTER.replace("feedback: {}", "feedback: {topic: other.marks}"))
    assert "feedback.topic: cannot change" in str(line["why"])
    assert followed.limit == 5.0
