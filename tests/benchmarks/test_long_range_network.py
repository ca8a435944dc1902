"""The long-range network: causal, the same packed and alone, and a lane is dense attention among rare events."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from long_range.catalogue import WOVEN, Catalogue
from long_range.contenders import CONTENDERS, Contender
from long_range.cost import cost, kept
from long_range.filler import Filler
from long_range.network import Days, rare_classes
from long_range.training import Effort, Material, Network, build, surprise_and_entropy, train
from long_range.weave import weave

LENGTH = 512
SMALL = {"d_model": 64, "heads": 1}
NAMES = ("lane", "hybrid", "strided", "topk", "global", "sliding 10", "DeepLog 10")


@pytest.fixture(scope="module")
def catalogue(filler: Filler) -> Catalogue:
    return Catalogue(filler.texts)


@pytest.fixture(scope="module")
def days(filler: Filler) -> list[np.ndarray]:
    return [weave(filler, "fit", seed, LENGTH).events for seed in range(4)]


def contender(name: str, **changes: object) -> Contender:
    return replace(CONTENDERS[name], **SMALL, **changes)


def surprise(network: Network, some: list[np.ndarray], who: Contender, rare: np.ndarray) -> np.ndarray:
    layers = [text for text in who.layers if text != "lstm"]
    with torch.no_grad():
        seen = Days.of(some, layers, rare, "cpu")
        return surprise_and_entropy(network.logits(seen).float(), seen.events)[0].numpy()


@pytest.fixture(scope="module")
def rare(days: list[np.ndarray], catalogue: Catalogue) -> np.ndarray:
    return rare_classes(np.bincount(np.concatenate(days), minlength=len(catalogue.texts) + 1), 0.2)


@pytest.mark.parametrize("name", NAMES)
def test_no_surprise_depends_on_later_events(
    name: str, catalogue: Catalogue, days: list[np.ndarray], rare: np.ndarray
) -> None:
    torch.manual_seed(0)
    network = build(contender(name), catalogue)
    changed = days[0].copy()
    changed[300:] = days[1][300:]
    whole, other = (surprise(network, [day], contender(name), rare) for day in (days[0], changed))
    np.testing.assert_allclose(whole[:300], other[:300], atol=1e-4)
    assert np.abs(whole[300:] - other[300:]).max() > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_a_day_scores_the_same_packed_and_alone(
    name: str, catalogue: Catalogue, days: list[np.ndarray], rare: np.ndarray
) -> None:
    torch.manual_seed(0)
    network = build(contender(name), catalogue)
    packed = surprise(network, days[:2], contender(name), rare)
    alone = [surprise(network, [day], contender(name), rare) for day in days[:2]]
    np.testing.assert_allclose(packed, np.concatenate(alone), atol=1e-4)


def test_a_lane_of_all_classes_is_dense_attention(catalogue: Catalogue, days: list[np.ndarray]) -> None:
    lane, dense = contender("one lane"), contender("hybrid")
    networks = []
    for who in (lane, dense):
        torch.manual_seed(0)
        networks.append(build(who, catalogue))
    every = np.ones(len(catalogue.texts) + 1, dtype=bool)
    found = [surprise(network, days[:2], who, every) for network, who in zip(networks, (lane, dense), strict=True)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_an_event_outside_the_lane_changes_nothing_far_away(catalogue: Catalogue, days: list[np.ndarray]) -> None:
    who = contender("one lane")
    rare = np.zeros(len(catalogue.texts) + 1, dtype=bool)
    rare[catalogue.first["issued"] :] = True
    torch.manual_seed(0)
    network = build(who, catalogue)
    common = np.flatnonzero(~rare[days[0][:100]])
    common = common[~rare[days[0][common + 1]]]  # an event in the lane remembers the one before it
    changed = days[0].copy()
    changed[common[0]] = 1 + (changed[common[0]] % len(catalogue.filler))
    found = [surprise(network, [day], who, rare) for day in (days[0], changed)]
    far = np.arange(LENGTH) > 100 + 3 * 128
    np.testing.assert_allclose(found[0][far], found[1][far], atol=1e-3)


@pytest.mark.parametrize("name", ["one lane", "DeepLog 10"])
def test_training_learns_and_equal_seeds_give_equal_weights(
    name: str, catalogue: Catalogue, days: list[np.ndarray]
) -> None:
    counts = np.bincount(np.concatenate(days), minlength=len(catalogue.texts) + 1)
    material = Material(catalogue, {LENGTH: days}, counts)
    who = contender(name, phases=((LENGTH, 1.0),), rare_weight=0.0, learning_rate=0.05)
    effort = Effort(6, 600, 2 * LENGTH, "cpu")
    one, same, other = (train(who, material, seed, effort) for seed in (0, 0, 1))
    assert one.scores(days[0])["surprise"].mean() < 0.99 * np.log(len(catalogue.texts))  # untrained, all are as likely
    assert (one.scores(days[0])["surprise"] == same.scores(days[0])["surprise"]).all()
    assert (one.scores(days[0])["surprise"] != other.scores(days[0])["surprise"]).any()
    assert one.steps == 6
    assert cost(one, days[0])["cache_bytes"] > 0


def test_what_a_stream_must_keep_is_counted_by_pattern() -> None:
    assert kept("dense", 1000) == 1000
    assert kept("sliding(128)", 1000) == 128
    assert kept("sliding(128)", 100) == 100
    assert kept("sliding(100) | global(50)", 1000) == 150
    assert kept("sliding(100) | strided(200, width=10)", 1000) == 100 + 4 * 10
    assert kept("sliding(10) | topk(4, block=64)", 1000) == 1000


def test_rare_classes_hold_no_more_than_their_share() -> None:
    counts = np.array([0, 50, 30, 10, 6, 4])
    assert rare_classes(counts, 0.2).tolist() == [True, False, False, True, True, True]
    assert rare_classes(counts, 0.19).tolist() == [True, False, False, False, True, True]


def test_names_never_share_a_word(catalogue: Catalogue) -> None:
    words = catalogue.words(8)
    first = catalogue.first
    for kind in ("issued", "opened", "ran", "connects", "signs_in"):
        count = WOVEN[kind][1]
        rows = [tuple(row) for row in words[first[kind] : first[kind] + count].tolist()]
        assert len(set(rows)) == count
    assert words[first["revoked"] + 7, 1] == words[first["accepted"] + 7, 1]


def test_excess_is_surprise_beyond_what_was_expected() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [9.0, 0.0, 0.0, 0.0]])
    surprise, entropy = surprise_and_entropy(logits, torch.tensor([2, 2]))
    assert (surprise - entropy)[0] == pytest.approx(0.0, abs=1e-6)
    assert (surprise - entropy)[1] > 8.9
