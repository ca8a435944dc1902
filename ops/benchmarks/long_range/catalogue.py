"""What can be logged: the events of a real stream, and of procedures that name a key, a change, a job, a source."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from longwatch.model.vocabulary import hashed_words

KEYS, CHANGES, JOBS, SOURCES, USERS = 256, 256, 256, 128, 32
STEPS = 4  # jobs of one runbook
BUCKETS = 1 << 18

# Kind -> its text; `{}` is who or what it is about, as in a log whose identifiers were not masked.
WOVEN = {
    "issued": ("credential key_{} issued", KEYS),
    "revoked": ("credential key_{} revoked", KEYS),
    "presented": ("credential key_{} presented", KEYS),
    "accepted": ("credential key_{} accepted", KEYS),
    "refused": ("credential key_{} refused", KEYS),
    "opened": ("change chg_{} opened", CHANGES),
    "approved": ("change chg_{} approved", CHANGES),
    "due": ("change chg_{} due", CHANGES),
    "deployed": ("change chg_{} deployed", CHANGES),
    "held": ("change chg_{} held", CHANGES),
    "runbook": ("runbook opened", 1),
    "planned": ("planned job_{}", JOBS),
    "ran": ("ran job_{}", JOBS),
    "connects": ("connection from src_{}", SOURCES),
    "signs_in": ("login of usr_{}", USERS),
}


@dataclass(frozen=True)
class Catalogue:
    """Texts as output classes: class i + 1 is text i, 0 is none of them. Those of the real stream come first."""

    filler: tuple[str, ...]

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Every text, by class - 1."""
        woven = [text.format(f"{i:03}") for text, count in WOVEN.values() for i in range(count)]
        return (*self.filler, *woven)

    @cached_property
    def first(self) -> dict[str, int]:
        """Class of number 0 of each woven kind; number i is i classes on."""
        counts = [count for _, count in WOVEN.values()]
        starts = 1 + len(self.filler) + np.cumsum([0, *counts[:-1]])
        return dict(zip(WOVEN, starts.tolist(), strict=True))

    @cached_property
    def kinds(self) -> NDArray[np.int64]:
        """What a masked template would be: one number for all classes of a kind, int64 [V + 1]; 0 for class 0."""
        own = 1 + np.arange(len(self.filler))
        woven = np.repeat(np.arange(len(WOVEN)), [count for _, count in WOVEN.values()])
        return np.concatenate([[0], own, 1 + len(self.filler) + woven])

    def words(self, most: int) -> NDArray[np.int64]:
        """Words of each class, int64 [V + 1, most], hashed as the product does and then numbered from 1; 0 is none.

        BUCKETS is enough for no two of them to meet: names that share a bucket are one name to a network.
        """
        rows = [[0] * most, *(hashed_words(text, BUCKETS, most) for text in self.texts)]
        buckets, numbers = np.unique(np.array(rows, np.int64), return_inverse=True)
        assert buckets[0] == 0
        return np.asarray(numbers.reshape(len(rows), most), np.int64)
