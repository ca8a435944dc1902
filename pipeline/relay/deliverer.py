"""One target's threads: each takes what its lane allows, tries to deliver it, and says how it ended."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from longwatch.pipeline.clock import Clock
from longwatch.pipeline.records import Partition
from longwatch.pipeline.relay.lane import Delivery, Lane
from longwatch.pipeline.relay.message import Letter, Message, Record
from longwatch.pipeline.relay.verdict import Delivered, Refused, TryAgain, Verdict
from longwatch.pipeline.relay.watch import UNWATCHED_RELAY, RelayWatch

log = structlog.get_logger("longwatch.relay")

_LONGEST_WAIT_S = 1.0


class Deliverer:
    """`send` runs on `threads` daemon threads; `ended` is called once for each message, with a letter if refused."""

    def __init__(
        self,
        name: str,
        lane: Lane,
        send: Callable[[Message], Verdict],
        clock: Clock,
        ended: Callable[[Record, str, Letter | None], None],
        threads: int,
        watch: RelayWatch = UNWATCHED_RELAY,
    ) -> None:
        self.name = name
        self._lane = lane
        self._send = send
        self._clock = clock
        self._ended = ended
        self._watch = watch
        self._turn = threading.Condition()
        self._running = 0
        self._stopping = False
        for number in range(threads):
            threading.Thread(target=self._work, name=f"relay-{name}-{number}", daemon=True).start()

    def offer(self, message: Message) -> None:
        """Deliver this one too, after those of its alert."""
        with self._turn:
            self._lane.offer(message, self._clock.monotonic())
            self._turn.notify()

    def forget(self, partition: Partition, wait_s: float) -> None:
        """Begin nothing more of a partition, and give what is under way so long to end."""
        with self._turn:
            self._lane.forget(partition)
            self._turn.wait_for(lambda: self._running == 0, wait_s)

    @property
    def waiting(self) -> int:
        """Messages that the target lacks."""
        with self._turn:
            return len(self._lane)

    def stop(self) -> None:
        """Begin nothing more."""
        with self._turn:
            self._stopping = True
            self._turn.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Whether nothing is under way, waiting at most so long for it."""
        with self._turn:
            return self._turn.wait_for(lambda: self._running == 0, max(0.0, seconds))

    def _work(self) -> None:
        while (delivery := self._next()) is not None:
            began = self._clock.monotonic()
            verdict = self._try(delivery.message)
            seconds = self._clock.monotonic() - began
            with self._turn:
                end = self._lane.finish(delivery, verdict, self._clock.monotonic())
                self._tell(delivery, verdict, end)
                self._watch.tried(self.name, _outcome(verdict, end), seconds)
                self._running -= 1
                self._turn.notify_all()

    def _next(self) -> Delivery | None:
        with self._turn:
            while not self._stopping:
                now = self._clock.monotonic()
                delivery = self._lane.take(now)
                if delivery is not None:
                    self._running += 1
                    return delivery
                wait_s = self._lane.wait_s(now)
                self._turn.wait(_LONGEST_WAIT_S if wait_s is None else min(wait_s + 0.001, _LONGEST_WAIT_S))
            return None

    def _try(self, message: Message) -> Verdict:
        try:
            return self._send(message)
        except Exception as error:
            log.exception("delivery_broken", target=self.name, record=message.record.position)
            return Refused("delivery_broken", f"{type(error).__name__}: {error}")

    def _tell(self, delivery: Delivery, verdict: Verdict, end: Delivered | Refused | None) -> None:
        record, letter = delivery.message.record, None
        about = {"target": self.name, "record": record.position, "key": delivery.message.delivery_key}
        if isinstance(verdict, TryAgain) and end is None:
            log.warning("delivery_failed", **about, attempt=delivery.attempts, why=verdict.why)
        if isinstance(end, Refused):
            log.error("not_delivered", **about, attempts=delivery.attempts, reason=end.reason, why=end.why)
            letter = Letter(record, self.name, end.reason, end.why, delivery.attempts)
        if end is not None:
            self._ended(record, self.name, letter)


def _outcome(verdict: Verdict, end: Delivered | Refused | None) -> str:
    if isinstance(end, Refused):
        return "refused"
    return "delivered" if isinstance(verdict, Delivered) else "failed"
