"""Segmentations (PS3.3 section C.8.20) and structure sets (C.8.8.5 and C.8.8.6) on the grid of an image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from carina.dicom.contours import inside
from carina.dicom.frames import decoded
from carina.dicom.lattices import NEAR, Lattice, Piece, lattice_around, piece_of
from carina.dicom.planes import Plane, planes_of, value_of
from carina.errors import InvalidInstance

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
Pieces = dict[int, list[Piece]]


@dataclass(frozen=True)
class Code:
    """A coded concept."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class Segment:
    """One segment of a segmentation, or one region (ROI) of a structure set.

    number     Segment Number, or ROI Number
    label      Segment Label, or ROI Name
    category, type  coded, where the header says; of a region none
    algorithm  AUTOMATIC, SEMIAUTOMATIC or MANUAL; its name in `algorithm_name`
    """

    number: int
    label: str
    category: Code | None = None
    type: Code | None = None
    algorithm: str = ""
    algorithm_name: str = ""


def segments_of(dataset: Dataset) -> tuple[Segment, ...]:
    """The segments of a segmentation but its background, or the regions of a structure set."""
    if "StructureSetROISequence" in dataset:
        return tuple(
            Segment(
                number=int(item.ROINumber),
                label=str(item.get("ROIName") or ""),
                algorithm=str(item.get("ROIGenerationAlgorithm") or ""),
                algorithm_name=str(item.get("ROIGenerationDescription") or ""),
            )
            for item in dataset.StructureSetROISequence
        )
    return tuple(
        Segment(
            number=int(item.SegmentNumber),
            label=str(item.get("SegmentLabel") or ""),
            category=_code(item, "SegmentedPropertyCategoryCodeSequence"),
            type=_code(item, "SegmentedPropertyTypeCodeSequence"),
            algorithm=str(item.get("SegmentAlgorithmType") or ""),
            algorithm_name=str(item.get("SegmentAlgorithmName") or ""),
        )
        for item in dataset.get("SegmentSequence") or ()
        if int(item.SegmentNumber) != 0
    )


def referenced_series(dataset: Dataset) -> tuple[str, ...]:
    """The Series Instance UIDs of the images that it was made on."""
    found = [item.get("SeriesInstanceUID") for item in dataset.get("ReferencedSeriesSequence") or ()]
    for system in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in system.get("RTReferencedStudySequence") or ():
            found += [item.get("SeriesInstanceUID") for item in study.get("RTReferencedSeriesSequence") or ()]
    return tuple(dict.fromkeys(str(uid) for uid in found if uid))


def frames_of_reference(dataset: Dataset) -> set[str]:
    """The systems of coordinates that it lies in."""
    uids = [item.get("ReferencedFrameOfReferenceUID") for item in dataset.get("StructureSetROISequence") or ()]
    return {str(uid) for uid in uids or [dataset.get("FrameOfReferenceUID")] if uid}


def pieces_of(dataset: Dataset, lattice: Lattice | None) -> tuple[Pieces, Lattice]:
    """What each segment marks on the grid, by its number; without a grid, on the segmentation's own.

    Raises `InvalidInstance` when it does not lie on the grid; structure sets have none of their own.
    """
    if "StructureSetROISequence" in dataset:
        if lattice is None:
            raise InvalidInstance("A structure set has no grid of its own.", "Give the volume that it was drawn on.")
        return _drawn(dataset, lattice), lattice
    if "SegmentSequence" not in dataset:
        raise InvalidInstance("This is neither a segmentation nor a structure set.")
    planes = planes_of(dataset)
    between = _between(dataset)
    own = lattice or lattice_around(planes, int(dataset.Rows), int(dataset.Columns), between)
    found: Pieces = defaultdict(list)
    for plane in planes:
        for number, marked in _marked(dataset, plane):
            piece = piece_of(own, plane, marked, between if len(planes) > 1 else None)
            if piece is not None:
                found[number].append(piece)
    return dict(found), own


def _marked(dataset: Dataset, plane: Plane) -> Iterator[tuple[int, NDArray[Any]]]:
    """The numbers of the segments that a frame marks, each with its pixels: booleans, or shares from 0 to 1."""
    values = decoded(dataset, plane.frame)
    kind = str(dataset.get("SegmentationType") or "")
    if kind == "LABELMAP":
        background = {0, int(dataset.get("PixelPaddingValue") or 0)}
        for number in np.unique(values):
            if int(number) not in background:
                yield int(number), values == number
        return
    number = value_of(dataset, plane.frame - 1, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
    if number is None or kind not in {"BINARY", "FRACTIONAL"}:
        raise InvalidInstance("A frame of this segmentation does not say which segment it is of.")
    if kind == "BINARY":
        yield int(number), values != 0
    else:
        most = float(dataset.get("MaximumFractionalValue") or 0)
        if most <= 0:
            raise InvalidInstance("This segmentation does not give its Maximum Fractional Value.")
        yield int(number), (values / most).astype(np.float32)


def _between(dataset: Dataset) -> float | None:
    """Spacing Between Slices, mm, where the header has it."""
    value = value_of(dataset, 0, "PixelMeasuresSequence", "SpacingBetweenSlices")
    return abs(float(value)) if value is not None else None


def _drawn(dataset: Dataset, lattice: Lattice) -> Pieces:
    """The regions of a structure set: pixels whose centre lies inside an odd number of a region's contours."""
    found: Pieces = {}
    for region in dataset.get("ROIContourSequence") or ():
        slices: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
        for contour in region.get("ContourSequence") or ():
            if str(contour.get("ContourGeometricType") or "") in CLOSED:
                number, corners = _corners(contour, lattice)
                slices[number].append(corners)
        pieces = [_filled(number, outlines, lattice) for number, outlines in sorted(slices.items())]
        found[int(region.ReferencedROINumber)] = [piece for piece in pieces if piece is not None]
    return found


def _corners(contour: Dataset, lattice: Lattice) -> tuple[int, NDArray[np.float64]]:
    """The slice of a contour, and its corners as rows and columns."""
    try:
        points = np.array([float(value) for value in contour.get("ContourData") or ()]).reshape(-1, 3)
    except (TypeError, ValueError):
        points = np.empty((0, 3))
    if len(points) < 3 or not np.isfinite(points).all():
        raise InvalidInstance("A contour of this structure set is damaged.")
    index = lattice.index(points)
    number = round(float(index[0, 0]))
    if np.abs(index[:, 0] - number).max() > NEAR:
        raise InvalidInstance(
            "A contour of this structure set does not lie in a slice of the image.",
            "Give the volume that it was drawn on.",
        )
    if not 0 <= number < lattice.shape[0]:
        raise InvalidInstance(
            "This structure set marks places outside the image.", "Give the volume that it was drawn on."
        )
    return number, index[:, 1:]


def _filled(number: int, outlines: list[NDArray[np.float64]], lattice: Lattice) -> Piece | None:
    """The contours of one slice, filled, cut to what they cover."""
    filled = inside(outlines, *lattice.shape[1:])
    rows, columns = np.nonzero(filled)
    if not rows.size:
        return None
    block = filled[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return Piece((number, int(rows.min()), int(columns.min())), block[None].copy())


def _code(item: Dataset, keyword: str) -> Code | None:
    codes = item.get(keyword) or ()
    if not codes:
        return None
    return Code(*(str(codes[0].get(name) or "") for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")))
