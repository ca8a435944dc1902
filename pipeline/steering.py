"""What people change while a worker runs, taken over between two polls: marks, and the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from longwatch.pipeline.checkpoint import Position
from longwatch.pipeline.engine import Engine, Result
from longwatch.pipeline.errors import StateError
from longwatch.pipeline.feedback.mark_log import MarkLog, reach_steps
from longwatch.pipeline.records import Partition
from longwatch.pipeline.setting import Change, Setting


class SettingSource(Protocol):
    """Where the configuration comes from."""

    @property
    def current(self) -> Setting:
        """What should be in force."""
        ...

    def look(self) -> None:
        """See whether it changed; must not raise."""
        ...


class Steering:
    """Both of them; `recorded` reads again which configurations were in force, as another worker's may be new."""

    def __init__(
        self,
        marks: MarkLog | None = None,
        settings: SettingSource | None = None,
        recorded: Callable[[], list[Change]] = list,
    ) -> None:
        self._marks, self._settings, self._recorded = marks, settings, recorded

    def reach(self, engine: Engine, partition: Partition, position: Position | None) -> None:
        """Have what a partition was committed under at hand."""
        reach_steps(self._marks, partition, position)
        saved = () if position is None else position.metadata.changes
        if saved and engine.settings is None:
            raise StateError(
                f"{partition}: committed under configurations that changed, and this one has no `reload`",
                "write the section again, with the topic that they are recorded in",
            )
        if engine.settings is not None and engine.settings.lacks(saved):
            engine.settings.learn(self._recorded())

    def turn(self, engine: Engine) -> list[Result]:
        """Have what is new be in force from here on."""
        turned = []
        if self._marks is not None:
            self._marks.look()
            turned.append(engine.heed(self._marks.book.changed_at))
        if self._settings is not None:
            self._settings.look()
            turned.append(engine.adopt(self._settings.current))
        return turned
