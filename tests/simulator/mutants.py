"""Each decision of the commit protocol, taken wrongly: named mutants that the simulator must catch.

A mutant replaces one method of the product for as long as its context lasts.
"""

from __future__ import annotations

from contextlib import suppress
from unittest import mock

from longwatch.pipeline import kafka_client
from longwatch.pipeline.assigned import Assigned
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.errors import FencedError
from longwatch.pipeline.gathering import Gathering
from longwatch.pipeline.kafka_errors import CommitAbortedError, CommitUnknownError
from longwatch.pipeline.kafka_producer import TransactionalProducer
from longwatch.pipeline.kafka_reader import Reader
from longwatch.pipeline.kafka_rebalance import RebalanceQueue
from longwatch.pipeline.kafka_transactions import Transactions
from longwatch.pipeline.outputs import Kind
from longwatch.pipeline.sinks.kafka import KafkaStore
from longwatch.pipeline.sources.group import GroupSource
from longwatch.pipeline.sources.kafka import KafkaSource
from longwatch.pipeline.windows import PartitionWindows
from longwatch.pipeline.worker import Worker
from simulator import process as simulated_process
from simulator.mutation import Mutant, into
from simulator.producer import TransactionManager

MUTANTS: dict[str, Mutant] = {}

EQUIVALENT = {
    "commit under the membership of the moment, not of the last poll": "a join is answered inside a poll only "
    "(RebalanceQueue), so between polls a membership can only be lost, and a lost one is refused",
    "a new transactional id at each start": "what an unnamed worker does: the open transaction ends by its timeout, "
    "and the next owner waits for its offsets (require_stable)",
    "keep what was committed of partitions that went": "the next assignment asks the group again and replaces it",
    "do not hold new partitions still until told where to start": "what is fetched too early is dropped by the "
    "group source, which a mutant of its own removes",
    "let the group's next round begin before the worker was told what it must give up": "its commit of that is "
    "refused under the old generation, and the next owner does it again; it is there so that this is seldom",
    "let go of revoked partitions without a commit": "the next owner goes on from the last commit and does it again",
}
"""Changes that no reader of the outputs can see, and why; they are not counted."""


mutant = into(MUTANTS)


# -- what a transaction holds, and in which order -------------------------------------------------------------------


@mutant
def commit_offsets_before_outputs():
    """Two transactions, the offsets first: a crash between them loses the outputs."""
    real = TransactionalProducer.commit

    def commit(self, outputs, offsets, group_metadata):
        real(self, [], offsets, group_metadata)
        real(self, outputs, {}, group_metadata)

    return TransactionalProducer, "commit", commit


@mutant
def commit_outputs_before_offsets():
    """Two transactions, the outputs first: a crash between them doubles the outputs."""
    real = TransactionalProducer.commit

    def commit(self, outputs, offsets, group_metadata):
        real(self, outputs, {}, group_metadata)
        real(self, [], offsets, group_metadata)

    return TransactionalProducer, "commit", commit


@mutant
def leave_offsets_out_of_the_transaction():
    """Offsets are written at once, as `commit_sync` would, whatever becomes of the transaction."""

    def send_offsets(self, offsets, group):
        self._fate.meet("offsets")
        self._cluster.transactions.committed.update(offsets)
        self._cluster.transactions.version += 1

    return TransactionManager, "_send_offsets", send_offsets


@mutant
def send_no_offsets():
    """Outputs without offsets: every restart begins again."""
    return KafkaStore, "commit", _commit_of(lambda outputs, positions: (outputs, {}))


@mutant
def send_no_dead_letters():
    """A record that cannot be read is skipped without its letter."""

    def kept(outputs, positions):
        return [output for output in outputs if output.kind is not Kind.DEAD_LETTER], positions

    return KafkaStore, "commit", _commit_of(kept)


@mutant
def send_no_late_events():
    """A late event is dropped silently."""

    def kept(outputs, positions):
        return [output for output in outputs if output.kind is not Kind.LATE], positions

    return KafkaStore, "commit", _commit_of(kept)


