"""The loop: gather, process, commit. Everything it decides is in the engine; everything durable is in the store.

One commit holds all outputs so far and the positions that they bring the partitions to. A crash at any moment leaves
the last commit, from which the next worker rebuilds the windows and gives exactly the outputs that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import polars as pl
import structlog

from longwatch.pipeline.checkpoint import Position, Store
from longwatch.pipeline.clock import Clock
from longwatch.pipeline.engine import Engine, Result
from longwatch.pipeline.errors import BrokerError
from longwatch.pipeline.gathering import Gathering
from longwatch.pipeline.kafka_errors import CommitAbortedError, CommitUnknownError
from longwatch.pipeline.outputs import Output
from longwatch.pipeline.patience import Patience
from longwatch.pipeline.pending import Pending
from longwatch.pipeline.progress import Diary, Progress
from longwatch.pipeline.records import Partition, RecordBatch
from longwatch.pipeline.resuming import announce, check_whole, unread
from longwatch.pipeline.sources import Source
from longwatch.pipeline.stages import Stage, Timed, untimed
from longwatch.pipeline.steering import Steering
from longwatch.pipeline.steps import Observer, Step, unobserved
from longwatch.pipeline.swapping import swap
from longwatch.pipeline.watch import UNWATCHED, State, Watch
from longwatch.pipeline.worker_settings import Stop, WorkerSettings

__all__ = ["Stop", "Worker", "WorkerSettings"]

log = structlog.get_logger("longwatch.worker")


class Worker:
    """Runs one engine over one source into one store."""

    def __init__(
        self,
        source: Source,
        engine: Engine,
        store: Store,
        clock: Clock,
        settings: WorkerSettings,
        *,
        on_scores: Callable[[list[pl.DataFrame]], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        observe: Observer = unobserved,
        watch: Watch = UNWATCHED,
        steering: Steering | None = None,
        timed: Timed = untimed,
    ) -> None:
        self._source = source
        self._engine = engine
        self._store = store
        self._clock = clock
        self._settings = settings
        self._on_scores = on_scores
        self._on_progress = on_progress
        self._observe = observe
        self._gathered = Gathering(settings.gather_records, settings.gather_s)
        self._watch = watch
        self._steering = steering or Steering()
        self._timed = timed
        self._pending = Pending()
        self._patience = Patience()
        self._committed: dict[Partition, Position] = {}
        self._starts: dict[Partition, int] = {}
        self._last_commit = clock.monotonic()
        self._diary = Diary(settings.progress_interval_s, self._last_commit)
        self._behind = self._joined = False
        self._waiting_since: float | None = None
        self.progress = Progress()

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """Begin partitions where they were left: seek to `replay_from`, and rebuild silently from there."""
        self._joined = True
        self.progress.rebalances += 1
        self._begin(partitions)

    def _begin(self, partitions: Iterable[Partition]) -> None:
        self._observe(Step.ASSIGNED)
        for partition in partitions:
            self._gathered.drop([partition])
            position = self._store.committed(partition)
            self._steering.reach(self._engine, partition, position)
            readable_from = self._source.readable_from(partition)
            # Asked once: after an aborted first commit, the end of the log is further on than where reading began.
            if partition not in self._starts:
                self._starts[partition] = self._source.start(partition)
            start = self._starts[partition]
            replay_from = self._engine.assign(partition, position, start, readable_from=readable_from)
            self._source.seek(partition, replay_from)
            if position is not None:
                self._committed[partition] = position
                announce(partition, position, replay_from)
        self._observe(Step.SOUGHT)

    def revoked(self, partitions: Iterable[Partition]) -> None:
        """Finish and commit what was read, then let go: the next owner goes on from that commit."""
        self._observe(Step.REVOKED)
        self._process_gathered()
        self.commit()
        self._let_go(partitions)
        self._observe(Step.RELEASED)

    def lost(self, partitions: Iterable[Partition]) -> None:
        """Let go without a commit: another worker has the partitions already, and what is pending is its to give."""
        self._let_go(partitions)
        self._joined = bool(self._engine.partitions)
        self.progress.lost += 1
        self._observe(Step.LOST)

    def _let_go(self, partitions: Iterable[Partition]) -> None:
        gone = set(partitions)
        self._gathered.drop(gone)
        self._watch.let_go(gone)
        self._pending.drop(gone)
        for partition in gone:
            self._engine.forget(partition)
            self._committed.pop(partition, None)
            self._starts.pop(partition, None)

    def dead_letter(self, output: Output, next_offset: int) -> None:
        """Take a dead letter of records up to `next_offset` that the source cannot read, unless it was committed."""
        # First what lies before them: the position moves past both.
        self._process_gathered()
        position = self._committed.get(output.partition)
        if position is None or output.trigger_offset >= position.next_offset:
            self._take(Result([output]))
        # Committed with the dead letter, or a restart would read up to here and give it again.
        self._engine.skip(output.partition, next_offset)
        self._observe(Step.UNREADABLE)

    def truncated(self, partition: Partition, first_kept: int) -> None:
        """Records before `first_kept` were deleted before they were read."""
        self._process_gathered()
        self._engine.cut(partition, first_kept)

    def run(self, stop: Stop) -> Progress:
        """Loop until told to stop or, with `until_end`, until all is read; what is done is committed on the way out."""
        done = False
        while not done and not stop.is_set():
            done = self.step()
            state = self._state()
            self._diary.tell(self._clock.monotonic(), state)
            self._watch.told(state)
        self._observe(Step.STOPPING)
        if not done:
            self._process_gathered()
            self.commit()
        return self.progress

    def commit(self) -> None:
        """Commit outputs and changed positions; after an abort go back to the last commit.

        When the outcome is unknown, too: where the next reading begins is what the store says was committed.
        """
        if self._behind:
            return
        self._last_commit = self._clock.monotonic()
        positions = {each: at for each, at in self._engine.positions().items() if self._committed.get(each) != at}
        if not positions and not self._pending.outputs:
            self._waiting_since = None
            return
        try:
            with self._timed(Stage.COMMIT):
                self._store.commit(self._pending.outputs, positions)
        except (CommitAbortedError, CommitUnknownError) as error:
            self._rewind(error)
            return
        self._committed |= positions
        self._waiting_since = None
        self._patience.worked()
        self._watch.committed(self._pending.outputs)
        self._pending.clear()
        self.progress.commits += 1

    def step(self) -> bool:
        """One round: poll, process, commit what is due; True once all is read and committed."""
        try:
            return self._round()
        except BrokerError as error:
            self._fall_behind(error)
            return False

    def _round(self) -> bool:
        self._observe(Step.POLLING)
        with self._timed(Stage.POLL):
            batches = self._poll()
        self._observe(Step.POLLED)
        if self._behind:
            if self._patience.polled():
                self._read_again()
            return False
        self._gathered.add(batches, self._clock.monotonic())
        if batches and self._gathered.left_ms(self._clock.monotonic()) and not self._due():
            return False
        for result in self._steering.turn(self._engine):
            self._take(result)
        self._process_gathered()
        if self._engine.swaps and self._swap():
            return False
        self._observe(Step.REBUILDING if self._engine.rebuilding else Step.PROCESSED)
        done = not batches and self._rest()
        if done or self._due():
            self._close_silent()
            self.commit()
        return done and not self._behind

    def _swap(self) -> bool:
        """Have another bundle judge from here on, where one is to; says whether anything is read again for it."""
        self.commit()
        swapped = swap(self._engine, self._source, self._committed)
        self._watch.let_go(swapped)
        return bool(swapped)

    def _poll(self) -> list[RecordBatch]:
        """The next records, waited for no longer than those that are gathered may wait."""
        waiting = self._gathered.num_records and not self._behind
        return self._source.poll(self._gathered.left_ms(self._clock.monotonic())) if waiting else self._source.poll()

    def _process_gathered(self) -> None:
        # While behind, all is read again from the last commit.
        if not self._behind:
            self._take(self._engine.process(self._gathered.take()))

    def _take(self, result: Result) -> None:
        self._pending.add(result.outputs)
        self.progress.count(result)
        if result.num_records or result.outputs:
            self._wait()
        self._watch.scored(result.touched)
        if self._on_scores is not None and result.score_frames:
            self._on_scores(result.score_frames)
        if self._on_progress is not None:
            self._on_progress(self.progress)

    def _rest(self) -> bool:
        """Nothing came: close windows of silent partitions; says whether the work is done."""
        waiting = self._close_silent()
        if self._source.exhausted:
            check_whole(self._engine.rebuilding)
            return True
        if not self._settings.until_end or waiting or not self._engine.partitions:
            return False
        return all(self._source.at_end(partition) for partition in self._engine.partitions)

    def _close_silent(self) -> list[Partition]:
        """Close the windows of silent partitions; the partitions where that is still to come."""
        return [partition for partition in self._engine.partitions if self._close_if_silent(partition)]

    def _close_if_silent(self, partition: Partition) -> bool:
        """Close a partition's windows once it has been silent long enough; True while that is still to come."""
        timeout = self._settings.idle_timeout_ms
        since = self._engine.silent_since_ms(partition)
        if timeout is None or since is None:
            return False
        waited = self._source.exhausted or self._clock.now_ms() - since >= timeout
        if waited and self._source.at_end(partition):
            self._take(self._engine.close_idle(partition))
            self._observe(Step.SILENCE_CLOSED)
            return False
        return True

    def _due(self) -> bool:
        waited = self._clock.monotonic() - self._last_commit
        return self._pending.is_full or waited >= self._settings.commit_interval_s

    def _wait(self) -> None:
        """Something is to be committed from now on, if not since longer."""
        if self._waiting_since is None:
            self._waiting_since = self._clock.monotonic()

    def _state(self) -> State:
        return State(
            self.progress,
            self._engine.num_open_windows,
            len(self._pending.outputs),
            self._behind,
            partial(unread, self._source, self._engine),
            lambda: self._engine.watermarks,
            lambda: self._engine.replay_distances,
            lambda: self._source.answers(),
            self._joined,
            self._waiting_since,
        )

    def _rewind(self, error: CommitAbortedError | CommitUnknownError) -> None:
        """What came after the last commit is done again; nothing of it is visible, or the last commit holds it."""
        log.warning("commit_aborted", reason=error.message, action="reading again from the last commit")
        self.progress.aborted += 1
        self._hold()

    def _fall_behind(self, error: BrokerError) -> None:
        """A call may have failed after records were taken: once a broker answers, all is read again."""
        if not error.retriable:
            raise error
        self._wait()
        log.warning("broker_away", reason=error.message, action="reading again from the last commit when it is back")
        self._hold()

    def _hold(self) -> None:
        """Take no records until all is read again, but poll on, for the group's sake."""
        self._behind = True
        self._source.hold()
        self._patience.failed()

    def _read_again(self) -> None:
        self._pending.clear()
        self._gathered.take()
        self._watch.let_go(self._engine.partitions)
        self._begin(self._engine.partitions)
        self._behind = False
        self._observe(Step.REWOUND)
