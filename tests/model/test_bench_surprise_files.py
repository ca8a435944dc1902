"""Units travel without labels, and surprise comes back to those units and that training alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longwatch.model.bench.case import Case
from longwatch.model.bench.effort import Effort
from longwatch.model.bench.forward import BORDERS, NETWORK_BORDERS, forward_blocks
from longwatch.model.bench.method import PartScores
from longwatch.model.bench.network import Network, Trainer
from longwatch.model.bench.surprise import surprise_scores
from longwatch.model.bench.surprise_files import SurpriseFiles, load_cases, packed, save_cases, surprise_key
from longwatch.model.bench.truth import SealedTruth, Truth
from longwatch.model.bench.units import Units, split_past
from longwatch.model.dataset import Windows
from longwatch.model.tokens import WindowTokens, template_id


def units(count: int, seed: int) -> Units:
    """Windows of one to five events, a minute apart."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 6, count)
    kinds = np.array([template_id(letter) for letter in "abcd"], np.uint64)
    ids = kinds[draw.integers(0, 4, lengths.sum())]
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    zeros = np.zeros(len(ids), np.int32)
    texts = {template_id(letter): letter for letter in "abcd"}
    tokens = WindowTokens(ids, zeros.astype(np.int64), zeros, bounds, np.zeros(count, np.int32), texts)
    start = np.arange(count, dtype=np.int64) * 60_000
    return Units(Windows(tokens, start, start + 1000), np.arange(count, dtype=np.int64) % 3, "stream", True)


@pytest.fixture
def case() -> Case:
    return Case("some/case", units(60, 1), units(20, 2), SealedTruth(Truth.nothing(20)))


def test_a_case_comes_back_as_it_was_and_without_labels(case, tmp_path: Path):
    save_cases(tmp_path / "cases.npz", [case])
    (back,) = load_cases(tmp_path / "cases.npz")
    assert back.name == case.name
    assert not back.truth.labelled
    for seed in (0, 1):
        assert surprise_key(back.past(seed), seed, back.test) == surprise_key(case.past(seed), seed, case.test)
    assert np.array_equal(back.normal.entity, case.normal.entity)
    assert np.array_equal(back.normal.windows.end_ms, case.normal.windows.end_ms)
    text = back.test.windows.tokens.templates
    assert {text[number] for number in back.test.windows.tokens.template_id.tolist()} == set("abcd")


def test_surprise_is_found_by_what_was_learned_and_scored(case, tmp_path: Path):
    past, surprise = case.past(0), np.linspace(0, 9, case.test.windows.tokens.num_scores, dtype=np.float32)
    np.savez(tmp_path / "s.npz", **{surprise_key(past, 0, case.test): packed(surprise)})
    files = SurpriseFiles(tmp_path)
    assert files.surprise(past, 0, case.test) == pytest.approx(surprise, abs=1 / 512)
    changed = case.test.windows.tokens.template_id.copy()
    changed[0] = template_id("z")
    other = replace(case.test, windows=replace(case.test.windows, tokens=replace_ids(case.test, changed)))
    for wrong in ((case.past(1), 0, case.test), (past, 1, case.test), (past.spent, 0, case.test), (past, 0, other)):
        with pytest.raises(ValueError, match="export and train again"):
            files.surprise(*wrong)


def replace_ids(of: Units, ids: np.ndarray) -> WindowTokens:
    return replace(of.windows.tokens, template_id=ids)


def test_each_block_of_the_past_is_later_than_all_that_was_learned_for_it(case):
    past = split_past(case.normal)
    blocks = list(forward_blocks(past))
    assert sum(len(block) for _, block in blocks) == 60 - round(60 * BORDERS[0])
    for earlier, block in blocks:
        assert earlier.whole.windows.start_ms.max() < block.windows.start_ms.min()


def test_a_network_trained_elsewhere_is_judged_like_any_method(case, tmp_path: Path):
    """Levels by what left calibration units out, the test by all of the past, thresholds by what came before."""
    past, draw = case.past(0), np.random.default_rng(0)
    wanted = [(past, past.calibration), (past.spent, case.test)]
    wanted += [(earlier.spent, block) for earlier, block in forward_blocks(past, NETWORK_BORDERS)]
    surprise = [draw.exponential(4, each.windows.tokens.num_scores).astype(np.float32) for _, each in wanted]
    files = {surprise_key(of, 0, each): packed(found) for (of, each), found in zip(wanted, surprise, strict=True)}
    np.savez(tmp_path / "s.npz", **files)
    found = PartScores.of(Network(Trainer(Effort(), SurpriseFiles(tmp_path))), past, case.test, 0)
    scores = [surprise_scores(each, of).final for (_, of), each in zip(wanted, surprise, strict=True)]
    assert found.normal.final == pytest.approx(scores[0], abs=0.02)
    assert found.test.final == pytest.approx(scores[1], abs=0.02)
    assert found.later.final == pytest.approx(np.concatenate(scores[2:]), abs=0.02)
