"""Windows drawn from a small seeded grammar, so that a model has something to learn and something to miss."""

import numpy as np

from longwatch.model.dataset import Windows
from longwatch.model.tokens import END_TEMPLATE, WindowTokens, template_id

ACTIONS = ("open", "read", "write", "close", "retry", "sync", "flush", "rename")
TEMPLATES = tuple(f"disk <*> {action} of block <*> {outcome}" for action in ACTIONS for outcome in ("began", "ended"))
NOVEL = ("kernel panic at <*>", "disk <*> erase of block <*> began")


def make_tokens(
    lengths: list[int], seed: int = 0, scored: list[int] | None = None, novel_share: float = 0.0, end: bool = False
) -> WindowTokens:
    """Windows of these lengths: actions begin and end in turn, in cycles; a share of tokens are novel templates."""
    rng = np.random.default_rng(seed)
    texts = [text for length in lengths for text in _window(length, rng, novel_share, end)]
    gaps = np.minimum(rng.lognormal(4, 3, len(texts)), 1e9).astype(np.int64)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    gaps[bounds[:-1][np.array(lengths, int) > 0]] = -1
    return WindowTokens(
        np.array([template_id(text) for text in texts], np.uint64),
        gaps,
        rng.integers(0, 300, len(texts)).astype(np.int32),
        bounds,
        np.array(scored if scored is not None else [0] * len(lengths), np.int32),
        {template_id(text): text for text in (*TEMPLATES, *NOVEL, END_TEMPLATE)},
    )


def prefix(tokens: WindowTokens, length: int, scored: int) -> WindowTokens:
    """The first tokens of a packed set of one window."""
    columns = {name: vars(tokens)[name][:length] for name in ("template_id", "gap_ms", "parameter_chars")}
    bounds = np.array([0, length], np.int32)
    return WindowTokens(**columns, cu_seqlens=bounds, scored=np.array([scored], np.int32), templates=tokens.templates)


def make_windows(num_windows: int, seed: int = 0, longest: int = 120) -> Windows:
    """Windows of 5 to `longest` events, one a minute."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, longest, num_windows).tolist()
    start = np.arange(num_windows, dtype=np.int64) * 60_000
    return Windows(make_tokens(lengths, seed, end=True), start, start + 59_000)


def _window(length: int, rng: np.random.Generator, novel_share: float, end: bool) -> list[str]:
    cycle = rng.permutation(len(ACTIONS))[:3]
    texts = [TEMPLATES[2 * cycle[(i // 2) % 3] + i % 2] for i in range(length)]
    for i in np.flatnonzero(rng.random(length) < novel_share):
        texts[i] = NOVEL[int(rng.integers(len(NOVEL)))]
    return [*texts[:-1], END_TEMPLATE] if end and length else texts
