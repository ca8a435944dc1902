"""A configuration file that is followed while a worker runs, and the bundle that it names.

A good change is taken over, a bad one changes nothing. A bundle is opened and proven beside the loop, which goes on.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import structlog

from longwatch.pipeline.assembly import Model
from longwatch.pipeline.bundles import Bundles, opened
from longwatch.pipeline.config import Config, load_config
from longwatch.pipeline.config.base import Problem
from longwatch.pipeline.config.load import error_at
from longwatch.pipeline.configured_settings import first_difference, setting_of
from longwatch.pipeline.errors import BundleUnusableError, ConfigError, ConfigFileError, LongwatchError

log = structlog.get_logger("longwatch.reload")

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class Told:
    """Who is told of a configuration that is taken over (its bundle and digest), and of one that is not."""

    adopted: Callable[[Model, str], None] = lambda _, __: None
    failed: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class _Candidate:
    """A good configuration whose bundle is being opened; `stamp` is the bundle's of before it was."""

    config: Config
    stamp: Stamp
    model: Future[Model]


class Reloader:
    """Looks at the files no more often than it should; `current` is the last good state of them."""

    def __init__(
        self,
        path: Path,
        overrides: Mapping[str, str],
        config: Config,
        model: Model,
        now: Callable[[], float],
        told: Told | None = None,
        bundles: Bundles | None = None,
    ) -> None:
        self._path, self._overrides, self._now = path, dict(overrides), now
        self._config, self._model = config, model
        self._told, self._bundles = told or Told(), bundles or Bundles(config, model)
        self._every_s = config.reload.look_every.seconds if config.reload is not None else 1.0
        self._looked = now()
        self._folder, self._opened = config.require_bundle(), _stamp_of_folder(config.require_bundle())
        self._seen = (_stamp(path), self._opened)
        self._asked = False
        self._candidate: _Candidate | None = None
        self.current = setting_of(config, model)
        self._told.adopted(model, self.current.digest)

    def ask(self) -> None:
        """Read at the next look, changed or not: what SIGHUP does."""
        self._asked = True

    @property
    def is_opening(self) -> bool:
        """Whether a bundle is being opened: until it is judged, nothing else is looked at."""
        return self._candidate is not None

    def look(self) -> None:
        """Take over what changed, or log once what is wrong with it."""
        if self._candidate is not None:
            self._judge(self._candidate)
            return
        now, asked = self._now(), self._asked
        if not asked and now - self._looked < self._every_s:
            return
        self._looked, self._asked = now, False
        seen = (_stamp(self._path), _stamp_of_folder(self._folder))
        if not asked and seen == self._seen:
            return
        self._seen = seen
        self._guarded(self._read)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except LongwatchError as error:
            self._refuse(error)

    def _read(self) -> None:
        loaded = load_config(self._path, self._overrides)
        if (at := first_difference(self._config, loaded)) is not None:
            problem = Problem("cannot change while a worker runs", "restart it, or write what was there before", at)
            raise error_at(self._path, problem)
        self._folder = loaded.require_bundle()
        stamp = _stamp_of_folder(self._folder)
        self._seen = (self._seen[0], stamp)
        if stamp == self._opened:
            self._take(loaded, self._model)
        else:
            self._candidate = _Candidate(loaded, stamp, _beside(lambda: opened(loaded, loaded.require_bundle())))

    def _judge(self, candidate: _Candidate) -> None:
        """Once it is opened: a bundle that is the same after all, elsewhere or written again, is not another one."""
        if not candidate.model.done():
            return
        self._candidate = None
        self._guarded(lambda: self._accept(candidate))

    def _accept(self, candidate: _Candidate) -> None:
        model = candidate.model.result()
        self._take(candidate.config, self._model if model.bundle.digest == self._model.bundle.digest else model)
        self._opened = candidate.stamp

    def _take(self, loaded: Config, model: Model) -> None:
        try:
            setting = setting_of(loaded, model)
        except ValueError as error:
            said = f"thresholds, under bundle {model.bundle.digest[:16]}: {error}"
            raise ConfigError(said, "`longwatch validate` shows it", file=str(self._path)) from error
        if setting.name != self.current.name:
            self._bundles.add(model)
            self.current, self._model = setting, model
            effect = "in force from the next commit on"
            log.info("reloaded", config=setting.digest[:16], bundle=setting.bundle[:16], effect=effect)
        self._told.adopted(model, setting.digest)

    def _refuse(self, error: LongwatchError) -> None:
        first = error.problems[0] if isinstance(error, ConfigFileError) else error
        effect = f"{self.current.digest[:16]} under bundle {self.current.bundle[:16]} stays in force"
        log.error("reload_failed", why=str(first), effect=effect)
        self._told.failed()


def opened_reloader(
    path: Path,
    overrides: Mapping[str, str],
    config: Config,
    model: Model,
    now: Callable[[], float],
    told: Told,
    bundles: Bundles,
) -> Reloader | None:
    """Follows the file, and reads it at once on SIGHUP; None where the configuration has no `reload`."""
    if config.reload is None:
        return None
    reloader = Reloader(path, overrides, config, model, now, told, bundles)
    signal.signal(signal.SIGHUP, lambda *_: reloader.ask())
    return reloader


def _beside(work: Callable[[], Model]) -> Future[Model]:
    """In a thread that no exit waits for; whatever goes wrong with a bundle makes it unusable."""
    found: Future[Model] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except LongwatchError as error:
            found.set_exception(error)
        except Exception as error:
            said = BundleUnusableError(f"the bundle cannot be used: {error!r}", "`longwatch bundle verify` tries it")
            found.set_exception(said)

    Thread(target=run, name="opening-bundle", daemon=True).start()
    return found


def _stamp(path: Path) -> Stamp:
    """Changes whenever the file does, or what a link leads to."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return ((str(path), found.st_ino, found.st_size, found.st_mtime_ns),)


def _stamp_of_folder(folder: Path) -> Stamp:
    """Changes whenever a file in it does, or a link that leads to it is turned."""
    try:
        files = sorted(folder.resolve().iterdir())
    except OSError:
        return ()
    return tuple(stamp for path in files for stamp in _stamp(path))
