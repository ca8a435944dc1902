import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from importlib.resources import files
from itertools import pairwise

import polars as pl
import pytest

from longwatch.pipeline.config import load_config
from longwatch.pipeline.demo.company import HOSTS
from longwatch.pipeline.demo.generator import (
    DEMO_DAYS,
    DEMO_FIRST_DAY,
    SCHEMA,
    TRAIN_DAYS,
    TRAIN_FIRST_DAY,
    generate,
)
from longwatch.pipeline.demo.incidents import DEPLOY_MINUTE, epoch_ms, incidents
from longwatch.pipeline.demo.wording import DEPLOYED, HOSTILE, ORDINARY

SEED = 7
WINDOW = 1024
HEADER = r"^\S+ (?P<level>[A-Z]+) (?P<host>\S+) (?P<service>[^: ]+): (?P<message>.*)$"
DIGEST_PROGRAM = """
import hashlib
from longwatch.pipeline.demo.generator import DEMO_DAYS, DEMO_FIRST_DAY, generate
digest = hashlib.sha256()
for frame in generate(7, DEMO_FIRST_DAY, DEMO_DAYS, incidents=True, deploy=True):
    digest.update("".join(line + "\\n" for line in frame["line"]).encode())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def normal() -> pl.DataFrame:
    return _with_template(pl.concat(list(generate(SEED, TRAIN_FIRST_DAY, TRAIN_DAYS))))


@pytest.fixture(scope="module")
def scored() -> pl.DataFrame:
    frames = generate(SEED, DEMO_FIRST_DAY, DEMO_DAYS, incidents=True, deploy=True)
    return _with_template(pl.concat(list(frames)))


def _with_template(lines: pl.DataFrame) -> pl.DataFrame:
    parts = pl.col("line").str.extract_groups(HEADER)
    masked = parts.struct.field("message").str.replace_all(r"\S*\d\S*", "<*>")
    return lines.with_columns(template=parts.struct.field("service") + pl.lit(" ") + masked)


def _n_grams(templates: list[str], n: int) -> set[tuple[str, ...]]:
    return set(zip(*(templates[shift:] for shift in range(n)), strict=False))


def _of(lines: pl.DataFrame, host: str) -> pl.DataFrame:
    return lines.filter(pl.col("entity") == host)


def _window_counts(templates: list[str]) -> Iterator[dict[str, int]]:
    for start in range(0, len(templates) - WINDOW + 1, WINDOW // 8):
        values = pl.Series("template", templates[start : start + WINDOW]).value_counts()
        yield dict(values.iter_rows())


def _digest(lines: pl.DataFrame) -> str:
    return hashlib.sha256("".join(line + "\n" for line in lines["line"]).encode()).hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_a_process_with_another_hash_seed(scored: pl.DataFrame) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"}
    command = [sys.executable, "-c", DIGEST_PROGRAM]
    elsewhere = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert elsewhere == _digest(scored)


def test_the_bytes_are_the_recorded_ones() -> None:
    day = pl.concat(list(generate(SEED, TRAIN_FIRST_DAY, 0.25)))
    assert _digest(day)[:16] == "78189fd8751f5a36"


def test_another_seed_gives_other_lines() -> None:
    first, second = (next(generate(seed, TRAIN_FIRST_DAY, 1.0)) for seed in (1, 2))
    assert first["line"].to_list() != second["line"].to_list()


def test_a_day_does_not_depend_on_where_the_period_starts() -> None:
    alone = pl.concat(list(generate(SEED, date(2026, 10, 28), 1.0)))
    within = pl.concat(list(generate(SEED, date(2026, 10, 27), 2.0)))
    assert within.filter(pl.col("event_time_ms") >= epoch_ms(date(2026, 10, 28))).equals(alone)


def test_lines_come_in_time_order_hour_by_hour_and_carry_their_columns() -> None:
    frames = list(generate(SEED, DEMO_FIRST_DAY, DEMO_DAYS, incidents=True, deploy=True))
    assert all(frame.schema == SCHEMA for frame in frames)
    assert all(frame["event_time_ms"].is_sorted() for frame in frames)
    hours = [set((frame["event_time_ms"] // 3_600_000).to_list()) for frame in frames]
    assert all(len(hour) == 1 for hour in hours)
    assert all(max(before) < min(after) for before, after in pairwise(hours))
    last = pl.concat(frames).row(-1, named=True)
    parts = last["line"].split(" ")
    assert datetime.fromisoformat(parts[0]).timestamp() * 1000 == last["event_time_ms"]
    assert parts[2] == last["entity"]


def test_every_line_has_the_header_and_every_host_speaks_every_day(normal: pl.DataFrame) -> None:
    assert normal["template"].null_count() == 0
    days = normal.group_by(pl.col("event_time_ms") // 86_400_000).agg(pl.col("entity").n_unique())
    assert days["entity"].to_list() == [len(HOSTS)] * int(TRAIN_DAYS)


def test_every_ordinary_template_appears_in_normal_days_and_no_other(normal: pl.DataFrame) -> None:
    assert normal["template"].n_unique() == len(ORDINARY)


def test_every_incident_is_labelled_on_its_own_host_within_its_own_time(scored: pl.DataFrame) -> None:
    labelled = scored.drop_nulls("incident").group_by("incident", "entity")
    found = labelled.agg(start=pl.col("event_time_ms").min(), end=pl.col("event_time_ms").max())
    told = [(each.id, each.entity, each.start_ms, each.end_ms) for each in incidents(SEED, DEMO_FIRST_DAY)]
    assert sorted(found.iter_rows()) == sorted(told)
    assert len(told) == len({each[1] for each in told}) == 7


@pytest.mark.parametrize("seed", range(5))
def test_incidents_end_within_the_demo_period_whatever_the_seed(seed: int) -> None:
    planted = incidents(seed, DEMO_FIRST_DAY)
    end = epoch_ms(DEMO_FIRST_DAY) + int(DEMO_DAYS * 86_400_000)
    assert len(planted) == 7
    assert all(epoch_ms(DEMO_FIRST_DAY) < each.start_ms < each.end_ms < end for each in planted)


def test_incidents_in_too_short_a_period_are_refused() -> None:
    with pytest.raises(ValueError, match=r"need 1\.5 or more"):
        next(generate(SEED, DEMO_FIRST_DAY, 1.0, incidents=True))


@pytest.mark.parametrize("name", ["swapped-approval", "stale-key"])
def test_an_order_incident_shows_no_unseen_template_pair_or_triple(
    normal: pl.DataFrame, scored: pl.DataFrame, name: str
) -> None:
    host = next(each.entity for each in incidents(SEED, DEMO_FIRST_DAY) if each.id == name)
    usual, now = _of(normal, host)["template"].to_list(), _of(scored, host)["template"].to_list()
    assert [_n_grams(now, n) - _n_grams(usual, n) for n in (1, 2, 3)] == [set(), set(), set()]


@pytest.mark.parametrize("name", ["swapped-approval", "stale-key"])
def test_an_order_incident_keeps_every_count_of_a_window_within_the_normal_range(
    normal: pl.DataFrame, scored: pl.DataFrame, name: str
) -> None:
    planted = next(each for each in incidents(SEED, DEMO_FIRST_DAY) if each.id == name)
    kin = [host for host in HOSTS if host[:4] == planted.entity[:4]]
    usual = [counts for host in kin for counts in _window_counts(_of(normal, host)["template"].to_list())]
    highest = {key: max(counts.get(key, 0) for counts in usual) for counts in usual for key in counts}
    for counts in _window_counts(_of(scored, planted.entity)["template"].to_list()):
        assert all(count <= highest[key] * 1.05 for key, count in counts.items())


def test_settlement_swaps_only_the_order_of_stages(normal: pl.DataFrame, scored: pl.DataFrame) -> None:
    stages = pl.col("line").str.extract(r"stage (\w+) began")
    usual = _of(normal, "pay-eu-01").select(stages).to_series().drop_nulls().to_list()
    swapped = scored.filter(pl.col("incident") == "swapped-approval").select(stages).to_series().drop_nulls().to_list()
    assert sorted(swapped) == sorted(usual[: len(swapped)])
    runs = range(0, len(swapped), 6)
    assert not any(set(pairwise(swapped[run : run + 6])) & set(pairwise(usual[:6])) for run in runs)
    assert len(set(pairwise(usual))) == 6


def test_a_revoked_key_is_served_only_in_the_incident(normal: pl.DataFrame, scored: pl.DataFrame) -> None:
    def served_after_revoke(lines: pl.DataFrame) -> pl.DataFrame:
        said = pl.col("line").str.extract(r"partner key \S+ (issued|revoked)").forward_fill().over("entity")
        return lines.filter(pl.col("line").str.contains(" served ") & (said == "revoked"))

    assert served_after_revoke(normal).height == 0
    stale = served_after_revoke(scored)
    assert stale.height >= 8
    assert stale["incident"].unique().to_list() == ["stale-key"]


def test_deploy_text_is_absent_from_normal_days_and_common_on_every_web_host_after(
    normal: pl.DataFrame, scored: pl.DataFrame
) -> None:
    new = scored.filter(~pl.col("template").is_in(normal["template"].unique().to_list()))
    assert new["template"].n_unique() == len(DEPLOYED) + len(HOSTILE)
    harmless = new.filter(pl.col("incident").is_null())
    assert harmless["event_time_ms"].min() >= epoch_ms(DEMO_FIRST_DAY) + DEPLOY_MINUTE * 60_000
    each = harmless.group_by("template").agg(pl.len(), hosts=pl.col("entity").n_unique())
    assert each.height == len(DEPLOYED)
    assert each["hosts"].to_list() == [4] * each.height
    assert each["len"].min() > 50


def test_no_deploy_means_no_deploy_text(normal: pl.DataFrame) -> None:
    lines = _with_template(pl.concat(list(generate(SEED, DEMO_FIRST_DAY, DEMO_DAYS))))
    assert set(lines["template"]) <= set(normal["template"])
    assert lines["incident"].null_count() == lines.height


def test_nights_and_weekends_are_quieter_than_office_hours(normal: pl.DataFrame) -> None:
    offices = normal.filter(pl.col("entity").str.contains("web|db|mail|lt|vpn"))
    when = pl.from_epoch("event_time_ms", "ms")
    counts = offices.group_by(when.dt.weekday().alias("day"), when.dt.hour().alias("hour")).len()
    busy = counts.filter((pl.col("day") <= 5) & pl.col("hour").is_between(9, 16))["len"].min()
    night = counts.filter(pl.col("hour").is_between(0, 4))["len"].max()
    weekend = counts.filter((pl.col("day") > 5) & pl.col("hour").is_between(9, 16))["len"].max()
    assert busy > night
    assert busy > weekend


def test_the_nightly_backup_takes_its_steps_in_the_same_order_every_night(normal: pl.DataFrame) -> None:
    steps = _of(normal, "db-02").filter(pl.col("template").str.starts_with("backup"))
    nights = steps.group_by(pl.col("event_time_ms") // 86_400_000).agg(pl.col("template").unique(maintain_order=True))
    assert len({tuple(night) for night in nights["template"]}) == 1
    assert nights.height == int(TRAIN_DAYS)


def test_the_header_of_the_demo_configuration_reads_entity_and_time_of_every_line(scored: pl.DataFrame) -> None:
    config = load_config(str(files("longwatch.pipeline.demo") / "demo.yaml"))
    assert config.format.text is not None
    read = scored.select(pl.col("line").str.extract_groups(config.format.text.header).alias("read")).unnest("read")
    assert read["host"].equals(scored["entity"], check_names=False)
    times = read["timestamp"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ").dt.epoch("ms")
    assert times.equals(scored["event_time_ms"], check_names=False)
