"""The transformer alone, and the detector that `longwatch train` bundles, from one training."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bench.effort import Effort
from longwatch.model.bench.forward import NETWORK_BORDERS
from longwatch.model.bench.method import Judged
from longwatch.model.bench.surprise import surprise_scores
from longwatch.model.bench.surprise_files import SurpriseFiles
from longwatch.model.bench.threshold import UnitScores
from longwatch.model.bench.units import Past, Units
from longwatch.model.calibrate import Calibration
from longwatch.model.evidence import Evidence
from longwatch.model.surprise import surprise_of
from longwatch.model.train import TrainedModel, train


@dataclass
class Trainer:
    """Trains once for a past and a seed, and remembers the last training and the surprise it gave."""

    effort: Effort
    files: SurpriseFiles | None = None
    _last: tuple[Past, int, TrainedModel] | None = None
    _surprise: list[tuple[Units, NDArray[np.float32]]] = field(default_factory=list)

    def trained(self, past: Past, seed: int) -> TrainedModel:
        """The network of this past and seed."""
        if self._last is None or self._last[0] is not past or self._last[1] != seed:
            fit, tune = past.fit.windows.tokens, past.tune.windows.tokens
            found = train(self.effort.model, self.effort.training(seed), fit, tune, fit.templates)
            self._last, self._surprise = (past, seed, found), []
        return self._last[2]

    def surprise(self, past: Past, seed: int, units: Units) -> NDArray[np.float32]:
        """Surprise of each unscored token of `units`, nats, float32 [M]."""
        if self.files is not None:
            return self.files.surprise(past, seed, units)
        trained = self.trained(past, seed)
        for known, surprise in self._surprise:
            if known is units:
                return surprise
        surprise = surprise_of(trained, units.windows.tokens, self.effort.device)
        self._surprise.append((units, surprise))
        return surprise


@dataclass(frozen=True)
class Network:
    """Mean surprise of a trace, summed excess of a stream's window."""

    trainer: Trainer
    name: str = "network"
    seeded: bool = True

    @property
    def borders(self) -> tuple[float, ...]:
        """Trained again for each block only where that was done elsewhere."""
        return NETWORK_BORDERS if self.trainer.files else ()

    def applies(self, past: Past) -> bool:
        """Wherever there are events."""
        return len(past.fit.windows.tokens.template_id) > 0

    def learn(self, past: Past, seed: int) -> "NetworkJudge":
        """Trains when scores are asked for, or takes the training that another method has asked for."""
        return NetworkJudge(self.trainer, past, seed)


@dataclass(frozen=True)
class NetworkJudge:
    """Normal scores by a network that did not learn from those units; later ones by all of the past."""

    trainer: Trainer
    past: Past
    seed: int

    @property
    def normal(self) -> UnitScores:
        """Scores of the calibration units."""
        held_out = self.past.calibration
        return surprise_scores(self.trainer.surprise(self.past, self.seed, held_out), held_out)

    def score(self, units: Units) -> UnitScores:
        """Scores of later units."""
        past = self.past.spent if self.trainer.files else self.past
        return surprise_scores(self.trainer.surprise(past, self.seed, units), units)


@dataclass(frozen=True)
class Shipped:
    """The window score of the stream worker as it is today: `Calibration`'s."""

    trainer: Trainer
    name: str = "longwatch worker"
    seeded: bool = True
    borders: tuple[float, ...] = ()

    def applies(self, past: Past) -> bool:
        """Wherever there are events."""
        return len(past.fit.windows.tokens.template_id) > 0

    def learn(self, past: Past, seed: int) -> Judged:
        """Calibrated as `model.fit` does it: by evidence from `fit`, which is then counted from the whole past."""
        held_out = past.calibration.windows.tokens
        counted = Evidence.fit(past.fit.windows.tokens)
        surprise, signs = self.trainer.surprise(past, seed, past.calibration), counted.signs(held_out)
        calibration = Calibration.fit(surprise, signs, held_out, days=1.0)
        everything = Evidence.fit(past.whole.windows.tokens)

        def score(units: Units, evidence: Evidence = everything) -> UnitScores:
            tokens = units.windows.tokens
            counts = (tokens.lengths - tokens.scored).astype(np.int64)
            states = np.tile(calibration.window_state(), (len(counts), 1))
            found = self.trainer.surprise(past, seed, units), evidence.signs(tokens)
            so_far = calibration.window_scores(states, *found, counts)[1]
            return UnitScores(calibration.final_scores(*found, tokens), so_far)

        return Judged(score(past.calibration, counted), score)
