"""What the company's hosts can log: `key LEVEL service message` a line, `{name}` a parameter that `render` fills."""

from dataclasses import dataclass

_ORDINARY = """
web.get INFO nginx request for item {n} answered ok bytes {bytes} in {ms} ms from {ip}
web.list INFO nginx request for list {n} answered ok bytes {bytes} in {ms} ms from {ip}
web.miss WARNING nginx request for item {n} answered not found from {ip}
web.session INFO shop session {id} opened for customer {n}
web.basket INFO shop basket {id} now holds {few} items
web.pay INFO shop payment {id} handed to settlement amount {amount}
web.order INFO shop order {id} confirmed in {ms} ms
web.slow WARNING shop query took {ms} ms for session {id}
web.error ERROR shop upstream closed connection {ip} after {ms} ms
web.retry WARNING shop upstream call {id} retried attempt {few}
web.rotate INFO nginx access log rotated segment {n}
web.gc DEBUG shop garbage collection paused {ms} ms
db.connect INFO postgres connection authorized role {user} from {ip}
db.query INFO postgres statement {id} finished rows {n} in {ms} ms
db.commit INFO postgres transaction {id} committed
db.rollback WARNING postgres transaction {id} rolled back
db.close INFO postgres connection closed after {ms} ms
db.vacuum INFO postgres autovacuum of table {n} removed {n} rows
db.checkpoint INFO postgres checkpoint complete wrote {n} buffers
db.deadlock ERROR postgres deadlock detected between {id} and {id}
db.disk WARNING postgres filesystem usage at {pct} percent
db.redo WARNING postgres write retried on segment {n} attempt {few}
bk.start INFO backup backup job {id} started
bk.lock INFO backup lock taken in {ms} ms
bk.snapshot INFO backup snapshot {id} created
bk.dump INFO backup dumped part {n} bytes {bytes}
bk.compress INFO backup archive {id} compressed to {bytes} bytes
bk.checksum INFO backup checksum of archive {id} stored
bk.upload INFO backup archive {id} uploaded in {ms} ms
bk.verify INFO backup remote copy of archive {id} verified
bk.prune INFO backup pruned {few} old archives
bk.done INFO backup backup job {id} finished
ci.take INFO runner job {id} taken from queue after {ms} ms
ci.clone INFO runner repository {n} cloned at {id}
ci.cache INFO runner cache {id} restored bytes {bytes}
ci.install INFO runner dependencies installed count {n} in {ms} ms
ci.lint INFO runner lint passed files {n}
ci.test INFO runner test shard {few} passed cases {n} in {ms} ms
ci.flaky WARNING runner test shard {few} rerun after failure
ci.broken ERROR runner test shard {few} failed cases {few}
ci.package INFO runner image {id} built bytes {bytes}
ci.publish INFO runner image {id} published
ci.done INFO runner job {id} succeeded in {ms} ms
ci.failed WARNING runner job {id} failed in {ms} ms
ci.prune DEBUG runner workspace {n} pruned
vpn.hello INFO openvpn handshake from {ip} port {n}
vpn.ok INFO openvpn user {user} authenticated from {ip}
vpn.fail WARNING openvpn user {user} failed authentication from {ip}
vpn.lock WARNING openvpn user {user} locked for {few} minutes
vpn.lease INFO openvpn address {ip} leased to {user}
vpn.rekey DEBUG openvpn session {id} renegotiated keys
vpn.bye INFO openvpn user {user} disconnected sent {bytes} received {bytes}
mail.accept INFO postfix message {id} accepted from {ip} size {bytes}
mail.scan INFO rspamd message {id} scanned score {few}
mail.deliver INFO postfix message {id} delivered to {user} in {ms} ms
mail.defer WARNING postfix message {id} deferred attempt {few}
mail.spam INFO rspamd message {id} quarantined score {n}
mail.queue DEBUG postfix queue run found {few} messages
fs.mount INFO samba user {user} connected from {ip}
fs.open INFO samba user {user} opened {path}
fs.read INFO samba user {user} read {path} bytes {bytes}
fs.write INFO samba user {user} wrote {path} bytes {bytes}
fs.denied WARNING samba user {user} denied {path}
fs.close INFO samba user {user} disconnected after {ms} ms
fs.scrub DEBUG samba share {n} scrubbed files {n}
dc.ticket INFO kdc ticket {id} granted to {user} from {ip}
dc.renew INFO kdc ticket {id} renewed for {user}
dc.bad WARNING kdc pre-authentication failed for {user} from {ip}
dc.lookup INFO slapd search {id} returned {few} entries in {ms} ms
dc.sync INFO slapd replica synchronised changes {n}
job.cron INFO cron task {id} started
job.fetch INFO nightly fetched {n} invoices
job.match INFO nightly matched {n} invoices in {ms} ms
job.ledger INFO nightly ledger closed at entry {n}
job.report INFO nightly report {id} rendered pages {few}
job.send INFO nightly report {id} mailed to {few} people
job.end INFO cron task {id} finished in {ms} ms
job.ping INFO nightly feed {n} polled in {ms} ms
job.parse INFO nightly feed {n} parsed rows {n}
job.late WARNING nightly feed {n} late by {ms} ms
lt.boot INFO systemd boot {id} finished in {ms} ms
lt.login INFO logind session {id} opened for {user}
lt.unlock INFO logind session {id} unlocked
lt.lock INFO logind session {id} locked
lt.app INFO launcher application {n} started by {user}
lt.net INFO network joined wireless {n} address {ip}
lt.drop WARNING network lost wireless {n}
lt.update INFO updater package {n} updated
lt.print INFO cups document {id} printed pages {few}
lt.sleep INFO systemd suspended after {ms} ms
pay.open INFO settlement run {id} opened with {n} payments
pay.safe INFO settlement progress of run {id} saved at {n}
pay.gate INFO settlement run {id} asks for its next stage
pay.collect INFO settlement stage collect began for run {id}
pay.screen INFO settlement stage screen began for run {id}
pay.review INFO settlement stage review began for run {id}
pay.approve INFO settlement stage approve began for run {id}
pay.transfer INFO settlement stage transfer began for run {id}
pay.file INFO settlement stage file began for run {id}
pay.pool INFO settlement run {id} assigned {few} workers
pay.item INFO settlement item {id} processed in {ms} ms
pay.note INFO settlement item {id} annotated by {user}
pay.fetch DEBUG settlement rates {n} fetched in {ms} ms
pay.redo WARNING settlement item {id} retried attempt {few}
pay.flush DEBUG settlement queue flushed {few} items
pay.close INFO settlement run {id} closed in {ms} ms
pay.probe DEBUG settlement health probe answered in {ms} ms
gw.reload INFO gateway configuration {id} reloaded
gw.issue INFO gateway partner key {id} issued
gw.revoke WARNING gateway partner key {id} revoked
gw.drain INFO gateway {few} idle connections drained
gw.offer INFO gateway partner presents key {id} from {ip}
gw.serve INFO gateway partner call {id} served bytes {bytes}
gw.refuse WARNING gateway partner call {id} refused
gw.beat DEBUG gateway heartbeat {n}
gw.refill DEBUG gateway rate bucket {few} refilled
gw.resume INFO gateway secure session {id} resumed from {ip}
gw.meter DEBUG gateway counters {n} flushed
gw.resolve DEBUG gateway name {n} resolved to {ip}
"""

