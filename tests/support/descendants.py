"""Processes that this one started, and those that they started: by id, from /proc."""

import os
import time
from pathlib import Path


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


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
