"""One kafka-python producer's transactions with an end to every wait, and what 3.0.12 gets wrong in them put right."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

_CLOSE_SECONDS = 2.0
_GRACE_SECONDS = 0.5


class Transactions:
    """The transactional calls of a producer under their own names; the client's wait without a limit.

    From begin to end a transaction has `seconds`. A wait that outlives them raises TimeoutError: the request may still
    be answered, so the producer must be closed then, and another one opened. Past the end each wait still has a moment:
    a process that was stopped and wakes up late hears from the broker that it is fenced, if it is.
    """

    def __init__(self, producer: Any, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._producer = producer
        self._manager = producer._transaction_manager
        self._seconds = seconds
        self._clock = clock
        self._deadline = 0.0
        _retry_when_not_ready(producer._sender)

    def init_transactions(self) -> None:
        """Fence earlier holders of the id and end what they left open."""
        self._producer.init_transactions()

    def begin_transaction(self) -> None:
        """Begin one; its time runs."""
        # An aborted transaction leaves its offsets here, and the next one would commit them with its own: those of
        # partitions, too, that another worker has read on by then.
        self._manager._pending_txn_offset_commits.clear()
        self._deadline = self._clock() + self._seconds
        self._producer.begin_transaction()

    def send(self, *record: Any) -> Any:
        """As the client's."""
        return self._producer.send(*record)

    def flush(self) -> None:
        """Wait until every record has its answer."""
        self._producer.flush(timeout=self._left)

    def send_offsets_to_transaction(self, offsets: Mapping[Any, Any], group_metadata: Any) -> None:
        """Make input offsets part of it."""
        self._await(self._manager.send_offsets_to_transaction(offsets, group_metadata), "sending offsets")

    def commit_transaction(self) -> None:
        """Commit it."""
        self._await(self._manager.begin_commit(), "the commit")

    def abort_transaction(self) -> None:
        """Abort it."""
        self._await(self._manager.begin_abort(), "the abort")

    def close(self) -> None:
        """End the producer's thread and connections without a word to the broker: nothing of it is worth a wait."""
        self._producer._unregister_cleanup()
        self._producer._sender.force_close()
        self._producer._sender.join(_CLOSE_SECONDS)
        self._producer._closed = True

    @property
    def _left(self) -> float:
        return max(_GRACE_SECONDS, self._deadline - self._clock())

    def _await(self, result: Any, what: str) -> None:
        self._producer._sender.wakeup()
        if not (result.wait(timeout_ms=self._left * 1000) or result.wait(timeout_ms=_GRACE_SECONDS * 1000)):
            raise TimeoutError(f"no answer to {what} within {self._seconds:.0f} s of the transaction's begin")


def _retry_when_not_ready(sender: Any) -> None:
    """Have the sender try a transactional request again when its coordinator cannot be reached.

    `await_ready` raises then, while the sender expects False: it forgets the request, and who waits for it waits for
    ever. Without a pause, it would also ask without end for as long as no broker is there.
    """
    client, pause = sender._client, sender.config["retry_backoff_ms"] / 1000
    await_ready = client.await_ready

    def ready_or_not(node_id: Any, timeout_ms: float) -> bool:
        try:
            return bool(await_ready(node_id, timeout_ms=timeout_ms))
        except Exception:
            time.sleep(pause)
            return False

    client.await_ready = ready_or_not
