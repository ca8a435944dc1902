"""Ground truth from CSV: whole entities, or stretches of time."""

from datetime import UTC, datetime

import polars as pl
import pytest

from longwatch.pipeline.errors import InputError
from longwatch.pipeline.labels import Labels, read_labels


@pytest.fixture
def read(tmp_path):
    def from_text(text: str) -> Labels:
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
        return read_labels(tmp_path / "labels.csv")

    return from_text


def windows(*rows: tuple[str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["entity", "start_ms", "end_ms"], orient="row")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_entities_with_any_label_but_normal_are_anomalous(read):
    words = ["Normal", "normal", "0", "False", "BENIGN", "-", "", "Anomaly", "1", "attack"]
    labels = read("BlockId,label\n" + "".join(f"e{at},{word}\n" for at, word in enumerate(words)))
    assert not labels.by_time
    assert labels.anomalous["entity"].to_list() == ["e7", "e8", "e9"]
    marked = labels.mark(windows(("e7", 0, 1), ("e0", 0, 1), ("unknown", 0, 1), ("e7", 5, 9)))
    assert marked["anomalous"].to_list() == [True, False, False, True]


def test_entities_that_look_like_numbers_stay_text(read):
    assert read("entity,label\n007,1\n1e3,1\n").anomalous["entity"].to_list() == ["007", "1e3"]


def test_a_window_is_anomalous_when_it_shares_an_instant_with_an_incident_of_its_entity(read):
    labels = read("entity,start,end\nweb,2026-11-02T10:00:00Z,2026-11-02T11:00:00Z\n")
    start, end = ms("2026-11-02T10:00:00"), ms("2026-11-02T11:00:00")
    assert labels.by_time
    marked = labels.mark(
        windows(
            ("web", start - 9, start - 1),
            ("web", start - 9, start),
            ("web", start + 5, start + 6),
            ("web", start - 9, end + 9),
            ("web", end, end + 9),
            ("web", end + 1, end + 9),
            ("db", start, end),
        )
    )
    assert marked["anomalous"].to_list() == [False, True, True, True, True, False, False]


def test_a_window_in_several_incidents_is_marked_once_and_rows_stay_as_they_were(read):
    labels = read("entity,start,end\na,1970-01-01T00:00:00Z,1970-01-01T00:00:09Z\na,1970-01-01,1970-01-02\n")
    given = windows(("a", 0, 9), ("b", 0, 9), ("a", 99_000_000, 99_000_001))
    marked = labels.mark(given)
    assert marked.drop("anomalous").equals(given)
    assert marked["anomalous"].to_list() == [True, False, False]


@pytest.mark.parametrize(
    "written", ["2026-11-02T10:00:00Z", "2026-11-02T10:00:00.000Z", "2026-11-02T11:00:00+01:00", "2026-11-02T10:00:00"]
)
def test_times_are_iso_8601_and_utc_where_they_name_no_zone(read, written):
    labels = read(f"entity,start,end\na,{written},{written}\n")
    assert labels.anomalous.rows() == [("a", ms("2026-11-02T10:00:00"), ms("2026-11-02T10:00:00"))]


@pytest.mark.parametrize("written", ["next Tuesday", "1764579600", "2026-13-01"])
def test_a_time_that_is_none_is_an_error_that_names_its_line_and_column(read, written):
    with pytest.raises(InputError, match=rf"labels\.csv:3: `{written}` in column end is no time"):
        read(f"entity,start,end\na,2026-11-02,2026-11-03\na,2026-11-02,{written}\n")


def test_other_columns_are_an_error_that_names_them(read):
    with pytest.raises(InputError, match=r"labels\.csv: columns are entity, colour") as caught:
        read("host,colour\na,red\n")
    assert "entity,label" in caught.value.hint


def test_no_file_and_an_empty_file_are_errors_that_name_it(tmp_path, read):
    with pytest.raises(InputError, match=r"nowhere\.csv: labels cannot be read"):
        read_labels(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match=r"labels\.csv: labels cannot be read"):
        read("")
