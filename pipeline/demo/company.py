"""The made-up company: its hosts, and the procedures that put each kind's log lines in order.

A procedure line is `weight step step ...`; `step?0.3` happens with that chance, `step*2-5` two to five times. Every
ordinary template is reached by some procedure of every week, so only incidents and the deploy bring new text.
"""

from dataclasses import dataclass, field

OFFICE = (3, 3, 3, 3, 3, 4, 6, 9, 13, 15, 15, 14, 12, 14, 15, 14, 13, 10, 7, 5, 4, 4, 3, 3)
DESK = (0, 0, 0, 0, 0, 0, 0, 3, 10, 12, 12, 11, 6, 11, 12, 12, 10, 6, 2, 1, 1, 0, 0, 0)
STEADY = (1,) * 24


@dataclass(frozen=True)
class Step:
    """One step of a procedure: logged with `chance`, then `low` to `high` times."""

    key: str
    chance: float = 1.0
    low: int = 1
    high: int = 1


@dataclass(frozen=True)
class Procedure:
    """Steps that always come in this order, chosen among its siblings by `weight`."""

    weight: float
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Kind:
    """What hosts of one kind do all day: procedures one after another, noise between steps, fixed jobs by the clock.

    `gap_ms` bounds the pause between two steps, `starts` counts procedures on a working day, `machine` names the
    state machine in `ordered` that replaces the procedures, `cron` maps a minute of the day to a procedure.
    """

    hosts: tuple[str, ...]
    rhythm: tuple[int, ...] = STEADY
    weekend: float = 0.5
    starts: int = 0
    gap_ms: tuple[int, int] = (200, 4000)
    procedures: tuple[Procedure, ...] = ()
    deployed: tuple[Procedure, ...] = ()
    noise: tuple[str, ...] = ()
    cron: dict[int, Procedure] = field(default_factory=dict)
    machine: str = ""


def _step(word: str) -> Step:
    if "?" in word:
        key, chance = word.split("?")
        return Step(key, chance=float(chance))
    if "*" in word:
        key, times = word.split("*")
        low, high = times.split("-")
        return Step(key, low=int(low), high=int(high))
    return Step(word)


def procedure(line: str) -> Procedure:
    """The procedure that `weight step step ...` describes; ValueError where the weight is no number."""
    weight, *words = line.split()
    return Procedure(float(weight), tuple(_step(word) for word in words))


def _procedures(block: str) -> tuple[Procedure, ...]:
    return tuple(procedure(line) for line in block.strip().splitlines())


BACKUP = procedure(
    "1 bk.start bk.lock bk.snapshot bk.dump*8-12 bk.compress bk.checksum bk.upload bk.verify bk.prune bk.done"
)

WEB = """
60 web.get web.get?0.6 web.list?0.4
20 web.list web.get*1-3 web.miss?0.1
14 web.session web.list web.get*1-4 web.basket*1-2 web.slow?0.08
6 web.session web.get*1-2 web.basket web.pay web.order
1 web.error web.retry*1-2 web.get
"""

WEB_DEPLOYED = """
60 web.get web.brotli?0.5 web.get?0.6 web.list?0.4
20 web.list web.warm?0.5 web.get*1-3 web.miss?0.1
14 web.session web.flag web.list web.get*1-4 web.suggest?0.7 web.basket*1-2 web.slow?0.08
6 web.session web.flag web.get*1-2 web.basket web.pay web.order web.trace
1 web.error web.retry*1-2 web.get
"""

DATABASE = """
70 db.connect db.query*1-4 db.commit db.close
8 db.connect db.query*1-2 db.rollback db.close
2 db.connect db.query db.deadlock db.rollback db.query db.commit db.close
6 db.vacuum
1 db.disk db.redo?0.5
"""

RUNNER = """
70 ci.take ci.clone ci.cache?0.7 ci.install ci.lint ci.test*2-5 ci.flaky?0.05 ci.package ci.publish?0.4 ci.done
15 ci.take ci.clone ci.cache?0.7 ci.install ci.lint ci.test*1-2 ci.broken ci.failed
"""

GATE = """
60 vpn.hello vpn.ok vpn.lease
20 vpn.rekey*1-3
45 vpn.bye
8 vpn.hello vpn.fail vpn.hello vpn.ok vpn.lease
1 vpn.hello vpn.fail vpn.hello vpn.fail vpn.hello vpn.fail vpn.lock
"""

MAIL = """
70 mail.accept mail.scan mail.deliver*1-2
12 mail.accept mail.scan mail.spam
5 mail.accept mail.scan mail.defer*1-2 mail.deliver
"""

FILES = """
60 fs.mount fs.open fs.read*1-4 fs.close
30 fs.mount fs.open fs.read*1-2 fs.write*1-3 fs.close
2 fs.mount fs.denied fs.close
"""

DIRECTORY = """
50 dc.ticket dc.lookup*1-2
20 dc.renew
6 dc.bad dc.ticket dc.lookup
4 dc.sync
"""

LAPTOP = """
40 lt.unlock lt.app*1-4 lt.lock
8 lt.drop lt.net
5 lt.print
2 lt.update*1-3
"""

NIGHTLY = procedure("1 job.cron job.fetch job.match*3-6 job.ledger job.report*2-4 job.send job.end")
POLL = procedure("1 job.cron job.ping*3-5 job.parse*3-5 job.late?0.05 job.end")
MORNING = procedure("1 lt.boot lt.net lt.login lt.app*2-3")
EVENING = procedure("1 lt.lock lt.sleep")

KINDS = (
    Kind(
        tuple(f"web-{n:02}" for n in range(1, 5)),
        OFFICE,
        starts=420,
        procedures=_procedures(WEB),
        deployed=_procedures(WEB_DEPLOYED),
        noise=("web.gc",),
        cron={15: procedure("1 web.rotate"), 735: procedure("1 web.rotate")},
    ),
    Kind(
        ("db-01", "db-02"),
        OFFICE,
        starts=170,
        procedures=_procedures(DATABASE),
        noise=("db.checkpoint",),
        cron={90: BACKUP},
    ),
    Kind(
        ("ci-01", "ci-02", "ci-03"),
        OFFICE,
        0.3,
        55,
        (4000, 50000),
        procedures=_procedures(RUNNER),
        noise=("ci.prune",),
    ),
    Kind(("vpn-01",), OFFICE, starts=420, procedures=_procedures(GATE), noise=("vpn.rekey",)),
    Kind(
        ("mail-01",),
        OFFICE,
        starts=380,
        procedures=_procedures(MAIL),
        noise=("mail.queue",),
        cron={150: BACKUP},
    ),
    Kind(
        ("files-01",),
        OFFICE,
        starts=250,
        procedures=_procedures(FILES),
        noise=("fs.scrub",),
        cron={210: BACKUP},
    ),
    Kind(("dc-01",), OFFICE, starts=450, procedures=_procedures(DIRECTORY)),
    Kind(
        ("batch-01",),
        cron={40: NIGHTLY, **{hour * 60 + half: POLL for hour in range(24) for half in (10, 30)}},
    ),
    Kind(
        tuple(f"lt-{n:02}" for n in range(1, 11)),
        DESK,
        0.25,
        34,
        procedures=_procedures(LAPTOP),
        cron={405: MORNING, 1290: EVENING},
    ),
    Kind(("pay-eu-01", "pay-us-01"), machine="settlement"),
    Kind(("partner-gw-01", "partner-gw-02"), machine="partner"),
)

HOSTS = {host: kind for kind in KINDS for host in kind.hosts}
