"""Who takes part: what each reads, how it is trained."""

from dataclasses import dataclass, field
from typing import Any

LSTM = "lstm"
NEAR = "sliding(128)"
WHOLE = 65_536


@dataclass(frozen=True)
class Contender:
    """A network by its layers, and its training: `phases` are (length of a sequence, share of the steps).

    rare_weight: a class seen n times weighs n ** -rare_weight in the loss. lane_share: events in the lane, at most.
    """

    name: str
    layers: tuple[str, ...]
    d_model: int = 256
    heads: int = 4
    rope_base: float = 1e7
    rare_weight: float = 0.5
    lane_share: float = 0.08
    learning_rate: float = 1.5e-3
    phases: tuple[tuple[int, float], ...] = ((4096, 0.4), (WHOLE, 0.6))
    shift: bool = True
    copying: bool = True
    turned: bool = False
    word_std: float = 0.1
    shape: dict[str, Any] = field(default_factory=dict)


LANES = (NEAR, "lane", "lane", NEAR)
CONTENDERS = {
    each.name: each
    for each in (
        Contender("lane", LANES),
        Contender("hybrid", (NEAR, "dense", NEAR)),
        Contender("hybrid2", (NEAR, "dense", "dense", NEAR)),
        Contender("sliding 10", ("sliding(10)",)),
        Contender("sliding 100", ("sliding(100)",)),
        Contender("sliding 128", (NEAR,) * 3),
        Contender("sliding 1k", (NEAR, "sliding(1024)", NEAR)),
        Contender("sliding 8k", (NEAR, "sliding(8192)", NEAR)),
        Contender("strided", ("sliding(1024)", "sliding(128) | strided(1024, width=16)", "sliding(1024)")),
        Contender("global", (NEAR, "sliding(128) | global(512)", NEAR)),
        Contender("topk", (NEAR, "sliding(128) | topk(16, block=64)", NEAR)),
        Contender("dense", ("dense",) * 3),
        Contender("DeepLog 10", (LSTM,), learning_rate=4e-3, phases=((WHOLE, 1.0),)),
        # What the training needs: each of these leaves one thing out of `lane` or `hybrid`.
        Contender("lane, no rare weight", LANES, rare_weight=0.0),
        Contender("lane, no short phase", LANES, phases=((WHOLE, 1.0),)),
        Contender("lane, far turned", LANES, turned=True),
        Contender("lane, no shift", LANES, shift=False),
        Contender("lane, no copying", LANES, copying=False),
        Contender(
            "lane, product's start", LANES, shift=False, copying=False, turned=True, rope_base=1e4, word_std=0.02
        ),
        Contender("hybrid, no copying", (NEAR, "dense", NEAR), copying=False),
        Contender("hybrid, no rare weight", (NEAR, "dense", NEAR), rare_weight=0.0),
        Contender("one lane", (NEAR, "lane", NEAR)),
    )
}

# In the order of what they are needed for: base stream, contender, seed.
ORDER = (
    *(("adfa", name, 0) for name in ("one lane", "hybrid", "sliding 128", "sliding 1k", "sliding 8k")),
    *(("adfa", name, seed) for seed in (1, 2) for name in ("one lane", "hybrid")),
    *((stream, name, 0) for stream in ("demo", "hdfs") for name in ("one lane", "hybrid", "sliding 128")),
    *(("adfa", name, 0) for name in ("strided", "DeepLog 10", "lane", "topk", "global", "dense", "sliding 10")),
    *((stream, "one lane", seed) for seed in (1, 2) for stream in ("demo", "hdfs")),
    *(("adfa", name, 0) for name in ("lane, no copying", "lane, no rare weight", "lane, no shift", "lane, far turned")),
    *(("adfa", name, 0) for name in ("lane, no short phase", "lane, product's start", "hybrid, no copying")),
    *(("adfa", name, 0) for name in ("hybrid, no rare weight", "hybrid2", "sliding 100")),
    *((stream, name, 0) for stream in ("demo", "hdfs") for name in ("sliding 1k", "sliding 8k", "DeepLog 10")),
)
