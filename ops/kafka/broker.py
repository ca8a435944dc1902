"""A real Apache Kafka broker on loopback, without containers: `python ops/kafka/broker.py up`."""

import argparse
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "kafka"
READY_SECONDS = 60.0
UNFENCED = b"The broker has been unfenced"
JAVA_FLAGS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:disable", "-Xlog:all=error")
NO_METADATA = struct.pack(">hhihi?", 3, 4, 1, -1, 0, False)


class BrokerError(RuntimeError):
    """The broker could not be fetched, started or stopped; the message says what to do."""


def kafka_version() -> str:
    """Version of Apache Kafka that pom.xml names."""
    match = re.search(r"<kafka.version>(.+?)</kafka.version>", (HERE / "pom.xml").read_text())
    if match is None:
        raise BrokerError(f"{HERE / 'pom.xml'} names no <kafka.version>")
    return match[1]


def missing_tools() -> list[str]:
    """What must be installed before a broker can run here; empty when all is there."""
    fetched = (CACHE / kafka_version() / "ready").is_file()
    return [tool for tool in ("java", "mvn") if shutil.which(tool) is None and not (tool == "mvn" and fetched)]


def fetch(cache: Path = CACHE) -> Path:
    """Folder with the broker's jars, a formatted data folder and a class archive; filled once, by one process."""
    if missing := missing_tools():
        raise BrokerError(
            f"{' and '.join(missing)} not found: a broker needs Java 17 or newer (Debian: openjdk-17-jre-headless) "
            "and, the first time, Maven (Debian: maven)"
        )
    home = cache / kafka_version()
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "lock"):
        if not (home / "ready").is_file():
            _download(home / "jars")
            _format(home)
            _archive_classes(home)
            (home / "ready").touch()
    return home


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(jars: Path) -> None:
    shutil.rmtree(jars, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    done = subprocess.run(
        [*command, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"], capture_output=True, text=True, check=False
    )
    if done.returncode or not list(jars.glob("kafka_2.13-*.jar")):
        said = f"{done.stdout[-2000:]}{done.stderr[-500:]}"
        raise BrokerError(f"Maven could not fetch Apache Kafka {kafka_version()}: {said}")


def _java(home: Path, *arguments: str, flags: tuple[str, ...] = ()) -> list[str]:
    # The class archive is only valid for the same jars in the same order.
    path = os.pathsep.join(str(jar) for jar in sorted((home / "jars").glob("*.jar")))
    config = f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"
    return ["java", *JAVA_FLAGS, *flags, config, "-cp", path, *arguments]


def _format(home: Path) -> None:
    """Format once into `home/formatted`: every broker starts from a copy, which saves a second JVM start."""
    formatted = home / "formatted"
    shutil.rmtree(formatted, ignore_errors=True)
    properties = _write_properties(home, formatted, 1, 2)
    command = _java(home, "kafka.tools.StorageTool", "format", "-t", _random_id(), "-c", str(properties))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokerError(f"formatting the data folder failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def _archive_classes(home: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        broker = LocalBroker(Path(scratch), home, flags=(f"-XX:ArchiveClassesAtExit={home / 'broker.jsa'}",))
        broker.start()
        broker.stop()


def _random_id() -> str:
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")


def _write_properties(folder: Path, log_dir: Path, port: int, controller_port: int, more: str = "") -> Path:
    text = (HERE / "server.properties").read_text() + more
    for name, value in (("PORT", port), ("CONTROLLER_PORT", controller_port), ("LOG_DIR", log_dir)):
        text = text.replace(f"@{name}@", str(value))
    (folder / "server.properties").write_text(text)
    return folder / "server.properties"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _dying_with_parent() -> list[str]:
    # A broker must not outlive a killed test run. Without util-linux, stop() and kill9() are what there is.
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def answers(port: int, timeout: float = 1.0) -> bool:
    """Whether the broker on this port answers a metadata request and lists itself."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.sendall(struct.pack(">i", len(NO_METADATA)) + NO_METADATA)
            reply = connection.recv(4096)
    except OSError:
        return False
    # size, correlation id, throttle time, number of brokers
    return len(reply) >= 16 and struct.unpack(">iiii", reply[:16])[3] > 0


class LocalBroker:
    """One broker with its own data folder; `start`, `stop`, `kill9`, and `start` again on the same data and port.

    Linux ends it when the thread that started it ends: start it from a thread that lives as long. With `proxied`, a
    port of another process, a second listener on `back_port` tells its clients to come to that port.
    """

    def __init__(
        self,
        data_dir: Path,
        jar_dir: Path,
        port: int | None = None,
        flags: tuple[str, ...] = (),
        proxied: int | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.home = jar_dir
        self.port, self.controller_port, self.back_port = _free_ports(3)
        self.proxied = proxied
        self.port = port or self.port
        self.process: subprocess.Popen[bytes] | None = None
        archive = jar_dir / "broker.jsa"
        self._flags = flags or ((f"-XX:SharedArchiveFile={archive}",) if archive.is_file() else ())

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` for a client."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the broker printed."""
        return self.data_dir / "broker.log"

    def start(self) -> "LocalBroker":
        """Start and wait until the broker answers; raises BrokerError with the end of its log when it does not."""
        self._prepare()
        log_dir, more = self.data_dir / "log", self._second_listener() if self.proxied else ""
        properties = _write_properties(self.data_dir, log_dir, self.port, self.controller_port, more)
        with self.log.open("ab") as log:
            said = log.tell()
            self.process = subprocess.Popen(
                [*_dying_with_parent(), *_java(self.home, "kafka.Kafka", str(properties), flags=self._flags)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._wait_until_ready(said)
        return self

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that takes more than half a minute."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill9()
        self.process = None

    def kill9(self) -> None:
        """SIGKILL: what the operating system already holds stays, the rest is lost."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Stop and start on the same data and port."""
        self.stop()
        self.start()

    def _second_listener(self) -> str:
        # Of two lines for one name, a properties file means the later.
        own, proxied = f"PLAINTEXT://127.0.0.1:{self.port}", "PROXIED://127.0.0.1"
        listeners = f"{own},{proxied}:{self.back_port},CONTROLLER://127.0.0.1:{self.controller_port}"
        return (
            f"\nlisteners={listeners}\nadvertised.listeners={own},{proxied}:{self.proxied}\n"
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
            "inter.broker.listener.name=PLAINTEXT\n"
        )

    def _prepare(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        formatted = self.data_dir / "log"
        if formatted.exists():
            return
        shutil.copytree(self.home / "formatted", formatted)
        meta = formatted / "meta.properties"
        ids = re.sub(r"(?m)^(cluster|directory)\.id=.*$", lambda line: f"{line[1]}.id={_random_id()}", meta.read_text())
        meta.write_text(ids)

    def _wait_until_ready(self, said: int) -> None:
        """Until it answers and says that it is unfenced, behind place `said` of its log: it lists itself before."""
        deadline = time.monotonic() + READY_SECONDS
        while not (answers(self.port) and UNFENCED in self.log.read_bytes()[said:]):
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                self.kill9()
                tail = self.log.read_text(errors="replace")[-3000:]
                raise BrokerError(f"no answer from the broker on port {self.port}; its log {self.log} ends:\n{tail}")
            time.sleep(0.05)


def up(port: int, data_dir: Path | None) -> None:
    """Run one broker in the foreground until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="longwatch-kafka-") as scratch:
        broker = LocalBroker(data_dir or Path(scratch), fetch(), port)
        try:
            broker.start()
            print(f"Apache Kafka {kafka_version()} listens on {broker.bootstrap_servers}; data in {broker.data_dir}")
            print("Make a topic:")
            print(f"  python -m kafka.admin -b {broker.bootstrap_servers} topics create -t logs --num-partitions 4")
            print("Ctrl-C stops it" + ("" if data_dir else " and removes its data") + ".")
            sys.stdout.flush()
            signal.pause()
        except KeyboardInterrupt:
            pass
        finally:
            broker.stop()


def main() -> int:
    """Command line: `fetch` downloads, `up` runs a broker in the foreground."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="download the broker and prepare it")
    run = commands.add_parser("up", help="run one broker in the foreground")
    run.add_argument("--port", type=int, default=9092)
    run.add_argument("--data", type=Path, help="keep the data in this folder (default: a temporary one)")
    arguments = parser.parse_args()
    try:
        print(fetch()) if arguments.command == "fetch" else up(arguments.port, arguments.data)
    except BrokerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
