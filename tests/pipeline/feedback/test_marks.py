"""The log of marks: any beginning of it gives the marks that were in force then, whatever else stands in it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwatch.pipeline.errors import StateError
from longwatch.pipeline.feedback.mark_file import FileMarkLog, append_entry
from longwatch.pipeline.feedback.marks import Mark, MarkBook, Withdrawal, decode_entry


def mark(mark_id: str, **changes: object) -> Mark:
    given = {"alert_id": "a", "rule": "default", "kind": "event", "pattern": ["x"], "entities": ["*"], "until_ms": 10}
    return Mark(mark_id, **(given | changes))  # type: ignore[arg-type]


ENTRIES = st.lists(
    st.one_of(
        st.sampled_from("abc").map(lambda name: mark(name)),
        st.sampled_from("abc").map(lambda name: Withdrawal(name)),
        st.binary(max_size=20),
    ),
    max_size=20,
)


@given(ENTRIES)
def test_what_is_in_force_depends_on_the_part_of_the_log_alone(entries):
    """A book that has read on gives, of a part, what a book that read only that part gives."""
    values = [each if isinstance(each, bytes) else msgspec.json.encode(each) for each in entries]
    whole = MarkBook()
    for place, value in enumerate(values):
        whole.add(place, value, place + 1)
    for upto in range(len(values) + 1):
        part = MarkBook()
        for place, value in enumerate(values[:upto]):
            part.add(place, value, place + 1)
        assert [each.mark_id for each in whole.in_force(upto)] == [each.mark_id for each in part.in_force(upto)]
        standing: dict[str, None] = {}
        for each in entries[:upto]:
            if isinstance(each, Mark):
                standing.pop(each.mark_id, None)
                standing[each.mark_id] = None
            elif isinstance(each, Withdrawal):
                standing.pop(each.mark_id, None)
        assert [each.mark_id for each in part.in_force(upto)] == list(standing)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b'{"type":"other","mark_id":"m"}',
        msgspec.json.encode(mark("m", pattern=[])),
        msgspec.json.encode(mark("m", entities=[])),
        msgspec.json.encode(mark("m")).replace(b'"event"', b'"both"'),
        msgspec.json.encode(mark("m", reason="x" * 300_000)),
    ],
)
def test_a_record_that_is_no_mark_is_passed_over_and_counted(value):
    book = MarkBook()
    book.add(0, value, 1)
    assert decode_entry(value) is None
    assert (book.broken, book.changed_at, list(book.in_force(1))) == (1, 0, [])


@pytest.mark.parametrize(
    ("changes", "silent"),
    [
        ({}, True),
        ({"rule": "other"}, False),
        ({"kind": "window"}, False),
        ({"entities": ["web-*"]}, True),
        ({"entities": ["db-*"]}, False),
        ({"pattern": ["x", "y"]}, True),
        ({"pattern": ["y"]}, False),
        ({"until_ms": 4}, False),
        ({"until_ms": 5}, True),
    ],
)
def test_a_mark_silences_its_own_rule_kind_pattern_entities_and_time(changes, silent):
    assert mark("m", **changes).silences("default", "event", ["web-1"], frozenset({"x"}), 5) is silent


def test_an_alert_that_something_more_carries_is_not_silenced():
    assert not mark("m").silences("default", "event", ["web-1"], frozenset({"x", "new"}), 5)


def test_a_file_is_read_as_it_grows_and_half_a_line_is_waited_for(tmp_path):
    path = tmp_path / "marks.jsonl"
    log = FileMarkLog(path, MarkBook())
    log.look()
    assert log.book.changed_at == 0
    append_entry(path, msgspec.json.encode(mark("m1")))
    log.look()
    assert [each.mark_id for each in log.book.in_force(log.book.changed_at)] == ["m1"]
    assert log.book.changed_at == path.stat().st_size
    whole = msgspec.json.encode(mark("m2")) + b"\n"
    with path.open("ab") as file:
        file.write(whole[:30])
        file.flush()
        log.look()
        assert len(log.book.entries) == 1
        file.write(whole[30:])
    log.look()
    assert [each.mark_id for each in log.book.in_force(log.book.changed_at)] == ["m1", "m2"]


def test_a_mark_after_half_a_line_that_a_crash_left_is_heeded(tmp_path):
    path = tmp_path / "marks.jsonl"
    path.write_bytes(b'{"type":"mark","mark_')
    append_entry(path, msgspec.json.encode(mark("m1")))
    log = FileMarkLog(path, MarkBook())
    log.look()
    assert [each.mark_id for each in log.book.in_force(log.book.changed_at)] == ["m1"]
    assert log.book.broken == 1


def test_a_file_that_lost_marks_of_the_last_commit_is_refused(tmp_path):
    path = tmp_path / "marks.jsonl"
    append_entry(path, msgspec.json.encode(mark("m1")))
    log = FileMarkLog(path, MarkBook())
    log.reach(path.stat().st_size)
    with pytest.raises(StateError, match="were in force at the last commit"):
        FileMarkLog(path, MarkBook()).reach(path.stat().st_size + 1)
