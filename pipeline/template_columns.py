"""Events with their templates: the columns that windows are made of."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from longwatch.model.scorer import template_id
from longwatch.pipeline.templates import TemplateMatcher, TemplateSet


class TemplateColumns:
    """Adds template columns to events; `is_new` marks templates whose text the scorer lacks.

    The scorer has the texts of `vocabulary`, which may be fewer than the set's: a template that only windows held out
    of the fit contain is in the set alone. Without a vocabulary the set's count as known.
    """

    def __init__(self, template_set: TemplateSet, vocabulary: Iterable[str] | None = None) -> None:
        self.texts = {template_id(text): text for text in template_set.templates.values()}
        self._matcher = TemplateMatcher(template_set)
        known = list(self.texts) if vocabulary is None else [template_id(text) for text in vocabulary]
        self._known = pl.Series(known, dtype=pl.UInt64)

    def add(self, events: pl.DataFrame) -> pl.DataFrame:
        """Events (`EVENT_SCHEMA`) with template_id UInt64, template String, parameter_chars Int32, is_new Boolean."""
        matched = self._matcher.match(events["message"])
        is_new = ~matched["template_id"].is_in(self._known.implode())
        return events.hstack(matched).with_columns(is_new.alias("is_new"))
