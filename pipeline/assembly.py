"""From a configuration and a bundle to a running engine: the one place where the rooms are put together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from longwatch.model.scorer import (
    Backend,
    Bundle,
    Calibration,
    Device,
    Pace,
    Scorer,
    ScorerUnavailableError,
    open_bundle,
    open_scorer,
)
from longwatch.pipeline.alert_builder import AlertBuilder
from longwatch.pipeline.alerts import Digests, ThresholdNote
from longwatch.pipeline.config import Config, Limits, Threshold
from longwatch.pipeline.config import Windows as WindowsConfig
from longwatch.pipeline.decode import decoder_for
from longwatch.pipeline.detection import AlertKind
from longwatch.pipeline.detector import Detector, Rule
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.errors import BundleUnusableError
from longwatch.pipeline.feedback.configured import Past, silencer_for
from longwatch.pipeline.masking.masker import NOTHING, Masker
from longwatch.pipeline.reading import Reading
from longwatch.pipeline.setting import Settings
from longwatch.pipeline.share import WHOLE, Share
from longwatch.pipeline.stages import Timed, untimed
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.templates import TemplateSet
from longwatch.pipeline.window_state import WindowRules

MOVES_OF_A_WINDOW = 32
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Model:
    """An opened bundle and what reads it."""

    bundle: Bundle
    scorer: Scorer
    templates: TemplateSet


def open_model(config: Config) -> Model:
    """The bundle that the configuration names, digests checked, and a scorer for it.

    Raises:
        BundleUnusableError: not there, changed since it was written, or no backend installed that can read it.
    """
    scorer = config.scorer
    return model_at(config.require_bundle(), scorer.backend, scorer.threads, scorer.device)


def model_at(path: Path, backend: Backend = "auto", threads: int = 1, device: Device = "auto") -> Model:
    """The bundle in that folder and a scorer for it; raises BundleUnusableError as `open_model` does."""
    if not path.is_dir():
        hint = "`longwatch train pipeline.yaml --out bundle` makes one; `bundle:` in the YAML names its folder"
        raise BundleUnusableError(f"{path}: no such folder, expected a model bundle", hint=hint)
    try:
        bundle = open_bundle(path)
        scorer = open_scorer(bundle, backend, threads, device)
        return Model(bundle, scorer, TemplateSet.from_json(bundle.template_set_json))
    except ValueError as error:
        raise BundleUnusableError(
            str(error), hint="`longwatch train` makes a bundle; `bundle:` names its folder"
        ) from error
    except ScorerUnavailableError as error:
        raise BundleUnusableError(str(error)) from error


def window_rules(windows: WindowsConfig) -> WindowRules:
    """The windows section in milliseconds."""
    return WindowRules(
        max_events=windows.max_events,
        idle_gap_ms=windows.idle_gap.ms,
        max_duration_ms=windows.max_duration.ms,
        overlap=windows.overlap,
        allowed_lateness_ms=windows.allowed_lateness.ms,
        idle_timeout_ms=None if windows.idle_timeout is None else windows.idle_timeout.ms,
    )


def build_engine(
    config: Config,
    model: Model,
    *,
    instance: str = "",
    keep_scores: bool = False,
    spare_top_events: int = 0,
    past: Past | None = None,
    timed: Timed = untimed,
    masked: bool = True,
    share: Share = WHOLE,
    settings: Settings | None = None,
) -> Engine:
    """Engine of a configuration; `keep_scores` also gives every event's scores.

    `spare_top_events` more than configured are named in alerts, for `verify`, which looks for the configured ones.
    `past` holds marks and, for a replay, where they took effect.
    `share` of the entities is all that it answers for.
    Outputs leave masked; only who joins them with labels and scores, and masks them later, asks for them as they are.
    """
    masker = config.masking.masker() if masked else NOTHING

    def reading(model: Model, rules: Sequence[Rule] = ()) -> Reading:
        return reading_of(config, model, rules, instance, spare_top_events, masker, timed)

    own = reading(model, list(rules_for(config, model.bundle.calibration)))
    return Engine(
        decoder_for(config.format, config.entity),
        own.templates,
        window_rules(config.windows),
        own.detector,
        (model.bundle.digest, config.digest),
        keep_scores=keep_scores,
        silencer=silencer_for(config, past or Past()),
        timed=timed,
        masker=masker,
        share=share,
        settings=settings,
        readings=None if settings is None else lambda bundle: reading(settings.bundles.model(bundle)),
    )


def reading_of(
    config: Config,
    model: Model,
    rules: Sequence[Rule],
    instance: str,
    spare_top_events: int,
    masker: Masker,
    timed: Timed,
) -> Reading:
    """What reads and judges events by this model; under settings, their rules decide and none are needed here."""
    bundle = model.bundle
    templates = TemplateColumns(model.templates, bundle.vocabulary.templates)
    builder = AlertBuilder(
        Digests(bundle.digest, config.digest, model.templates.digest),
        templates.texts,
        bundle.evidence.names,
        config.alerts.top_events + spare_top_events,
        config.alerts.include_lines,
        instance,
        bundle.successors,
        masker,
    )
    detector = Detector(model.scorer, bundle.evidence, bundle.calibration, rules, builder, timed)
    return Reading(bundle.digest[:16], templates, detector)


def rules_for(config: Config, calibration: Calibration) -> Iterator[Rule]:
    """Rules with their thresholds as scores of this calibration; the default comes last and matches all."""
    for rule in config.thresholds.rules:
        notes, pace = _notes(rule, calibration), _pace(rule, calibration, config)
        yield Rule(rule.name, rule.match.entity, rule.match.source, notes, pace)
    default = config.thresholds.default
    yield Rule("default", thresholds=_notes(default, calibration), pace=_pace(default, calibration, config))


def _pace(limits: Limits, calibration: Calibration, config: Config) -> Pace | None:
    """How a window's budget follows the stream; only a number of alarms a day can.

    A window may be open for long, and what was in force when it began must fit into a commit: so many moves, no more.
    """
    if not config.thresholds.follow or limits.window is None or limits.window.false_alarms_per_day is None:
        return None
    longest_days = config.windows.max_duration.ms / DAY_MS
    windows_a_day = calibration.windows.total / calibration.windows.days
    share = limits.window.false_alarms_per_day / windows_a_day
    every = math.ceil(windows_a_day * longest_days / MOVES_OF_A_WINDOW)
    return Pace(share, every=max(1, every)) if share < 1 else None


def _notes(limits: Limits, calibration: Calibration) -> dict[AlertKind, ThresholdNote]:
    kinds: dict[AlertKind, Threshold | None] = {"event": limits.event, "window": limits.window}
    return {kind: _note(kind, limit, calibration) for kind, limit in kinds.items() if limit is not None}


def _note(kind: AlertKind, limit: Threshold, calibration: Calibration) -> ThresholdNote:
    setting = getattr(limit, limit.kind)
    value = calibration.threshold(kind, **{limit.kind: setting})
    return ThresholdNote(value, limit.kind, setting, round(calibration.expected_per_day(kind, value), 6))
