"""Charts of growth by day, made here as SVG; their numbers stand beside them as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from carina.storage.growth import Day

HEIGHT = 100.0
GAP = 0.18  # of a day's width, between two bars


@dataclass(frozen=True)
class DayBar:
    """One day's sum and its bar, in units of the chart: a day is 1 wide, the highest bar 100 high."""

    day: date
    images: int
    size: int
    x: float
    y: float
    height: float


@dataclass(frozen=True)
class DayChart:
    """Days side by side. `largest`: bytes of the highest bar; `width` in days."""

    bars: tuple[DayBar, ...]
    largest: int
    width: int
    bar_width: float = 1 - GAP

    @property
    def some(self) -> tuple[DayBar, ...]:
        """The days with images, the newest first: the chart's table."""
        return tuple(bar for bar in reversed(self.bars) if bar.images)


def day_chart(days: Sequence[Day], today: date, count: int) -> DayChart:
    """The last `count` days, today included."""
    first = today - timedelta(days=count - 1)
    sums: dict[date, tuple[int, int]] = {}
    for one in days:
        images, size = sums.get(one.day, (0, 0))
        sums[one.day] = (images + one.images, size + one.size)
    shown = [first + timedelta(days=number) for number in range(count)]
    largest = max((sums.get(day, (0, 0))[1] for day in shown), default=0)
    bars = []
    for number, day in enumerate(shown):
        images, size = sums.get(day, (0, 0))
        height = round(max(HEIGHT * size / largest, 1.5), 1) if size else 0.0
        bars.append(DayBar(day, images, size, round(number + GAP / 2, 2), round(HEIGHT - height, 1), height))
    return DayChart(tuple(bars), largest, count)
