"""The points of `longwatch optimize` as a table and as a drawing, the front and the chosen one marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from longwatch.model.deploy.search import Point

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 440, 70, 40, 200, 55
LEAST = 1e-5  # share of decisions changed that is drawn as none
COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#edae49", "#7b4f9d", "#555555")


def table(points: Sequence[Point], chosen: Point) -> str:
    """The points as Markdown, fastest first; those on the front are marked."""
    from longwatch.model.deploy.search import front

    best = set(front(list(points)))
    head = "| | pattern | pruning | precision | events/s | decisions changed | rank correlation | graph KiB |\n"
    rows = [_row(point, chosen, best) for point in sorted(points, key=lambda point: -point.events_a_second)]
    return head + "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"


def chart(points: Sequence[Point], chosen: Point) -> str:
    """The points as an SVG: events a second against decisions changed, a line through the front, the chosen ringed."""
    from longwatch.model.deploy.search import front

    place = _Places(points)
    colours = dict(zip(dict.fromkeys(point.pruning for point in points), COLOURS * 9, strict=False))
    best = sorted(front(list(points)), key=lambda point: point.events_a_second)
    line = " ".join(f"{place.x(p):.1f},{place.y(p):.1f}" for p in best)
    dots = [_dot(place, point, colours[point.pruning], point == chosen) for point in points]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{len(points)} points; a line through the front</text>',
        *place.axes(),
        f'<polyline points="{line}" fill="none" stroke="#888" stroke-dasharray="4 3"/>',
        *dots,
        *_legend(colours),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _row(point: Point, chosen: Point, best: set[Point]) -> str:
    mark = "**chosen**" if point == chosen else "front" if point in best else ""
    pattern = point.pattern.replace("|", "and")  # a bar would be the table's
    return (
        f"| {mark} | {pattern} | {point.pruning} | {point.precision} | {point.events_a_second:,.0f} "
        f"| {point.changed_share:.4%} | {point.rank_correlation:.5f} | {point.graph_bytes // 1024:,} |"
    )


class _Places:
    """Where points lie: speed from 0 to the right, decisions changed by powers of ten upwards."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.fastest = 1.05 * max(point.events_a_second for point in points)
        most = max(max(point.changed_share for point in points), 10 * LEAST)
        self.top = math.ceil(math.log10(most))
        self.bottom = round(math.log10(LEAST))

    def x(self, point: Point) -> float:
        return LEFT + point.events_a_second / self.fastest * (WIDTH - LEFT - RIGHT)

    def y(self, point: Point) -> float:
        return self.height(math.log10(max(point.changed_share, LEAST)))

    def height(self, power: float) -> float:
        return HEIGHT - BOTTOM - (power - self.bottom) / (self.top - self.bottom) * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> list[str]:
        right, base = WIDTH - RIGHT, HEIGHT - BOTTOM
        found = []
        for power in range(self.bottom, self.top + 1):
            y, text = self.height(power), "none" if power == self.bottom else f"{10.0**power * 100:g} %"
            found.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
            found.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        for share in (0, 0.25, 0.5, 0.75, 1):
            x = LEFT + share * (right - LEFT)
            found.append(f'<text x="{x:.1f}" y="{base + 18}" text-anchor="middle">{share * self.fastest:,.0f}</text>')
        found.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">events a second</text>')
        found.append(f'<text x="{LEFT}" y="{TOP - 4}" fill="#555">decisions changed</text>')
        return found


def _dot(place: _Places, point: Point, colour: str, is_chosen: bool) -> str:
    x, y = f"{place.x(point):.1f}", f"{place.y(point):.1f}"
    ring = f'<circle cx="{x}" cy="{y}" r="10" fill="none" stroke="black" stroke-width="2"/>' if is_chosen else ""
    shape = f'fill="{colour}"' if point.precision == "fp32" else f'fill="white" stroke="{colour}" stroke-width="2"'
    title = escape(f"{point.name}: {point.events_a_second:,.0f} events/s, {point.changed_share:.4%} changed")
    return f'{ring}<circle cx="{x}" cy="{y}" r="5" {shape}><title>{title}</title></circle>'


def _legend(colours: dict[str, str]) -> list[str]:
    found = []
    for number, (name, colour) in enumerate(colours.items()):
        y = TOP + 20 * number + 10
        found.append(f'<circle cx="{WIDTH - RIGHT + 20}" cy="{y}" r="5" fill="{colour}"/>')
        found.append(f'<text x="{WIDTH - RIGHT + 32}" y="{y + 4}">{escape(name)}</text>')
    y = TOP + 20 * len(colours) + 18
    found.append(f'<text x="{WIDTH - RIGHT + 14}" y="{y}" fill="#555">full: float32, hollow: int8</text>')
    found.append(f'<text x="{WIDTH - RIGHT + 14}" y="{y + 18}" fill="#555">ringed: chosen</text>')
    return found
