"""Windows in, alerts out: the network's surprise and the cheap evidence, calibrated together, against thresholds.

Pure: no I/O and no clock. Each message belongs to the record that caused it (`trigger_offset`), so the messages of a
partition are a function of its records, and a restarted worker leaves out exactly those below its committed offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import NamedTuple, get_args

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from longwatch.model.scorer import Calibration, Evidence, Pace, Scorer, WindowTokens
from longwatch.pipeline.alert_builder import AlertBuilder, Message, Touched
from longwatch.pipeline.alerts import Lifecycle, ThresholdNote
from longwatch.pipeline.detection import AlertKind, AlertState, Detection, Scores, escalations
from longwatch.pipeline.feedback.silence import Subject, moment_of
from longwatch.pipeline.moving import Closing, MovingThresholds, in_order
from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.packing import pack
from longwatch.pipeline.records import Partition
from longwatch.pipeline.score_log import score_frame
from longwatch.pipeline.setting import Setting
from longwatch.pipeline.stages import Stage, Timed, untimed
from longwatch.pipeline.window_state import PARTITION_IDLE, Window


@dataclass(frozen=True)
class Rule:
    """Thresholds for the entities and sources that match; globs, case-sensitive. With `pace` the window's moves."""

    name: str
    entity: str = "*"
    source: str = "*"
    thresholds: Mapping[AlertKind, ThresholdNote] = field(default_factory=dict)
    pace: Pace | None = None

    def matches(self, partition: Partition, entity: str) -> bool:
        """Whether this rule decides for an entity of that partition's topic."""
        return fnmatchcase(entity, self.entity) and fnmatchcase(partition.topic, self.source)


class Span(NamedTuple):
    """Scores [start, stop) of a batch that one setting decides about."""

    start: int
    stop: int
    setting: Setting


