"""What segmentations and structure sets mark, and where, from their headers as they are kept: read once per content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carina.dicom.geometry import Place, numbers_of, place_of
from carina.dicom.json import values_of
from carina.dicom.levels import tag_of
from carina.dicom.outlines import colour_of
from carina.node.recent import Recent
from carina.node.retrieve import headers
from carina.node.site import Node
from carina.storage.database import from_text
from carina.storage.locate import Located

STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATIONS = frozenset(("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"))
MOST_SEGMENTS, MOST_FRAMES = 2000, 20_000
LONGEST = 20_000  # points of one contour that are kept, evenly chosen of more; no border has as many pixels
SHOWN = 20  # segments of one overlay that are shown at first
Header = dict[str, Any]


@dataclass(frozen=True)
class Segment:
    """A segment of a SEG, or a region of an RTSTRUCT. `colour`: as #rrggbb."""

    number: int
    label: str
    colour: str
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Marked:
    """A frame of a segmentation: its segment (0: its values are the segments), where it lies, what it was made on."""

    frame: int
    segment: int
    place: Place | None
    sources: tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class Contour:
    """A contour of a structure set: `points` (n, 3), mm, LPS."""

    segment: int
    kind: str
    points: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Marks:
    """`kind`: SEG or RTSTRUCT. `most`: Maximum Fractional Value of a fractional segmentation, else None.

    gap     mm between frames, or None
    series  UIDs of the series that it was made on, and `systems` of the frames of reference
    damaged whether something of it cannot be read
    """

    kind: str
    label: str
    segments: tuple[Segment, ...]
    series: frozenset[str]
    systems: frozenset[str]
    shape: tuple[int, int] = (0, 0)
    most: float | None = None
    gap: float | None = None
    frames: tuple[Marked, ...] = field(default=(), repr=False)
    contours: tuple[Contour, ...] = field(default=(), repr=False)
    damaged: bool = False

    @cached_property
    def bounds(self) -> NDArray[np.float64]:
        """(2, contours, 3): of each contour its least and its greatest coordinates, mm, LPS."""
        if not self.contours:
            return np.zeros((2, 0, 3))
        points = np.concatenate([one.points for one in self.contours])
        starts = np.cumsum([0, *(len(one.points) for one in self.contours[:-1])])
        return np.stack([np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)])

    def crossing(self, corner: Sequence[float], normal: NDArray[np.float64], reach: float) -> NDArray[np.intp]:
        """Which contours may come within `reach` mm of a plane; those left out do not."""
        low, high = self.bounds
        middles, halves = ((low + high) / 2 - corner) @ normal, (high - low) / 2 @ np.abs(normal)
        return np.flatnonzero(np.abs(middles) <= halves + reach + 1e-6)


_KEPT: Recent[Marks] = Recent(
    256 << 20, lambda one: 1000 + 400 * len(one.frames) + sum(250 + each.points.nbytes for each in one.contours)
)


def marks_of(node: Node, instance: Located) -> Marks | None:
    """What an instance marks; None when it is neither a segmentation nor a structure set."""
    if instance.sop_class_uid != STRUCTURES and instance.sop_class_uid not in SEGMENTATIONS:
        return None

    def make() -> Marks:
        header = from_text(headers(node, [instance])[instance.uid])
        return _structures(header) if instance.sop_class_uid == STRUCTURES else _segmentation(header, instance.frames)

    return _KEPT.of((instance.content, instance.uid), make)


def _segmentation(header: Header, count: int) -> Marks:
    label_map = _text(header, "SegmentationType") == "LABELMAP" or _text(header, "SOPClassUID").endswith(".66.7")
    segments: list[Segment] = []
    for item in _items(header, "SegmentSequence")[:MOST_SEGMENTS]:
        number = _whole(item, "SegmentNumber")
        if number:
            colour = list(values_of(item, tag_of("RecommendedDisplayCIELabValue")))
            label = _text(item, "SegmentLabel")
            segments.append(Segment(number, label, colour_of(colour, number, lab=True), len(segments) < SHOWN))
    frames = tuple(_marked(header, number, label_map) for number in range(1, min(count, MOST_FRAMES) + 1))
    fractional = _text(header, "SegmentationType") == "FRACTIONAL"
    gap = _number(header, "SpacingBetweenSlices") or _number(header, "SliceThickness")
    return Marks(
        kind="SEG",
        label=_text(header, "ContentLabel") or _text(header, "SeriesDescription"),
        segments=tuple(segments),
        series=frozenset(_text(item, "SeriesInstanceUID") for item in _items(header, "ReferencedSeriesSequence")),
        systems=frozenset(filter(None, [_text(header, "FrameOfReferenceUID")])),
        shape=(_whole(header, "Rows"), _whole(header, "Columns")),
        most=float(_whole(header, "MaximumFractionalValue") or 255) if fractional else None,
        gap=gap,
        frames=frames,
    )


