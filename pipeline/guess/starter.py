"""`longwatch init app.log`: a pipeline.yaml that reads it, a small network, and the commands that follow."""

from __future__ import annotations

import os
import re
from pathlib import Path

from longwatch.pipeline.alerts import iso_time
from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.commands.init import FILE_NAME, HEAD, MIDDLE, SINKS, write_new
from longwatch.pipeline.config.root import write_yaml
from longwatch.pipeline.console import sanitise, write_line
from longwatch.pipeline.errors import InputError
from longwatch.pipeline.guess.look import Look, look

TRAIN_SHARE = 0.7
LEAST_LINES = 300
WINDOWS_WANTED = 60

MODEL = """\
# A small network: each score depends on the 127 events before it; trains in a minute or two on two CPU cores.
d_model: 64
num_heads: 4
num_kv_heads: 2
layers: ["sliding(64)", "sliding(64)"]
ffn_multiple: 2.0
dropout: 0.05
"""
TRAIN = """\
max_steps: 300
tokens_per_batch: 4096
max_window_tokens: 2048
learning_rate: 2.0e-3
validation_every: 25
patience: 4
device: cpu
"""


def init_from(log: Path, out: Path, force: bool) -> None:
    """Looks at the log and writes pipeline.yaml, model.yaml and train.yaml into `out`; says what comes next.

    Raises:
        InputError: no known layout reads it, or it is too short to learn from.
    """
    found = look(log, SystemClock())
    if len(found.times) < LEAST_LINES:
        raise InputError(
            f"{log}: {len(found.times):,} lines that can be read are too few to learn from",
            f"give a log of at least {LEAST_LINES} lines; some ten thousand are a good start",
        )
    texts = {FILE_NAME: pipeline_yaml(log, out, found), "model.yaml": MODEL, "train.yaml": TRAIN}
    for name, text in texts.items():
        write_new(out / name, text, force)
    _say(out, found)


def pipeline_yaml(log: Path, out: Path, found: Look) -> str:
    """The configuration, with the reasons as comments."""
    files: dict[str, object] = {"paths": [os.path.relpath(log, out)]}
    if found.written is not None:
        files["written"] = found.written.isoformat()
    source = write_yaml({"source": {"files": files}})
    middle = re.sub(r"max_events: \d+", f"max_events: {max_events(found)}", MIDDLE)
    middle = middle.replace("allowed_lateness: 0s ", f"allowed_lateness: {lateness_s(found)}s ")
    format_ = (
        f"# {found.layout.name}: reads {found.read:.1%} of the lines looked at.\n"
        f"{write_yaml({'format': found.layout.format})}\n"
        f"# Whose behaviour is modelled. Chosen: {found.why}.\n{_others(found)}"
        f"{write_yaml({'entity': found.entity})}"
    )
    head = HEAD.replace("my-pipeline        #", f"{_name(log)}  #")
    return "\n".join((head, source, format_, middle, SINKS["embedded"]))


def max_events(found: Look) -> int:
    """A power of two that leaves some windows to train on, at least 32 events and at most 1024."""
    most = len(found.times) * TRAIN_SHARE / WINDOWS_WANTED
    return max(32, min(1024, 1 << max(0, int(most).bit_length() - 1)))


def lateness_s(found: Look) -> int:
    """Seconds behind the newest line so far that all but one line in a thousand keep to; at most ten minutes."""
    behind = (found.times.cum_max() - found.times).quantile(0.999, "higher") or 0
    return min(600, -(-int(behind) // 1000))


def _others(found: Look) -> str:
    others = [entity for _, entity in found.layout.entities if entity != found.entity]
    return "".join(f"# entity: {{{name}: {value}}}\n" for entity in others for name, value in entity.items())


def _name(log: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", log.name.split(".")[0]).strip("-") or "log"


def _say(out: Path, found: Look) -> None:
    times = found.times.sort()
    parting = iso_time(int(times[int(len(times) * TRAIN_SHARE)]))
    first, last = iso_time(int(times[0])), iso_time(int(times[-1]))
    write_line(f"{out / FILE_NAME} written, with model.yaml and train.yaml beside it")
    write_line(f"  {found.layout.name}: {len(found.times):,} of {found.lines:,} lines read, {first} to {last}")
    write_line(f"  entity: {sanitise(found.why)}; {found.entities:,} in all")
    write_line("next: learn from the first 70 % of the lines, then see what the rest would have alerted")
    files = f"--model-config {out / 'model.yaml'} --train-config {out / 'train.yaml'}"
    write_line(f"  longwatch train {out / FILE_NAME} --out {out / 'bundle'} {files} --until {parting}")
    write_line(f"  longwatch backtest {out / FILE_NAME} --out {out / 'backtest'} --start {parting}")
