"""How surprising each entity's events were of late: short rows of numbers, for a limited number of entities."""

from __future__ import annotations

from dataclasses import dataclass, field

from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.detection import Detection

BUCKETS = 30
BUCKET_MS = 10_000
MAX_ENTITIES = 2000


@dataclass
class Trail:
    """One entity: the highest surprise in each bucket of time, the newest last, and what it has seen so far."""

    bucket: int
    highest: list[float] = field(default_factory=lambda: [0.0] * BUCKETS)
    events: int = 0
    total: float = 0.0

    def move_to(self, bucket: int) -> None:
        """Let time pass."""
        passed = min(BUCKETS, bucket - self.bucket)
        if passed > 0:
            self.highest = [*self.highest[passed:], *[0.0] * passed]
            self.bucket = bucket


class EntityTrails:
    """Trails of the entities that were heard of last."""

    def __init__(self, most: int = MAX_ENTITIES) -> None:
        self._most = most
        self._trails: dict[str, Trail] = {}

    def add(self, touched: Touched, now_ms: int) -> None:
        """Take the events of a window that were scored just now."""
        detection = touched.window.detection
        newest = detection.newest if isinstance(detection, Detection) else None
        if newest is None or not len(newest):
            return
        bucket = now_ms // BUCKET_MS
        # Taken out and put back: the order of the dict is that of the last word of each.
        trail = self._trails.pop(touched.window.entity, None) or Trail(bucket)
        trail.move_to(bucket)
        trail.highest[-1] = max(trail.highest[-1], float(newest.surprise.max()))
        trail.events += len(newest)
        trail.total += float(newest.surprise.sum())
        self._trails[touched.window.entity] = trail
        if len(self._trails) > self._most:
            del self._trails[next(iter(self._trails))]

    def highest(self, count: int, now_ms: int) -> list[tuple[str, list[float], int, float]]:
        """(entity, surprise by bucket, events, mean surprise), the most surprising of the last minutes first."""
        for trail in self._trails.values():
            trail.move_to(now_ms // BUCKET_MS)
        ranked = sorted(self._trails.items(), key=lambda item: (-max(item[1].highest), item[0]))[:count]
        return [(name, list(it.highest), it.events, it.total / max(1, it.events)) for name, it in ranked]
