"""What a model reads: windows of tokens as packed NumPy columns, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

END_TEMPLATE = "<end of window>"


def template_id(text: str) -> int:
    """64-bit id of a template: a hash of its text, the same in any order, on any machine, after any restart."""
    return int.from_bytes(blake2b(b"longwatch-template-1\0" + text.encode(), digest_size=8).digest(), "big")


END_TEMPLATE_ID = template_id(END_TEMPLATE)


@dataclass(frozen=True)
class WindowTokens:
    """B windows of N tokens in all, packed; window b is rows `cu_seqlens[b]:cu_seqlens[b+1]`.

    template_id: uint64 [N]. gap_ms: int64 [N], event time since the entity's previous event, -1 for the first of
    its session. parameter_chars: int32 [N], characters of the message that masks took away. cu_seqlens: int32 [B+1].
    scored: int32 [B], leading tokens that need no score: context, or scored before.
    templates: text of every template id that the vocabulary may lack; a superset is allowed.
    """

    template_id: NDArray[np.uint64]
    gap_ms: NDArray[np.int64]
    parameter_chars: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    scored: NDArray[np.int32]
    templates: Mapping[int, str] = field(default_factory=dict)

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each window, int32 [B]."""
        return np.diff(self.cu_seqlens).astype(np.int32)

    @property
    def num_scores(self) -> int:
        """Rows M that a scorer gives for these windows."""
        return int(self.lengths.sum() - self.scored.sum())

    def unscored_rows(self) -> NDArray[np.int64]:
        """Packed row of each token that gets a score, int64 [M], in the order scores come."""
        starts = self.cu_seqlens[:-1] + self.scored
        counts = self.lengths - self.scored
        firsts = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        return np.asarray(firsts + np.arange(counts.sum()), dtype=np.int64)