@mutant
def ignore_a_refused_record():
    """The futures of the sent records are not asked."""
    real = TransactionalProducer._write

    def write(self, outputs, committed, group_metadata):
        with mock.patch.object(simulated_process.Producer, "send", _send_and_forget):
            real(self, outputs, committed, group_metadata)

    return TransactionalProducer, "_write", write


@mutant
def commit_after_a_failed_write():
    """An error while writing does not abort: what was written so far is committed."""

    def abort(self, cause):
        if isinstance(cause, FencedError):
            raise cause

    return TransactionalProducer, "_abort", abort


@mutant
def take_the_abort_for_granted():
    """After an error the transaction is not aborted; the next one adds to what is left of it."""

    def abort(self, cause):
        self._producer._manager.state = "ready"
        raise CommitAbortedError("not aborted", "")

    return TransactionalProducer, "_abort", abort


# -- who may commit -------------------------------------------------------------------------------------------------


@mutant
def commit_without_a_generation():
    """Offsets go without the group's identity, as before KIP-447: a broker takes them from anyone."""
    real = TransactionManager._send_offsets

    def send_offsets(self, offsets, group):
        real(self, offsets, group._replace(generation_id=-1, member_id="", group_instance_id=None))

    return TransactionManager, "_send_offsets", send_offsets


@mutant
def commit_as_a_stranger():
    """One who was thrown out commits all the same: neither our check nor a generation stands in the way."""
    real = TransactionalProducer.commit

    def commit(self, outputs, offsets, group_metadata):
        if group_metadata.generation_id < 0:
            group_metadata = _Stranger(group_metadata)
        real(self, outputs, offsets, group_metadata)

    return TransactionalProducer, "commit", commit


@mutant
def go_on_after_fencing():
    """A fenced producer opens its id again and sends what it had, as a stranger: it fences its own successor."""
    real = TransactionalProducer.commit

    def commit(self, outputs, offsets, group_metadata):
        try:
            real(self, outputs, offsets, group_metadata)
        except FencedError:
            _open_again(self)
            real(self, outputs, offsets, _Stranger(group_metadata))

    return TransactionalProducer, "commit", commit


# -- an outcome that is not known -----------------------------------------------------------------------------------


@mutant
def take_an_unknown_outcome_for_committed():
    """No answer is taken for yes."""
    return TransactionalProducer, "commit", _on_unknown(lambda _again: None)


@mutant
def take_an_unknown_outcome_for_aborted_and_send_again():
    """No answer is taken for no, and the same outputs are sent once more."""
    return TransactionalProducer, "commit", _on_unknown(lambda again: again())


@mutant
def take_a_commit_without_an_answer_for_done():
    """Whether an answer came in time is not asked."""
    real = Transactions._await

    def awaited(self, result, what):
        with suppress(TimeoutError):
            real(self, result, what)

    return Transactions, "_await", awaited


@mutant
def keep_the_old_producer_after_an_unknown_outcome():
    """The client whose commit had no answer is used again, so that its transaction is not ended."""
    return TransactionalProducer, "_abandon", lambda self: None


@mutant
def send_the_offsets_of_an_aborted_transaction_again():
    """The client keeps offsets that were refused, and they travel with the next ones."""

    def begin(self):
        self._deadline = self._clock() + self._seconds
        self._producer.begin_transaction()

    return Transactions, "begin_transaction", begin


@mutant
def go_on_where_an_unknown_commit_would_have_ended():
    """What is pending is dropped and reading goes on: right if it was committed, a loss if not."""

    def rewind(self, error):
        if not isinstance(error, CommitUnknownError):
            return real(self, error)
        self._pending.clear()
        return None

    real = Worker._rewind
    return Worker, "_rewind", rewind


