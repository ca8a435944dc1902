"""From surprise and flags to event and window scores, and thresholds that name their cost in false alarms.

Fitted on held-out normal windows; no label is read. A score is about -log10 of a p-value on any data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from longwatch.model.combine import combined, harmonic
from longwatch.model.evidence import ORDER_NAMES, Evidence, Signs
from longwatch.model.tail import Normals, Tail
from longwatch.model.tokens import WindowTokens

Kind = Literal["event", "window"]

_UNITS = 1 << 20  # window states count scores in integers, so that cutting a window into polls changes no bit
_LIFT = 1 << 44
_MAX_SEGMENTS = 1 << 17
_DRIFT_DEVIATIONS = (0.25, 1.0)
_SUM_CAP = 2.0  # what one event adds to a running sum at most: the sums see the many, the peak sees the one
_EXCESS_NATS = 3.0  # what an ordinary event may surprise: a quiet window of many events stays quiet
_LEAST_ENDED = 20  # held-out windows that ended, for what is known only then to be calibrated by them
_PEAK_STATES = 2 + 2 * len(_DRIFT_DEVIATIONS)
_NEW_EVENTS, _NEW_PAIRS, _EXCESS, _SURPRISE, _EVENTS, _MEAN, _DISTANCE = range(_PEAK_STATES, _PEAK_STATES + 7)
_STATE_SIZE = _DISTANCE + 1
_AT_END = (_MEAN, _DISTANCE)


@dataclass(frozen=True)
class Calibration:
    """Event and window scores, and the thresholds on them.

    Two lines of evidence: order (surprise, unseen n-grams) and content (unseen templates, counts). Within a line the
    parts hang together and the harmonic mean of their p-values is taken. The two lines' levels are added: agreement
    counts, and content, which is silent on nearly every normal window, costs order nothing.

    A window's parts. Order: its oddest event; its oddest run (D running sums); how many unseen 2-grams; how much its
    events surprise beyond what ordinary ones do; and, once it has ended, what they surprise on average. Content: its
    rarest flag; how many unseen templates; and, once it has ended, how far its counts are from any fit window's.

    surprise: nats to level. flag_levels: float64 [K]. order_flags: bool [K], which flags are order's. drifts: int64
    [D], what each running sum loses per event. parts: levels of the `_part_values`, in their order.
    """

    surprise: Tail
    flag_levels: NDArray[np.float64]
    order_flags: NDArray[np.bool_]
    drifts: NDArray[np.int64]
    parts: tuple[Tail, ...]
    events: Normals
    windows: Normals

    @classmethod
    def fit(cls, surprise: NDArray[np.float32], signs: Signs, tokens: WindowTokens, days: float) -> Self:
        """From held-out normal windows, whole, END included: surprise [M], signs [M], rows as the scorer gives them.

        days: how long live traffic takes to bring as many windows; half of a day's entities held out is half a day.
        """
        flags = signs.flags
        if not len(surprise) or not len(flags) == tokens.num_scores == len(surprise):
            raise ValueError(
                f"surprise, flags and unscored tokens must be as many and more than none, "
                f"not {len(surprise)}, {len(flags)} and {tokens.num_scores}: score the held-out windows first"
            )
        if not days > 0:
            raise ValueError(f"days must be above 0, not {days}: give the time that the held-out windows span")
        tail = Tail.fit(surprise.astype(np.float64), resolution=0.01, least_scale=1.0)
        flag_levels = -np.log10((1 + flags.sum(axis=0)) / (1 + len(flags)))
        order_flags = np.isin(Evidence.names, ORDER_NAMES)
        levels = _event_levels(tail, flag_levels, order_flags, surprise, flags)
        capped = np.minimum(levels[:, 1], _SUM_CAP)
        drifts = _units(capped.mean() + np.array(_DRIFT_DEVIATIONS) * capped.std())
        counts = (tokens.lengths - tokens.scored).astype(np.int64)
        states = advance(_no_states(len(counts)), levels, counts, drifts, (surprise, signs))[0][counts > 0]
        parts = _parts(_part_values(states))
        events = Normals.fit(levels.sum(axis=1), days)
        return cls(tail, flag_levels, order_flags, drifts, parts, events, Normals.fit(_combine(parts, states), days))

    def event_score(self, surprise: NDArray[np.float32], flags: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How odd each event is, about -log10 p, float64 [M]; never falls when surprise [M] or flags [M, K] rise."""
        return np.asarray(self._levels(surprise, flags).sum(axis=1), dtype=np.float64)

    def window_state(self) -> NDArray[np.int64]:
        """What is remembered of a window before its first event, int64 [S]; stack one for each window."""
        return _no_states(1).ravel()

    def window_scores(
        self,
        states: NDArray[np.int64],
        surprise: NDArray[np.float32],
        signs: Signs,
        counts: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """New states [B, S], and each window's score so far after each of its `counts` [B] packed events, float64 [M].

        A window's score never falls, and is the same to the last bit however its events are cut into calls.
        """
        levels = self._levels(surprise, signs.flags)
        states, history = advance(states, levels, counts, self.drifts, (surprise, signs))
        return states, _combine(self.parts, history)

    def final_scores(self, surprise: NDArray[np.float32], signs: Signs, tokens: WindowTokens) -> NDArray[np.float64]:
        """Score of each whole window after its last event, float64 [B]."""
        counts = (tokens.lengths - tokens.scored).astype(np.int64)
        levels = self._levels(surprise, signs.flags)
        states = advance(_no_states(len(counts)), levels, counts, self.drifts, (surprise, signs))[0]
        return _combine(self.parts, states)

    def threshold(
        self,
        kind: Kind,
        *,
        false_alarms_per_day: float | None = None,
        quantile: float | None = None,
        score: float | None = None,
    ) -> float:
        """The score at or above which to alert; give exactly one: alarms a day, a quantile of normals, or the score."""
        given = [value for value in (false_alarms_per_day, quantile, score) if value is not None]
        if len(given) != 1:
            raise ValueError(f"a threshold takes one of false_alarms_per_day, quantile and score, not {len(given)}")
        if score is not None:
            return score
        normals = self._normals(kind)
        if false_alarms_per_day is not None:
            return normals.threshold(false_alarms_per_day * normals.days / normals.total)
        return normals.threshold(1 - given[0])

    def expected_per_day(self, kind: Kind, threshold: float) -> float:
        """Normal events, or windows, a day that are expected to reach the threshold."""
        normals = self._normals(kind)
        return normals.rate(threshold) * normals.total / normals.days

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """All of it as named arrays, as a bundle keeps it."""
        tails: dict[str, Tail | Normals] = {f"part{at}": part for at, part in enumerate(self.parts)}
        tails |= {"surprise": self.surprise, "events": self.events, "windows": self.windows}
        arrays: dict[str, NDArray[np.generic]] = {}
        arrays |= {name: getattr(self, name) for name in ("flag_levels", "order_flags", "drifts")}
        for name, tail in tails.items():
            arrays |= tail.to_arrays(name)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The calibration that `to_arrays` gave; KeyError names an array that is not there."""
        levels = np.asarray(arrays["flag_levels"], dtype=np.float64)
        order = np.asarray(arrays["order_flags"], dtype=np.bool_)
        drifts = np.asarray(arrays["drifts"], dtype=np.int64)
        parts = tuple(Tail.from_arrays(f"part{at}", arrays) for at in range(7 + len(drifts)))
        events, windows = (Normals.from_arrays(name, arrays) for name in ("events", "windows"))
        return cls(Tail.from_arrays("surprise", arrays), levels, order, drifts, parts, events, windows)

    def _levels(self, surprise: NDArray[np.float32], flags: NDArray[np.bool_]) -> NDArray[np.float64]:
        return _event_levels(self.surprise, self.flag_levels, self.order_flags, surprise, flags)

    def _normals(self, kind: Kind) -> Normals:
        return self.events if kind == "event" else self.windows


Shown = tuple[NDArray[np.float32], Signs]
"""Surprise [M] and signs of packed events."""


def advance(
    states: NDArray[np.int64],
    levels: NDArray[np.float64],
    counts: NDArray[np.int64],
    drifts: NDArray[np.int64],
    shown: Shown,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """States [B, S] after each window's `counts` [B] packed event levels [M, 2], and after each event, int64 [M, S].

    Columns: highest content level; highest order level; then for each drift the sum that gains an event's order level,
    loses the drift and never falls below 0 (Page's cumulative sum), and the highest that sum has been; then what
    `_count` gives.
    """
    if len(counts) > _MAX_SEGMENTS:
        at, event = _MAX_SEGMENTS, int(counts[:_MAX_SEGMENTS].sum())
        surprise, signs = shown
        head, tail = ((surprise[part], signs.rows(part)) for part in (slice(event), slice(event, None)))
        first = advance(states[:at], levels[:event], counts[:at], drifts, head)
        rest = advance(states[at:], levels[event:], counts[at:], drifts, tail)
        return np.concatenate([first[0], rest[0]]), np.concatenate([first[1], rest[1]])
    window = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    before, history = states[window], np.empty((len(levels), states.shape[1]), dtype=np.int64)
    for column in (0, 1):
        history[:, column] = np.maximum(before[:, column], _running_max(_units(levels[:, column]), window))
    gains = _units(np.minimum(levels[:, 1], _SUM_CAP))
    for column, drift in zip(range(2, _PEAK_STATES, 2), drifts, strict=True):
        walk = before[:, column] + _running_sum(gains - drift, window, counts)
        history[:, column] = walk + np.maximum(0, _running_max(-walk, window))
        history[:, column + 1] = np.maximum(before[:, column + 1], _running_max(history[:, column], window))
    _count(history, before, window, counts, shown)
    after = states.copy()
    after[counts > 0] = history[np.cumsum(counts)[counts > 0] - 1]
    return after, history


def _count(
    history: NDArray[np.int64],
    before: NDArray[np.int64],
    window: NDArray[np.int64],
    counts: NDArray[np.int64],
    shown: Shown,
) -> None:
    """Sums so far, and what is known at an END: 0 before it, one unit more than the value from then on."""
    surprise, signs = np.maximum(shown[0].astype(np.float64), 0), shown[1]
    excess = np.maximum(surprise - _EXCESS_NATS, 0)
    new = (signs.flags[:, Evidence.names.index(name)] for name in ("unseen_template", "unseen_bigram"))
    sums = (*(each.astype(np.int64) * _UNITS for each in new), _units(excess), _units(surprise), np.ones_like(window))
    for column, values in zip((_NEW_EVENTS, _NEW_PAIRS, _EXCESS, _SURPRISE, _EVENTS), sums, strict=True):
        history[:, column] = before[:, column] + _running_sum(values, window, counts)
    mean = history[:, _SURPRISE] // history[:, _EVENTS]
    for column, known in ((_MEAN, mean), (_DISTANCE, _units(signs.distance))):
        at_end = np.where(signs.distance >= 0, known + 1, 0)
        history[:, column] = np.maximum(before[:, column], _running_max(at_end, window))


def _event_levels(
    surprise_tail: Tail,
    flag_levels: NDArray[np.float64],
    order_flags: NDArray[np.bool_],
    surprise: NDArray[np.float32],
    flags: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Level of content and of order of each event, float64 [M, 2]."""
    content, ngrams = (_highest_flag(flags, np.where(kind, flag_levels, 0)) for kind in (~order_flags, order_flags))
    order = harmonic([surprise_tail(surprise.astype(np.float64)), ngrams])
    return np.stack([content, np.maximum(order, 0)], axis=1)


def _highest_flag(flags: NDArray[np.bool_], flag_levels: NDArray[np.float64]) -> NDArray[np.float64]:
    highest = np.zeros(len(flags), dtype=np.float64)
    for column in np.argsort(flag_levels):
        highest[flags[:, column]] = flag_levels[column]
    return highest


def _combine(parts: tuple[Tail, ...], states: NDArray[np.int64]) -> NDArray[np.float64]:
    values = _part_values(states)
    first = np.ones(len(values), dtype=np.bool_)
    first[1:] = (values[1:] != values[:-1]).any(axis=1)  # most events change nothing: score each run of rows once
    content, peak, *rest = (part(column) for part, column in zip(parts, values[first].T, strict=True))
    *sums, new_events, new_pairs, excess, mean, distance = rest
    order = [peak, np.maximum.reduce(sums), new_pairs, excess, mean]
    scores = combined([order, [content, new_events, distance]])
    return np.asarray(scores[np.cumsum(first) - 1], dtype=np.float64)


def _parts(values: NDArray[np.float64]) -> tuple[Tail, ...]:
    """Levels of each part's values on held-out windows [B, P]; what is known at an END, by those that ended."""
    tails = [Tail.part(column) for column in values.T[: -len(_AT_END)]]
    for column in values.T[-len(_AT_END) :]:
        ended = column[column > 0]
        tails.append(Tail.part(ended) if len(ended) >= _LEAST_ENDED else Tail.silent())
    return tuple(tails)


def _part_values(states: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the parts of states [B, S] are, float64 [B, 7 + D]: content, peak, D sums, three sums so far, two at END."""
    columns = [0, 1, *range(3, _PEAK_STATES, 2), _NEW_EVENTS, _NEW_PAIRS, _EXCESS, *_AT_END]
    return np.asarray(states[:, columns] / _UNITS, dtype=np.float64)


def _no_states(windows: int) -> NDArray[np.int64]:
    return np.zeros((windows, _STATE_SIZE), dtype=np.int64)


def _units(levels: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(np.rint(np.minimum(levels, 1e4) * _UNITS), dtype=np.int64)


def _running_max(values: NDArray[np.int64], window: NDArray[np.int64]) -> NDArray[np.int64]:
    lift = window * _LIFT
    return np.maximum.accumulate(values + lift) - lift


def _running_sum(values: NDArray[np.int64], window: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.cumsum(values)
    before = np.concatenate([[0], total])[np.cumsum(counts) - counts]
    return np.asarray(total - before[window], dtype=np.int64)
