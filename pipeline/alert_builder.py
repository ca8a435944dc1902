"""Puts an alert together from a window and what its detection has shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from longwatch.model.scorer import END_TEMPLATE, Successors
from longwatch.pipeline.alerts import (
    SCHEMA,
    Alert,
    AlertKey,
    Digests,
    Expected,
    Follower,
    Lifecycle,
    SourceNote,
    ThresholdNote,
    TopEvent,
    WindowNote,
    iso_time,
)
from longwatch.pipeline.carriers import carriers
from longwatch.pipeline.detection import AlertKind, Detection
from longwatch.pipeline.feedback.silence import Carrier, Silence, Subject, moment_of
from longwatch.pipeline.masking.alert import masked
from longwatch.pipeline.masking.masker import NOTHING, Masker
from longwatch.pipeline.packing import END_ID
from longwatch.pipeline.records import Partition
from longwatch.pipeline.setting import InForce
from longwatch.pipeline.window_state import Window

TEMPLATE_CHARACTERS = 512
"""A longer template is cut in an alert, so that 100 top events, each character escaped, fit into a 1 MiB request."""

NO_SILENCE = Silence()
EXPECTED_CHARACTERS = 128
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Touched:
    """A window that a batch touched; messages below `silent_below` were committed by an earlier life of the worker."""

    partition: Partition
    window: Window
    silent_below: int
    partial: bool = False
    silence: Silence = NO_SILENCE
    in_force: InForce | None = None

    @property
    def since(self) -> int:
        """The moment from which this bundle judges: what it would have raised before, nobody is told."""
        return -1 if self.in_force is None else self.in_force.since

    @property
    def swapped_at(self) -> int | None:
        """Where it took over this window from another; None where the window began under it."""
        return self.since // 2 if moment_of(self.window.first_offset, after_silence=True) < self.since else None


@dataclass(frozen=True)
class Message:
    """One message to send, about the first `stop` scored events of a window."""

    kind: AlertKind
    rule: str
    threshold: ThresholdNote
    lifecycle: Lifecycle
    revision: int
    stop: int


@dataclass(frozen=True)
class AlertBuilder:
    """What every alert of a worker has in common."""

    digests: Digests
    templates: Mapping[int, str]
    evidence_names: Sequence[str]
    top_events: int = 5
    include_lines: bool = True
    instance: str = ""
    successors: Successors = field(default_factory=Successors.none)
    masker: Masker = NOTHING

    def subject(self, item: Touched, detection: Detection, message: Message) -> Subject:
        """The message as marks and rules see it; its entity goes by its own name and by the one that alerts show."""
        window = item.window
        found = carriers(window, detection, message.stop, self.evidence_names)
        named = [Carrier(each.digest, self._template(window, each.template_id)) for each in found]
        row = min(detection.first_row + message.stop - 1, len(window.columns) - 1)
        names = (window.entity, self.masker.name(window.entity))
        return Subject(message.rule, message.kind, names, named, int(window.columns["event_time_ms"][row]))

    def build(
        self,
        item: Touched,
        detection: Detection,
        message: Message,
        trigger_offset: int,
        subject: Subject,
        suppressed_by: str | None = None,
        config: str | None = None,
    ) -> Alert:
        """The alert message due at the record `trigger_offset`, masked; its id is made of the entity itself.

        config: the digest in force there, where that is another than when the worker started.
        """
        partition, window = item.partition, item.window
        best = float(detection.scores.of(message.kind)[: message.stop].max())
        rule_kind = f"{message.rule}/{message.kind}"
        alert = Alert(
            schema=SCHEMA,
            alert_id=AlertKey(partition, window.entity, window.first_offset, rule_kind, item.swapped_at).alert_id,
            revision=message.revision,
            lifecycle=message.lifecycle,
            rule=message.rule,
            kind=message.kind,
            entity=window.entity,
            score=round(best, 4),
            threshold=message.threshold,
            source=SourceNote(partition.topic, partition.topic_id, partition.partition, trigger_offset),
            window=_window_note(window, detection.first_row + message.stop - 1, message.lifecycle),
            top_events=[self._top_event(window, detection, row) for row in self._top_rows(detection, message)],
            digests=self.digests if config is None else msgspec.structs.replace(self.digests, config=config),
            partial=item.partial,
            instance=self.instance,
            pattern=subject.pattern,
            suppressed_by=suppressed_by or msgspec.UNSET,
            swapped_at=msgspec.UNSET if item.swapped_at is None else item.swapped_at,
        )
        return masked(alert, self.masker)

    def _top_rows(self, detection: Detection, message: Message) -> list[int]:
        return detection.top_rows(message.stop, self.top_events)

    def _top_event(self, window: Window, detection: Detection, row: int) -> TopEvent:
        scores, place, length = detection.scores, detection.first_row + row, len(window.columns)
        is_end = place >= length
        key = END_ID if is_end else int(window.columns["template_id"][place])
        raised = zip(self.evidence_names, scores.flags[row], strict=True)
        return TopEvent(
            offset=None if is_end else int(window.columns["offset"][place]),
            event_time=iso_time(int(window.columns["event_time_ms"][min(place, length - 1)])),
            template_id=f"{key:016x}",
            template=self._template(window, key)[:TEMPLATE_CHARACTERS],
            surprise=round(float(scores.surprise[row]), 4),
            score=round(float(scores.event[row]), 4),
            evidence=[name for name, flag in raised if flag],
            line=None if is_end or not self.include_lines else window.columns.line(place),
            expected=self._expected(window, place, key),
        )

    def _expected(self, window: Window, place: int, key: int) -> Expected | msgspec.UnsetType:
        """What normally comes after the event before this one, unless it is what came."""
        before = int(window.columns["template_id"][place - 1]) if place > 0 else END_ID
        times, followers = self.successors.after(before)
        likely = [(each, round(count / times, 4)) for each, count in followers if count >= LEAST_SHARE * times]
        if not likely or likely[0][0] == key:
            return msgspec.UNSET
        instead = [Follower(self._template(window, each)[:EXPECTED_CHARACTERS], share) for each, share in likely]
        return Expected(self._template(window, before)[:EXPECTED_CHARACTERS], times, instead)

    def _template(self, window: Window, key: int) -> str:
        if key == END_ID:
            return END_TEMPLATE
        return self.templates.get(key) or window.columns.new_templates[key]


def _window_note(window: Window, row: int, lifecycle: Lifecycle) -> WindowNote:
    row = min(row, len(window.columns) - 1)
    times = window.columns["event_time_ms"]
    return WindowNote(
        first_offset=window.first_offset,
        last_offset=int(window.columns["offset"][row]),
        start_time=iso_time(int(times[window.context])),
        end_time=iso_time(int(times[row])),
        num_events=row + 1 - window.context,
        num_context=window.context,
        closed_by=window.close.reason if window.close is not None and lifecycle == "close" else None,
    )
