"""What the network expected where the event that stands out came: its own probabilities, one question a template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longwatch.model.scorer import WindowTokens, template_id
from longwatch.pipeline.assembly import Model
from longwatch.pipeline.why.case import Case

MAX_QUESTIONS = 512


@dataclass(frozen=True)
class Expected:
    """A template and how likely the network held it."""

    template: str
    share: float


def expected(case: Case, model: Model, count: int = 3) -> list[Expected]:
    """The likeliest templates at the place of the event that stands out, the likeliest first.

    Of a vocabulary above 512 templates, those that the window holds are asked about first.
    """
    here = set(case.rows["template_id"].to_list())
    texts = sorted(model.bundle.vocabulary.templates, key=lambda text: (template_id(text) not in here, text))
    texts = texts[:MAX_QUESTIONS]
    shares = np.exp(-model.scorer.score(_questions(case, texts)).astype(np.float64))
    order = np.argsort(-shares, kind="stable")[:count]
    return [Expected(texts[int(at)], float(shares[at])) for at in order]


def _questions(case: Case, texts: list[str]) -> WindowTokens:
    """The window up to that place once for each text, which stands there instead; no other token is scored."""
    tokens, length, times = case.tokens, case.top + 1, len(texts)
    ids = np.tile(tokens.template_id[:length], times)
    ids[length - 1 :: length] = [template_id(text) for text in texts]
    return WindowTokens(
        ids,
        np.tile(tokens.gap_ms[:length], times),
        np.tile(tokens.parameter_chars[:length], times),
        (np.arange(times + 1) * length).astype(np.int32),
        np.full(times, length - 1, np.int32),
        tokens.templates,
    )
