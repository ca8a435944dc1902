"""What a rebalance of the group does, noted on the client's I/O thread for the thread that polls."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from longwatch.pipeline.kafka_client import ConsumerRebalanceListener, kafka_errors


class RebalanceQueue(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes what a rebalance did; the source tells its caller on the caller's own thread.

    kafka-python calls this on its I/O thread, where a blocking call would stop the heartbeats.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.events: deque[tuple[str, tuple[Any, ...]]] = deque()
        # No further round of the group until the last one is told: what is revoked is not handed on before that,
        # so the caller may still commit it.
        asked = consumer._coordinator.need_rejoin
        consumer._coordinator.need_rejoin = lambda: not self.events and asked()
        # kafka-python 3.0.12 forgets a join that is answered between two polls and joins again, which makes the whole
        # group rebalance again; the answer is held until a poll is there to take it.
        self.polling = False
        self._join = consumer._coordinator._do_join_and_sync_async
        consumer._coordinator._do_join_and_sync_async = self._join_while_polled

    async def _join_while_polled(self) -> Any:
        answer = await self._join_in_time()
        while not (self.polling or self._consumer._closed):
            await self._consumer._net.sleep(0.005)
        return answer

    async def _join_in_time(self) -> Any:
        """Joining, begun again when a request's time has passed.

        kafka-python waits `max_poll_interval_ms` for the answer, as the group may need that long; on a connection
        that is dead and does not show it, nothing else would end the wait.
        """
        consumer, seconds = self._consumer, self._consumer.config["request_timeout_ms"] / 1000
        join = consumer._manager.call_soon(self._join)
        try:
            return await consumer._manager.wait_for(join, seconds * 1000)
        except kafka_errors.KafkaTimeoutError:
            consumer._manager.close(node_id=consumer._coordinator.coordinator_id)
            raise

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Hold the new partitions still until the caller has said where to start."""
        new = tuple(sorted(assigned))
        for partition in new:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)
        self.events.append(("assigned", new))

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Note it."""
        self.events.append(("revoked", tuple(sorted(revoked))))

    def on_partitions_lost(self, lost: Iterable[Any]) -> None:
        """Note it."""
        self.events.append(("lost", tuple(sorted(lost))))


def was_replaced(consumer: Any) -> bool:
    """Whether another process took this member's instance id: kafka-python 3.0.12 only stops its heartbeats then."""
    coordinator = consumer._coordinator
    return bool(coordinator.stable() and not coordinator.rejoining and not coordinator._heartbeat_enabled)
