"""Events with their templates: the columns that windows are made of."""

from __future__ import annotations

import polars as pl

from longwatch.model.scorer import template_id
from longwatch.pipeline.templates import TemplateMatcher, TemplateSet


class TemplateColumns:
    """Adds template columns to events; `is_new` marks templates that the set, frozen in training, does not hold."""

    def __init__(self, template_set: TemplateSet) -> None:
        self.texts = {template_id(text): text for text in template_set.templates.values()}
        self._matcher = TemplateMatcher(template_set)
        self._known = pl.Series(list(self.texts), dtype=pl.UInt64)

    def add(self, events: pl.DataFrame) -> pl.DataFrame:
        """Events (`EVENT_SCHEMA`) with template_id UInt64, template String, parameter_chars Int32, is_new Boolean."""
        matched = self._matcher.match(events["message"])
        is_new = ~matched["template_id"].is_in(self._known.implode())
        return events.hstack(matched).with_columns(is_new.alias("is_new"))
