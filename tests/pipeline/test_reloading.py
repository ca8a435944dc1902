"""A configuration file that is changed under a running worker: what is taken over, and what changes nothing."""

import shutil
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from longwatch.pipeline.assembly import Model
from longwatch.pipeline.bundles import digest_of
from longwatch.pipeline.config import load_config
from longwatch.pipeline.reloading import Reloader, Told
from support.demo import HOME, demo_model
from support.second_bundle import train_second

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
        self.seconds, self.failures, self.adopted, self.opened = 0.0, 0, list[str](), list[str]()
        config = load_config(self.path)
        told = Told(self.adopt, self.fail)
        self.reloader = Reloader(self.path, {}, config, demo_model(), lambda: self.seconds, told)

    def adopt(self, model: Model, digest: str) -> None:
        self.opened.append(model.bundle.digest)
        self.adopted.append(digest)

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


class Deployed(Followed):
    """The same with bundles of its own to name: `first` is whole, as is `second` once it is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(HOME / "bundle", folder / "first")
        super().__init__(folder)

    def text(self, bundle: str, thresholds: str = "score: 5.0") -> str:
        named = YAML.replace(str(HOME / "bundle"), str(self.folder / bundle))
        return named.replace("score: 5.0", thresholds)

    def settled(self, text: str | None = None) -> list[dict[str, object]]:
        """What was said once a bundle that had to be opened is."""
        said, deadline = self.look(text), time.monotonic() + 30
        while self.reloader.is_opening:
            assert time.monotonic() < deadline
            time.sleep(0.005)
            said += self.look(after=0.0)
        return said

    @property
    def bundle(self) -> str:
        return self.reloader.current.bundle


@pytest.fixture
def deployed(tmp_path) -> Deployed:
    found = Deployed(tmp_path)
    found.settled(found.text("first"))
    return found


@pytest.fixture(scope="module")
def second(tmp_path_factory) -> Path:
    return train_second(tmp_path_factory.mktemp("bundles") / "second")


def test_another_bundle_is_taken_over_with_its_own_values_for_budgets(deployed, second):
    budget = "false_alarms_per_day: 20"
    deployed.settled(deployed.text("first", budget))
    before = deployed.bundle, deployed.limit
    shutil.copytree(second, deployed.folder / "second")
    (line,) = deployed.settled(deployed.text("second", budget))
    assert (line["event"], line["bundle"]) == ("reloaded", digest_of(second)[:16])
    assert deployed.bundle == deployed.opened[-1] == digest_of(second)
    assert deployed.bundle != before[0]
    assert deployed.limit != before[1]


def test_a_link_that_was_turned_is_noticed_and_the_same_bundle_elsewhere_changes_nothing(deployed, second):
    (deployed.folder / "current").symlink_to(deployed.folder / "first")
    assert deployed.settled(deployed.text("current")) == []
    shutil.copytree(second, deployed.folder / "second")
    (deployed.folder / ".next").symlink_to(deployed.folder / "second")
    (deployed.folder / ".next").replace(deployed.folder / "current")
    (line,) = deployed.settled()
    assert (line["event"], deployed.bundle) == ("reloaded", digest_of(second))


@pytest.mark.parametrize("file", ["model.onnx", "weights.safetensors", "vocabulary.json", "manifest.json"])
def test_a_broken_bundle_never_takes_effect_and_is_tried_again_when_it_changes(deployed, second, file):
    path = Path(shutil.copytree(second, deployed.folder / "second")) / file
    whole, before = path.read_bytes(), deployed.bundle
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    (line,) = deployed.settled(deployed.text("second"))
    assert line["event"] == "reload_failed"
    assert str(deployed.folder / "second") in str(line["why"])
    assert "hint: " in str(line["why"])
    assert (deployed.bundle, deployed.failures) == (before, 1)
    assert deployed.settled() == []
    path.unlink()
    (line,) = deployed.settled()
    assert (line["event"], deployed.bundle, deployed.failures) == ("reload_failed", before, 2)
    path.write_bytes(whole)
    (line,) = deployed.settled()
    assert (line["event"], deployed.bundle) == ("reloaded", digest_of(second))


def test_a_folder_that_is_not_there_yet_is_taken_once_it_is(deployed, second):
    (line,) = deployed.settled(deployed.text("second"))
    assert (line["event"], "no such folder" in str(line["why"])) == ("reload_failed", True)
    shutil.copytree(second, deployed.folder / "second")
    assert [line["event"] for line in deployed.settled()][-1] == "reloaded"


def test_opening_a_bundle_does_not_hold_up_whoever_looks(deployed, second):
    shutil.copytree(second, deployed.folder / "second")
    deployed.path.write_text(deployed.text("second"))
    looks, deadline = 0, time.monotonic() + 60
    deployed.seconds += 1.0
    while deployed.reloader.current.bundle != digest_of(second):
        deployed.reloader.look()
        looks += 1
        assert time.monotonic() < deadline
    # Whoever opened it within a look would be done after one or two.
    assert looks > 5


def test_what_happens_while_a_bundle_is_opened_is_seen_afterwards(deployed, second):
    shutil.copytree(second, deployed.folder / "second")
    deployed.look(deployed.text("second"))
    assert deployed.reloader.is_opening
    deployed.path.write_text(deployed.text("first", "score: 6.5"))
    deployed.settled()
    deployed.settled()
    assert (deployed.bundle, deployed.limit) == (digest_of(deployed.folder / "first"), 6.5)