@mutant
def keep_records_that_wait_when_their_partition_is_read_again():
    """What was gathered before a rebalance or an aborted commit is processed beside what is read again."""

    def read_again(self):
        kept = dict(self._gathered._batches)
        real(self)
        self._gathered._batches = kept
        self._gathered.num_records = sum(len(each.frame) for held in kept.values() for each in held)

    real = Worker._read_again
    return Worker, "_read_again", read_again


@mutant
def keep_records_that_wait_of_partitions_that_went():
    """What was gathered of a partition is processed even after it was let go and given back."""
    return Gathering, "drop", lambda self, partitions: None


@mutant
def go_on_after_a_call_that_failed():
    """What a poll had in hand when one of its calls failed is not read again."""
    return Worker, "_fall_behind", lambda self, error: None


@mutant
def commit_before_reading_again():
    """A worker that must read again commits what it has meanwhile."""
    real = Worker.commit

    def commit(self):
        self._behind = False
        real(self)

    return Worker, "commit", commit


# -- after an aborted commit ----------------------------------------------------------------------------------------


@mutant
def keep_pending_after_an_abort():
    """Outputs of the aborted commit are kept, and made again."""

    def rewind(self, error):
        self.progress.aborted += 1
        self.assigned(self._engine.partitions)

    return Worker, "_rewind", rewind


@mutant
def do_not_read_again_after_an_abort():
    """Outputs of the aborted commit are dropped, and reading goes on."""

    def rewind(self, error):
        self.progress.aborted += 1
        self._pending.clear()

    return Worker, "_rewind", rewind


@mutant
def do_not_seek_after_an_abort():
    """The engine begins again, the source does not go back."""
    real = Worker._read_again

    def read_again(self):
        with mock.patch.object(self._source._kafka, "seek", lambda *_: None):
            real(self)

    return Worker, "_read_again", read_again


@mutant
def ask_the_end_of_the_log_again():
    """The first offset is asked anew after an abort, when `earliest` has become later."""
    real = Worker._rewind

    def rewind(self, error):
        self._starts = {
            each: int(self._source.at_end(each) and self._source._kafka.position(each)) for each in self._starts
        }
        real(self, error)

    return Worker, "_rewind", rewind


@mutant
def hold_what_was_sought():
    """What was held when the sink went away stays so after it is read again."""
    return GroupSource, "seek", lambda self, partition, offset: self._kafka.seek(partition, offset)


# -- when partitions come and go ------------------------------------------------------------------------------------


@mutant
def revoke_without_a_commit_and_keep_pending():
    """Revoked partitions' outputs stay pending and are committed later, by one who no longer owns them."""

    def lost(self, partitions):
        for partition in partitions:
            self._committed.pop(partition, None)

    return Worker, "lost", lost


@mutant
def keep_pending_of_lost_partitions():
    """Lost partitions are forgotten, their outputs are not."""
    real = Worker.lost

    def lost(self, partitions):
        pending = self._pending.outputs
        real(self, partitions)
        self._pending.outputs = pending

    return Worker, "lost", lost


@mutant
def keep_state_of_lost_partitions():
    """The engine goes on with partitions that are another's, and their positions are committed."""
    return Engine, "forget", lambda self, partition: None


@mutant
def wait_without_end_for_a_join():
    """A join on a dead connection is not begun again."""

    async def joined(self):
        return await self._join()

    return RebalanceQueue, "_join_in_time", joined


@mutant
def leave_orphans_alone():
    """What an earlier process of the name let go between two rounds is not asked for."""
    return KafkaSource, "_free_orphans", lambda self: None


# -- where to read again from ---------------------------------------------------------------------------------------


@mutant
def begin_at_the_committed_offset():
    """`replay_from` is not heeded: open windows are not rebuilt."""
    real = Engine.assign

    def assign(self, partition, position, start, *, readable_from=0):
        real(self, partition, position, start, readable_from=readable_from)
        return start if position is None else position.next_offset

    return Engine, "assign", assign


