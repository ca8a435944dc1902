"""Each decision of a bundle's swap, taken wrongly: named mutants that the simulator must catch while bundles change.

What live and replay would take wrongly alike is caught in `pipeline/test_swapping.py`.
"""

from __future__ import annotations

from longwatch.pipeline import worker as worker_module
from longwatch.pipeline.alert_builder import Touched
from longwatch.pipeline.assigned import Assigned
from longwatch.pipeline.engine import Engine
from longwatch.pipeline.feedback.silence import moment_of
from longwatch.pipeline.setting import InForce
from longwatch.pipeline.worker import Worker
from simulator.mutation import Mutant, into

SWAP_MUTANTS: dict[str, Mutant] = {}


mutant = into(SWAP_MUTANTS)


@mutant
def swap_what_is_not_committed():
    """The old bundle's outputs are still pending: without their position, a crash doubles them."""

    def _swap(self):
        ready = [each for each in self._engine.swaps if each in self._engine.positions()]
        for partition in ready:
            replay_from = self._engine.swap(partition, readable_from=self._source.readable_from(partition))
            self._source.seek(partition, replay_from)
        return bool(ready)

    return Worker, "_swap", _swap


@mutant
def go_on_reading_where_the_swap_is():
    """The open windows are never read again."""
    real = worker_module.swap

    class Deaf:
        def __init__(self, source):
            self._source = source

        def seek(self, _partition, _offset):
            pass

        def readable_from(self, partition):
            return self._source.readable_from(partition)

    return worker_module, "swap", lambda engine, source, committed: real(engine, Deaf(source), committed)


@mutant
def record_the_swap_before_its_position():
    """What the old bundle closed, and the record, go with whichever commit comes first."""
    real = Assigned.say

    def say(self, partition):
        next_offset, self.next_offset = self.next_offset, max(self.next_offset, self.committed)
        try:
            return real(self, partition)
        finally:
            self.next_offset = next_offset

    return Assigned, "say", say


@mutant
def leave_the_swap_out_of_the_commit():
    """A restart goes by its own bundle."""

    def changes(self, replay_from):
        moment = moment_of(replay_from, after_silence=False)
        found = [] if self.in_force is None else self.in_force.since_replay(moment)
        return tuple(step.saved for step in found[:1])

    return Assigned, "changes", changes


@mutant
def forget_where_the_bundle_took_over():
    """After a restart the new bundle's alerts of before the swap count as told."""
    return InForce, "_since", lambda _: -1


@mutant
def go_on_under_the_old_alerts_id():
    """Two bundles say different things under one id and revision."""
    return Touched, "swapped_at", None


@mutant
def open_again_what_was_closed_by_a_swap():
    """A restart goes on with the bundle that the worker was started with, and leaves the recorded one."""
    real = Engine._reading
    return Engine, "_reading", lambda self, _: real(self, None)
