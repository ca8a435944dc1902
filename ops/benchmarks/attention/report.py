"""JSON lines as they come, and at the end a table that a person can read."""

import json
import math
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Target:
    """A number that the issue asks for: at least (or, with `most`, at most) `bound`; NaN where none was found."""

    name: str
    value: float
    bound: float
    most: bool = False

    def row(self) -> dict[str, Any]:
        """For a JSON line, which knows no NaN."""
        met = self.value <= self.bound if self.most else self.value >= self.bound
        sign = "<=" if self.most else ">="
        value = round(self.value, 4) if math.isfinite(self.value) else None
        return {"name": self.name, "value": value, "asked": f"{sign} {self.bound}", "met": met}


@dataclass
class Run:
    """What cases report to; `seconds_left` is their clock."""

    out: Path | None
    runs: int = 30
    autotune: str = "forward"
    rows: list[dict[str, Any]] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    deadline: float = 0.0

    def seconds_left(self) -> float:
        """Until the case at work must end."""
        return self.deadline - time.monotonic()

    def report(self, case: str, targets: tuple[Target, ...] = (), **values: Any) -> None:
        """One line to the file at once, and a sign of life."""
        row = {"benchmark": "attention", "case": case, **values, "targets": [target.row() for target in targets]}
        self.rows.append(row)
        line = json.dumps({**row, **self.constants})
        if self.out is not None:
            with self.out.open("a") as file:
                file.write(line + "\n")
        else:
            print(line, flush=True)
        said = ", ".join(f"{each['name']} {each['value']} ({each['asked']})" for each in row["targets"])
        note(f"{case} {values.get('shape', '')}: {said or 'done'}")

    def attempt(self, name: str, work: Callable[[], Any]) -> tuple[Any, str | None]:
        """The work's result, or what stopped it, briefly; a broken contender stops no other."""
        if self.seconds_left() < 0:
            return None, "skipped: no time left"
        try:
            return work(), None
        except CaseTimeoutError:
            raise
        except Exception as error:
            note(f"{name}: " + "".join(traceback.format_exception(error, limit=-3)))
            torch.cuda.empty_cache()
            return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[:300]


class CaseTimeoutError(Exception):
    """The case ran past its time."""


def note(text: str) -> None:
    """To stderr, where a person watches."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def about() -> dict[str, Any]:
    """Commit, device and versions."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT)
    device = torch.cuda.get_device_properties(0)
    cudnn = torch.backends.cudnn.version()
    versions = {"torch": torch.__version__, "triton": triton.__version__, "cudnn": cudnn, "cuda": torch.version.cuda}
    return {
        "commit": commit.stdout.strip() or "unknown",
        "device": device.name,
        "multiprocessors": device.multi_processor_count,
        "versions": {**versions, "python": platform.python_version()},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Contenders by case, then what the issue asks for."""
    lines = [
        f"{'case':<16} {'shape':<28} {'contender':<18} {'ms':>10} {'quartiles':>21} {'TF/s':>6} {'error':>9}  x ours"
    ]
    for row in rows:
        ours = row.get("contenders", {}).get("ours", {}).get("ms")
        for name, one in row.get("contenders", {}).items():
            lines.append(_line(row["case"], row.get("shape", ""), name, one, ours))
    lines += ["", f"{'asked':<64} {'found':>9}  bound"]
    for row in rows:
        for target in row["targets"]:
            name = f"{row['case']} {row.get('shape', '')}: {target['name']}"
            found = "none" if target["value"] is None else f"{target['value']:.3f}"
            lines.append(f"{name:<64} {found:>9}  {target['asked']} {'met' if target['met'] else 'MISSED'}")
    lines += [f"{row['case']}: {row['failed']}" for row in rows if "failed" in row]
    return "\n".join(lines)


def _line(case: str, shape: str, name: str, one: dict[str, Any], ours: float | None) -> str:
    start = f"{case:<16} {shape:<28} {name:<18}"
    if "ms" not in one:
        return f"{start} {one.get('failed', 'absent')[:70]}"
    spread = f"{one['q1']:.4f} .. {one['q3']:.4f}"
    error = max((each for each in one.get("errors", {}).values()), default=math.nan)
    ratio = (f"{one['ms'] / ours:6.2f}" if ours else "") + ("  WRONG" if one.get("wrong") else "")
    return f"{start} {one['ms']:>10.4f} {spread:>21} {one.get('tf_s', 0):>6.0f} {error:>9.1e}  {ratio}"
