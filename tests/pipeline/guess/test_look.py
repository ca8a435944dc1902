"""What is guessed of a log file: every layout by lines as they are written in the world, and entities by counting."""

import gzip
from pathlib import Path

import pytest

from longwatch.pipeline.clock import SystemClock
from longwatch.pipeline.errors import InputError
from longwatch.pipeline.guess.look import look

# (layout, entity, line with {s} for seconds, {n} for one of five names, {i} for a number)
LINES = [
    ("rfc3164", {"field": "host"}, "Mar 27 13:06:{s} host{n} sshd[12]: Invalid user {i}"),
    ("rfc5424", {"field": "host"}, "<34>1 2026-03-27T13:06:{s}Z host{n} app - ID47 - started {i}"),
    (
        "access",
        {"group": "client"},
        '10.0.0.{n} - - [17/May/2015:10:05:{s} +0000] "GET /a/{i} HTTP/1.1" 200 12 "-" "x"',
    ),
    (
        "HDFS",
        {"pattern": r"blk_-?\d+"},
        "081109 2035{s} 143 INFO dfs.DataNode: Receiving block blk_-10{n} src: /10.0.0.1",
    ),
    ("component", {"group": "component"}, "2026-03-27 13:06:{s},978 INFO [main] org.a.B{n}: created {i}"),
    ("host", {"group": "host"}, "2026-03-27T13:06:{s}.123Z WARN web-{n} nginx: slow {i}"),
    ("user", {"group": "user"}, "20171223-22:15:{s}:606|Step_LSC|3000{n}|onStandStepChanged {i}"),
    ("RAS", {"group": "host"}, "- 11178385{s} 2005.06.03 R{n} 2005-06-03-15.42.50.1 R{n} RAS KERNEL INFO parity {i}"),
    ("Apache", {"value": "log"}, "[Sun Dec 04 04:47:{s} 2005] [notice] workerEnv.init() ok {i}"),
    ("JSON", {"field": "host"}, '{{"timestamp": "2026-03-27T13:06:{s}Z", "host": "web{n}", "message": "took {i}"}}'),
]


def write(path: Path, line: str, count: int = 400) -> Path:
    lines = [line.format(s=f"{at * 60 // count:02d}", n=at % 5, i=at) for at in range(count)]
    path.write_bytes(gzip.compress("".join(f"{each}\n" for each in lines).encode()))
    return path


@pytest.mark.parametrize(("layout", "entity", "line"), LINES, ids=[layout for layout, _, _ in LINES])
def test_a_known_layout_is_read_whole_and_its_entity_is_found(layout, entity, line, tmp_path):
    found = look(write(tmp_path / "app.log.gz", line), SystemClock())
    assert found.read == 1.0
    assert found.entity == entity
    assert (found.lines, len(found.times)) == (400, 400)
    assert found.entities == (1 if "value" in entity else 5)
    assert (found.times.max() - found.times.min()) // 1000 == 59


def test_a_name_that_each_line_has_of_its_own_is_no_entity(tmp_path):
    found = look(write(tmp_path / "app.log", "2026-03-27T13:06:{s}.123Z WARN web-{i} nginx: slow {n}"), SystemClock())
    assert found.entity == {"group": "service"}


def test_a_few_broken_lines_do_not_hide_the_layout(tmp_path):
    path = tmp_path / "app.log"
    good = [f"2026-03-27T13:06:{at % 60:02d}Z WARN web-{at % 5} nginx: slow {at}" for at in range(400)]
    path.write_text("".join(f"{line}\n" for line in [*good[:200], "java.lang.Exception", "  at x.y.Z", *good[200:]]))
    found = look(path, SystemClock())
    assert 0.98 < found.read < 1
    assert found.entity == {"group": "host"}


@pytest.mark.parametrize(("text", "words"), [("", "has no lines"), ("nothing known\n" * 9, "no known layout reads it")])
def test_what_cannot_be_read_says_so_with_its_first_line(text, words, tmp_path):
    (tmp_path / "app.log").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        look(tmp_path / "app.log", SystemClock())
    assert text[:13] in str(caught.value)
