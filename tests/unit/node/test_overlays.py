"""Outlines come to lie where their pixels lie in the patient, whichever way round their own frames are."""

from __future__ import annotations

import numpy as np
import pytest

from carina.dicom.contours import inside
from carina.dicom.geometry import Place, Vector
from carina.dicom.outlines import borders
from carina.node.marks import Contour, Marked, Marks
from carina.node.overlays import TOO_MANY, _contours, _cut, _moved

ROWS, COLUMNS = 7, 11
SPACING = (2.0, 3.0)  # mm between rows and between columns
X, Y, BACK, UP = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)
FAR = ((COLUMNS - 1) * SPACING[1], (ROWS - 1) * SPACING[0])


@pytest.mark.parametrize(
    ("axes", "corner", "turned"),
    [
        ((X, Y), (0.0, 0.0, 0.0), (slice(None), slice(None))),
        ((BACK, UP), (FAR[0], FAR[1], 0.0), (slice(None, None, -1), slice(None, None, -1))),
        ((BACK, Y), (FAR[0], 0.0, 0.0), (slice(None), slice(None, None, -1))),
        ((X, UP), (0.0, FAR[1], 0.0), (slice(None, None, -1), slice(None))),
    ],
)
def test_a_mask_that_is_stored_turned_is_drawn_where_it_lies(
    axes: tuple[Vector, Vector], corner: Vector, turned: tuple[slice, slice]
) -> None:
    mask = np.random.default_rng(5).random((ROWS, COLUMNS)) < 0.3
    source, where = Place(corner, axes, SPACING), Place((0.0, 0.0, 0.0), (X, Y), SPACING)
    paths = [_moved(path, source, where)[:, ::-1] - 0.5 for path in borders(mask)]
    assert np.array_equal(inside(paths, ROWS, COLUMNS), mask[turned])


@pytest.mark.parametrize("axes", [(X, Y), (BACK, Y)])
def test_frames_in_reversed_order_are_found_by_where_they_lie(axes: tuple[Vector, Vector]) -> None:
    heights = [4.0, 3.0, 2.0, 1.0]
    frames = [
        Marked(number, 1, Place((0.0, 0.0, height), axes, SPACING), ()) for number, height in enumerate(heights, 1)
    ]
    for number, height in enumerate(heights, 1):
        where = Place((0.0, 0.0, height), (X, Y), SPACING)
        assert [one.frame for one in _cut(frames, where, 1.0)] == [number]
    assert _cut(frames, Place((0.0, 0.0, 9.0), (X, Y), SPACING), 1.0) == []


def structures(heights: list[float]) -> Marks:
    square = np.array([(0.0, 0.0), (4.0, 0.0), (4.0, 4.0)])
    contours = [Contour(1, "CLOSED_PLANAR", np.column_stack([square, np.full(3, height)])) for height in heights]
    return Marks("RTSTRUCT", "", (), frozenset(), frozenset(), contours=tuple(contours))


def test_only_contours_near_a_slice_are_looked_at() -> None:
    marks = structures([float(height) for height in range(3000)])
    where = Place((0.0, 0.0, 70.0), (X, Y), SPACING)
    assert marks.crossing(where.corner, np.array((0.0, 0.0, 1.0)), 0.5).tolist() == [70]
    [outline] = _contours(marks, where, 1.0).segments
    assert len(outline.paths) == 1
    assert _contours(structures([]), where, 1.0).segments == ()


def test_a_slice_of_too_many_contours_is_drawn_in_part_and_says_so() -> None:
    drawn = _contours(structures([0.0] * 5001), Place((0.0, 0.0, 0.0), (X, Y), SPACING), 1.0)
    assert len(drawn.segments[0].paths) == 5000 and drawn.missing == TOO_MANY
