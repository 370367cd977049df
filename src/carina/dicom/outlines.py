"""The borders of masks as paths along the pixels' edges, and colours of segments (PS3.3 section C.10.7.1.1).

A path is `[x0, y0, x1, y1, …]` in pixels: x to the right, y down, (0, 0) the top left corner of the first pixel, so
that pixel centres lie at halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#3f8efc", "#b3de69", "#fb8072", "#bc80bd")
"""Colours that differ on grey, also for those who do not see all colours; taken in turn."""

_WHITE = np.array([0.9642, 1.0, 0.8249])  # D50
_RGB = np.array(  # from XYZ of D50 to linear sRGB
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)


def borders(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Closed paths around what is marked, each as corners (x, y). Filled by the even-odd rule they are the mask.

    >>> [path.tolist() for path in borders(np.array([[True, True]]))]
    [[[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]]
    """
    padded = np.pad(mask.astype(np.int8), 1)
    above, below = padded[:-1], padded[1:]
    count = above[:, :-1] + above[:, 1:] + below[:, :-1] + below[:, 1:]
    crossing = (count == 2) & (above[:, :-1] == below[:, 1:])  # two that touch at a corner: it is one of each
    corners = np.argwhere((count % 2 == 1) | crossing)
    corners = np.repeat(corners, 1 + crossing[corners[:, 0], corners[:, 1]], axis=0)
    across = _partners(np.arange(len(corners)))  # in order of rows, then columns: two and two are one edge
    down = _partners(np.lexsort((corners[:, 0], corners[:, 1])))
    return [corners[loop][:, ::-1].astype(np.float64) for loop in _loops(across.tolist(), down.tolist())]


def _partners(order: NDArray[np.int64]) -> NDArray[np.int64]:
    partners = np.empty_like(order)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    return partners


def _loops(across: Sequence[int], down: Sequence[int]) -> list[list[int]]:
    seen = bytearray(len(across))
    found = []
    for first in range(len(across)):
        if seen[first]:
            continue
        loop, at = [], first
        while not seen[at]:
            beside = across[at]
            seen[at] = seen[beside] = 1
            loop += [at, beside]
            at = down[beside]
        found.append(loop)
    return found


def flat(path: NDArray[np.float64]) -> list[float]:
    """A path as numbers one after the other, to the hundredth of a pixel."""
    return [float(value) for value in np.round(path, 2).ravel()]


def colour_of(value: Sequence[Any] | None, number: int, *, lab: bool) -> str:
    """`#rrggbb` of a colour in a header, or the palette's.

    lab   whether it is a Recommended Display CIELab Value (PS3.3 section C.10.7.1.1), else red, green, blue

    >>> colour_of([65535, 32896, 32896], 1, lab=True), colour_of([255, 0, 16], 1, lab=False)
    ('#ffffff', '#ff0010')
    """
    try:
        parts = np.array([float(one) for one in value or ()])
    except (TypeError, ValueError):
        parts = np.empty(0)
    if parts.shape != (3,) or not np.isfinite(parts).all():
        return PALETTE[(number - 1) % len(PALETTE)]
    shades = _srgb(parts) if lab else np.clip(parts, 0, 255)
    return "#" + "".join(f"{round(float(one)):02x}" for one in shades)


def _srgb(stored: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 to 255, from a CIELab value as DICOM stores it in 16 bits."""
    light, a, b = stored[0] * 100 / 65535, stored[1] * 255 / 65535 - 128, stored[2] * 255 / 65535 - 128
    middle = (light + 16) / 116
    roots = np.array([middle + a / 500, middle, middle - b / 200])
    xyz = _WHITE * np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29))
    linear = np.clip(_RGB @ xyz, 0, 1)
    return np.asarray(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))
