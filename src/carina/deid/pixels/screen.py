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
FEWEST = 12  # edges of one value, in every second row, that may be a text; a line of ten small letters has some 30


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
    values = _signed(frame, high - low)
    limit = max(4, int((high - low) * STANDING))
    upper, lower = values[: frame.shape[0] // 2 * 2 : 2], values[1::2]  # pairs of rows
    steps = upper[:, 1:] - upper[:, :-1]
    steps += limit
    stands = steps.view(f"u{steps.itemsize}") > 2 * limit  # less than -limit, or more than limit
    stands &= upper[:, 1:] == lower[:, 1:]
    rows, columns = np.divmod(np.flatnonzero(stands), frame.shape[1] - 1)
    if rows.size < FEWEST:
        return []
    found = _strokes(frame, rows * 2, columns + 1, limit)
    return sorted(found, key=lambda value: -found[value])


def _signed(frame: Picture, reach: int) -> Picture:
    """The frame as signed numbers that hold its differences, by two's complement: up to `reach`, and both ways."""
    if reach >= 1 << 15 or frame.dtype.itemsize > 2 or not frame.dtype.isnative:
        return frame.astype(np.int64)
    return frame.view(np.int16) if frame.dtype.itemsize == 2 else frame.astype(np.int16)


def _strokes(frame: Picture, rows: Picture, columns: Picture, limit: int) -> dict[int, int]:
    """The values of which enough edges begin a stroke, and how many do.

    rows, columns   of the edges: pixels that stand out from their left neighbours
    """
    of = frame[rows, columns].astype(np.int64)
    sign = np.sign(of - frame[rows, columns - 1])
    kept = (of - frame[rows + 1, columns - 1]) * sign > limit
    kept &= _frequent(of)
    rows, columns, of, sign = rows[kept], columns[kept], of[kept], sign[kept]
    ends = np.zeros(of.size, bool)
    for step in range(1, THICKEST + 1):
        behind = frame[rows, np.minimum(columns + step, frame.shape[1] - 1)]
        ends |= (of - behind) * sign > limit
    kinds, counts = np.unique(of[ends], return_counts=True)
    return {one: count for one, count in zip(kinds.tolist(), counts.tolist(), strict=True) if count >= FEWEST}


def _frequent(of: Picture) -> Picture:
    """Which of these are of a value that enough of them have."""
    _, kind, counts = np.unique(of, return_inverse=True, return_counts=True)
    return np.asarray((counts >= FEWEST)[kind])
