"""Open windows become the tokens that a scorer reads, whole and in order."""

import numpy as np
import pytest

from longwatch.model.scorer import END_TEMPLATE
from longwatch.pipeline.decode import Decoder
from longwatch.pipeline.history import History, read_windows
from longwatch.pipeline.packing import END_ID, has_end, pack
from longwatch.pipeline.sources.files import FilesSource, TopicShape
from longwatch.pipeline.template_columns import TemplateColumns
from longwatch.pipeline.window_state import Window, WindowRules
from support.demo import demo_config, demo_frame, demo_model

CONFIG = demo_config()


@pytest.fixture(scope="module")
def windows(tmp_path_factory) -> list[Window]:
    """Windows that closed for each reason, with and without context, and some that are open."""
    path = tmp_path_factory.mktemp("log") / "demo.log"
    path.write_text("".join(f"{line}\n" for line in demo_frame((9, 11))["line"].head(3000)))
    rules = WindowRules(max_events=150, idle_gap_ms=600_000, max_duration_ms=3_600_000, overlap=8)
    source = FilesSource([path], TopicShape("logs", "uuid", 1))
    history: History = read_windows(
        source, Decoder(CONFIG.format, CONFIG.entity), TemplateColumns(demo_model().templates), rules
    )
    assert {window.close and window.close.reason for window in history.windows} == {
        "idle_gap",
        "max_duration",
        "max_events",
        None,
    }
    return history.windows


def test_each_windows_tokens_are_its_columns_and_then_its_end_if_it_went_quiet(windows):
    tokens = pack(windows)
    bounds = tokens.cu_seqlens.tolist()
    assert len(bounds) == len(windows) + 1
    for window, start, stop in zip(windows, bounds[:-1], bounds[1:], strict=True):
        quiet = window.close is not None and window.close.reason == "idle_gap"
        assert has_end(window) == quiet
        assert stop - start == len(window.columns) + quiet
        for name in ("template_id", "gap_ms", "parameter_chars"):
            own = getattr(tokens, name)[start : start + len(window.columns)]
            assert own.tolist() == window.columns[name].tolist()
        if quiet:
            last = stop - 1
            assert (tokens.template_id[last], tokens.gap_ms[last], tokens.parameter_chars[last]) == (END_ID, 0, 0)


def test_context_and_what_was_scored_before_need_no_score(windows):
    tokens = pack(windows)
    assert tokens.scored.tolist() == [window.context for window in windows]
    assert {0, 8} <= set(tokens.scored.tolist())
    assert tokens.num_scores == sum(window.num_events + has_end(window) for window in windows)


def test_the_dtypes_are_the_contract_of_a_scorer(windows):
    tokens = pack(windows)
    assert (tokens.template_id.dtype, tokens.gap_ms.dtype, tokens.parameter_chars.dtype) == (
        np.uint64,
        np.int64,
        np.int32,
    )
    assert tokens.cu_seqlens.dtype == tokens.scored.dtype == np.int32


def test_every_templates_text_is_given_the_end_included(windows):
    tokens = pack(windows)
    assert set(tokens.template_id.tolist()) <= set(tokens.templates)
    assert tokens.templates[END_ID] == END_TEMPLATE


def test_windows_packed_alone_and_together_are_the_same_tokens(windows):
    together = pack(windows[:20])
    alone = [pack([window]) for window in windows[:20]]
    for name in ("template_id", "gap_ms", "parameter_chars", "scored"):
        assert getattr(together, name).tolist() == [x for one in alone for x in getattr(one, name).tolist()]


def test_no_windows_are_no_tokens():
    tokens = pack([])
    assert (len(tokens.template_id), tokens.cu_seqlens.tolist(), tokens.num_scores) == (0, [0], 0)
