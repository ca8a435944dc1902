"""What goes wrong in the demo period, and the truth about it: who, when, and what shows it."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from longwatch.pipeline.demo.company import HOSTS, Kind
from longwatch.pipeline.demo.ordered import partner, settlement
from longwatch.pipeline.demo.trail import DAY_MS, MINUTE_MS, Dice, Trail, walk

Shows = Literal["burst", "new_template", "count", "missing_step", "order"]

MINIMUM_DAYS = 1.5
DEPLOY_MINUTE = 11 * 60
_JITTER_MINUTES = 20
_FIRST_SWAPPED_RUN = 12
_SWAPPED_RUNS = 5
_SKIPPED = ("bk.checksum", "bk.upload", "bk.verify")


@dataclass(frozen=True)
class Incident:
    """One planted incident; `start_ms` and `end_ms` are the event times (epoch) of its first and last event."""

    id: str
    name: str
    kind: Shows
    entity: str
    start_ms: int
    end_ms: int
    description: str


@dataclass(frozen=True)
class _Plan:
    id: str
    name: str
    kind: Shows
    entity: str
    day: int
    minute: int
    description: str


_PLANS = (
    _Plan(
        "stuffing",
        "Credential stuffing",
        "burst",
        "vpn-01",
        0,
        9 * 60 + 20,
        "Hundreds of failed VPN logins in minutes, then one that works: an ordinary line far too often.",
    ),
    _Plan(
        "swapped-approval",
        "Payments approved before review",
        "order",
        "pay-eu-01",
        0,
        12 * 60,
        "Five settlement runs approve before they screen and transfer before they review; every line, pair and "
        "triple is ordinary, only the order of stages 20 to 34 events apart is wrong.",
    ),
    _Plan(
        "disk-full",
        "Database disk fills up",
        "burst",
        "db-01",
        0,
        15 * 60 + 10,
        "Rare disk warnings and write retries pile up until the database has no space left and goes read-only.",
    ),
    _Plan(
        "stale-key",
        "Revoked partner key used again",
        "order",
        "partner-gw-02",
        0,
        6 * 60,
        "A key is revoked and refused for some 160 events, then served now and again for some 340 more; every line, "
        "pair and triple is ordinary, only serving after a revoke is not.",
    ),
    _Plan(
        "root-shell",
        "Privilege escalation on a build host",
        "new_template",
        "ci-02",
        0,
        20 * 60 + 30,
        "A build account becomes root, adds an account, loads a module and clears the audit rules: lines never seen.",
    ),
    _Plan(
        "exfiltration",
        "Mass download from the file server",
        "count",
        "files-01",
        0,
        22 * 60 + 5,
        "One account reads hundreds of files in the evening: only ordinary reads, many times the usual number.",
    ),
    _Plan(
        "no-upload",
        "Nightly backup never left the house",
        "missing_step",
        "db-02",
        1,
        90,
        "The nightly backup job goes from compressing straight to pruning: checksum, upload and verify did not run.",
    ),
)


def incidents(seed: int, first_day: date) -> list[Incident]:
    """The incidents that `generate(seed, first_day, ...)` plants, by start; each with the times of its own events."""
    found = []
    for plan in _PLANS:
        trail = trail_of(seed, first_day, plan.day, plan.entity, planted=True, deploy=False)
        times = [time for time, label in zip(trail.times, trail.incidents, strict=True) if label == plan.id]
        found.append(Incident(plan.id, plan.name, plan.kind, plan.entity, min(times), max(times), plan.description))
    return sorted(found, key=lambda incident: incident.start_ms)


def trail_of(seed: int, first_day: date, day: int, host: str, *, planted: bool, deploy: bool) -> Trail:
    """The events of `host` on the `day`-th day (from 0), with what is planned for it when `planted`."""
    ordinal = first_day.toordinal() + day
    day_ms = epoch_ms(first_day) + day * DAY_MS
    plan = next((p for p in _PLANS if p.entity == host and p.day == day), None) if planted else None
    start_ms = day_ms + _minute(seed, ordinal, plan) * MINUTE_MS if plan else None
    dice = Dice(seed, ordinal, host)
    kind = HOSTS[host]
    if kind.machine == "settlement":
        return settlement(dice, day_ms, _swapped_runs(seed, ordinal, plan))
    if kind.machine == "partner":
        return partner(dice, day_ms, start_ms, plan.id if plan else "")
    return _walked(dice, kind, date.fromordinal(ordinal), day, plan, start_ms, deploy)


def epoch_ms(day: date) -> int:
    """Midnight UTC of `day` in milliseconds since the epoch."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def _minute(seed: int, ordinal: int, plan: _Plan) -> int:
    return plan.minute + Dice(seed, ordinal, plan.id).between(0, _JITTER_MINUTES)


def _swapped_runs(seed: int, ordinal: int, plan: _Plan | None) -> dict[int, str]:
    if plan is None:
        return {}
    first = _FIRST_SWAPPED_RUN + Dice(seed, ordinal, plan.id).between(0, 2)
    return dict.fromkeys(range(first, first + _SWAPPED_RUNS), plan.id)


def _walked(
    dice: Dice, kind: Kind, today: date, day: int, plan: _Plan | None, start_ms: int | None, deploy: bool
) -> Trail:
    day_ms = epoch_ms(today)
    deployed_ms = day_ms + (DEPLOY_MINUTE * MINUTE_MS if day == 0 else 0) if deploy else None
    skip = dict.fromkeys(_SKIPPED, plan.id) if plan and plan.kind == "missing_step" else {}
    trail = walk(dice, kind, day_ms, today.weekday() >= 5, deployed_ms, skip)
    if plan and start_ms is not None and plan.id in _INTRUSIONS:
        intrusion = Trail(start_ms)
        _INTRUSIONS[plan.id](dice, intrusion, plan.id)
        trail.insert(intrusion)
    return trail


def _stuffing(dice: Dice, trail: Trail, incident: str) -> None:
    for _ in range(420):
        trail.emit("vpn.hello", dice.between(200, 1200), incident)
        trail.emit("vpn.fail", dice.between(100, 900), incident)
    for key in ("vpn.hello", "vpn.ok", "vpn.lease"):
        trail.emit(key, dice.between(200, 1200), incident)


def _disk_full(dice: Dice, trail: Trail, incident: str) -> None:
    for level in range(90):
        trail.emit("db.disk", dice.between(4000, 30000), incident)
        for _ in range(dice.between(0, 1 + level // 20)):
            trail.emit("db.redo", dice.between(200, 3000), incident)
        if level > 70:
            trail.emit("evil.nospace", dice.between(200, 3000), incident)
    trail.emit("evil.readonly", 500, incident)


def _root_shell(dice: Dice, trail: Trail, incident: str) -> None:
    steps = ("sudo", "shell", "useradd", "wheel", "key", "module", "shell", "audit")
    for step in steps:
        trail.emit(f"evil.{step}", dice.between(15000, 120000), incident)


def _exfiltration(dice: Dice, trail: Trail, incident: str) -> None:
    trail.emit("fs.mount", 0, incident)
    trail.emit("fs.open", dice.between(500, 4000), incident)
    for _ in range(800):
        trail.emit("fs.read", dice.between(500, 6000), incident)
    trail.emit("fs.close", dice.between(500, 4000), incident)


_INTRUSIONS = {
    "stuffing": _stuffing,
    "disk-full": _disk_full,
    "root-shell": _root_shell,
    "exfiltration": _exfiltration,
}
