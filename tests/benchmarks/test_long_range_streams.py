"""Planted streams: kept by normal days, broken by incidents alone, and by nothing that a short reader could see."""

import numpy as np
import pytest

from long_range.catalogue import Catalogue
from long_range.episodes import FAMILIES, wanted
from long_range.filler import Filler, read, write
from long_range.floors import Rules, floors
from long_range.judge import auroc
from long_range.weave import Stream, weave

LENGTH = 16_384
DISTANCES = (100, 1000, 8000)
PLANTS = wanted(DISTANCES, 2)


@pytest.fixture(scope="module")
def catalogue(filler: Filler) -> Catalogue:
    return Catalogue(filler.texts)


def twins(filler: Filler, seed: int) -> tuple[Stream, Stream]:
    return weave(filler, "test", seed, LENGTH, PLANTS, True), weave(filler, "test", seed, LENGTH, PLANTS, False)


@pytest.mark.parametrize("seed", range(4))
def test_normal_days_keep_every_rule(filler: Filler, catalogue: Catalogue, seed: int) -> None:
    broken = Rules(catalogue).broken
    for role in ("fit", "calibrate", "test"):
        assert not broken(weave(filler, role, seed, LENGTH).events).any()
    assert not broken(twins(filler, seed)[1].events).any()


@pytest.mark.parametrize("seed", range(4))
def test_an_incident_breaks_its_rule_at_its_answers_and_nothing_else_is_broken(
    filler: Filler, catalogue: Catalogue, seed: int
) -> None:
    harmed, _ = twins(filler, seed)
    rows = np.flatnonzero(Rules(catalogue).broken(harmed.events))
    planted = harmed.row[harmed.planted >= 0]
    assert set(planted.tolist()) <= set(rows.tolist())
    # What a runbook runs after the wrong job is a consequence, in the same four places.
    runs = planted[
        np.isin(harmed.family[harmed.planted >= 0], [FAMILIES.index("skipped"), FAMILIES.index("reordered")])
    ]
    near = {int(row) + step for row in runs for step in range(4)}
    assert set(rows.tolist()) <= set(planted.tolist()) | near


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_and_its_untouched_twin_differ_in_the_incidents_alone(filler: Filler, seed: int) -> None:
    harmed, twin = twins(filler, seed)
    assert (harmed.row == twin.row).all()
    assert (harmed.planted == twin.planted).all()
    places = {int(row) + step for row in harmed.row[harmed.planted >= 0] for step in range(4)}
    assert set(np.flatnonzero(harmed.events != twin.events).tolist()) <= places
    assert len(np.unique(harmed.planted[harmed.planted >= 0])) == len(PLANTS)


def test_evidence_lies_as_far_back_as_asked(filler: Filler, catalogue: Catalogue) -> None:
    harmed, _ = twins(filler, 0)
    first, decides = catalogue.first, {"revoked": ("accepted", "revoked"), "skipped": ("ran", "planned")}
    for family, (answer, evidence) in decides.items():
        mine = (harmed.planted >= 0) & (harmed.family == FAMILIES.index(family))
        for row, distance in zip(harmed.row[mine], harmed.distance[mine], strict=True):
            about = harmed.events[row] - first[answer]
            place = np.flatnonzero(harmed.events[:row] == first[evidence] + about)
            assert 0.9 * distance - 10 <= row - place[-1] <= 1.01 * distance + 30


def test_the_nearest_mention_of_a_revoked_key_before_it_is_presented_is_the_evidence(
    filler: Filler, catalogue: Catalogue
) -> None:
    harmed, _ = twins(filler, 1)
    first = catalogue.first
    rows = harmed.row[(harmed.planted >= 0) & (harmed.family == FAMILIES.index("revoked"))]
    for row in rows:
        key = harmed.events[row] - first["accepted"]
        kinds = [first[kind] + key for kind in ("issued", "revoked", "presented", "accepted", "refused")]
        mentions = np.flatnonzero(np.isin(harmed.events[: row - 1], kinds))
        assert harmed.events[mentions[-1]] == first["revoked"] + key
        assert len(mentions) == 2


def test_floors_are_at_chance_beyond_their_reach(filler: Filler, catalogue: Catalogue) -> None:
    days = [weave(filler, "fit", seed, LENGTH).events for seed in range(8)]
    pairs = [twins(filler, seed) for seed in range(6)]
    for name, score in floors(days, catalogue).items():
        bad, good = [], []
        for harmed, twin in pairs:
            mine = (harmed.planted >= 0) & (harmed.distance >= 1000)
            for scores, stream in ((bad, harmed), (good, twin)):
                scores.append(score(stream.events)[stream.row[mine]])
        found = auroc(np.concatenate(bad), np.concatenate(good))
        low, high = (1.0, 1.0) if name == "the rules" else (0.42, 0.58)
        assert low <= found <= high, f"{name}: {found}"


def test_equal_seeds_give_equal_streams_and_other_seeds_others(filler: Filler) -> None:
    one, same, other = (weave(filler, "fit", seed, 2048).events for seed in (5, 5, 6))
    assert (one == same).all()
    assert (one != other).any()


def test_the_real_stream_keeps_its_order_between_what_is_woven_in(filler: Filler) -> None:
    stream = weave(filler, "fit", 3, 4096)
    real = stream.events[stream.events <= len(filler.texts)] - 1
    drawn = filler.draw("fit", 4096, np.random.default_rng([3, 4096, sum(b"fit")]))
    assert (real == drawn[: len(real)]).all()


def test_a_written_filler_is_read_back(filler: Filler, tmp_path) -> None:
    write(tmp_path / "filler.npz", [filler])
    again = read(tmp_path / "filler.npz", "demo")
    assert again.texts == filler.texts
    assert all((again.events[role] == filler.events[role]).all() for role in filler.events)
    with pytest.raises(KeyError, match="only demo"):
        read(tmp_path / "filler.npz", "adfa")
