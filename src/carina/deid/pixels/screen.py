"""A quick look at the values of a grey frame: letters are thin strokes of one value, which tissue and noise are not.

A stroke's edge is a pair of pixels, one above the other, of exactly the same value, that both stand out from their
neighbours to the left, both brighter or both darker, by `STANDING` of the frame's range; the stroke ends within
`THICKEST` pixels, standing out as much. Measured values vary from pixel to pixel, so that many such edges of one value
do not come about by chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Picture = np.ndarray[Any, Any]
THICKEST = 14  # pixels
STANDING = 0.10  # of the range from the lowest to the highest value
FEWEST = 24  # edges of one value that may be a text; a line of ten small letters has some 60


def suspicious(frame: Picture) -> bool:
    """Whether strokes of one value stand in a grey frame, so that it should be looked at with the text finder."""
    return bool(stroke_values(frame))


def stroke_values(frame: Picture) -> list[int]:
    """The values of a grey frame of whole numbers that are drawn in strokes; the most frequent first."""
    if frame.ndim != 2 or frame.dtype.kind not in "iu" or frame.size < 1024:
        return []
    low, high = int(frame.min()), int(frame.max())
    if high - low < 8:
        return []
    values, width = _from_zero(frame, low, high).ravel(), frame.shape[1]
    limit = max(4, int((high - low) * STANDING))
    steps = values[1:] - values[:-1]  # from the last pixel of a row to the first of the next too: left out below
    even = values[1:-width] == values[1 + width :]
    found: dict[int, int] = {}
    for stands in (steps > limit, steps < -limit):
        edges = np.flatnonzero(stands[:-width] & stands[width:] & even) + 1
        if edges.size >= FEWEST:
            _count(found, values, edges, width, limit)
    return sorted((value + low for value in found), key=lambda value: -found[value - low])


def _from_zero(frame: Picture, low: int, high: int) -> Picture:
    """The frame less its lowest value, in the smallest kind of number that holds its differences."""
    if high - low >= 1 << 15:
        return frame.astype(np.int64) - low
    if frame.dtype.kind == "i" and frame.dtype.itemsize == 1:
        frame = frame.astype(np.int16)
    return (frame - frame.dtype.type(low)).astype(np.int16, copy=False)


def _count(found: dict[int, int], values: Picture, edges: Picture, width: int, limit: int) -> None:
    """Add to `found` the values of which enough edges begin a stroke, and how many do."""
    edges = edges[edges % width > 0]
    kinds, kind, counts = np.unique(values[edges], return_inverse=True, return_counts=True)
    edges = edges[(counts >= FEWEST)[kind]]
    if not edges.size:
        return
    of = values[edges].astype(np.int64)
    sign = np.sign(of - values[edges - 1])
    room = width - 1 - edges % width
    ends = np.zeros(len(edges), bool)
    for step in range(1, THICKEST + 1):
        behind = values[edges + np.minimum(step, room)]
        ends |= (of - behind) * sign > limit
    kinds, counts = np.unique(of[ends], return_counts=True)
    for one, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        if count >= FEWEST:
            found[one] = found.get(one, 0) + count
