"""The two hosts whose incidents show in nothing but the order of ordinary events, far apart.

Settlement: a run asks for its next stage with the same two events each time and the stage that answers is fixed by
the stage before it, 20 to 34 events back. In between stands chatter that is drawn alike in every stage. So given the
last stage marker the next one is certain; without it, all six are as likely. Swapping the order changes no template,
no count, no pair and no triple: every marker has the same two events before it and the same one after it.

Partner gateway: a presented key is served while the last key event is an issue, refused while it is a revoke, up to
some 350 events back. Served after a revoke is (offer, serve, chatter), the same triple as on any good day; at least
four chatter events part two offers, so that no triple sees two outcomes.

What a small causal model needs is one head that finds the last marker or the last outcome, 6 to 34 events back. Two
layers that each see three events know nothing of either; two layers of sliding(64) learn both in a few hundred steps.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from longwatch.pipeline.demo.trail import DAY_MS, MINUTE_MS, Dice, Trail

STAGES = ("pay.collect", "pay.screen", "pay.review", "pay.approve", "pay.transfer", "pay.file")
# Paid before anyone has reviewed: no stage follows the one it should follow.
SWAPPED = ("pay.collect", "pay.approve", "pay.screen", "pay.transfer", "pay.review", "pay.file")
RUNS_A_DAY = 24
RUN_EVERY_MS = DAY_MS // RUNS_A_DAY

# Dealt from a deck, so that no window holds unusually many of one kind by chance.
_PAY_CHATTER = ("pay.item", "pay.item", "pay.item", "pay.note", "pay.note", "pay.fetch", "pay.redo", "pay.flush") * 4
_PAY_GAP = (3000, 15000)
_GATEWAY_CHATTER = ("gw.beat", "gw.refill", "gw.resume", "gw.meter", "gw.resolve") * 6
_GATEWAY_GAP = (10000, 50000)
_GATEWAY_LAST_MS = DAY_MS - 25 * MINUTE_MS
_QUIET_OFFERS = 18
_STALE_OFFERS = 36


def settlement(dice: Dice, day_ms: int, swapped: Mapping[int, str]) -> Trail:
    """A day of settlement runs; the runs numbered in `swapped` go in the wrong order and carry that incident id."""
    trail, chatter = Trail(day_ms), dice.deck(_PAY_CHATTER)
    for run in range(RUNS_A_DAY):
        trail.clock = max(trail.clock, day_ms + run * RUN_EVERY_MS + dice.between(0, 2 * MINUTE_MS))
        incident = swapped.get(run, "")
        _settlement_run(dice, trail, chatter, SWAPPED if incident else STAGES, incident)
        for _ in range(dice.between(2, 4)):
            trail.emit("pay.probe", dice.between(2 * MINUTE_MS, 4 * MINUTE_MS))
    return trail


def _settlement_run(dice: Dice, trail: Trail, chatter: Iterator[str], stages: tuple[str, ...], incident: str) -> None:
    trail.emit("pay.open", dice.between(*_PAY_GAP), incident)
    for answer in (*stages, "pay.close"):
        for key in ("pay.safe", "pay.gate", answer):
            trail.emit(key, dice.between(*_PAY_GAP), incident)
        if answer != "pay.close":
            trail.emit("pay.pool", dice.between(*_PAY_GAP), incident)
            for _ in range(dice.between(16, 30)):
                trail.emit(next(chatter), dice.between(*_PAY_GAP), incident)


@dataclass
class _Gateway:
    """The gateway's day so far; `chatter` is what it logs between offers."""

    dice: Dice
    trail: Trail
    chatter: Iterator[str]
    last_ms: int

    def log(self, keys: Iterable[str], incident: str = "") -> None:
        for key in keys:
            self.trail.emit(key, self.dice.between(*_GATEWAY_GAP), incident)

    def offer(self, outcome: str, incident: str = "") -> None:
        self.log(("gw.offer", outcome), incident)
        self.log(islice(self.chatter, self.dice.between(4, 11)), incident)

    def key_holds(self, outcome: str) -> None:
        for _ in range(self.dice.between(6, 32)):
            if self.trail.clock < self.last_ms:
                self.offer(outcome)

    def key_is_stale(self, incident: str) -> None:
        for _ in range(_QUIET_OFFERS):
            self.offer("gw.refuse")
        served = True
        for _ in range(_STALE_OFFERS):
            self.offer("gw.serve" if served else "gw.refuse", incident)
            served = served != self.dice.chance(0.75)


def partner(dice: Dice, day_ms: int, stale_from_ms: int | None, incident: str) -> Trail:
    """A day of one partner's gateway: keys issued and revoked in turn, each offer answered by what the key is now.

    The first revoke after `stale_from_ms` (epoch) holds for some 160 events, then one of two backends forgets it: for
    some 340 events offers are served or refused by chance, which carry `incident`.
    """
    gateway = _Gateway(dice, Trail(day_ms), dice.deck(_GATEWAY_CHATTER), day_ms + _GATEWAY_LAST_MS)
    issued = True
    while gateway.trail.clock < gateway.last_ms:
        gateway.log(("gw.beat", "gw.beat", "gw.reload", "gw.issue" if issued else "gw.revoke"))
        gateway.log(("gw.drain", "gw.beat", "gw.beat"))
        if not issued and stale_from_ms is not None and gateway.trail.clock >= stale_from_ms:
            gateway.key_is_stale(incident)
            stale_from_ms = None
        else:
            gateway.key_holds("gw.serve" if issued else "gw.refuse")
        issued = not issued
    return gateway.trail
