"""Line charts as the numbers that an SVG needs; the page's template draws them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune_trainer.report.curves import Point

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 12, 24
# More than a screen has columns tells nothing; curves of 100,000 steps are averaged to so many points.
MOST_POINTS = 800
MOST_MARKERS = 60
MOST_LABELS = 8


@dataclass(frozen=True, kw_only=True)
class Tick:
    place: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Marker:
    x: float
    y: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    name: str
    points: str
    """ "x,y x,y ...", as SVG's polyline has them."""
    markers: tuple[Marker, ...]
    """Of a short line: a line of one point would not be seen."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    mark: Tick | None = None
    """A step that is pointed out."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    label: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Bars:
    title: str
    y_ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...]


def draw_bars(title: str, values: dict[str, int]) -> Bars | None:
    """A bar for each value, by its label, from zero; None if there are none."""
    if not values:
        return None
    y = _Scale([0, *values.values()], HEIGHT - BOTTOM, TOP)
    step = (WIDTH - LEFT - RIGHT) / len(values)
    every = math.ceil(len(values) / MOST_LABELS)
    bars = (
        Bar(
            x=round(LEFT + position * step + 0.1 * step, 1),
            y=y.place(value),
            width=round(0.8 * step, 1),
            height=round(HEIGHT - BOTTOM - y.place(value), 1),
            label=label if position % every == 0 else "",
            text=f"{value:,} documents {label} tokens",
        )
        for position, (label, value) in enumerate(values.items())
    )
    return Bars(title=title, y_ticks=y.ticks(finest=1), bars=tuple(bars))


def draw_chart(
    title: str, curves: dict[str, Sequence[Point]], *, mark: tuple[float, str] | None = None
) -> Chart | None:
    """The curves that have points, by name, on one pair of axes; None if none has.

    mark: a step to point out, and why.
    """
    drawn = {name: thinned(points, MOST_POINTS) for name, points in curves.items() if points}
    if not drawn:
        return None
    everything = [point for points in drawn.values() for point in points]
    x = _Scale([x for x, _ in everything], LEFT, WIDTH - RIGHT)
    y = _Scale([y for _, y in everything], HEIGHT - BOTTOM, TOP)
    return Chart(
        title=title,
        x_ticks=x.ticks(finest=1),
        y_ticks=y.ticks(),
        lines=tuple(_line(name, points, x, y) for name, points in drawn.items()),
        mark=Tick(place=x.place(mark[0]), text=mark[1]) if mark else None,
    )


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` points, each the mean of its neighbours."""
    size = math.ceil(len(points) / most)
    groups = (points[first : first + size] for first in range(0, len(points), size))
    return [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]


def tick_values(low: float, high: float, *, finest: float = 0, most: int = 6) -> list[float]:
    """At most `most` + 1 round values, 1, 2 or 5 times a power of ten apart, from `low` to `high`.

    They are `finest` apart or more.
    """
    widest = (high - low) / most
    power = 10.0 ** math.floor(math.log10(widest))
    step = max(finest, next(factor * power for factor in (1, 2, 5, 10) if factor * power >= widest))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


class _Scale:
    """From values to places between `first` and `last`; a span of nothing is widened."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        self.low, self.high = min(values), max(values)
        if self.high - self.low <= 1e-12 * max(abs(self.high), 1e-300):
            margin = abs(self.high) / 2 or 1.0
            self.low, self.high = self.low - margin, self.high + margin
        self.first, self.last = first, last

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first), 1)

    def ticks(self, *, finest: float = 0) -> tuple[Tick, ...]:
        values = tick_values(self.low, self.high, finest=finest)
        return tuple(Tick(place=self.place(value), text=number(value)) for value in values)


def _line(name: str, points: Sequence[Point], x: _Scale, y: _Scale) -> Line:
    places = [(x.place(step), y.place(value)) for step, value in points]
    markers = (
        Marker(x=place[0], y=place[1], text=f"step {number(point[0])}: {number(point[1])}")
        for place, point in zip(places, points, strict=True)
    )
    return Line(
        name=name,
        points=" ".join(f"{a},{b}" for a, b in places),
        markers=tuple(markers) if len(points) <= MOST_MARKERS else (),
    )


def number(value: float) -> str:
    """Four significant digits; thousands apart; powers of ten for the very small."""
    if value == 0 or 1e-3 <= abs(value) < 1e15:
        digits = max(0, 3 - math.floor(math.log10(abs(value)))) if value else 0
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.3g}"
