"""What judges a soak run: growth is found, noise that lasts is not taken for it; and the run itself, in short."""

import numpy as np
import pytest

from chaos.churn import LIFE, STEP_MS, churn
from chaos.slope import FEWEST, slope
from chaos.soak import soak
from support.kafka_broker import KafkaForTests


def wandering(seed: int, count: int = 600, memory: float = 0.9) -> np.ndarray:
    """Noise of one unit that forgets slowly, as the memory of a process does."""
    draw = np.random.default_rng(seed)
    values = np.zeros(count)
    for place in range(1, count):
        values[place] = memory * values[place - 1] + draw.normal()
    return values * np.sqrt(1 - memory**2)


SECONDS = [2.0 * place for place in range(600)]


def test_noise_that_lasts_is_not_taken_for_growth():
    found = [slope(SECONDS, list(200 + wandering(seed))).flat for seed in range(40)]
    assert sum(found) >= 34


def test_a_leak_of_a_few_units_is_found_under_the_same_noise():
    leak = np.array(SECONDS) / 3600 * 12
    found = [slope(SECONDS, list(200 + leak + wandering(seed))) for seed in range(20)]
    assert sum(not each.flat and each.low > 0 for each in found) >= 19
    assert abs(np.mean([each.per_hour for each in found]) - 12) < 1


def test_what_never_changes_is_flat_and_what_steps_up_is_not():
    assert slope(SECONDS, [7.0] * 600).flat
    assert not slope(SECONDS, [float(place // 60) for place in range(600)]).flat


def test_too_few_samples_are_no_verdict():
    with pytest.raises(ValueError, match=f"{FEWEST - 1} samples"):
        slope(SECONDS[: FEWEST - 1], [1.0] * (FEWEST - 1))


def test_entities_come_and_go_and_their_time_goes_on():
    blocks = churn(0, (9, 10))
    seen: dict[bytes, int] = {}
    last = b""
    for _ in range(15):
        for name, line in next(blocks):
            seen[name] = seen.get(name, 0) + 1
            assert line[:24] > last
            last = line[:24]
    assert len(seen) > 500
    assert max(seen.values()) == LIFE
    assert last == b"1970-01-01T%02d:%02d:%02d.900Z" % (4, 9, 59)
    assert STEP_MS == 100


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_minutes_at_full_speed_leave_nothing_open(kafka: KafkaForTests, tmp_path):
    report = soak(kafka, tmp_path, 3, [])
    assert report["exit_code"] == 0
    assert report["slopes"]["threads"]["flat"]
    assert report["slopes"]["open_files"]["flat"]
    assert report["records"] > 100_000
