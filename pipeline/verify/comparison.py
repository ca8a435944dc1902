"""The comparison itself: records as they stand in the topics against a replay's outputs. Knows nothing of Kafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from longwatch.pipeline.outputs import Kind, Output
from longwatch.pipeline.records import Partition
from longwatch.pipeline.verify.fields import changes, same_scores
from longwatch.pipeline.verify.findings import Difference, Fault, Findings
from longwatch.pipeline.verify.ledger import Ledger
from longwatch.pipeline.verify.order import OrderCheck
from longwatch.pipeline.verify.record import (
    Content,
    Identity,
    NotOursError,
    Written,
    decode_alert,
    identify,
    proves_its_topic,
)

_FEW = 2
"""One record of another model or topic life may be a damaged one; so many are a past that this replay cannot give."""


@dataclass(frozen=True)
class Upto:
    """How far a partition was committed; `settled` when no window was open there, so that closes at it are due too."""

    next_offset: int
    settled: bool = True

    def demands(self, trigger_offset: int) -> bool:
        """Whether an output of the replay must have been committed."""
        return trigger_offset < self.next_offset or (self.settled and trigger_offset == self.next_offset)

    def is_past(self, trigger_offset: int) -> bool:
        """Whether nothing of this trigger can come any more: the next record may add to what `next_offset` caused."""
        return trigger_offset < self.next_offset


@dataclass(frozen=True)
class Scope:
    """What is checked: the input topic, how far each of its partitions was committed, and with which digests.

    `configs` and `bundles` are others that were in force somewhere: where, the replay knows.
    """

    topic: str
    topic_id: str
    upto: Mapping[int, Upto]
    digests: tuple[str, str]
    top_events: int
    configs: frozenset[str] = frozenset()
    bundles: frozenset[str] = frozenset()

    def demands(self, identity: Identity) -> bool:
        """Whether this output of the replay must have been committed."""
        upto = self.upto.get(identity.source.partition)
        return upto is not None and upto.demands(identity.trigger_offset)

    def made_with(self, bundle: str, config: str) -> bool:
        """Whether a replay can give what these made."""
        return bundle in {self.digests[0], *self.bundles} and config in {self.digests[1], *self.configs}

    def is_past(self, identity: Identity) -> bool:
        """Whether an output that the replay does not give is one too many."""
        upto = self.upto.get(identity.source.partition)
        return upto is not None and upto.is_past(identity.trigger_offset)


class Comparison:
    """First `found` for every record of the output topics in their order, then `expected` for every replayed output."""

    def __init__(self, scope: Scope, ledger: Ledger) -> None:
        self._scope = scope
        self._ledger = ledger
        self._order = OrderCheck()
        self._digests: Counter[tuple[str, str]] = Counter()
        self._topic_ids: Counter[str] = Counter()
        self._proven_ids: set[str] = set()
        self.findings = Findings()
        self.of_others = 0

    def found(self, kind: Kind, written: Written) -> None:
        """Take the next record of an output topic."""
        try:
            identity = identify(kind, written.content)
        except NotOursError as error:
            self._add(Fault.EXTRA, kind, "a record", "no known input", written.place, str(error))
            return
        if identity.source.topic != self._scope.topic:
            self.of_others += 1
        elif identity.source.topic_id != self._scope.topic_id:
            self._note_other_topic(kind, identity, written)
        else:
            self._note_digests(kind, written)
            if (wrong := self._order.out_of_order(kind, identity, written)) is not None:
                self._differs(Fault.REORDERED, kind, identity, written.place, wrong)
            self._ledger.write(kind, identity, written)

    def unprovable(self) -> list[str]:
        """Why the records found cannot be judged by this replay, if so."""
        topics = [
            f"{count:,} outputs belong to an earlier topic {self._scope.topic}, of id {topic_id}: it was re-created; "
            "give the pipeline output topics of their own for each, or let retention take the old ones"
            for topic_id, count in self._topic_ids.items()
            if count >= _FEW or topic_id in self._proven_ids
        ]
        models = [
            f"{count:,} alerts were made with bundle {bundle[:16]} and config {config[:16]}, this is bundle "
            f"{self._scope.digests[0][:16]} and config {self._scope.digests[1][:16]}: verify with what made them"
            for (bundle, config), count in self._digests.items()
            if count >= _FEW and not self._scope.made_with(bundle, config)
        ]
        return topics + models

    def expected(self, output: Output) -> None:
        """Compare the next output of the replay with what was found."""
        content = Content.of(output)
        identity = identify(output.kind, content)
        if not self._scope.demands(identity):
            return
        places = self._ledger.take(output.kind, identity)
        if not places:
            self._differs(Fault.MISSING, output.kind, identity, "", "the replay gives it")
            return
        for again in places[1:]:
            self._differs(Fault.DOUBLED, output.kind, identity, again.place, f"it stands at {places[0].place} already")
        self._compare(output.kind, identity, places[0], content)

    def finish(self) -> Findings:
        """What is left over in the topics belongs to later commits, or should not be there."""
        for number in self._ledger.sources():
            source = Partition(self._scope.topic, self._scope.topic_id, number)
            for kind, identity, written in self._ledger.unexpected(source):
                if self._scope.is_past(identity):
                    self._differs(Fault.EXTRA, kind, identity, written.place, "the replay does not give it")
                else:
                    self.findings.later[kind] += 1
        return self.findings

    def _compare(self, kind: Kind, identity: Identity, written: Written, expected: Content) -> None:
        wrong = list(changes(kind, written.content, expected, self._scope.top_events))
        if wrong:
            self._differs(Fault.CHANGED, kind, identity, written.place, "; ".join(wrong))
            return
        self.findings.checked[kind] += 1
        if kind.holds_alert and not same_scores(written.content, expected, self._scope.top_events):
            self.findings.rounded += 1

    def _note_digests(self, kind: Kind, written: Written) -> None:
        if kind.holds_alert:
            digests = decode_alert(written.content.value).digests
            self._digests[digests.bundle, digests.config] += 1

    def _note_other_topic(self, kind: Kind, identity: Identity, written: Written) -> None:
        if kind.holds_alert and not proves_its_topic(decode_alert(written.content.value)):
            self._differs(
                Fault.EXTRA, kind, identity, written.place, f"topic id {identity.source.topic_id} is no one's"
            )
            return
        self._topic_ids[identity.source.topic_id] += _FEW if kind.holds_alert else 1

    def _differs(self, fault: Fault, kind: Kind, identity: Identity, place: str, detail: str) -> None:
        self._add(fault, kind, identity.described(kind), identity.cause, place, detail)

    def _add(self, fault: Fault, kind: Kind, output: str, cause: str, place: str, detail: str) -> None:
        self.findings.add(Difference(fault, kind, place, cause, output, detail))
