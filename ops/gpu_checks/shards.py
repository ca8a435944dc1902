"""All shards of the numerics check, each in its own process: most of the work is compiling, on one core."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpu_checks.cases import SHARDS


def all_shards(script: Path, options: list[str], jobs: int) -> dict[str, Any]:
    """One summary of all; a shard that died without one counts as a failure."""
    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(lambda index: _one(script, options, index), range(len(SHARDS))))
    total: dict[str, Any] = {"cases": 0, "failed": 0, "worst": {}, "failures": [], "shards": []}
    for summary in done:
        for name in ("cases", "failed", "failures"):
            total[name] += summary[name]
        for name, ratio in summary["worst"].items():
            total["worst"][name] = max(total["worst"].get(name, 0.0), ratio)
        total["shards"].append({name: summary.get(name) for name in ("shard", "cases", "failed", "seconds")})
    return total


def _one(script: Path, options: list[str], index: int) -> dict[str, Any]:
    """Runs it and passes its lines on as they come; the last one is its summary."""
    command = [sys.executable, "-u", str(script), "--shard", str(index), *options]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if not line.startswith("{"):
                print(line.rstrip(), flush=True)
    shard = {"shard": " ".join(map(str, SHARDS[index]))}
    try:
        return shard | json.loads(lines[-1])
    except (IndexError, ValueError):
        text = f"shard {shard['shard']} ended with {process.returncode} and no summary: {' / '.join(lines[-3:])}"
        print(f"FAILED {text}", flush=True)
        return shard | {"cases": 0, "failed": 1, "worst": {}, "failures": [text]}
