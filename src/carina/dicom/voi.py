"""The windows and tables that an image's own header names, PS3.3 sections C.11.2 and C.7.6.16.2.10."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from carina.dicom.quiet import quiet
from carina.dicom.rendering import values_of_frame
from carina.dicom.windows import Preset, whole_range

MOST = 8  # windows, and tables, of one header that are offered
_WIDEST = 1e9
_WIDEST_RANGE = 1e15
_SHAPES = {"LINEAR_EXACT": "linear-exact", "SIGMOID": "sigmoid"}
_TABLE = "table-"
ROBUST = "robust"
UNNAMED, UNNAMED_TABLE = Preset("own", "Window", 0, 0), Preset("table", "Table", 0, 0)
"""For their labels, where the header gives none."""


def own_windows(dataset: Dataset, frame: int = 1) -> tuple[Preset, ...]:
    """All windows that hold for a frame and show something, named `own-1` …, then tables, `table-1` …"""
    try:
        with quiet():
            header = values_of_frame(dataset, frame)
            return (*_windows(header), *_tables(header))
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError):
        return ()


def names_window(dataset: Dataset, frame: int = 1) -> bool:
    """Whether the header has a window for a frame, of whatever use. Raises as `rendering.values_of_frame`."""
    return "WindowWidth" in values_of_frame(dataset, frame)


def table_number(name: str) -> int | None:
    """The number of the table that a window of `own_windows` is, from 1.

    >>> table_number("table-2"), table_number("own-1")
    (2, None)
    """
    text = name.removeprefix(_TABLE)
    return int(text) if name.startswith(_TABLE) and text.isdecimal() else None


def _windows(header: Dataset) -> Iterator[Preset]:
    centers, widths = (_each(header.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    words = [str(one) for one in _each(header.get("WindowCenterWidthExplanation"))]
    shape = _SHAPES.get(str(header.get("VOILUTFunction") or "").strip().upper(), "linear")
    for number, (center, width) in enumerate(list(zip(centers, widths, strict=False))[:MOST], 1):
        middle, across = float(center), float(width)
        least = 1 if shape == "linear" else 0
        if isfinite(middle) and isfinite(across) and least <= across < _WIDEST and across > 0 and abs(middle) < _WIDEST:
            label = _plain(words[number - 1] if number <= len(words) else "") or UNNAMED.label
            yield Preset(f"own-{number}", label, middle, across, shape)


def _tables(header: Dataset) -> Iterator[Preset]:
    for number, item in enumerate((header.get("VOILUTSequence") or [])[:MOST], 1):
        length, first, _bits = (int(one) for one in item.LUTDescriptor)
        length = length or 1 << 16
        label = _plain(str(item.get("LUTExplanation") or "")) or UNNAMED_TABLE.label
        yield Preset(f"{_TABLE}{number}", label, first + length / 2, length, "linear-exact")


def _plain(text: str) -> str:
    """A label of a header, short and without what templates take for a place to fill."""
    return " ".join(text.replace("%", " ").split())[:40]


def _each(value: Any) -> Sequence[Any]:
    if value is None or value == "":
        return ()
    return [value] if isinstance(value, str | float | int) else list(value)


def ranges(values: NDArray[Any]) -> tuple[Preset, ...]:
    """The whole range of values, and the range without the half per cent at either end where that is much smaller;
    nothing where no window is that wide.
    """
    low, high = float(values.min()), float(values.max())
    if not max(abs(low), abs(high)) < _WIDEST_RANGE:
        return ()
    full = whole_range(low, high)
    some = values.ravel()[:: max(1, values.size // 200_000)]
    least, most = (float(one) for one in np.percentile(some, (0.5, 99.5)))
    if not least < most or (most - least) > 0.8 * (high - low):
        return (full,)
    return (Preset(ROBUST, "Most values", (least + most) / 2, most - least, "linear-exact"), full)
