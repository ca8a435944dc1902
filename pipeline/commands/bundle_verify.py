"""`longwatch bundle verify`: everything a worker would read of a bundle, read and used once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from longwatch.model.scorer import Bundle, WindowTokens, open_bundle, open_scorer, template_id
from longwatch.pipeline.console import write_line
from longwatch.pipeline.errors import BundleUnusableError
from longwatch.pipeline.templates import TemplateSet

EVENTS = 300


def bundle_verify(bundle: Path) -> int:
    """Raises BundleUnusableError, or BundleError, for the first thing that is wrong."""
    opened = open_bundle(bundle)
    try:
        TemplateSet.from_json(opened.template_set_json)
    except (ValueError, RecursionError) as error:
        raise BundleUnusableError(f"{bundle}/templates.json: {error}") from error
    tokens = every_template(opened)
    surprise = open_scorer(opened).score(tokens)
    scores = opened.calibration.event_score(surprise, opened.evidence.flags(tokens))
    if not (np.isfinite(surprise).all() and np.isfinite(scores).all()):
        raise BundleUnusableError(f"{bundle}: a score is not a number; make the bundle again")
    write_line(f"{bundle}: whole, digest {opened.digest}; {len(surprise)} events scored")
    return 0


def every_template(bundle: Bundle) -> WindowTokens:
    """One window of the bundle's templates, over and over."""
    ids = np.array([template_id(text) for text in bundle.vocabulary.templates], np.uint64)
    chosen = np.resize(ids, max(EVENTS, len(ids)))
    count = len(chosen)
    gaps = np.arange(count, dtype=np.int64) * 37 % 100_000
    bounds = np.array([0, count], np.int32)
    return WindowTokens(chosen, gaps, np.zeros(count, np.int32), bounds, np.zeros(1, np.int32))
