"""Messages to templates: learned once from a set of leaves, frozen, and the same on any machine in any order."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, Self

import polars as pl

from longwatch.model.scorer import template_id
from longwatch.pipeline.template_masks import WILDCARD, Masks, tidy
from longwatch.pipeline.template_merging import FrozenPatterns, Pattern, merge, render

FORMAT_VERSION = 1
MATCH_SCHEMA = pl.Schema({"template_id": pl.UInt64, "template": pl.String, "parameter_chars": pl.Int32})

_CACHED_LEAVES = 1 << 16


@dataclass(frozen=True)
class TemplateSet:
    """What training saw: `templates` by leaf, `patterns` that have merged words, and the masks that made the leaves."""

    templates: Mapping[str, str] = field(default_factory=dict)
    patterns: frozenset[Pattern] = frozenset()
    masks: tuple[str, ...] = ()
    merge_above: int = 4

    @classmethod
    def learn(cls, leaves: Iterable[str], masks: Iterable[str] = (), merge_above: int = 4) -> Self:
        """A pure function of the set of `leaves` (from `template_masks.leaves`): order and repeats change nothing."""
        merged = merge(leaves, merge_above)
        frozen = FrozenPatterns(merged.values())
        # A leaf too rare to be merged by itself joins the pattern that it would fit if it came later.
        fitting = {leaf: frozen.find(leaf) if None not in own else own for leaf, own in merged.items()}
        templates = {leaf: render(fitting[leaf] or own) for leaf, own in merged.items()}
        patterns = frozenset(pattern for pattern in merged.values() if None in pattern)
        return cls(templates, patterns, tuple(masks), merge_above)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` gave; ValueError for anything else."""
        try:
            read = json.loads(text)
            version, templates, patterns = read["version"], dict(read["templates"]), map(tuple, read["patterns"])
            made = cls(templates, frozenset(patterns), tuple(read["masks"]), int(read["merge_above"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"not a template set: {type(error).__name__} {error}; make the bundle again") from error
        if version != FORMAT_VERSION:
            raise ValueError(f"template set of version {version}, expected {FORMAT_VERSION}; make the bundle again")
        return made

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


class _Match(NamedTuple):
    template_id: int
    template: str
    constant_chars: int


_MATCHED = {"template_id": pl.UInt64, "template": pl.String, "constant_chars": pl.Int32}


class TemplateMatcher:
    """Gives messages their templates; what a message gets depends on it and the template set alone."""

    def __init__(self, template_set: TemplateSet, cached_leaves: int = _CACHED_LEAVES) -> None:
        self.template_set = template_set
        self._masks = Masks(template_set.masks)
        self._patterns = FrozenPatterns(template_set.patterns)
        self._cache: dict[str, _Match] = {}
        self._cached_leaves = cached_leaves

    def match(self, messages: pl.Series) -> pl.DataFrame:
        """`MATCH_SCHEMA` row of each message (String, no nulls), in order.

        parameter_chars: characters of the message that its leaf does not show.
        """
        raw = self._masks.mask(messages.alias("raw"))
        rows = pl.DataFrame({"raw": raw, "length": messages.str.len_chars().cast(pl.Int32)})
        rows = rows.join(self._match_raw(raw.unique()), on="raw", how="left", maintain_order="left")
        removed = (pl.col("length") - pl.col("constant_chars")).clip(0)
        return rows.select("template_id", "template", parameter_chars=removed)

    def _match_raw(self, raw: pl.Series) -> pl.DataFrame:
        """Columns of `_Match`, a row for each of the distinct raw leaves."""
        found = {leaf: match for leaf in raw if (match := self._cache.get(leaf)) is not None}
        if len(found) < len(raw):
            unknown = raw.filter(~raw.is_in(list(found)))
            made = dict(zip(unknown, map(self._match_leaf, tidy(unknown)), strict=True))
            self._remember(made)
            found |= made
        columns = list(zip(*found.values(), strict=True)) or [(), (), ()]
        return pl.DataFrame([list(found), *columns], schema={"raw": pl.String, **_MATCHED}, strict=True)

    def _match_leaf(self, leaf: str) -> _Match:
        template = self.template_set.templates.get(leaf)
        if template is None:
            pattern = self._patterns.find(leaf)
            template = leaf if pattern is None else render(pattern)
        return _Match(template_id(template), template, len(leaf.replace(WILDCARD, "")))

    def _remember(self, made: Mapping[str, _Match]) -> None:
        """Keeps the newest leaves, at most `cached_leaves`: hostile lines cannot fill the memory."""
        self._cache |= made
        for leaf in list(islice(self._cache, max(0, len(self._cache) - self._cached_leaves))):
            del self._cache[leaf]
