"""Open windows as the packed tokens that a scorer reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwatch.model.scorer import END_TEMPLATE, WindowTokens, template_id
from longwatch.pipeline.window_columns import DTYPES
from longwatch.pipeline.window_state import Window

END_ID = template_id(END_TEMPLATE)
_END_ROW = {"template_id": END_ID, "gap_ms": 0, "parameter_chars": 0}


def has_end(window: Window) -> bool:
    """Whether the window's end is itself a token: its entity went quiet although more could have come."""
    return window.close is not None and window.close.entity_went_quiet


def pack(windows: Sequence[Window]) -> WindowTokens:
    """All windows whole, in order, with the end as last token of those that went quiet; scored tokens are marked."""
    lengths = [len(window.columns) + has_end(window) for window in windows]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    columns = {name: _packed(windows, starts, name) for name in _END_ROW}
    texts = {END_ID: END_TEMPLATE}
    for window in windows:
        texts |= window.columns.new_templates
    scored = np.array([window.num_scored for window in windows], np.int32)
    return WindowTokens(**columns, cu_seqlens=starts, scored=scored, templates=texts)


def _packed(windows: Sequence[Window], starts: NDArray[np.int32], name: str) -> NDArray[Any]:
    packed: NDArray[Any] = np.full(int(starts[-1]), _END_ROW[name], DTYPES[name])
    for window, start in zip(windows, starts.tolist(), strict=False):
        packed[start : start + len(window.columns)] = window.columns[name]
    return packed