class Detector:
    """Scores touched windows and raises what their scores call for.

    The first rule that matches decides; the last must match everything.
    """

    def __init__(
        self,
        scorer: Scorer,
        evidence: Evidence,
        calibration: Calibration,
        rules: Sequence[Rule],
        builder: AlertBuilder,
        timed: Timed = untimed,
    ) -> None:
        self._scorer = scorer
        self._evidence = evidence
        self._calibration = calibration
        self._setting = Setting(builder.digests.config, builder.digests.bundle, tuple(rules))
        self._builder = builder
        self._timed = timed

    @property
    def moves(self) -> bool:
        """Whether any threshold follows the stream."""
        return any(rule.pace is not None for rule in self._setting.rules)

    def detect(
        self,
        touched: Sequence[Touched],
        moving: Mapping[Partition, MovingThresholds],
        *,
        keep_scores: bool = False,
    ) -> tuple[list[Output], list[pl.DataFrame]]:
        """Alert messages in order of their trigger, and with `keep_scores` the scores of every event scored now.

        moving: for each partition touched, moved on by the windows that close.
        """
        windows = [item.window for item in touched]
        with self._timed(Stage.SCORE):
            tokens = pack(windows)
            surprise = self._scorer.score(tokens)
        with self._timed(Stage.DETECT):
            outputs, scores = self._judge(touched, tokens, surprise, moving)
        frames = _frames(touched, tokens, scores) if keep_scores else []
        return sorted(outputs, key=lambda output: (output.partition, output.trigger_offset)), frames

    def _judge(
        self,
        touched: Sequence[Touched],
        tokens: WindowTokens,
        surprise: NDArray[np.float32],
        moving: Mapping[Partition, MovingThresholds],
    ) -> tuple[list[Output], Scores]:
        """Messages of each window in turn, and the scores that they come from."""
        counts = (tokens.lengths - tokens.scored).astype(np.int64)
        scores = self._score([item.window for item in touched], tokens, surprise, counts)
        bounds = np.concatenate([[0], np.cumsum(counts)]).tolist()
        parts = [scores.slice(start, stop) for start, stop in pairwise(bounds)]
        if self.moves:
            for partition in {item.partition for item in touched}:
                own = [(item, part) for item, part in zip(touched, parts, strict=True) if item.partition == partition]
                self._move(own, moving[partition])
        outputs: list[Output] = []
        for item, part in zip(touched, parts, strict=True):
            outputs += self._raise(item, part)
        return outputs, scores

    def _score(
        self,
        windows: Sequence[Window],
        tokens: WindowTokens,
        surprise: NDArray[np.float32],
        counts: NDArray[np.int64],
    ) -> Scores:
        """Scores of all unscored tokens; each window's running statistic moves on."""
        signs = self._evidence.signs(tokens)
        event = self._calibration.event_score(surprise, signs.flags)
        detections = [self._detection(window) for window in windows]
        states = np.stack([detection.statistic for detection in detections])
        states, so_far = self._calibration.window_scores(states, surprise, signs, counts)
        for window, detection, state in zip(windows, detections, states, strict=True):
            detection.statistic = state
            window.num_scored = len(window.columns)
        return Scores(surprise, signs.flags, event, so_far)

    def _detection(self, window: Window) -> Detection:
        if window.detection is None:
            window.detection = Detection(self._calibration.window_state(), window.context)
        detection: Detection = window.detection
        return detection

    def _move(self, items: Sequence[tuple[Touched, Scores]], moving: MovingThresholds) -> None:
        """Gives new windows of a partition their thresholds and learns from those that close, as it happened."""
        windows = [item.window for item, _ in items]
        moments = [(w.first_offset, w.close.trigger_offset if w.close else None) for w in windows]
        for at, closes in in_order(moments):
            (item, scores), window, detection = items[at], windows[at], self._detection(windows[at])
            if not closes and detection.level is None:
                detection.level = moving.level_at(window.entity, window.first_offset)
            rule = self._rule(item)
            if closes and rule.pace is not None and window.close is not None:
                excess = _final(scores, detection) - self._threshold(rule, "window", detection).value
                above = excess if excess >= 0 else None
                moving.closed(Closing(window.close.trigger_offset, window.entity, above, rule.pace))

    def _rule(self, item: Touched, setting: Setting | None = None) -> Rule:
        rules = self._setting.rules if setting is None else setting.rules
        return next(rule for rule in rules if rule.matches(item.partition, item.window.entity))

    def _threshold(self, rule: Rule, kind: AlertKind, detection: Detection) -> ThresholdNote:
        """The one in force for this window."""
        note = rule.thresholds[kind]
        if kind == "event" or rule.pace is None or not detection.level:
            return note
        return msgspec.structs.replace(note, value=note.value + detection.level)

    def _raise(self, item: Touched, scores: Scores) -> Iterator[Output]:
        detection = self._detection(item.window)
        before = detection.add(scores)
        spans = self._spans(item, detection, before, len(scores))
        detection.rule = self._rule(item, spans[-1].setting).name
        for kind in get_args(AlertKind):
            for span in spans:
                yield from self._escalate(item, detection, kind, scores.slice(span.start, span.stop), span, before)
            if item.window.close is not None:
                yield from self._close(item, detection, kind, before + len(scores))

    def _spans(self, item: Touched, detection: Detection, before: int, count: int) -> list[Span]:
        """The new scores by what was in force at the record that each belongs to."""
        if item.in_force is None:
            return [Span(0, count, self._setting)]
        settings = [
            self._in_force(item, _trigger(item.window, row, "update")) for row in _rows(detection, before, count)
        ]
        if not settings:
            return [Span(0, 0, item.in_force.last)]
        cuts = [0, *(at for at in range(1, count) if settings[at] is not settings[at - 1]), count]
        return [Span(start, stop, settings[start]) for start, stop in pairwise(cuts)]

    def _in_force(self, item: Touched, trigger: int) -> Setting:
        return self._setting if item.in_force is None else item.in_force.at(_moment(item.window, trigger))

    def _escalate(
        self, item: Touched, detection: Detection, kind: AlertKind, scores: Scores, span: Span, before: int
    ) -> Iterator[Output]:
        """An alert belongs to a rule: where another decides from now on, the other's alert is another one."""
        rule = self._rule(item, span.setting)
        if kind not in rule.thresholds:
            return
        threshold = self._threshold(rule, kind, detection)
        state = detection.alerts.setdefault((kind, rule.name), AlertState())
        for row, level in escalations(state, scores.of(kind), threshold.value):
            lifecycle: Lifecycle = "update" if state.level else "open"
            state.level, state.revision, state.threshold = level, state.revision + 1, threshold
            stop = before + span.start + row + 1
            message = Message(kind, rule.name, threshold, lifecycle, state.revision, stop)
            yield from self._emit(item, detection, state, message)

    def _close(self, item: Touched, detection: Detection, kind: AlertKind, stop: int) -> Iterator[Output]:
        """Of all rules that decided while the window was open."""
        for (of, name), state in detection.alerts.items():
            if of == kind and state.threshold is not None:
                message = Message(kind, name, state.threshold, "close", state.revision + 1, stop)
                yield from self._emit(item, detection, state, message)

    def _emit(self, item: Touched, detection: Detection, state: AlertState, message: Message) -> Iterator[Output]:
        """One message, raised or silenced; those below `silent_below` are only decided again, for what comes after."""
        trigger = _trigger(item.window, detection.first_row + message.stop - 1, message.lifecycle)
        is_due, setting = trigger >= item.silent_below, self._in_force(item, trigger)
        is_unheard = not state.told and state.silenced_by is None
        if _moment(item.window, trigger) < item.since or (message.lifecycle == "close" and is_unheard):
            # Another bundle judged then; and what nobody was told of, need not end.
            return
        if not is_due and not _may_silence(item):
            state.told = True
            return
        subject = self._builder.subject(item, detection, message)
        by = _silenced_by(item, state, message, subject, trigger, setting)
        if by is None and message.lifecycle == "update" and not state.told:
            # Whoever reads alerts hears of this one for the first time.
            message = replace(message, lifecycle="open")
        state.told, state.silenced_by = state.told or by is None, by
        if is_due:
            alert = self._builder.build(item, detection, message, trigger, subject, by, setting.digest)
            kind = Kind.ALERT if by is None else Kind.SUPPRESSED
            yield Output(kind, item.partition, trigger, alert.alert_id.encode(), alert.encode())