_DEPLOYED = """
web.flag INFO shop feature flag {n} evaluated for session {id}
web.warm INFO shop edge cache warmed {few} entries in {ms} ms
web.suggest INFO suggest suggestions {id} ranked in {ms} ms
web.trace DEBUG shop trace {id} exported spans {few}
web.brotli DEBUG nginx response packed to {bytes} bytes
"""

_HOSTILE = """
evil.sudo WARNING sudo build user {user} became root on terminal {few}
evil.useradd WARNING useradd new account {user} added with home {path}
evil.wheel WARNING usermod account {user} joined group wheel
evil.key WARNING sshd authorized keys of root changed at {path}
evil.module ERROR kernel unsigned module {n} loaded and taints kernel
evil.audit ERROR auditd audit rules cleared by process {n}
evil.shell ERROR auditd process {n} spawned interactive shell from {path}
evil.nospace ERROR postgres could not extend segment {n} because no space is left on device
evil.readonly ERROR postgres database switched to read-only after {few} failures
"""


@dataclass(frozen=True)
class Template:
    """One kind of line; `text` holds `{parameter}` places."""

    key: str
    level: str
    service: str
    text: str


def _templates(block: str) -> dict[str, Template]:
    rows = (line.split(" ", 3) for line in block.strip().splitlines())
    return {row[0]: Template(*row) for row in rows}


ORDINARY = _templates(_ORDINARY)
DEPLOYED = _templates(_DEPLOYED)
HOSTILE = _templates(_HOSTILE)
TEMPLATES = ORDINARY | DEPLOYED | HOSTILE
