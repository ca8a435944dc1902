"""The steps of the commit protocol by name: tests stop a worker at each of them; in production nobody looks."""

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """What a worker on Kafka has just done, in the order of its life."""

    OPENED = "opened"
    """Transactions opened: what an earlier holder of the id left open is ended."""
    ASSIGNED = "assigned"
    """Partitions were given; nothing of them is read yet."""
    SOUGHT = "sought"
    """Reading goes on at `replay_from`."""
    POLLING = "polling"
    """About to ask for records: what was committed before is noted."""
    POLLED = "polled"
    """Records, or none, are in hand."""
    REBUILDING = "rebuilding"
    """Records were processed, and some partition is not yet where it was committed."""
    PROCESSED = "processed"
    """Records were processed; their outputs wait for a commit."""
    SILENCE_CLOSED = "silence_closed"
    """A silent partition's windows were closed."""
    UNREADABLE = "unreadable"
    """Records that the client cannot read have become a dead letter, which waits for a commit."""
    REVOKED = "revoked"
    """Partitions are to be handed on; what is done of them is not yet committed."""
    RELEASED = "released"
    """They were committed and let go."""
    LOST = "lost"
    """Others have the partitions already; what was pending of them is dropped."""
    STOPPING = "stopping"
    """The loop has ended; what is not committed yet is next."""
    BEGUN = "begun"
    """A transaction was begun."""
    PRODUCED = "produced"
    """One output was handed to the client."""
    FLUSHED = "flushed"
    """The broker has all outputs of the transaction."""
    OFFSETS_SENT = "offsets_sent"
    """The broker has its offsets too: nothing is missing but the commit."""
    COMMITTED = "committed"
    """The broker has said that the transaction is committed."""
    ABORTING = "aborting"
    """A write failed; the transaction is still open."""
    ABORTED = "aborted"
    """The transaction was aborted."""
    ABANDONED = "abandoned"
    """A commit or an abort had no answer in time: its client is closed, and what happened is not known."""
    REOPENED = "reopened"
    """Another client has the same transactional id: that transaction has ended, committed or aborted."""
    REWOUND = "rewound"
    """After an abort or an unknown outcome, reading begins again at what the store says is committed."""


Observer = Callable[[Step], None]


def unobserved(step: Step) -> None:
    """The observer that production has: none."""
