"""The past judged as the future will be: each block of it by what learned only from what came before."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from longwatch.model.bench.units import Past, Units, split_past

BORDERS = (0.4, 0.55, 0.7, 0.85)  # of the past's units; what comes before the first is too little to judge by
NETWORK_BORDERS = (0.4, 0.7)  # a network is dear to train again
LEAST_UNITS = 50  # below it a past is not worth dividing


def forward_blocks(past: Past, borders: tuple[float, ...] = BORDERS) -> Iterator[tuple[Past, Units]]:
    """What may be learned before each border, and the units from there to the next border."""
    whole = past.whole
    cuts = [round(share * len(whole)) for share in (*borders, 1.0)]
    for start, stop in pairwise(cuts):
        earlier = whole.select(np.arange(start, dtype=np.int64))
        yield split_past(earlier), whole.select(np.arange(start, stop, dtype=np.int64))
