"""Bundles by digest: the one that is configured, and those that are kept beside it for what they judged before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from longwatch.model.scorer import Bundle, WindowTokens, template_id
from longwatch.pipeline.assembly import Model, open_model
from longwatch.pipeline.config import Config
from longwatch.pipeline.errors import BundleUnusableError

MOST_OPEN = 2
"""More are opened again when they are needed: each holds a network in memory."""

PROOF_EVENTS = 300
_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1 << 20


class Bundles:
    """Opened when they are asked for, by the first 16 digits of their digest."""

    def __init__(self, config: Config, own: Model) -> None:
        self._config = config
        self._folders = folders(config)
        self._models = {own.bundle.digest[:16]: own}

    def add(self, model: Model) -> None:
        """Take one that was opened elsewhere."""
        self._models[model.bundle.digest[:16]] = model
        while len(self._models) > MOST_OPEN:
            del self._models[next(iter(self._models))]

    def model(self, bundle: str) -> Model:
        """The bundle of that digest.

        Raises:
            BundleUnusableError: it is in none of the folders, or not whole there.
        """
        if bundle not in self._models:
            self.add(opened(self._config, self._path_of(bundle)))
        return self._models[bundle]

    @property
    def at_hand(self) -> set[str]:
        """Digests of those that are open or in a folder, their first 16 digits; nothing is read but what they say."""
        return {*self._models, *(digest_of(path)[:16] for path in self._paths())}

    def _path_of(self, bundle: str) -> Path:
        for path in self._paths():
            if digest_of(path).startswith(bundle):
                return path
        places = ", ".join(map(str, self._folders)) or "no folder"
        raise BundleUnusableError(
            f"bundle {bundle} judged records that are read again, and is not in {places}",
            "put its folder there; `reload.bundles` names where bundles are kept, `longwatch bundle inspect` a digest",
        )

    def _paths(self) -> Iterator[Path]:
        """Folders that hold a bundle, the newest names first."""
        for folder in self._folders:
            if folder.is_dir():
                yield from sorted((each.parent for each in folder.glob(f"*/{_MANIFEST}")), reverse=True)


def folders(config: Config) -> list[Path]:
    """Where bundles are kept: as the configuration says, else beside the configured one, links followed or not."""
    if config.reload is not None and config.reload.bundles is not None:
        return [config.reload.bundles]
    if config.bundle is None:
        return []
    return list(dict.fromkeys([config.bundle.parent, config.bundle.resolve().parent]))


def digest_of(path: Path) -> str:
    """The digest that a bundle says it has; empty where it says none. It is checked when the bundle is opened."""
    try:
        with (path / _MANIFEST).open("rb") as file:
            told = json.loads(file.read(_LARGEST_MANIFEST))
    except (OSError, ValueError, RecursionError):
        return ""
    found = told.get("digest") if isinstance(told, dict) else None
    return found if isinstance(found, str) else ""


def opened(config: Config, path: Path) -> Model:
    """A bundle for this configuration, every digest checked, and proven to score.

    Raises:
        BundleUnusableError: it is not there, not whole, or a score of it is not a number.
    """
    model = open_model(config.model_copy(update={"bundle": path}))
    try:
        prove(model)
    except ValueError as error:
        raise BundleUnusableError(str(error), "`longwatch bundle verify` tries it") from error
    return model


def prove(model: Model) -> int:
    """Score all of its templates once; gives how many events, raises BundleUnusableError where one has no score.

    All that a worker needs of it is in memory afterwards: its folder may go.
    """
    bundle = model.bundle
    bundle.successors  # noqa: B018
    tokens = every_template(bundle)
    surprise = model.scorer.score(tokens)
    scores = bundle.calibration.event_score(surprise, bundle.evidence.flags(tokens))
    if not (np.isfinite(surprise).all() and np.isfinite(scores).all()):
        raise BundleUnusableError(f"{bundle.path}: a score is not a number", "make the bundle again")
    return len(surprise)


def every_template(bundle: Bundle) -> WindowTokens:
    """One window of the bundle's templates, over and over."""
    ids = np.array([template_id(text) for text in bundle.vocabulary.templates], np.uint64)
    chosen = np.resize(ids, max(PROOF_EVENTS, len(ids)))
    count = len(chosen)
    gaps = np.arange(count, dtype=np.int64) * 37 % 100_000
    bounds = np.array([0, count], np.int32)
    return WindowTokens(chosen, gaps, np.zeros(count, np.int32), bounds, np.zeros(1, np.int32))
