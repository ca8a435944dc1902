"""Does a series grow? Its slope by least squares, and an interval that does not take neighbours for strangers."""

from dataclasses import dataclass

import numpy as np

DRAWS = 4000
FEWEST = 10
BLOCKS = 12
"""Residuals are drawn again in blocks, about so many to a series: what lasts shorter than one stays together."""


@dataclass(frozen=True)
class Slope:
    """Growth an hour with its 95 % interval; `flat` when that includes 0."""

    per_hour: float
    low: float
    high: float

    @property
    def flat(self) -> bool:
        """Whether no growth is within the interval."""
        return self.low <= 0.0 <= self.high

    def as_dict(self) -> dict[str, float | bool]:
        """For JSON."""
        numbers = {"per_hour": self.per_hour, "low": self.low, "high": self.high}
        return {name: round(value, 4) for name, value in numbers.items()} | {"flat": self.flat}


def slope(seconds: list[float], values: list[float], seed: int = 0) -> Slope:
    """Of at least 10 samples; the blocks are drawn from `seed` (circular block bootstrap of the residuals)."""
    if len(values) < FEWEST:
        raise ValueError(f"{len(values)} samples; a slope needs at least {FEWEST}")
    hours = np.asarray(seconds, float) / 3600
    centred = hours - hours.mean()
    observed = np.asarray(values, float)
    fitted = float(centred @ observed / (centred @ centred))
    residuals = observed - observed.mean() - fitted * centred
    errors = _resampled(residuals, np.random.default_rng(seed)) @ centred / (centred @ centred)
    low, high = np.quantile(errors, [0.025, 0.975])
    # Rounded, or the arithmetic of a constant would count as growth.
    return Slope(*(round(value, 9) for value in (fitted, fitted - float(high), fitted - float(low))))


def _resampled(residuals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """DRAWS series as long as the residuals, each of blocks of them laid end to end."""
    count = len(residuals)
    length = -(-count // BLOCKS)
    starts = rng.integers(0, count, (DRAWS, -(-count // length)))
    places = (starts[:, :, None] + np.arange(length)).reshape(DRAWS, -1)[:, :count] % count
    return residuals[places]
