"""Events of one stream through a step session, some at a time."""

import numpy as np
from numpy.typing import NDArray

from longwatch.model.scorer.batching import ModelInputs
from longwatch.model.scorer.onnx_step import StepSession


def stream(session: StepSession, inputs: ModelInputs, chunk: int, first: int = 0) -> NDArray[np.float32]:
    """The window's surprise, some events at a time; `first` is the stream's length before it."""
    found = [
        session.run(np.zeros(1, np.int64), np.array([first + start], np.int64), piece(inputs, start, start + chunk))
        for start in range(0, inputs.token.shape[1], chunk)
    ]
    return np.concatenate(found, axis=1)


def piece(inputs: ModelInputs, start: int, stop: int) -> ModelInputs:
    columns = (inputs.token, inputs.gap, inputs.shape)
    token, gap, shape = (column[:, start:stop] for column in columns)
    return ModelInputs(token, gap, shape, inputs.lexicon_words, inputs.lexicon_known, inputs.target[:, start:stop])
