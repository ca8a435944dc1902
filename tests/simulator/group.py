"""The group coordinator: members, generations, sessions, static ids (KIP-345), cooperative-sticky rounds (KIP-429).

Joining and syncing are one step here: the assignment is made when the last awaited member has joined. A partition that
moves is given to nobody in the round in which its owner must let it go, and to its new owner in the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from kafka import errors

SESSION_MS, REBALANCE_MS = 30_000, 300_000


@dataclass
class Joined:
    """The answer to a join, once there is one."""

    member_id: str
    generation: int
    assignment: frozenset[int]


@dataclass
class Member:
    """What the coordinator holds of a member; `joined` while it awaits the end of a round."""

    instance_id: str | None
    seen_ms: int
    owned: frozenset[int] = frozenset()
    joined: bool = False
    assignment: frozenset[int] = frozenset()


@dataclass
class GroupCoordinator:
    """One group, whose members read one topic of so many partitions."""

    now: Callable[[], int]
    partitions: int
    generation: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    rebalancing_until: int | None = None
    _names: count[int] = field(default_factory=count)

    def join(self, member_id: str, instance_id: str | None, owned: frozenset[int]) -> str:
        """Enter the group, or its next round; `answer` has the outcome. Gives the member's id."""
        if not member_id:
            return self._enter(instance_id)
        member = self._member(member_id, instance_id)
        changed = owned != member.owned
        member.joined, member.owned, member.seen_ms = True, owned, self.now()
        # One that joins again with nothing new is told what stands; one that has let partitions go begins a round.
        if self.rebalancing_until is None and changed:
            self.begin_round(keep=member)
        self._complete()
        return member_id

    def answer(self, member_id: str, instance_id: str | None) -> Joined | None:
        """What the join led to; None while others are awaited."""
        member = self._member(member_id, instance_id)
        if self.rebalancing_until is not None:
            return None
        return Joined(member_id, self.generation, member.assignment)

    def heartbeat(self, member_id: str, instance_id: str | None, generation: int) -> None:
        """Keep the session; raises what the member must react to."""
        member = self._member(member_id, instance_id)
        if generation != self.generation:
            raise errors.IllegalGenerationError
        member.seen_ms = self.now()
        if self.rebalancing_until is not None:
            raise errors.RebalanceInProgressError

    def leave(self, member_id: str) -> None:
        """A dynamic member goes at once; its partitions are handed on."""
        if self.members.pop(member_id, None) is not None:
            self.begin_round()
            self._complete()

    def check_commit(self, member_id: str, instance_id: str | None, generation: int) -> None:
        """Whether offsets may be added to a transaction under this identity (KIP-447), as the broker checks it.

        A stranger with neither generation nor id is let through: that is the broker's rule, too.
        """
        if generation < 0 and not member_id and instance_id is None:
            return
        self._member(member_id, instance_id)
        if generation >= 0 and generation != self.generation:
            raise errors.IllegalGenerationError

    def expire(self) -> None:
        """Remove members whose session, or whose time to join the round, is over."""
        waiting = self.rebalancing_until is not None
        over = waiting and self.now() >= (self.rebalancing_until or 0)
        gone = [
            name
            for name, member in self.members.items()
            if not (member.joined and waiting) and (over or self.now() - member.seen_ms >= SESSION_MS)
        ]
        for name in gone:
            del self.members[name]
        if gone and not waiting:
            self.begin_round()
        if gone:
            self._complete()

    def _enter(self, instance_id: str | None) -> str:
        name = f"{instance_id or 'member'}-{next(self._names)}"
        before = [each for each, member in self.members.items() if instance_id and member.instance_id == instance_id]
        if before:
            # KIP-345: the new process takes over the old one's place, and the group does not rebalance for it.
            member = self.members.pop(before[0])
            member.seen_ms, member.joined, member.owned = self.now(), True, frozenset()
            self.members[name] = member
        else:
            self.members[name] = member = Member(instance_id, self.now(), joined=True)
            if self.rebalancing_until is None:
                self.begin_round(keep=member)
        self._complete()
        return name

    def _member(self, member_id: str, instance_id: str | None) -> Member:
        member = self.members.get(member_id)
        if member is None:
            taken = instance_id is not None and any(each.instance_id == instance_id for each in self.members.values())
            raise errors.FencedInstanceIdError if taken else errors.UnknownMemberIdError
        return member

    def begin_round(self, keep: Member | None = None) -> None:
        """Every member is awaited again; `keep` has joined already."""
        self.rebalancing_until = self.now() + REBALANCE_MS
        for member in self.members.values():
            member.joined = member is keep

    def _complete(self) -> None:
        if self.rebalancing_until is None or not all(member.joined for member in self.members.values()):
            return
        self.rebalancing_until = None
        self.generation += 1
        _assign(list(self.members.values()), self.partitions)
        for member in self.members.values():
            member.joined, member.seen_ms = False, self.now()


def _assign(members: Sequence[Member], partitions: int) -> None:
    """Keep what members own, up to a fair share; what is free goes to who has least, what must move waits a round."""
    if not members:
        return
    most = -(-partitions // len(members))
    richest = partitions % len(members) or len(members)
    owned = set().union(*(member.owned for member in members))
    for member in sorted(members, key=lambda each: -len(each.owned)):
        share = most if richest > 0 else most - 1
        kept = sorted(member.owned)[:share]
        richest -= len(kept) == most
        member.assignment = frozenset(kept)
    for partition in sorted(set(range(partitions)) - owned):
        poorest = min(members, key=lambda each: len(each.assignment))
        poorest.assignment |= {partition}
