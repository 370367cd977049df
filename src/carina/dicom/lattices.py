"""A grid of voxels in the patient, and frames that lie on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carina.dicom.planes import Plane, Triple
from carina.dicom.stacks import COSINES, LEAST
from carina.errors import InvalidInstance

OWN = "Take it in its own grid with `segmentation(own_grid=True)`, or give the volume that it was made on."
NEAR = 0.1  # of a voxel, by which a pixel may lie beside the voxel that it marks
ALIKE = 0.01  # of the spacing, by which two may differ


@dataclass(frozen=True, eq=False)
class Lattice:
    """A grid; everything in the order slices, rows, columns, as in a volume. mm, LPS."""

    shape: tuple[int, int, int]
    spacing: Triple
    origin: Triple
    direction: NDArray[np.float64] = field(repr=False)

    def index(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where points (…, x y z) lie on the grid, as fractions of slice, row, column."""
        found = (points - np.array(self.origin)) @ self.direction.T / np.array(self.spacing)
        return np.asarray(found)


@dataclass(frozen=True, eq=False)
class Piece:
    """Part of a segment: the first voxel that it covers, and of each from there how far it belongs (0 to 1)."""

    start: tuple[int, int, int]
    share: NDArray[np.bool_] | NDArray[np.float32] = field(repr=False)

    @property
    def place(self) -> tuple[slice, ...]:
        """The voxels that it covers."""
        return tuple(slice(first, first + size) for first, size in zip(self.start, self.share.shape, strict=True))


def affine_of(spacing: Triple, origin: Triple, direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """4 × 4, as NIfTI has it: from (column, row, slice, 1) to mm to the right, to the front, to the head (RAS)."""
    affine = np.eye(4)
    affine[:3, :3] = (direction * np.array(spacing)[:, None])[::-1].T
    affine[:3, 3] = origin
    affine[:2] *= -1
    return affine


def lattice_around(planes: Sequence[Plane], rows: int, columns: int, between: float | None) -> Lattice:
    """The grid on which all frames lie, with slices for those that are left out because nothing is marked there.

    between  mm between slices as the header says it, or None
    """
    first = planes[0]
    normal, axes = first.normal, np.array(first.axes)
    places = np.array([plane.position for plane in planes])
    heights = np.unique(places @ normal)
    steps = np.diff(heights)
    heights = heights[np.concatenate(([True], steps > LEAST))]
    gaps = [between, float(np.diff(heights).min()) if len(heights) > 1 else None]
    for gap in (*gaps, first.thickness if len(heights) == 1 else None):
        if gap and gap > 0 and _even(heights, gap):
            count = 1 + round(float(heights[-1] - heights[0]) / gap)
            origin = places[int(np.argmin(places @ normal))]
            direction = np.stack([normal, axes[1], axes[0]])
            x, y, z = (float(value) for value in origin)
            return Lattice((count, rows, columns), (gap, *first.spacing), (x, y, z), direction)
    raise InvalidInstance("The frames of this segmentation are not evenly spaced.", "Take its dataset.")


def piece_of(lattice: Lattice, plane: Plane, marked: NDArray[Any], between: float | None) -> Piece | None:
    """What a frame marks, on the grid; None where it marks nothing.

    marked   (rows, columns), of the frame
    between  mm between the frames, as the header says, or None

    Raises `InvalidInstance` when the frame does not lie on the grid, pixel on voxel, or marks what is outside it.
    """
    found = np.nonzero(marked)
    if not found[0].size:
        return None
    axes, signs = _axes(lattice, plane, between)
    start = lattice.index(np.array(plane.position))
    if np.abs(start - np.round(start)).max() > NEAR:
        raise InvalidInstance("The frames of this segmentation lie between the voxels of the image.", OWN)
    low, high = ([int(edge(each)) for each in found] for edge in (np.min, np.max))
    block = marked[low[0] : high[0] + 1, low[1] : high[1] + 1]
    corner = np.round(start).astype(int)
    for axis, sign, least, most in zip(axes, signs, low, high, strict=True):
        corner[axis] += least if sign > 0 else -most
    block = block[tuple(slice(None, None, sign) for sign in signs)]
    block = block if axes[0] < axes[1] else block.T
    piece = Piece((int(corner[0]), int(corner[1]), int(corner[2])), np.expand_dims(block, 3 - sum(axes)))
    ends = [first + size for first, size in zip(piece.start, piece.share.shape, strict=True)]
    if min(piece.start) < 0 or any(end > size for end, size in zip(ends, lattice.shape, strict=True)):
        raise InvalidInstance("This segmentation marks places outside the image.", OWN)
    return piece


def _axes(lattice: Lattice, plane: Plane, between: float | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Along which axes of the grid the frame's rows and columns grow, and 1 or −1 for forwards or backwards."""
    across, down = np.array(plane.axes)
    turn = lattice.direction @ np.stack([down, across, plane.normal]).T
    main = np.argmax(np.abs(turn), axis=0)
    signs = np.sign(turn[main, range(3)])
    if np.abs(np.abs(turn[main, range(3)]) - 1).max() > COSINES or len(set(main.tolist())) < 3:
        raise InvalidInstance("The frames of this segmentation are not parallel to the image's axes.", OWN)
    for axis, step in zip(main, (*plane.spacing, between), strict=True):
        if step and abs(step - lattice.spacing[axis]) > ALIKE * lattice.spacing[axis]:
            raise InvalidInstance("The pixels of this segmentation are not as far apart as the image's.", OWN)
    return (int(main[0]), int(main[1])), (int(signs[0]), int(signs[1]))


def _even(heights: NDArray[np.float64], gap: float) -> bool:
    steps = (heights - heights[0]) / gap
    return bool(np.abs(steps - np.round(steps)).max() <= NEAR)
