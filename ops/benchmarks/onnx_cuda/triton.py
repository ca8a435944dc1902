"""Our Triton backend as a scorer of whole windows, for measurement: packed, no padding, no cutting."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from longwatch.model.bundle import Bundle
from longwatch.model.scorer.batching import TokenColumns
from longwatch.model.scorer.torch import load_network
from longwatch.model.stream import EventRows, StreamNetwork
from longwatch.model.tokens import WindowTokens

TOKENS_AT_ONCE = 1 << 18


class TritonScorer:
    """Scores as the others do, its weights rounded to `dtype`; on the CPU only in Triton's interpreter."""

    def __init__(self, bundle: Bundle, dtype: torch.dtype, device: str = "cuda") -> None:
        self._bundle, self._device = bundle, device
        self._network = StreamNetwork(load_network(bundle), device, dtype)

    def score(self, tokens: WindowTokens) -> NDArray[np.float32]:
        """Surprise of each token not scored before, nats, float32 [M], in packed order."""
        columns = TokenColumns.of(tokens, self._bundle.vocabulary, self._bundle.model_config)
        lexicon = (torch.from_numpy(each).to(self._device) for each in (columns.lexicon_words, columns.lexicon_known))
        events = self._network.events(*lexicon)
        found = []
        for first, last in _batches(tokens.cu_seqlens):
            bounds = tokens.cu_seqlens[first : last + 1].astype(np.int64)
            rows = slice(int(bounds[0]), int(bounds[-1]))
            arrays = (columns.token, columns.gap, columns.shape, columns.target)
            packed = EventRows.of(*(array[rows] for array in arrays), device=self._device)
            found.append(self._network.whole(events, packed, bounds - bounds[0]).cpu().numpy())
        return np.concatenate(found)[tokens.unscored_rows()]


def _batches(bounds: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Numbers of the first window and behind the last of each batch."""
    first = 0
    while first < len(bounds) - 1:
        last = int(np.searchsorted(bounds, bounds[first] + TOKENS_AT_ONCE, side="right")) - 1
        yield first, max(last, first + 1)
        first = max(last, first + 1)