@mutant
def replay_one_record_too_few():
    """`replay_from` is one too high."""
    real = PartitionWindows.replay_point

    def replay_point(self, next_offset):
        point = real(self, next_offset)
        return point._replace(offset=min(point.offset + 1, next_offset))

    return PartitionWindows, "replay_point", replay_point


@mutant
def stay_outside_the_log():
    """A position that retention has passed is not moved into the log."""
    return Reader, "_step_into_log", lambda self, tp, divergent: None


@mutant
def forget_the_watermark():
    """The highest event time before `replay_from` is not restored."""
    real = Engine.assign

    def assign(self, partition, position, start, *, readable_from=0):
        replay_from = real(self, partition, position, start, readable_from=readable_from)
        self._assigned[partition].windows = PartitionWindows(self._rules)
        return replay_from

    return Engine, "assign", assign


@mutant
def rebuild_aloud():
    """What an earlier life has committed is given again while windows are rebuilt."""
    real = Engine.assign

    def assign(self, partition, position, start, *, readable_from=0):
        replay_from = real(self, partition, position, start, readable_from=readable_from)
        state: Assigned = self._assigned[partition]
        state.committed = replay_from
        return replay_from

    return Engine, "assign", assign


@mutant
def commit_while_rebuilding():
    """A partition that has not reached its committed offset yet is committed where it stands."""
    return Engine, "positions", lambda self: {each: self._position(state) for each, state in self._assigned.items()}


@mutant
def commit_early():
    """The position is one record ahead of what was processed."""
    real = Engine._position

    def position(self, state):
        from dataclasses import replace

        made = real(self, state)
        return replace(made, next_offset=made.next_offset + 1)

    return Engine, "_position", position


@mutant
def commit_late():
    """The position is one record behind what was processed."""
    real = Engine._position

    def position(self, state):
        from dataclasses import replace

        made = real(self, state)
        return replace(made, next_offset=max(made.metadata.replay_from, made.next_offset - 1))

    return Engine, "_position", position


@mutant
def commit_only_when_the_offset_moves():
    """A silence changes `replay_from` only; its commit is left out, its outputs are not."""
    real = KafkaStore.commit

    def commit(self, outputs, positions):
        kept = {
            each: at
            for each, at in positions.items()
            if (now := self.committed(each)) is None or now.next_offset != at.next_offset
        }
        real(self, outputs, kept)

    return KafkaStore, "commit", commit


# -- what is read ---------------------------------------------------------------------------------------------------


@mutant
def read_uncommitted():
    """The input's aborted records are read, too."""
    real = kafka_client.consumer_options

    def options(settings, *, group=False):
        return real(settings, group=group) | {"isolation_level": "read_uncommitted"}

    return simulated_process, "consumer_options", options


@mutant
def close_the_silent_before_their_end():
    """A silent partition's windows are closed although more of it is waiting to be read."""
    return GroupSource, "at_end", lambda self, partition: True


def _commit_of(kept):
    real = KafkaStore.commit

    def commit(self, outputs, positions):
        real(self, *kept(outputs, positions))

    return commit


def _on_unknown(react):
    real = TransactionalProducer.commit

    def commit(self, outputs, offsets, group_metadata):
        try:
            real(self, outputs, offsets, group_metadata)
        except CommitUnknownError:
            self.settle()
            react(lambda: real(self, outputs, offsets, group_metadata))

    return commit


def _open_again(producer):
    producer.close()
    producer.settle()


def _send_and_forget(self, topic, value, key, headers, partition):
    sent = _SEND(self, topic, value, key, headers, partition)
    sent.get = lambda timeout=None: None
    return sent


_SEND = simulated_process.Producer.send


class _Stranger:
    """A group identity that passes for a member's at our own check, and for nobody's at the broker."""

    def __init__(self, metadata) -> None:
        self.generation_id = _Unchecked(-1)
        self.member_id = ""
        self.group_instance_id = None


class _Unchecked(int):
    """Passes our check; as a plain int, which the broker makes of it, it is -1."""

    def __lt__(self, other):
        return False
