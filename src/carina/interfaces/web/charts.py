"""Simple charts, made here as SVG: bars whose numbers stand beside them as text, and the picture of the federation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from carina.interfaces.web.words import GROUP_ORDER, value_label, variable_label
from carina.model.dataset import Group


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
