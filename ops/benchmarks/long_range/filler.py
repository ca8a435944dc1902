"""What goes on anyway: real normal streams and the demo company's, as numbers in one small file.

The GPU's machine has no Polars, so `write` runs where the data and the generator are, and `read` needs NumPy alone.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PIECE = 1000
ROLES = ("fit", "calibrate", "test")
DEMO_DAYS = {"fit": (date(2026, 9, 7), 28), "calibrate": (date(2026, 10, 12), 7), "test": (date(2026, 10, 26), 7)}


@dataclass(frozen=True)
class Filler:
    """Normal events in the order they came, uint16, in pieces (traces, days); each role has pieces of its own.

    texts: what number i means. events, bounds: packed pieces by role.
    """

    name: str
    texts: tuple[str, ...]
    events: dict[str, NDArray[np.uint16]]
    bounds: dict[str, NDArray[np.int64]]

    def draw(self, role: str, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`length` events: whole pieces in random order from a random place of the first; may repeat pieces."""
        events, bounds = self.events[role], self.bounds[role]
        order = rng.permutation(len(bounds) - 1)
        skip = int(rng.integers(0, bounds[order[0] + 1] - bounds[order[0]]))
        parts, have = [events[bounds[order[0]] + skip : bounds[order[0] + 1]]], -skip
        have += int(bounds[order[0] + 1] - bounds[order[0]])
        at = 1
        while have < length:
            piece = order[at % len(order)]
            parts.append(events[bounds[piece] : bounds[piece + 1]])
            have += len(parts[-1])
            at += 1
        return np.concatenate(parts)[:length].astype(np.int64)


def read(path: Path, name: str) -> Filler:
    """The stream of that name in a file that `write` made; KeyError names what is there."""
    with np.load(path, allow_pickle=False) as arrays:
        names = json.loads(str(arrays["names"]))
        if name not in names:
            raise KeyError(f"{path}: no stream {name!r}, only {', '.join(names)}")
        texts = tuple(json.loads(str(arrays[f"{name}.texts"])))
        events = {role: arrays[f"{name}.{role}"] for role in ROLES}
        bounds = {role: arrays[f"{name}.{role}.bounds"] for role in ROLES}
    return Filler(name, texts, events, bounds)


def write(path: Path, fillers: list[Filler]) -> None:
    """Keeps streams without pickle."""
    arrays: dict[str, NDArray[np.generic]] = {"names": np.array(json.dumps([each.name for each in fillers]))}
    for each in fillers:
        arrays[f"{each.name}.texts"] = np.array(json.dumps(each.texts))
        arrays |= {f"{each.name}.{role}": each.events[role] for role in ROLES}
        arrays |= {f"{each.name}.{role}.bounds": each.bounds[role] for role in ROLES}
    np.savez_compressed(path, **arrays)


def data_folder() -> Path:
    """Where the public data sets lie."""
    return Path(os.environ.get("LONGWATCH_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


def adfa() -> Filler:
    """ADFA-LD, system calls of one host: its 833 training traces; of the normal validation ones half each."""
    import polars as pl

    frame = pl.read_parquet(data_folder() / "adfa_ld" / "traces.parquet").filter(pl.col("label") == 0)
    later = frame.filter(pl.col("split") == "validation").get_column("syscalls").to_list()
    traces = {
        "fit": frame.filter(pl.col("split") == "train").get_column("syscalls").to_list(),
        "calibrate": later[::2],
        "test": later[1::2],
    }
    return _packed("adfa", {role: [list(map(str, trace)) for trace in each] for role, each in traces.items()}, "call ")


def hdfs() -> Filler:
    """HDFS, one cluster's lines of normal blocks in the order of time, by template; pieces are runs of PIECE lines."""
    import polars as pl

    folder = data_folder() / "hdfs_raw"
    bad = pl.read_csv(folder / "labels.csv").filter(pl.col("label") != "Normal").select("block_id")
    lines = pl.read_parquet(folder / "line_events.parquet").join(bad, on="block_id", how="anti", maintain_order="left")
    events = lines.get_column("event_id").cast(pl.String).to_list()
    runs = [events[at : at + PIECE] for at in range(0, len(events), PIECE)]
    half, rest = len(runs) // 2, (len(runs) + len(runs) // 2) // 2
    return _packed("hdfs", {"fit": runs[:half], "calibrate": runs[half:rest], "test": runs[rest:]}, "event ")


def demo(seed: int = 7, periods: Mapping[str, tuple[date, int]] = DEMO_DAYS) -> Filler:
    """The demo generator's company, all hosts' normal events in the order of time; pieces are days."""
    from longwatch.pipeline.demo.company import HOSTS
    from longwatch.pipeline.demo.incidents import trail_of

    days: dict[str, list[list[str]]] = {}
    for role, (first, count) in periods.items():
        days[role] = []
        for day in range(count):
            trails = [trail_of(seed, first, day, host, planted=False, deploy=False) for host in HOSTS]
            times = np.concatenate([np.array(trail.times, np.int64) for trail in trails])
            keys = [key for trail in trails for key in trail.keys]
            days[role].append([keys[i] for i in np.argsort(times, kind="stable").tolist()])
    return _packed("demo", days, "")


def _packed(name: str, pieces: dict[str, list[list[str]]], prefix: str) -> Filler:
    """Numbers by the words of `fit` in order; a word it lacks ends nowhere: its events are left out."""
    words = sorted({word for piece in pieces["fit"] for word in piece})
    number = {word: i for i, word in enumerate(words)}
    events, bounds = {}, {}
    for role, each in pieces.items():
        rows = [[number[word] for word in piece if word in number] for piece in each]
        rows = [row for row in rows if row]
        events[role] = np.concatenate([np.array(row, np.uint16) for row in rows])
        bounds[role] = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Filler(name, tuple(prefix + word for word in words), events, bounds)
