"""How the cost of RTMP grows with players and with publishers, as a table and a picture.

Runs bench/rtmp.py's and bench/rtmp_publish.py's comparisons for each number and draws what the
servers' processes took of their core. The picture is made by ffmpeg, which reads SVG.

    python bench/rtmp_curve.py [--players 1,50,200,1000,2000] [--publishers 1,50,300] [--pairs 3]
                               [--seconds 6] [--joins-per-second 200] [--image build/rtmp-curve.png]
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from xml.sax.saxutils import escape

import rtmp
import rtmp_publish
from measure import ROOT
from rtmp_servers import allow_descriptors

WIDTH_PX, HEIGHT_PX, SCALE = 960, 430, 2
PANEL_WIDTH_PX, PANEL_HEIGHT_PX, TOP_PX = 370, 270, 90
COLOURS = {"porthole": "#1c8a6a", "nginx-rtmp": "#b0641c"}
TEXT, SOFT, GRID = "#16242c", "#4d626e", "#d5dde1"
MIDDLE = 'text-anchor="middle"'
DASHED = 'stroke-dasharray="4 4"'
LEAST_MS = 0.01  # what has cost nothing that could be measured


class Run(Protocol):
    @property
    def cpu_ms_per_s(self) -> float: ...


@dataclass(slots=True)
class Curve:
    """points: (how many, ms of CPU per second) by server."""

    of_what: str
    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def add(self, count: int, results: Mapping[str, Sequence[Run]]) -> None:
        for name, made in results.items():
            cost = max(LEAST_MS, statistics.median(one.cpu_ms_per_s for one in made))
            self.points.setdefault(name, []).append((count, cost))

    def table(self) -> str:
        """In Markdown: ms of CPU per second, and per one of them."""
        names = list(self.points)
        lines = [
            f"| {self.of_what} | " + " | ".join(names) + " |",
            "| --- |" + " --- |" * len(names),
        ]
        for row in zip(*self.points.values(), strict=True):
            cells = (f"{cost:.1f} ({cost / count:.3f} each)" for count, cost in row)
            lines.append(f"| {row[0][0]} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


# -- the picture -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Axis:
    """Logarithmic, in whole decades that hold all values, from `at_px` on over `span_px`."""

    first: int
    last: int
    at_px: float
    span_px: float

    @classmethod
    def over(cls, values: Sequence[float], at_px: float, span_px: float) -> Axis:
        first = math.floor(math.log10(min(values)))
        last = max(first + 1, math.ceil(math.log10(max(values))))
        return cls(first, last, at_px, span_px)

    def px(self, value: float) -> float:
        share = (math.log10(value) - self.first) / (self.last - self.first)
        return self.at_px + self.span_px * share

    def ticks(self) -> Iterator[tuple[str, float]]:
        for exponent in range(self.first, self.last + 1):
            yield f"{10.0**exponent:g}", self.px(10.0**exponent)


def text(x: float, y: float, words: str, colour: str = SOFT, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" {more}>{escape(words)}</text>'


def dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'


def line(points: Sequence[tuple[float, float]], colour: str, more: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" {more}/>'


def grid(across: Axis, up: Axis) -> Iterator[str]:
    bottom_px, right_px = up.at_px, across.at_px + across.span_px
    for words, x in across.ticks():
        yield line(((x, TOP_PX), (x, bottom_px)), GRID)
        yield text(x, bottom_px + 20, words, more=MIDDLE)
    for words, y in up.ticks():
        yield line(((across.at_px, y), (right_px, y)), GRID)
        yield text(across.at_px - 8, y + 4, words, more='text-anchor="end"')


def panel(curve: Curve, left_px: float) -> Iterator[str]:
    """Costs over numbers, and where they would lie if all were in proportion to porthole's last."""
    every = [point for points in curve.points.values() for point in points]
    bottom_px = TOP_PX + PANEL_HEIGHT_PX
    across = Axis.over([count for count, _ in every], left_px, PANEL_WIDTH_PX)
    up = Axis.over([cost for _, cost in every], bottom_px, -PANEL_HEIGHT_PX)
    yield from grid(across, up)
    yield text(left_px + PANEL_WIDTH_PX / 2, bottom_px + 44, curve.of_what, TEXT, MIDDLE)
    count, cost = curve.points["porthole"][-1]
    least = max(10.0**across.first, count * 10.0**up.first / cost)
    ends = ((least, cost * least / count), (count, cost))
    yield line([(across.px(x), up.px(y)) for x, y in ends], SOFT, DASHED)
    for name, points in curve.points.items():
        marks = [(across.px(x), up.px(y)) for x, y in points]
        yield line(marks, COLOURS[name], 'stroke-width="2.5"')
        yield from (dot(x, y, COLOURS[name]) for x, y in marks)


def legend() -> Iterator[str]:
    x = 30.0
    for name, colour in COLOURS.items():
        yield dot(x + 5, 58, colour)
        yield text(x + 16, 62, name)
        x += 120
    yield line(((x, 58), (x + 24, 58)), SOFT, DASHED)
    yield text(x + 32, 62, "in proportion to porthole's last")


def picture(curves: Sequence[Curve]) -> str:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PX * SCALE}"'
        f' height="{HEIGHT_PX * SCALE}" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}"'
        ' font-family="DejaVu Sans, sans-serif" font-size="13">',
        f'<rect width="{WIDTH_PX}" height="{HEIGHT_PX}" fill="#fbfcfc"/>',
        text(30, 36, "ms of CPU per second, 2 Mbit/s to each player or from each publisher", TEXT),
        *legend(),
    ]
    for index, curve in enumerate(curves):
        parts += panel(curve, 70 + index * (PANEL_WIDTH_PX + 100))
    return "\n".join((*parts, "</svg>"))


def save(svg: str, image: Path) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "curve.svg"
        source.write_text(svg)
        command = ("ffmpeg", "-v", "error", "-y", "-i", str(source), "-frames:v", "1", str(image))
        subprocess.run(command, check=True)
    print(image)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--players", type=numbers, default=[1, 50, 200, 1000, 2000])
    parser.add_argument("--publishers", type=numbers, default=[1, 50, 300])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--joins-per-second", type=float, default=200.0)
    parser.add_argument("--image", type=Path, default=ROOT / "build" / "rtmp-curve.png")
    asked = parser.parse_args()
    allow_descriptors()
    players, publishers = Curve("players"), Curve("publishers")
    with rtmp.program() as path:
        for count in asked.players:
            crowd = rtmp.Crowd(path, count, asked.seconds, asked.joins_per_second)
            players.add(count, rtmp.compare(crowd, asked.pairs))
    for count in asked.publishers:
        publishers.add(count, rtmp_publish.compare(count, asked.pairs, 128, asked.seconds))
    print(f"ms of CPU per second\n\n{players.table()}\n\n{publishers.table()}\n")
    save(picture((players, publishers)), asked.image)


if __name__ == "__main__":
    main()
