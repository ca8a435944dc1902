"""From a configuration, and what was recorded of earlier ones, to settings: what may change while a worker runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longwatch.pipeline.assembly import Model, rules_for
from longwatch.pipeline.bundles import Bundles
from longwatch.pipeline.config import Config
from longwatch.pipeline.config.base import Location
from longwatch.pipeline.config.detection import Thresholds
from longwatch.pipeline.config.feedback import Feedback
from longwatch.pipeline.errors import StateError
from longwatch.pipeline.feedback.configured import Past, standing_rules
from longwatch.pipeline.setting import Change, Setting, Settings
from longwatch.pipeline.yaml_document import parse_yaml


def recorded_settings(
    config: Config, model: Model, recorded: Sequence[Change] = (), bundles: Bundles | None = None
) -> Settings:
    """The settings that an engine knows: the configuration's own, and those that were recorded."""
    known = bundles or Bundles(config, model)
    return Settings(setting_of(config, model), _Maker(config, known), known, recorded)


def settings_of_past(config: Config, model: Model, past: Past | None) -> Settings | None:
    """Those that a replay of what was recorded needs; None where nothing changed."""
    return recorded_settings(config, model, past.changes) if past is not None and past.changes else None


def setting_of(config: Config, model: Model) -> Setting:
    """What may change of a configuration; ValueError where the calibration does not allow a threshold."""
    silence = [] if config.feedback is None else config.feedback.rules
    return Setting(
        config.digest,
        model.bundle.digest,
        tuple(rules_for(config, model.bundle.calibration)),
        standing_rules(config),
        config.thresholds.model_dump(mode="json", exclude_none=True),
        [rule.model_dump(mode="json", exclude_none=True) for rule in silence],
    )


@dataclass(frozen=True)
class _Maker:
    """Makes settings of what was recorded; StateError where another part of the configuration was another then."""

    config: Config
    bundles: Bundles

    def __call__(self, change: Change | None, bundle: str, /) -> Setting:
        config, model = self._config(change), self.bundles.model(bundle)
        try:
            return setting_of(config, model)
        except ValueError as error:
            raise StateError(
                f"configuration {config.digest[:16]} cannot hold under bundle {bundle}: {error}",
                "verify and replay with the bundle that the worker had",
            ) from error

    def _config(self, change: Change | None) -> Config:
        if change is None:
            return self.config
        update: dict[str, Any] = {"thresholds": Thresholds.model_validate(_plain(change.thresholds), by_alias=True)}
        if self.config.feedback is not None:
            rules = Feedback.model_validate(_plain({"rules": change.silence}), by_alias=True).rules
            update["feedback"] = self.config.feedback.model_copy(update={"rules": rules})
        made = self.config.model_copy(update=update)
        if made.digest != change.config:
            raise StateError(
                f"configuration {change.config[:16]} had more than other thresholds and silence rules",
                "change windows, format or entity only where the pipeline gets a name of its own",
            )
        return made


def first_difference(running: Config, loaded: Config) -> Location | None:
    """Where a configuration differs in what cannot change while a worker runs."""
    return _differs(_fixed(running), _fixed(loaded), ())


def _fixed(config: Config) -> dict[str, Any]:
    changing: Any = {"thresholds": True, "bundle": True, "feedback": {"rules"}}
    parts = config.model_dump(mode="json", exclude=changing, by_alias=True)
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
