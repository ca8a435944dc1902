"""Events with their templates: the columns that windows are made of."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from longwatch.model.scorer import template_id
from longwatch.pipeline.share import OWN, WHOLE, Share
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

    def add(self, events: pl.DataFrame, share: Share = WHOLE) -> pl.DataFrame:
        """Events (`EVENT_SCHEMA`) with template_id UInt64, template String, parameter_chars Int32, is_new Boolean.

        Of a share with OWN, and for its events alone: templates are what reading costs most.
        """
        if share.is_all:
            return events.hstack(self._columns(events["message"]))
        own = share.own(events["entity"])
        place = pl.select(pl.when(own).then(own.cum_sum() - 1).cast(pl.UInt32)).to_series()
        columns = self._columns(events["message"].filter(own)).select(pl.all().gather(place))
        return events.hstack(columns).with_columns(own.alias(OWN), pl.col("is_new").fill_null(value=False))

    def _columns(self, messages: pl.Series) -> pl.DataFrame:
        matched = self._matcher.match(messages)
        is_new = ~matched["template_id"].is_in(self._known.implode())
        return matched.with_columns(is_new.alias("is_new"))
