import numpy as np

from longwatch.model.baselines import FLOORS, count_vector, unseen_bigram, unseen_event
from longwatch.model.evidence import Evidence
from longwatch.model.tokens import END_TEMPLATE, WindowTokens, template_id


def tokens_of(*windows: str) -> WindowTokens:
    ids = [template_id(END_TEMPLATE if letter == "." else letter) for window in windows for letter in window]
    bounds = np.concatenate([[0], np.cumsum([len(window) for window in windows])]).astype(np.int32)
    gaps = np.zeros(len(ids), np.int64)
    gaps[bounds[:-1]] = -1
    none = np.zeros(len(ids), np.int32)
    return WindowTokens(np.array(ids, np.uint64), gaps, none, bounds, np.zeros(len(windows), np.int32))


TRAINED = Evidence.fit(tokens_of("abab.", "aab."))


def test_unseen_events_are_counted_per_window():
    assert unseen_event(TRAINED, tokens_of("axbx.", "ab.", "y.")).tolist() == [2, 0, 1]


def test_unseen_pairs_are_counted_with_the_start_and_the_end():
    assert unseen_bigram(TRAINED, tokens_of("abab.", "bab.", "abba.")).tolist() == [0, 1, 2]


def test_count_vector_is_the_distance_to_the_nearest_training_counts_over_the_length():
    assert count_vector(TRAINED, tokens_of("baba.", "aabb.", "aaab.", "ab.", "abx.")).tolist() == [
        0,
        0,
        0.25,
        0.5,
        2 / 3,
    ]


def test_every_floor_gives_one_score_for_each_window():
    tokens = tokens_of("ab.", "bbbb.", "xyz.")
    assert {name: floor(TRAINED, tokens).shape for name, floor in FLOORS.items()} == dict.fromkeys(FLOORS, (3,))
