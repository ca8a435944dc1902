"""What reads and judges a partition's events by one bundle: its templates, and the detector of its calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from longwatch.pipeline.detector import Detector
from longwatch.pipeline.template_columns import TemplateColumns


@dataclass(frozen=True, eq=False)
class Reading:
    """Of one bundle, by the first 16 digits of its digest; holds no state of any window."""

    bundle: str
    templates: TemplateColumns
    detector: Detector


class Readings:
    """Those in use, by bundle: `first` is the only one where nothing can change, others are made when needed."""

    def __init__(self, first: Reading, make: Callable[[str], Reading] | None = None) -> None:
        self.first = first
        self._make = make
        self._made = {first.bundle: first}

    def of(self, bundle: str) -> Reading:
        """The reading of a bundle; raises BundleUnusableError where it cannot be had."""
        if bundle not in self._made and self._make is not None:
            self._made[bundle] = self._make(bundle)
        return self._made[bundle]

    def keep(self, bundles: set[str]) -> None:
        """Let go of all others: a bundle that judges nowhere any more is memory for nothing."""
        self._made = {bundle: reading for bundle, reading in self._made.items() if bundle in bundles}
        self.first = self._made.get(self.first.bundle) or next(iter(self._made.values()))