def _marked(header: Header, number: int, label_map: bool) -> Marked:
    own = _items(header, "PerFrameFunctionalGroupsSequence")
    groups = [own[number - 1]] if number <= len(own) else []
    groups += _items(header, "SharedFunctionalGroupsSequence")[:1]
    segment, sources = 0, []
    for group in groups:
        for item in _items(group, "SegmentIdentificationSequence")[:1]:
            segment = segment or _whole(item, "ReferencedSegmentNumber")
        for derived in _items(group, "DerivationImageSequence"):
            for source in _items(derived, "SourceImageSequence"):
                of = _text(source, "ReferencedSOPInstanceUID")
                sources += [(of, frame) for frame in _wholes(source, "ReferencedFrameNumber") or [1]]
    return Marked(number, 0 if label_map else segment, place_of(header, number), tuple(sources))


def _structures(header: Header) -> Marks:
    colours = {_whole(item, "ReferencedROINumber"): item for item in _items(header, "ROIContourSequence")}
    segments: list[Segment] = []
    systems = set()
    for at, item in enumerate(_items(header, "StructureSetROISequence")[:MOST_SEGMENTS]):
        number = _whole(item, "ROINumber")
        colour = list(values_of(colours.get(number, {}), tag_of("ROIDisplayColor")))
        segments.append(Segment(number, _text(item, "ROIName"), colour_of(colour, at + 1, lab=False), at < SHOWN))
        systems.add(_text(item, "ReferencedFrameOfReferenceUID"))
    contours = [_contour(number, item) for number, roi in colours.items() for item in _items(roi, "ContourSequence")]
    return Marks(
        kind="RTSTRUCT",
        label=_text(header, "StructureSetLabel") or _text(header, "SeriesDescription"),
        segments=tuple(segments),
        series=frozenset(_drawn_on(header)),
        systems=frozenset(filter(None, systems)) or frozenset(filter(None, [_text(header, "FrameOfReferenceUID")])),
        contours=tuple(one for one in contours if one is not None),
        damaged=None in contours,
    )


def _drawn_on(header: Header) -> Iterator[str]:
    for system in _items(header, "ReferencedFrameOfReferenceSequence"):
        for study in _items(system, "RTReferencedStudySequence"):
            for series in _items(study, "RTReferencedSeriesSequence"):
                yield _text(series, "SeriesInstanceUID")


def _contour(number: int, item: Header) -> Contour | None:
    """None when its data are no points."""
    told = list(values_of(item, tag_of("ContourData")))
    if not told or len(told) % 3:
        return None
    step = 3 * -(-len(told) // (3 * LONGEST))
    try:
        points = np.array([[float(one) for one in told[axis::step]] for axis in range(3)]).T
    except (TypeError, ValueError):
        return None
    if not np.isfinite(points).all() or np.abs(points).max() > 1e9:
        return None
    return Contour(number, _text(item, "ContourGeometricType").upper(), np.ascontiguousarray(points))


def _number(header: Header, keyword: str) -> float | None:
    found = numbers_of(header, 1, tag_of("PixelMeasuresSequence"), tag_of(keyword), 1)
    return abs(found[0]) or None if found else None


def _items(header: Header, keyword: str) -> list[Header]:
    found = (header.get(tag_of(keyword)) or {}).get("Value") or []
    return [one for one in found if isinstance(one, dict)]


def _text(header: Header, keyword: str) -> str:
    return str(next(iter(values_of(header, tag_of(keyword))), "")).strip()


def _whole(header: Header, keyword: str) -> int:
    return next(iter(_wholes(header, keyword)), 0)


def _wholes(header: Header, keyword: str) -> list[int]:
    """All values that are whole numbers; none where one is not."""
    try:
        return [int(one) for one in values_of(header, tag_of(keyword))]
    except (TypeError, ValueError, OverflowError):
        return []
