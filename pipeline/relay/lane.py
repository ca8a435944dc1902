"""What one target still lacks, and which of it may be tried now: no I/O, no clock, no threads."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

from longwatch.pipeline.records import Partition
from longwatch.pipeline.relay.backoff import Backoff
from longwatch.pipeline.relay.message import Message
from longwatch.pipeline.relay.verdict import Delivered, Refused, TryAgain, Verdict

MAX_FAILING = 16
"""With so many messages waiting for another try, no fresh one is begun: a dead target is not flooded."""


@dataclass(eq=False)
class Delivery:
    """One message on its way to one target; `since` is when it was read, `at` when it may be tried again."""

    message: Message
    since: float
    attempts: int = 0
    at: float = 0.0
    running: bool = False
    forgotten: bool = False

    @property
    def alert_id(self) -> str:
        """What its order is kept within."""
        return self.message.alert.alert_id


class Lane:
    """Messages of one alert go one after the other; those of different alerts do not wait for each other.

    A message that fails is tried again with back-off until `give_up_s` after it was read, then it is refused. A
    target that asks for a pause gets it for all messages. Times are seconds of one clock that never goes back.
    """

    def __init__(self, backoff: Backoff, give_up_s: float, max_failing: int = MAX_FAILING) -> None:
        self._backoff = backoff
        self._give_up_s = give_up_s
        self._max_failing = max_failing
        self._chains: dict[str, deque[Delivery]] = {}
        self._fresh: deque[str] = deque()
        self._waiting: list[tuple[float, int, str]] = []
        self._turn = 0
        self._failing = 0
        self._held_until = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._chains.values()))

    @property
    def failing(self) -> int:
        """How many messages have failed and not ended yet."""
        return self._failing

    def offer(self, message: Message, now: float) -> None:
        """Add the next message of the topic."""
        chain = self._chains.setdefault(message.alert.alert_id, deque())
        chain.append(Delivery(message, now))
        if len(chain) == 1:
            self._fresh.append(message.alert.alert_id)

    def take(self, now: float) -> Delivery | None:
        """The next to try, which counts as running until `finish`; None when nothing may be tried now."""
        alert_id = self._next(now)
        if alert_id is None:
            return None
        delivery = self._chains[alert_id][0]
        delivery.running = True
        delivery.attempts += 1
        return delivery

    def wait_s(self, now: float) -> float | None:
        """Seconds until `take` may have something; None when only an offer or a finish can change that."""
        if self._fresh_allowed():
            return max(0.0, self._held_until - now)
        return max(0.0, self._waiting[0][0] - now, self._held_until - now) if self._waiting else None

    def finish(self, delivery: Delivery, verdict: Verdict, now: float) -> Delivered | Refused | None:
        """How the message ended; None when it will be tried again, or when it was forgotten."""
        delivery.running = False
        if delivery.forgotten:
            self._drop_head(delivery)
            return None
        end = self._after_failure(delivery, verdict, now) if isinstance(verdict, TryAgain) else verdict
        if end is not None:
            self._drop_head(delivery)
        return end

    def forget(self, partition: Partition) -> None:
        """Drop the messages of a partition that others read now; what runs ends without a result."""
        for alert_id, chain in list(self._chains.items()):
            for delivery in chain:
                delivery.forgotten |= delivery.message.record.partition == partition
            kept = deque(each for each in chain if each.running or not each.forgotten)
            if kept:
                self._chains[alert_id] = kept
            else:
                del self._chains[alert_id]
        self._line_up()

    def _next(self, now: float) -> str | None:
        if now < self._held_until:
            return None
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        return self._fresh.popleft() if self._fresh_allowed() else None

    def _fresh_allowed(self) -> bool:
        return bool(self._fresh) and self._failing < self._max_failing

    def _after_failure(self, delivery: Delivery, failure: TryAgain, now: float) -> Refused | None:
        asked = failure.after_s or 0.0
        self._held_until = max(self._held_until, now + min(asked, self._give_up_s))
        deadline = delivery.since + self._give_up_s
        if now >= deadline or now + asked > deadline:
            return Refused("gave_up", f"after {delivery.attempts} tries in {now - delivery.since:.0f} s: {failure.why}")
        self._failing += delivery.attempts == 1
        delivery.at = min(now + max(asked, self._backoff.pause_s(delivery.attempts)), deadline)
        self._wait(delivery)
        return None

    def _wait(self, delivery: Delivery) -> None:
        self._turn += 1
        heapq.heappush(self._waiting, (delivery.at, self._turn, delivery.alert_id))

    def _drop_head(self, delivery: Delivery) -> None:
        chain = self._chains[delivery.alert_id]
        chain.popleft()
        self._failing -= delivery.attempts > 1
        if chain:
            self._fresh.append(delivery.alert_id)
        else:
            del self._chains[delivery.alert_id]

    def _line_up(self) -> None:
        """Both queues again from the heads of what is left."""
        self._fresh.clear()
        self._waiting.clear()
        self._failing = 0
        for alert_id, chain in self._chains.items():
            head = chain[0]
            self._failing += head.attempts > (1 if head.running else 0)
            if not head.running and head.attempts:
                self._wait(head)
            elif not head.running:
                self._fresh.append(alert_id)