def _frames(touched: Sequence[Touched], tokens: WindowTokens, scores: Scores) -> list[pl.DataFrame]:
    """Each event's scores once: a bundle that takes over scores what is open again, and that was given."""
    frame = score_frame([(item.partition, item.window) for item in touched], tokens, scores)
    if not any(item.since >= 0 for item in touched):
        return [frame]
    given = {(each.partition.topic, each.partition.partition): each.silent_below for each in touched}
    begins = pl.DataFrame([(*key, at) for key, at in given.items()], {**_PLACE, "begins": pl.Int64}, orient="row")
    due = pl.col("offset").is_null() | (pl.col("offset") >= pl.col("begins"))
    return [frame.join(begins, list(_PLACE), "left", maintain_order="left").filter(due).drop("begins")]


_PLACE = {"topic": pl.String, "partition": pl.Int64}


def _rows(detection: Detection, before: int, count: int) -> range:
    return range(detection.first_row + before, detection.first_row + before + count)


def _may_silence(item: Touched) -> bool:
    return item.silence.is_possible or (item.in_force is not None and item.in_force.may_silence)


def _moment(window: Window, trigger: int) -> int:
    """When an output of that trigger happens."""
    close = window.close
    by_silence = close is not None and close.reason == PARTITION_IDLE and trigger == close.trigger_offset
    return moment_of(trigger, after_silence=not by_silence)


def _silenced_by(
    item: Touched, state: AlertState, message: Message, subject: Subject, trigger: int, setting: Setting
) -> str | None:
    """What silences a message; a close goes where its alert went: one that was raised ends before all eyes."""
    if message.lifecycle == "close":
        return None if state.told else state.silenced_by
    silence = item.silence if setting.standing is None else replace(item.silence, rules=setting.standing)
    return silence.by(subject, _moment(item.window, trigger))


def _final(scores: Scores, detection: Detection) -> float:
    """A window's score after its last event: it never falls, so the last one is the highest."""
    if len(scores):
        return float(scores.window[-1])
    return float(detection.scores.window[-1]) if detection.parts else float("-inf")


def _trigger(window: Window, row: int, lifecycle: Lifecycle) -> int:
    if window.close is not None and (lifecycle == "close" or row >= len(window.columns)):
        return window.close.trigger_offset
    return int(window.columns["offset"][row])
