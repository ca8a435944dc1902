"""Everything that may happen to a pipeline, one method per kind of event; each checks the invariants afterwards.

Two slots hold a worker process each; one that was stopped (SIGSTOP) may be replaced meanwhile and goes on as a zombie.
Every choice is an argument, so that hypothesis and a seeded generator drive the same world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from kafka import errors
from kafka.structs import TopicPartition

from longwatch.pipeline.checkpoint import decode_position
from longwatch.pipeline.records import Partition
from simulator.cluster import Cluster
from simulator.log import PartitionLog
from simulator.oracle import Oracle, ViolationError
from simulator.process import Died, Process

PARTITIONS = 2
SLOTS = 2
ADVANCES_MS = (100, 600, 3_000, 16_000, 35_000, 400_000)
POINTS = ("poll", "polled", "init", "begin", "flush", "send", "offsets", "commit", "committed", "abort")
REFUSED = ("join", "init", "send", "offsets", "abort", "ask")
AWAY = ("send", "offsets", "commit", "committed")
DELAYS_MS = (0, 0, 0, 500, 1_500, 2_500, 9_000, 45_000)
ENTITIES = ("web", "db", "vpn")
INPUT_TIMEOUT_MS = 5_000
LATER_MS = {"later": 4_000, "too late": 12_000}
ARRIVES = ("applied", "never", *LATER_MS)


class World:
    """A cluster, two slots for workers, and the oracle."""

    def __init__(self, *, static: bool, swaps: bool = False) -> None:
        self.swaps = swaps
        self.wanted = [0] * SLOTS
        self.cluster = Cluster("logs", PARTITIONS)
        self.oracle = Oracle(self.cluster, swaps=swaps)
        self.static = static
        self.slots: list[Process | None] = [None] * SLOTS
        self.zombies: list[Process] = []
        self.steps = 0
        self.counts: Counter[str] = Counter()
        self.endings: Counter[str] = Counter()
        self._inputs = 0

    # -- input ---------------------------------------------------------------------------------------------------

    def produce(self, partition: int, entity: int, word: int, delay_ms: int) -> None:
        """A record whose event time lies `delay_ms` back; beyond the allowed lateness it is late."""
        value = f"{self.cluster.clock.ms - delay_ms} {ENTITIES[entity]} {word}".encode()
        self._log(partition).append(self.cluster.clock.ms, None, value)

    def produce_bad(self, partition: int) -> None:
        """A record that is no line."""
        self._log(partition).append(self.cluster.clock.ms, None, b"\xff not a line")

    def produce_again(self, partition: int) -> None:
        """The bytes of the last record once more, under another offset."""
        records = self._log(partition).committed()
        if records:
            self._log(partition).append(self.cluster.clock.ms, records[-1].key, records[-1].value)

    def produce_in_transaction(self, partition: int, outcome: str) -> None:
        """Another program's transaction in the input: a marker's gap, an aborted record, or one that stays open.

        An open one is aborted by its timeout, well before `idle_timeout`: beyond that, live and replay may differ.
        """
        log, transactions = self._log(partition), self.cluster.transactions
        if self.cluster.clock.ms - (log.entries[-1].timestamp if log.entries else 0) > 20_000:
            return
        self._inputs += 1
        name = f"input-{self._inputs}"
        epoch = transactions.init(name, INPUT_TIMEOUT_MS)
        value = f"{self.cluster.clock.ms} web 7".encode()
        transactions.produce(name, epoch, TopicPartition("logs", partition), None, value)
        if outcome != "open":
            transactions.end(name, epoch, outcome)

    # -- workers -------------------------------------------------------------------------------------------------

    def poll(self, slot: int, times: int = 1) -> None:
        """Some rounds of a slot's worker; an empty slot is filled first, as a supervisor does."""
        for _ in range(times):
            process = self.slots[slot]
            if process is None or process.ended:
                self._bury(slot)
                wanted = partial(self.wanted.__getitem__, slot) if self.swaps else None
                process = self.slots[slot] = Process(self.cluster, f"w{slot}" if self.static else None, wanted)
            if not process.fate.stopped:
                process.step()
            self.cluster.advance(50)

    def commit_due(self, slot: int) -> None:
        """Enough time for the commit interval, then a round."""
        self.cluster.advance(600)
        self.poll(slot)

    def swap(self, slot: int, bundle: int) -> None:
        """The file of a slot's worker names a bundle; the other slot's may name another."""
        self.wanted[slot] = bundle

    def kill(self, slot: int) -> None:
        """SIGKILL between two calls."""
        self._with(slot, Process.kill)

    def drain(self, slot: int) -> None:
        """SIGTERM."""
        self._with(slot, Process.drain)

    def stop(self, slot: int) -> None:
        """SIGSTOP: neither polls nor heartbeats."""
        self._with(slot, lambda process: setattr(process.fate, "stopped", True))

    def resume(self, slot: int) -> None:
        """SIGCONT."""
        self._with(slot, lambda process: setattr(process.fate, "stopped", False))

    def replace(self, slot: int) -> None:
        """A stopped worker's place is given to a new process; the old one is a zombie."""
        process = self.slots[slot]
        if process is not None and not process.ended:
            process.fate.stopped = True
            self.zombies.append(process)
            self.slots[slot] = None
            self.poll(slot)

    def wake(self, rounds: int) -> None:
        """The oldest zombie goes on, for so many rounds."""
        if self.zombies:
            zombie = self.zombies.pop(0)
            zombie.fate.stopped = False
            for _ in range(rounds):
                zombie.step()
            if not zombie.ended:
                zombie.fate.stopped = True
                self.zombies.append(zombie)

    def lose(self, slot: int) -> None:
        """The worker stands still for longer than its session: the others get its partitions."""
        self.stop(slot)
        self.cluster.advance(31_000)
        self.poll(1 - slot, 2)
        self.resume(slot)

    def rebalance(self, slot: int) -> None:
        """The coordinator asks for a round, as it does when topics change."""
        self._with(slot, lambda _process: self._rejoin())

    # -- faults --------------------------------------------------------------------------------------------------

    def die_at(self, slot: int, point: str) -> None:
        """SIGKILL at the next call of that name."""
        self._plan(slot, point, self._die)

    def stall_at(self, slot: int, point: str, ms: int, rounds: int) -> None:
        """SIGSTOP in the middle of a call: time passes, the other worker goes on, then this one does."""
        self._plan(slot, point, lambda process: self._stall(process, slot, ms, rounds))

    def fence_at(self, slot: int, point: str) -> None:
        """Another process opens the worker's transactional id."""
        self._plan(slot, point, self._fence)

    def refuse(self, slot: int, point: str) -> None:
        """The broker refuses a record, or does not answer in time: what was asked has not happened."""
        self._plan(slot, point, lambda _process: _raise(errors.KafkaTimeoutError("not in time")))

    def go_away(self, slot: int, point: str) -> None:
        """No broker answers from that call on, nor what is asked next."""
        for each in (point, "init", "ask"):
            self.refuse(slot, each)

    def lose_reply(self, slot: int, arrives: str) -> None:
        """The commit's answer is lost; the request was applied, never arrives, or arrives later, in time or not."""
        point = "committed" if arrives == "applied" else "commit"
        self._plan(slot, point, lambda process: self._lose_reply(process, arrives))

    # -- time and retention --------------------------------------------------------------------------------------

    def advance(self, ms: int) -> None:
        """Time passes."""
        self.cluster.advance(ms)

    def silence(self) -> None:
        """Nobody writes for longer than `idle_timeout`, and the workers see it."""
        self.cluster.advance(15_000)
        self._everyone(1)
        self.cluster.advance(16_000)
        self._everyone(2)

    def retain(self, partition: int) -> None:
        """Retention takes what no worker needs any more: records before the committed `replay_from`."""
        committed = self.cluster.transactions.committed.get(TopicPartition("logs", partition))
        if committed is not None:
            log = self._log(partition)
            position = decode_position(Partition("logs", "", partition), committed.offset, committed.metadata)
            log.start = max(log.start, min(position.metadata.replay_from, self._needed(partition)))

    def overrun(self, partition: int) -> None:
        """Retention takes everything, read or not: from here on the partition's windows may be cut."""
        log = self._log(partition)
        log.start = log.last_stable
        self.oracle.truncated.add(partition)

    # -- the end of a run ----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Faults end, everything is read, everyone is silent: live must equal the replay."""
        for process in self.slots:
            if process is not None:
                process.fate.plan.clear()
                process.fate.stopped = False
        while self.zombies:
            zombie = self.zombies.pop()
            zombie.fate.plan.clear()
            zombie.fate.stopped = False
            zombie.step()
            zombie.step()
            zombie.kill()
        self.oracle.check()
        difference = "not begun"
        for round_ in range(80):
            self._everyone(1)
            self.oracle.check()
            self.cluster.advance(16_000 if round_ % 8 == 7 else 600)
            if round_ % 8 == 7 and not (difference := self._unsettled()):
                return
        raise ViolationError("what was read is visible in the end", difference)

    def _unsettled(self) -> str:
        """Why the run is not at its end; empty when it is."""
        waiting = [each for each in self.slots if each is not None and not each.ended and not each.is_member]
        if waiting:
            return "a worker has no place in the group"
        behind = [number for number in range(PARTITIONS) if self._behind(number)]
        return f"partitions {behind} are not read to their end" if behind else self.oracle.difference()

    def _behind(self, partition: int) -> bool:
        committed = self.cluster.transactions.committed.get(TopicPartition("logs", partition))
        records = self._log(partition).committed(self._log(partition).start)
        return bool(records) and (committed is None or committed.offset <= records[-1].offset)

    def _everyone(self, times: int) -> None:
        for _ in range(times):
            for slot in range(SLOTS):
                self.poll(slot)

    def _needed(self, partition: int) -> int:
        """Retention must not pass a living worker's position, or it would be an overrun."""
        tp = TopicPartition("logs", partition)
        living = [each for each in (*self.slots, *self.zombies) if each is not None and not each.ended]
        positions = [
            consumer.positions[tp]
            for process in living
            for consumer in process.port.consumers
            if tp in consumer.positions
        ]
        return min(positions, default=self._log(partition).end)

    def _log(self, partition: int) -> PartitionLog:
        return self.cluster.topics["logs"][partition]

    def _with(self, slot: int, what: Callable[[Process], object]) -> None:
        process = self.slots[slot]
        if process is not None and not process.ended:
            what(process)

    def _bury(self, slot: int) -> None:
        process = self.slots[slot]
        if process is not None:
            self.endings[process.ended] += 1

    def _plan(self, slot: int, point: str, fault: Callable[[Process], None]) -> None:
        process = self.slots[slot]
        if process is not None and not process.ended:
            process.fate.plan[point] = lambda: fault(process)

    def _die(self, process: Process) -> None:
        process.fate.alive = False
        raise Died

    def _stall(self, process: Process, slot: int, ms: int, rounds: int) -> None:
        process.fate.stopped = True
        self.cluster.advance(ms)
        self.poll(1 - slot, rounds)
        process.fate.stopped = False

    def _fence(self, process: Process) -> None:
        for producer in process.port.producers[-1:]:
            self.cluster.transactions.init(producer.transactional_id, 15_000)

    def _lose_reply(self, process: Process, arrives: str) -> None:
        if arrives in LATER_MS:
            process.port.producers[-1].later(LATER_MS[arrives])
        raise errors.KafkaTimeoutError("no answer")

    def _rejoin(self) -> None:
        group = self.cluster.group
        if group.rebalancing_until is None and group.members:
            group.begin_round()


def _raise(error: Exception) -> None:
    raise error
