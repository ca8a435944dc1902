"""A false-alarm budget that holds while the stream moves: adaptive conformal thresholds, without labels.

Gibbs and Candes, "Adaptive conformal inference under distribution shift", 2021: an alarm makes the next one harder,
silence makes it easier, so that the share of alarms comes out as asked, whatever the stream does. In whole numbers, and
a function of the windows that closed, in their order: a replay moves the same way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

UNIT = 1 << 20  # of a level, -log10 p
MOST_ENTITIES = 48
NOTCH = UNIT // 16  # thresholds move in notches: few different ones, and none that hangs on the last bit


@dataclass(frozen=True)
class Pace:
    """How fast to move. Levels throughout: one level is a factor of ten in how rare a score is.

    share: alarms that the budget allows for each window. step: what one alarm costs. trust: an alarm that far above the
    threshold teaches nothing, since the tail of normal scores brings few; an attack does. lowest, highest: how far from
    the calibrated threshold it may go, own_highest: by one entity's own alarms. every: windows between two moves of the
    threshold in force.
    """

    share: float
    step: float = 0.25
    trust: float = 0.5
    lowest: float = -1.0
    highest: float = 3.0
    own_highest: float = 0.25
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"the share of windows that may alarm must be between 0 and 1, not {self.share}")

    @property
    def rise(self) -> int:
        """What one alarm that teaches adds, in units: more, for those normal ones that are too far off to teach."""
        return round(self.step * UNIT / (1 - 10**-self.trust))

    @property
    def fall(self) -> int:
        """What one window without an alarm takes away, in units."""
        return max(1, round(self.step * self.share * UNIT))


@dataclass(frozen=True)
class Recalibration:
    """Where the thresholds stand; small enough to travel in a commit.

    shift: of all entities. in_force: the notch of it that new windows get. count: windows that closed. own: of the
    entities whose alarms have not worn off yet; where they are many, of the first.
    """

    shift: int = 0
    in_force: int = 0
    count: int = 0
    own: Mapping[str, int] = field(default_factory=dict)

    def level(self, entity: str) -> float:
        """Levels to add to the calibrated threshold for this entity's next window, in whole notches."""
        return self.level_from(self.in_force, entity)

    def level_from(self, notch: int, entity: str) -> float:
        """The same where another notch was in force when the window began."""
        own = self.own.get(entity, 0) // NOTCH
        return (notch + own) * NOTCH / UNIT

    def closed(self, entity: str, excess: float | None, pace: Pace) -> Self:
        """After a window closed: `excess` levels above its threshold, None where it raised no alarm."""
        taught = excess is not None and excess < pace.trust
        change = (pace.rise if taught else 0) - pace.fall
        low, high, own_high = (round(level * UNIT) for level in (pace.lowest, pace.highest, pace.own_highest))
        own = min(max(self.own.get(entity, 0) + change, 0), own_high)
        shift, count = min(max(self.shift + change, low), high), self.count + 1
        in_force = self.in_force if count % pace.every else shift // NOTCH
        return replace(self, shift=shift, in_force=in_force, count=count, own=_kept(self.own, entity, own))


def _kept(before: Mapping[str, int], entity: str, own: int) -> Mapping[str, int]:
    """With this entity's own. None is ever pushed out: a window in progress must find what it began with."""
    if entity not in before and (own == 0 or len(before) == MOST_ENTITIES):
        return before
    kept = {name: each for name, each in before.items() if name != entity}
    return {**kept, entity: own} if own else kept
