"""A configuration file that is followed while a worker runs: a good change is taken over, a bad one changes nothing."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from longwatch.model.scorer import Calibration
from longwatch.pipeline.assembly import Model, rules_for
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.config.base import Location, Problem
from longwatch.pipeline.config.detection import Thresholds
from longwatch.pipeline.config.feedback import Feedback
from longwatch.pipeline.config.load import error_at
from longwatch.pipeline.errors import ConfigError, ConfigFileError, LongwatchError, StateError
from longwatch.pipeline.feedback.configured import standing_rules
from longwatch.pipeline.setting import Change, Setting, Settings
from longwatch.pipeline.yaml_document import parse_yaml

log = structlog.get_logger("longwatch.reload")


@dataclass(frozen=True)
class Told:
    """Who is told of a configuration that is taken over (its digest), and of one that is not."""

    adopted: Callable[[str], None] = lambda _: None
    failed: Callable[[], None] = lambda: None


class Reloader:
    """Looks at the file no more often than it should; `current` is the last good state of it."""

    def __init__(
        self,
        path: Path,
        overrides: Mapping[str, str],
        config: Config,
        calibration: Calibration,
        now: Callable[[], float],
        told: Told | None = None,
    ) -> None:
        self._path, self._overrides, self._now = path, dict(overrides), now
        self._config, self._calibration = config, calibration
        self._told = told or Told()
        self._every_s = config.reload.look_every.seconds if config.reload is not None else 1.0
        self._looked, self._seen = now(), _stamp(path)
        self._asked = False
        self.current = setting_of(config, calibration)
        self._told.adopted(self.current.digest)

    def ask(self) -> None:
        """Read at the next look, changed or not: what SIGHUP does."""
        self._asked = True

    def look(self) -> None:
        """Take over a changed file, or log once what is wrong with it."""
        now, asked = self._now(), self._asked
        if not asked and now - self._looked < self._every_s:
            return
        self._looked, self._asked = now, False
        seen = _stamp(self._path)
        if not asked and seen == self._seen:
            return
        self._seen = seen
        try:
            self._take(self._read())
        except LongwatchError as error:
            self._refuse(error)

    def _read(self) -> Setting:
        loaded = load_config(self._path, self._overrides)
        if (at := first_difference(self._config, loaded)) is not None:
            problem = Problem("cannot change while a worker runs", "restart it, or write what was there before", at)
            raise error_at(self._path, problem)
        try:
            return setting_of(loaded, self._calibration)
        except ValueError as error:
            raise ConfigError(f"thresholds: {error}", "`longwatch validate` shows it", file=str(self._path)) from error

    def _take(self, setting: Setting) -> None:
        if setting.digest != self.current.digest:
            self.current = setting
            log.info("reloaded", config=setting.digest[:16], effect="in force from the next commit on")
        self._told.adopted(setting.digest)

    def _refuse(self, error: LongwatchError) -> None:
        first = error.problems[0] if isinstance(error, ConfigFileError) else error
        log.error("reload_failed", why=str(first), effect=f"{self.current.digest[:16]} stays in force")
        self._told.failed()


def opened_reloader(
    path: Path, overrides: Mapping[str, str], config: Config, model: Model, now: Callable[[], float], told: Told
) -> Reloader | None:
    """Follows the file, and reads it at once on SIGHUP; None where the configuration has no `reload`."""
    if config.reload is None:
        return None
    reloader = Reloader(path, overrides, config, model.bundle.calibration, now, told)
    signal.signal(signal.SIGHUP, lambda *_: reloader.ask())
    return reloader


def recorded_settings(config: Config, model: Model, recorded: Sequence[Change] = ()) -> Settings:
    """The settings that an engine knows: the configuration's own, and those that were recorded."""
    calibration = model.bundle.calibration
    return Settings(setting_of(config, calibration), setting_maker(config, calibration), recorded)


def setting_of(config: Config, calibration: Calibration) -> Setting:
    """What may change of a configuration; ValueError where the calibration does not allow a threshold."""
    silence = [] if config.feedback is None else config.feedback.rules
    return Setting(
        config.digest,
        tuple(rules_for(config, calibration)),
        standing_rules(config),
        config.thresholds.model_dump(mode="json", exclude_none=True),
        [rule.model_dump(mode="json", exclude_none=True) for rule in silence],
    )


def setting_maker(config: Config, calibration: Calibration) -> Callable[[Change], Setting]:
    """Makes settings of what was recorded; StateError where another part of the configuration was another then."""

    def make(change: Change) -> Setting:
        update: dict[str, Any] = {"thresholds": Thresholds.model_validate(_plain(change.thresholds), by_alias=True)}
        if config.feedback is not None:
            rules = Feedback.model_validate(_plain({"rules": change.silence}), by_alias=True).rules
            update["feedback"] = config.feedback.model_copy(update={"rules": rules})
        made = setting_of(config.model_copy(update=update), calibration)
        if made.digest != change.config:
            raise StateError(
                f"configuration {change.config[:16]} had more than other thresholds and silence rules",
                "change windows, format or entity only where the pipeline gets a name of its own",
            )
        return made

    return make


def first_difference(running: Config, loaded: Config) -> Location | None:
    """Where a configuration differs in what cannot change while a worker runs."""
    return _differs(_fixed(running), _fixed(loaded), ())


def _fixed(config: Config) -> dict[str, Any]:
    parts = config.model_dump(mode="json", exclude={"thresholds": True, "feedback": {"rules"}}, by_alias=True)
    return parts | {"thresholds": {"follow": config.thresholds.follow}}


def _differs(one: Any, other: Any, at: Location) -> Location | None:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        found = (_differs(one.get(key), other.get(key), (*at, key)) for key in keys)
        return next((each for each in found if each is not None), None)
    return None if one == other else at


def _plain(value: Any) -> Any:
    """As the YAML reader gives it: JSON is YAML."""
    return parse_yaml(json.dumps(value), "a recorded configuration").value


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file does, or what a link leads to."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
