"""Units and surprise in .npz files, so that networks can be trained on a machine that has torch and nothing else."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.case import Case
from longwatch.model.bench.truth import SealedTruth
from longwatch.model.bench.units import Past, Units
from longwatch.model.dataset import Windows
from longwatch.model.tokens import WindowTokens

_PACKED = ("gap_ms", "parameter_chars", "cu_seqlens", "scored")
_STEPS = 256


def save_cases(path: Path, cases: Iterable[Case]) -> None:
    """Writes what methods may see of the cases; labels stay here."""
    arrays: dict[str, NDArray[Any]] = {}
    for case in cases:
        for role, units in (("normal", case.normal), ("test", case.test)):
            arrays |= {f"{case.name}|{role}|{name}": array for name, array in _columns(units).items()}
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_cases(path: Path) -> Iterator[Case]:
    """Cases that `save_cases` wrote, without labels."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    for name in dict.fromkeys(key.split("|")[0] for key in arrays):
        normal, test = (_units(arrays, f"{name}|{role}|") for role in ("normal", "test"))
        yield Case(name, normal, test, SealedTruth(None))


def _columns(units: Units) -> dict[str, NDArray[Any]]:
    windows, tokens = units.windows, units.windows.tokens
    ids, place = np.unique(tokens.template_id, return_inverse=True)
    texts = json.dumps([tokens.templates[number] for number in ids.tolist()]).encode()
    about = json.dumps({"shape": units.shape, "timed": units.timed}).encode()
    columns: dict[str, NDArray[Any]] = {"ids": ids, "place": place.astype(np.uint16), "entity": units.entity}
    columns |= {name: getattr(tokens, name) for name in _PACKED}
    columns |= {"start_ms": windows.start_ms, "end_ms": windows.end_ms}
    return columns | {"texts": np.frombuffer(texts, np.uint8), "about": np.frombuffer(about, np.uint8)}


def _units(arrays: dict[str, NDArray[Any]], prefix: str) -> Units:
    ids, place = arrays[f"{prefix}ids"], arrays[f"{prefix}place"]
    texts = dict(zip(ids.tolist(), json.loads(arrays[f"{prefix}texts"].tobytes()), strict=True))
    gaps, shapes, bounds, scored = (arrays[f"{prefix}{name}"] for name in _PACKED)
    windows = Windows(
        WindowTokens(ids[place], gaps, shapes, bounds, scored, texts),
        arrays[f"{prefix}start_ms"],
        arrays[f"{prefix}end_ms"],
    )
    return Units(windows, arrays[f"{prefix}entity"], **json.loads(arrays[f"{prefix}about"].tobytes()))


def packed(surprise: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Nats in steps of 1/256: what lies between adds nothing that a ranking shows, and packs badly."""
    return np.rint(np.clip(surprise, 0, 255) * _STEPS).astype(np.uint16)


def surprise_key(past: Past, seed: int, units: Units) -> str:
    """Names the surprise of these units under the network that this past and seed train: by content, not by place."""
    return "-".join([_digest(past.fit), _digest(past.tune), str(seed), _digest(units)])


def _digest(units: Units) -> str:
    tokens, found = units.windows.tokens, blake2b(digest_size=8)
    for column in (tokens.template_id, tokens.gap_ms, tokens.cu_seqlens, tokens.scored):
        found.update(np.ascontiguousarray(column).tobytes())
    return found.hexdigest()


@dataclass
class SurpriseFiles:
    """Surprise that was made elsewhere: every .npz of a folder."""

    folder: Path

    @cached_property
    def _homes(self) -> dict[str, Path]:
        homes: dict[str, Path] = {}
        for path in sorted(self.folder.glob("*.npz")):
            with np.load(path, allow_pickle=False) as file:
                homes |= dict.fromkeys(file.files, path)
        return homes

    def surprise(self, past: Past, seed: int, units: Units) -> NDArray[np.float32]:
        """Surprise of each unscored token, nats; ValueError where no file has it, or it is of another length."""
        key = surprise_key(past, seed, units)
        if key not in self._homes:
            raise ValueError(
                f"{self.folder}: no surprise for {len(units)} units under seed {seed}; export and train again"
            )
        with np.load(self._homes[key], allow_pickle=False) as file:
            found: NDArray[np.float32] = file[key].astype(np.float32) / _STEPS
        if len(found) != units.windows.tokens.num_scores:
            raise ValueError(f"{self._homes[key]}: {len(found)} scores for {units.windows.tokens.num_scores} events")
        return found
