"""Processes that this one started, and those that they started: by id, from /proc."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

LISTENING = "0A"
LOOPBACK_6 = "0000000000000000FFFF00000100007F"  # 127.0.0.1 as an IPv6 address


def descendants(of: int) -> dict[int, str]:
    """Command line of each."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {of}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return {each: line for each in found - {of} if (line := _command(each))}


def descendant_named(word: str, seconds: float) -> int:
    """The id of one whose command line holds the word, once there is one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for process, command in descendants(os.getpid()).items():
            if word in command:
                return process
        time.sleep(0.01)
    raise AssertionError(f"no process with {word!r} within {seconds} s")


def addresses_listened_on(processes: Iterable[int]) -> set[str]:
    """IPv4 address, or IPv6 address in hex, and port of every socket of these that takes connections."""
    sockets = {link for each in processes for link in _links(each)}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                host, port = fields[1].split(":")
                dotted = ".".join(str(byte) for byte in reversed(bytes.fromhex(host[-8:])))
                found.add(f"{dotted if table == 'tcp' or host == LOOPBACK_6 else host}:{int(port, 16)}")
    return found


def _links(process: int) -> set[str]:
    try:
        return {os.readlink(each) for each in Path(f"/proc/{process}/fd").iterdir()}
    except OSError:
        return set()


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
