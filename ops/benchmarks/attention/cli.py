"""Arguments, cases and their clocks."""

import argparse
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from attention.report import CaseTimeoutError, Run, about, note, table

# Name -> its room under cases/, and its seconds.
CASES = {
    "forward": ("speed", 120),
    "forward_backward": ("speed", 120),
    "dense": ("speed", 60),
    "plan": ("plans", 30),
    "recompile": ("plans", 75),
    "zipf": ("zipf", 60),
    "tiny": ("tiny", 30),
    "length": ("length", 75),
    "decode": ("decode", 30),
    "topk": ("topk", 45),
    "int8": ("int8", 20),
}


def main() -> None:
    given = parse_arguments()
    if given.chart is not None:
        from attention.chart import draw

        print(draw(given.chart))
        return
    if not torch.cuda.is_available():
        sys.exit("attention benchmark: needs a CUDA device, and torch sees none here; there is no CPU mode")
    from attention.peers import prepare_compiler
    from attention.timing import ceilings

    prepare_compiler()
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
    run = Run(given.out, given.runs, given.autotune)
    run.constants = about()
    run.constants |= {"ceilings": ceilings()}
    note(f"{run.constants}")
    started = time.monotonic()
    for name in given.cases:
        one_case(run, name, min(CASES[name][1] * given.patience, given.limit - (time.monotonic() - started)))
    if given.out is not None:
        given.out.with_suffix(".txt").write_text(table(run.rows) + "\n")
    print(table(run.rows), flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="attention", description=__doc__)
    parser.add_argument("--cases", type=_cases, default=list(CASES), help=f"of {','.join(CASES)}; all unless given")
    parser.add_argument(
        "--out", type=Path, help="append JSON lines here (stdout unless given), and the table beside them"
    )
    parser.add_argument("--runs", type=int, default=30, help="interleaved runs of each contender")
    parser.add_argument("--autotune", choices=("none", "forward", "all"), default="forward", help="FlexAttention's")
    parser.add_argument("--patience", type=float, default=1.0, help="times each case's seconds")
    parser.add_argument("--limit", type=float, default=560.0, help="seconds for all cases together")
    parser.add_argument("--chart", type=Path, help="draw cost against length from these JSON lines, and run nothing")
    return parser.parse_args()


def _cases(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in CASES]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"unknown case {', '.join(unknown) or repr(text)}; of {', '.join(CASES)}")
    return names


def one_case(run: Run, name: str, seconds: float) -> None:
    """Runs it under its clock; what it reported before it broke stays."""
    if seconds < 5:
        run.report(name, failed="skipped: no time left")
        return
    started = time.monotonic()
    # Contenders are skipped past the deadline; the alarm is for one that hangs in Python.
    run.deadline = started + seconds
    signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds * 1.25)
    case: Callable[[Run], Any] = getattr(import_module(f"attention.cases.{CASES[name][0]}"), name)
    try:
        _, failed = run.attempt(name, lambda: case(run))
    except CaseTimeoutError:
        failed = f"ran past {seconds:.0f} s"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if failed is not None:
        run.report(name, failed=failed)
    torch._dynamo.reset()
    torch.cuda.empty_cache()
    note(f"{name}: {time.monotonic() - started:.0f} s")


def _alarm(_number: int, _frame: object) -> None:
    raise CaseTimeoutError
