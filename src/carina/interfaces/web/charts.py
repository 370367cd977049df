"""Simple charts, made here as SVG: bars and dots whose numbers stand beside them as text, and the federation's picture.

A chart is an ornament to its numbers: screen readers skip the SVG and read the text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from carina.compute.moments import std
from carina.interfaces.language import gettext as _
from carina.interfaces.web.words import GROUP_ORDER, decimal, fixed, number, value_label, variable_label
from carina.model.dataset import Group
from carina.model.job import Moments


@dataclass(frozen=True)
class Bar:
    """One group whose number is shown: `share` is its bar's length in percent of the longest."""

    label: str
    patients: int
    share: float


@dataclass(frozen=True)
class Chart:
    """The groups of one variable that have a number; a hidden one is not even named."""

    variable: str
    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Star:
    """A node's place in the picture; its label stands below it, or above in the upper half."""

    x: float
    y: float
    label: str
    online: bool

    @property
    def label_y(self) -> float:
        """Where the label's baseline is."""
        return self.y - 20 if self.y < 0 else self.y + 29


def charts(groups: dict[str, tuple[Group, ...]]) -> list[Chart]:
    """A chart per variable that has groups to show, in the order people expect."""
    names = [name for name in GROUP_ORDER if name in groups]
    names += [name for name in sorted(groups) if name not in GROUP_ORDER]
    return [made for made in (chart(name, groups[name]) for name in names) if made.bars]


def chart(variable: str, groups: Sequence[Group]) -> Chart:
    """The largest group first; ages in their own order."""
    ordered = sorted(groups, key=lambda group: _order(variable, group))
    shown = [(group.value, group.patients) for group in ordered if group.patients is not None]
    longest = max((patients for _, patients in shown), default=0)
    return Chart(
        variable,
        variable_label(variable),
        tuple(Bar(value_label(variable, value), patients, share(patients, longest)) for value, patients in shown),
    )


def _order(variable: str, group: Group) -> tuple[int, str]:
    if variable == "age":
        first = group.value.split("-")[0].rstrip("+")
        return (int(first) if first.isdecimal() else 1000, group.value)
    return (-(group.patients or 0), group.value)


def share(part: int, whole: int) -> float:
    """Percent, for a thin bar of progress; 0 of 0 is 0."""
    return round(100 * part / whole, 1) if whole else 0.0


@dataclass(frozen=True)
class Tick:
    """A mark of a scale; `at` in percent of the plot's width."""

    label: str
    at: float


@dataclass(frozen=True)
class Dot:
    """A mean with one standard deviation to each side, as text and in percent of the plot's width.

    std   empty for a single value, which has none
    """

    label: str
    patients: int
    mean: str
    std: str
    at: float
    low: float
    high: float


@dataclass(frozen=True)
class DotPlot:
    """One group's values per node and, last, pooled, on one scale."""

    group: str
    label: str
    dots: tuple[Dot, ...]
    pooled: Dot
    ticks: tuple[Tick, ...]


EDGE = 3.0  # percent of the plot left free at each end, so that no dot is cut


def dot_plot(variable: str, group: str, rows: Sequence[tuple[str, Moments]], pooled: Moments) -> DotPlot:
    """Rows (label, moments) in the order given, and the pool, on one scale that holds all of them."""
    spans = [_span(moments) for moments in (*(moments for _, moments in rows), pooled)]
    marks = scale(min(low for low, _ in spans), max(high for _, high in spans))
    first, last = marks[0], marks[-1]

    def place(value: float) -> float:
        return round(EDGE + (100 - 2 * EDGE) * (value - first) / (last - first), 2)

    def dot(label: str, moments: Moments) -> Dot:
        low, high = _span(moments)
        mean, spread = float(moments.mean), float(std(moments) or 0)
        said = decimal(spread, mean) if moments.n > 1 else ""
        return Dot(label, moments.n, decimal(mean, spread), said, place(mean), place(low), place(high))

    return DotPlot(
        group,
        value_label(variable, group),
        tuple(dot(label, moments) for label, moments in rows),
        dot(_("Pooled"), pooled),
        tuple(Tick(tick_label(mark, marks[1] - first), place(mark)) for mark in marks),
    )


def _span(moments: Moments) -> tuple[float, float]:
    spread = float(std(moments) or 0)
    return float(moments.mean) - spread, float(moments.mean) + spread


def scale(low: float, high: float) -> list[float]:
    """Round marks, 3 to 7 of them, the first not above `low` and the last not below `high`."""
    largest = max(abs(low), abs(high))
    if high - low <= max(largest * 1e-9, 1e-300):  # next to nothing between them: marks around the value
        margin = largest / 10 if largest > 1e-300 else 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_label(mark: float, step: float) -> str:
    """A mark with as many decimals as its step needs."""
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    whole = number(round(abs(mark))) if places == 0 else fixed(abs(mark), places)
    return f"\u2212{whole}" if mark < -step / 2 else whole


@dataclass(frozen=True)
class Sky:
    """The picture of the federation: the hub at 0, 0, nodes around it; `view` is the SVG's viewBox."""

    stars: tuple[Star, ...]
    view: str


def sky(nodes: Sequence[tuple[str, bool]]) -> Sky:
    """Nodes (label, online) around the hub, the first one at the upper left."""
    angles = [math.radians(-150 + 360 * index / max(len(nodes), 1)) for index in range(len(nodes))]
    stars = tuple(
        Star(round(130 * math.cos(angle), 1), round(105 * math.sin(angle), 1), label, online)
        for angle, (label, online) in zip(angles, nodes, strict=True)
    )
    top = min((star.y for star in stars), default=0) - 38
    bottom = max((star.y for star in stars), default=0) + 38
    top, bottom = min(top, -40), max(bottom, 40)
    return Sky(stars, f"-180 {top:g} 360 {bottom - top:g}")
