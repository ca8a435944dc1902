"""The most memory that a process ever held, asked of Linux while it runs."""

import re
import subprocess
import time
from pathlib import Path

LOOK_S = 0.02


def wait_for_peak(process: "subprocess.Popen[bytes]", patience_s: float) -> tuple[int, int]:
    """(exit code, peak resident MiB) of a process; it is killed when it outlives the patience, which raises."""
    peak, deadline = 0, time.monotonic() + patience_s
    try:
        while process.poll() is None:
            peak = max(peak, peak_mib(process.pid))
            assert time.monotonic() < deadline, f"process {process.pid} still runs after {patience_s} s"
            time.sleep(LOOK_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return process.returncode, peak


def peak_mib(pid: int) -> int:
    """Peak resident MiB so far; 0 of a process that has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) // 1024 if found else 0
