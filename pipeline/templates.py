"""Messages to templates: learned once from a set of leaves, frozen, and the same on any machine in any order."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any, Self

import numpy as np
import polars as pl

from longwatch.model.scorer import template_id
from longwatch.pipeline.template_leaves import LEAVES, LeafTable, Numbered
from longwatch.pipeline.template_masks import WILDCARD, Masks
from longwatch.pipeline.template_merging import FrozenPatterns, Pattern, merge, plain, render

# Raised whenever any message could get another leaf or any set of leaves other templates: a bundle's templates are
# read by the rules that made them, or not at all.
FORMAT_VERSION = 2
MATCH_SCHEMA = pl.Schema({"template_id": pl.UInt64, "template": pl.String, "parameter_chars": pl.Int32})
_MAKE_AGAIN = "make the bundle again with `longwatch train`"


@dataclass(frozen=True)
class TemplateSet:
    """What training saw: `templates` by leaf, `patterns` that have merged words, and the masks that made the leaves."""

    templates: Mapping[str, str] = field(default_factory=dict)
    patterns: frozenset[Pattern] = frozenset()
    masks: tuple[str, ...] = ()
    merge_above: int = 4

    @classmethod
    def learn(cls, leaves: Iterable[str], masks: Iterable[str] = (), merge_above: int = 4) -> Self:
        """A pure function of the set of `leaves` (from `template_leaves`): order and repeats change nothing."""
        distinct = set(leaves)
        unnamed = {leaf: plain(leaf) for leaf in distinct if plain(leaf) != leaf and plain(leaf) in distinct}
        merged = merge(distinct - unnamed.keys(), merge_above)
        frozen = FrozenPatterns(merged.values())
        # A leaf too rare to be merged by itself joins the pattern that it would fit if it came later.
        fitting = {leaf: frozen.find(leaf) if None not in own else own for leaf, own in merged.items()}
        templates = {leaf: render(fitting[leaf] or own) for leaf, own in merged.items()}
        templates |= {leaf: templates[other] for leaf, other in unnamed.items()}
        patterns = frozenset(pattern for pattern in merged.values() if None in pattern)
        return cls(templates, patterns, tuple(masks), merge_above)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` gave; ValueError for anything else."""
        try:
            read = json.loads(text)
            _check_version(read["version"])
            templates, patterns = dict(read["templates"]), map(tuple, read["patterns"])
            return cls(templates, frozenset(patterns), tuple(read["masks"]), int(read["merge_above"]))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a template set: {type(error).__name__} {error}; {_MAKE_AGAIN}") from error

    def to_json(self) -> str:
        """Canonical: equal sets give equal text."""
        content: dict[str, Any] = {
            "version": FORMAT_VERSION,
            "masks": list(self.masks),
            "merge_above": self.merge_above,
            "templates": dict(self.templates),
            "patterns": sorted(map(list, self.patterns), key=json.dumps),
        }
        return json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """Hex blake2b-128 of the canonical JSON."""
        return blake2b(self.to_json().encode(), digest_size=16).hexdigest()


def _check_version(version: Any) -> None:
    if version != FORMAT_VERSION:
        raise ValueError(
            f"template set of version {version}, and this longwatch reads version {FORMAT_VERSION}: other versions "
            f"give other templates; {_MAKE_AGAIN}, or run the longwatch that made it"
        )


class TemplateMatcher:
    """Gives messages their templates; what a message gets depends on it and the template set alone."""

    def __init__(self, template_set: TemplateSet, cached_leaves: int = LEAVES) -> None:
        self.template_set = template_set
        self._leaves = LeafTable(Masks(template_set.masks), cached_leaves)
        self._patterns = FrozenPatterns(template_set.patterns)
        # By leaf number: the template's id, its text, and how many characters the leaf shows of its message.
        self._ids = np.empty(cached_leaves, np.uint64)
        self._constant_chars = np.empty(cached_leaves, np.int32)
        self._texts = pl.Series(dtype=pl.String)

    def match(self, messages: pl.Series) -> pl.DataFrame:
        """`MATCH_SCHEMA` row of each message (String, no nulls), in order.

        parameter_chars: characters of the message that its leaf does not show.
        """
        return pl.concat([self._rows(piece) for piece in self._leaves.number(messages)])

    def _rows(self, piece: Numbered) -> pl.DataFrame:
        if piece.anew:
            self._texts = self._texts.clear()
        if piece.new_leaves:
            self._learn(piece.new_leaves)
        removed = np.maximum(piece.chars - self._constant_chars[piece.numbers], 0)
        columns = [self._ids[piece.numbers], self._texts[pl.Series(piece.numbers)], removed]
        return pl.DataFrame([pl.Series(name, column) for name, column in zip(MATCH_SCHEMA, columns, strict=True)])

    def _learn(self, leaves: list[str]) -> None:
        start, end = len(self._texts), len(self._texts) + len(leaves)
        texts = [self._template(leaf) for leaf in leaves]
        self._texts = self._texts.extend(pl.Series(texts, dtype=pl.String))
        self._ids[start:end] = [template_id(text) for text in texts]
        self._constant_chars[start:end] = [len(leaf.replace(WILDCARD, "")) for leaf in leaves]

    def _template(self, leaf: str) -> str:
        known, other = self.template_set.templates, plain(leaf)
        template = known.get(leaf) or known.get(other)
        if template is not None:
            return template
        pattern = self._patterns.find(leaf) or (self._patterns.find(other) if other != leaf else None)
        return leaf if pattern is None else render(pattern)
