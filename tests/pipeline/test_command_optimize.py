"""The table and the drawing of `longwatch optimize`."""

from xml.etree import ElementTree

from longwatch.model.deploy.search import Point
from longwatch.pipeline.commands.pareto import chart, table

SVG = "{http://www.w3.org/2000/svg}"
WHOLE = Point("sliding(8) | global(4)", "whole", "fp32", 0.0, 1.0, 10_000.0, 2048)
FAST = Point("sliding(2)", "<half>", "int8", 0.01, 0.98, 30_000.0, 1024)
BEATEN = Point("sliding(2)", "whole", "int8", 0.02, 0.9, 9_000.0, 4096)
POINTS = [WHOLE, BEATEN, FAST]


def test_the_table_is_fastest_first_and_marks_the_front_and_the_chosen():
    rows = table(POINTS, WHOLE).splitlines()[2:]
    marks = [row.split("|")[1].strip() for row in rows]
    assert marks == ["front", "**chosen**", ""]
    assert "sliding(8) and global(4)" in rows[1]
    assert all(row.count("|") == 9 for row in rows)


def test_the_chart_draws_every_point_and_rings_the_chosen_one():
    root = ElementTree.fromstring(chart(POINTS, FAST))
    dots = {
        dot.find(f"{SVG}title").text: dot for dot in root.iter(f"{SVG}circle") if dot.find(f"{SVG}title") is not None
    }
    assert len(dots) == 3
    (ring,) = [circle for circle in root.iter(f"{SVG}circle") if circle.get("r") == "10"]
    (chosen,) = [dot for title, dot in dots.items() if "<half>" in title]
    assert (ring.get("cx"), ring.get("cy")) == (chosen.get("cx"), chosen.get("cy"))
    assert chosen.get("fill") == "white"


def test_the_line_goes_through_the_front_alone():
    root = ElementTree.fromstring(chart(POINTS, WHOLE))
    (line,) = root.iter(f"{SVG}polyline")
    places = {(c.get("cx"), c.get("cy")): c.find(f"{SVG}title").text for c in root.iter(f"{SVG}circle") if len(c)}
    titles = [places[tuple(corner.split(","))] for corner in line.get("points").split()]
    assert [title.split(":")[0] for title in titles] == [WHOLE.name, FAST.name]


def test_a_slower_point_lies_left_and_one_that_changes_more_lies_higher():
    root = ElementTree.fromstring(chart(POINTS, WHOLE))
    x, y = (
        {c.find(f"{SVG}title").text.split(":")[0]: float(c.get(k)) for c in root.iter(f"{SVG}circle") if len(c)}
        for k in ("cx", "cy")
    )
    assert x[BEATEN.name] < x[WHOLE.name] < x[FAST.name]
    assert y[BEATEN.name] < y[FAST.name] < y[WHOLE.name]
