"""What an event costs: time of a whole day's forward pass, and what a stream must remember to go on."""

import statistics
import time
from typing import Any

import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from long_range.contenders import LSTM
from long_range.network import LANE
from long_range.training import Trained
from longwatch.kernels import parse_pattern, receptive_field

RUNS = 5


def cost(trained: Trained, day: NDArray[Any]) -> dict[str, Any]:
    """Microseconds an event of one day alone, median of RUNS, and bytes of keys and values at its end in bf16."""
    days = trained.days([day])
    took = []
    with torch.no_grad(), torch.autocast(trained.device, torch.bfloat16, enabled=trained.device == "cuda"):
        for _ in range(RUNS + 1):
            _wait(trained.device)
            begun = time.perf_counter()
            F.cross_entropy(trained.network.logits(days).float(), days.events, reduction="none")
            _wait(trained.device)
            took.append(time.perf_counter() - begun)
    return {
        "us_an_event": round(statistics.median(took[1:]) / len(day) * 1e6, 4),
        "cache_bytes": cache_bytes(trained, len(day), len(days.lane)),
        "lane_events": len(days.lane),
    }


def cache_bytes(trained: Trained, length: int, in_lane: int) -> int:
    """Keys and values that a stream of that length still needs, all layers; the LSTM's history is ten numbers."""
    contender = trained.contender
    if contender.layers == (LSTM,):
        return 80
    rows = [in_lane if text == LANE else kept(text, length) for text in contender.layers]
    return sum(rows) * 2 * contender.d_model * 2


def kept(text: str, length: int) -> int:
    """Rows of a stream that some later event can still read under a pattern."""
    pattern = parse_pattern(text)
    if pattern.data_chosen is not None or pattern.band is None:
        return length
    reach = receptive_field([pattern])
    if reach is not None:
        return min(length, reach)
    places = torch.arange(length)
    return int((pattern.column(places) | (places >= length - pattern.band)).sum())


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
