"""All that a pipeline may use of a model; neither torch nor onnxruntime is imported before a scorer is opened."""

from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from longwatch.model.bundle import Bundle, BundleError, open_bundle
from longwatch.model.calibrate import Calibration
from longwatch.model.evidence import Evidence
from longwatch.model.recalibrate import Pace, Recalibration
from longwatch.model.scorer.unavailable import ScorerUnavailableError
from longwatch.model.successors import Successors
from longwatch.model.tokens import END_TEMPLATE, WindowTokens, template_id

__all__ = [
    "END_TEMPLATE",
    "Backend",
    "Bundle",
    "BundleError",
    "Calibration",
    "Device",
    "Evidence",
    "Pace",
    "Recalibration",
    "Scorer",
    "ScorerUnavailableError",
    "Successors",
    "WindowTokens",
    "open_bundle",
    "open_scorer",
    "template_id",
]

Backend = Literal["auto", "onnx", "torch", "triton"]
Device = Literal["auto", "cpu", "cuda"]
INSTALL = {
    "onnx": ("onnxruntime", "longwatch[cpu]"),
    "torch": ("torch", "longwatch[train]"),
    "triton": ("triton", "longwatch[gpu]"),
}
AUTOMATIC = ("onnx", "torch")


class Scorer(Protocol):
    """A pure function from windows to surprise, whatever the backend, batch or history."""

    name: str

    def score(self, tokens: WindowTokens) -> NDArray[np.float32]:
        """Surprise of each token not scored before, nats, float32 [M], packed order; an unseen template's is UNK's."""
        ...


def open_scorer(bundle: Bundle, backend: Backend = "auto", threads: int = 1, device: Device = "auto") -> Scorer:
    """Scorer of a bundle; auto is ONNX Runtime where it is installed, else torch.

    threads: CPU threads of one score call. device: cuda asks for the GPU and raises where there is none; auto is the
    GPU for triton, which runs nowhere else, and the CPU for the others.
    """
    chosen = _choose(backend)
    if chosen == "triton":
        from longwatch.model.scorer.triton import TritonScorer

        return TritonScorer(bundle, device)
    there = "cpu" if device == "auto" else device
    if chosen == "onnx":
        from longwatch.model.scorer.onnx import OnnxScorer

        return OnnxScorer(bundle, threads, there)
    from longwatch.model.scorer.torch import TorchScorer

    return TorchScorer(bundle, threads, there)


def _choose(backend: str) -> str:
    if backend not in ("auto", *INSTALL):
        raise ValueError(f"backend: expected auto, onnx, torch or triton, found {backend!r}")
    wanted = AUTOMATIC if backend == "auto" else (backend,)
    for name in wanted:
        if find_spec(INSTALL[name][0]) is not None:
            return name
    advice = " or ".join(f"pip install '{INSTALL[name][1]}'" for name in wanted)
    raise ScorerUnavailableError(f"no {' or '.join(INSTALL[n][0] for n in wanted)} on this machine: {advice}")
