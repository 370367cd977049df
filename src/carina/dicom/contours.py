"""Outlines as pixels (PS3.3 section C.8.8.6)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def inside(outlines: Iterable[NDArray[np.float64]], rows: int, columns: int) -> NDArray[np.bool_]:
    """Which pixels have their centre inside an odd number of closed outlines.

    outlines  of each the corners as (row, column); pixel centres lie at whole numbers

    An outline within another cuts a hole. A keyhole, whose path goes to the hole and back, cuts the same. A centre
    right on a border belongs to what follows it in rows and columns, so that neighbours share no pixel and miss none.

    >>> square = np.array([(0.5, 0.5), (0.5, 2.5), (2.5, 2.5), (2.5, 0.5)])
    >>> inside([square], 4, 4).astype(int).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    crossings = np.zeros((rows, columns + 1), np.uint32)  # of each row: borders at or before a column
    for corners in outlines:
        _cross(crossings, corners)
    return (np.cumsum(crossings, axis=1)[:, :columns] % 2).astype(bool)


def _cross(crossings: NDArray[np.uint32], corners: NDArray[np.float64]) -> None:
    """Count where the outline's edges meet each row of pixel centres."""
    rows, columns = crossings.shape[0], crossings.shape[1] - 1
    ends = np.roll(corners, -1, axis=0)
    upward = corners[:, 0] > ends[:, 0]
    top, bottom = np.where(upward[:, None], ends, corners), np.where(upward[:, None], corners, ends)
    first = np.clip(np.ceil(top[:, 0]), 0, rows).astype(int)
    last = np.clip(np.ceil(bottom[:, 0]), 0, rows).astype(int)  # a row at the lower end is the next edge's
    counts = np.maximum(last - first, 0)
    edge = np.repeat(np.arange(len(corners)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    share = (row - top[edge, 0]) / (bottom[edge, 0] - top[edge, 0])
    column = np.ceil(top[edge, 1] + share * (bottom[edge, 1] - top[edge, 1]))
    np.add.at(crossings, (row, np.clip(column, 0, columns).astype(int)), 1)
