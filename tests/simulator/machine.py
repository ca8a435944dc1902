"""The world as a hypothesis state machine: hypothesis chooses, and shrinks what breaks."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from simulator.drive import play
from simulator.world import ADVANCES_MS, ARRIVES, AWAY, DELAYS_MS, ENTITIES, PARTITIONS, POINTS, REFUSED, SLOTS, World

slots = st.integers(0, SLOTS - 1)
partitions = st.integers(0, PARTITIONS - 1)
points = st.sampled_from(POINTS)
TOTALS: Counter[str] = Counter()


class PipelineMachine(RuleBasedStateMachine):
    """Each rule is one step of the world; at the end it settles, and live must equal the replay."""

    @initialize(static=st.booleans())
    def begin(self, static: bool) -> None:
        self.world = World(static=static)

    def _play(self, name: str, *arguments: object) -> None:
        TOTALS["steps"] += 1
        play(self.world, name, arguments)

    @rule(
        partition=partitions,
        entity=st.integers(0, len(ENTITIES) - 1),
        word=st.integers(0, 7),
        delay=st.sampled_from(DELAYS_MS),
    )
    def produce(self, partition: int, entity: int, word: int, delay: int) -> None:
        self._play("produce", partition, entity, word, delay)

    @rule(partition=partitions)
    def produce_bad(self, partition: int) -> None:
        self._play("produce_bad", partition)

    @rule(partition=partitions)
    def produce_again(self, partition: int) -> None:
        self._play("produce_again", partition)

    @rule(partition=partitions, outcome=st.sampled_from(("committed", "aborted", "open")))
    def produce_in_transaction(self, partition: int, outcome: str) -> None:
        self._play("produce_in_transaction", partition, outcome)

    @rule(slot=slots, times=st.integers(1, 3))
    def poll(self, slot: int, times: int) -> None:
        self._play("poll", slot, times)

    @rule(slot=slots)
    def commit_due(self, slot: int) -> None:
        self._play("commit_due", slot)

    @rule(slot=slots, how=st.sampled_from(("kill", "drain", "stop", "resume", "replace", "lose", "rebalance")))
    def worker(self, slot: int, how: str) -> None:
        self._play(how, slot)

    @rule(rounds=st.integers(1, 4))
    def wake(self, rounds: int) -> None:
        self._play("wake", rounds)

    @rule(slot=slots, point=points)
    def die_at(self, slot: int, point: str) -> None:
        self._play("die_at", slot, point)

    @rule(slot=slots, point=points, ms=st.sampled_from(ADVANCES_MS), rounds=st.integers(1, 6))
    def stall_at(self, slot: int, point: str, ms: int, rounds: int) -> None:
        self._play("stall_at", slot, point, ms, rounds)

    @rule(slot=slots, point=points)
    def fence_at(self, slot: int, point: str) -> None:
        self._play("fence_at", slot, point)

    @rule(slot=slots, point=st.sampled_from(REFUSED))
    def refuse(self, slot: int, point: str) -> None:
        self._play("refuse", slot, point)

    @rule(slot=slots, point=st.sampled_from(AWAY))
    def go_away(self, slot: int, point: str) -> None:
        self._play("go_away", slot, point)

    @rule(slot=slots, arrives=st.sampled_from(ARRIVES))
    def lose_reply(self, slot: int, arrives: str) -> None:
        self._play("lose_reply", slot, arrives)

    @rule(ms=st.sampled_from(ADVANCES_MS))
    def advance(self, ms: int) -> None:
        self._play("advance", ms)

    @rule()
    def silence(self) -> None:
        self._play("silence")

    @rule(partition=partitions, everything=st.booleans())
    def retention(self, partition: int, everything: bool) -> None:
        self._play("overrun" if everything else "retain", partition)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()
