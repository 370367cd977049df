"""Segmentations and structure sets of a study as outlines over the frames of a series.

A frame of a segmentation is as thick as the distance to the next; a picture shows those that its plane goes through,
wherever their pixels lie in that plane. A contour belongs to the slice that its points are in (PS3.3 section C.8.8.6).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carina.dicom.geometry import Place
from carina.dicom.outlines import borders, flat
from carina.errors import InvalidInstance, NotFound
from carina.node.authorise import Grant
from carina.node.images import Image, open_image
from carina.node.marks import SEGMENTATIONS, STRUCTURES, Contour, Marked, Marks, Segment, marks_of
from carina.node.retrieve import place
from carina.node.site import Node
from carina.node.taken import Taken
from carina.storage.locate import Located

MOST = 20  # overlays of one series
PARALLEL = 0.9998  # cosine of the largest angle (1°) between the planes of a picture and an outline
MOST_POINTS, MOST_CONTOURS = 100_000, 5000  # that are drawn in one slice
CROSS = 2.0  # pixels from the middle of a point's cross to its ends

NO_PLACE = "The images do not say where they lie in the patient, so that the outlines cannot be placed."
OTHER_SYSTEM = "The outlines have another frame of reference than the images, so that they cannot be placed."
OTHER_GRID = "The outlines lie in planes that are not parallel to the images, and are not drawn."
NOT_FLAT = "Some contours do not lie in the slices of the images, and are not drawn."
TOO_MANY = "So many contours lie in this slice that only the first of them are drawn."
UNREADABLE = "Some of the outlines cannot be read."
NOWHERE = "The outlines do not say where they lie in the patient."
NO_SOURCE = "A segmentation or structure set of this study does not say which images it was made on."


@dataclass(frozen=True)
class Overlay:
    """What can be drawn over a series. `id`: SOP Instance UID; `kind`: SEG or RTSTRUCT."""

    id: str
    kind: str
    label: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Outline:
    """Paths of one segment, in pixels of a frame (`dicom.outlines`)."""

    number: int
    label: str
    colour: str
    paths: list[list[float]]
    closed: bool = True


@dataclass(frozen=True)
class Outlines:
    """Over one frame. `missing`: a sentence of what is not drawn, or ""."""

    segments: tuple[Outline, ...]
    missing: str = ""


def overlays(node: Node, grant: Grant, study: str, series: str, system: str) -> tuple[tuple[Overlay, ...], bool]:
    """Those of the study that were made on the series, or that name no series of the study and lie in its frame of
    reference; and whether there are any that say neither. `system`: UID of the series' frame of reference.
    """
    found: list[Overlay] = []
    lost = False
    within = place(node, grant, study)
    of_study = {one.series_uid for one in within}
    for one in within:
        if one.sop_class_uid != STRUCTURES and one.sop_class_uid not in SEGMENTATIONS:
            continue
        if one.series_uid == series or len(found) == MOST:
            continue
        marks = marks_of(node, one)
        if marks is None:
            continue
        here = series in marks.series
        loose = not marks.series & of_study and bool(system) and system in marks.systems
        lost = lost or (not marks.series and not marks.systems)
        if here or loose:
            found.append(Overlay(one.uid, marks.kind, marks.label, marks.segments))
    return tuple(found), lost


def outlines(node: Node, overlay: Located, image: Taken, frame: int, gap: float | None) -> Outlines:
    """What an overlay marks in a frame of an image. `gap`: mm between the image's slices, or None.

    Raises `NotFound` when it marks nothing at all, or there is no such frame.
    """
    marks = marks_of(node, overlay)
    if marks is None or not 1 <= frame <= image.frames:
        raise NotFound("This is neither a segmentation nor a structure set.", "Choose one that the look lists.")
    target = image.places[frame - 1]
    same = not marks.systems or not image.frame_of_reference or image.frame_of_reference in marks.systems
    where = target if same and target is not None and target.spacing is not None else None
    if marks.kind == "RTSTRUCT":
        if where is None:
            return Outlines((), NO_PLACE if same else OTHER_SYSTEM)
        return _contours(marks, where, gap)
    chosen, missing = _chosen(marks, image, frame, where)
    if missing and not same:
        missing = OTHER_SYSTEM
    return Outlines(_drawn_frames(node, overlay, marks, chosen, where), missing)


def _chosen(marks: Marks, image: Taken, frame: int, where: Place | None) -> tuple[list[Marked], str]:
    """The frames of a segmentation that are drawn over a frame, or a sentence of why there are none."""
    if where is not None and any(one.place is not None for one in marks.frames):
        level = [one for one in marks.frames if one.place is not None and _parallel(one.place, where)]
        return (_cut(level, where, marks.gap), "") if level else ([], OTHER_GRID)
    same = [one for one in marks.frames if (image.uid, frame) in one.sources and marks.shape == image.shape]
    return same, "" if same else NO_PLACE if where is None else NOWHERE


def _drawn_frames(
    node: Node, overlay: Located, marks: Marks, chosen: Sequence[Marked], where: Place | None
) -> tuple[Outline, ...]:
    if not chosen:
        return ()
    opened = open_image(node, overlay, [one.frame for one in chosen])
    paths: dict[int, list[list[float]]] = {}
    for one in chosen:
        for number, mask in _masks(marks, opened, one):
            moved = [_moved(path, one.place, where) for path in borders(mask)]
            paths.setdefault(number, []).extend(flat(path) for path in moved)
    return tuple(_named(marks, number, found) for number, found in sorted(paths.items()) if found)


def _cut(frames: Sequence[Marked], where: Place, gap: float | None) -> list[Marked]:
    """Of each segment the frame that the picture's plane goes through."""
    normal = np.array(where.position.normal)
    heights = [abs(float((np.array(one.place.corner) - where.corner) @ normal)) for one in frames if one.place]
    reach = (gap or _step(frames, normal) or 0.02) / 2 * 1.001
    near: dict[int, tuple[float, Marked]] = {}
    for height, one in zip(heights, frames, strict=True):
        if height <= reach and (one.segment not in near or height < near[one.segment][0]):
            near[one.segment] = (height, one)
    return [one for _, one in near.values()]


def _step(frames: Sequence[Marked], normal: NDArray[Any]) -> float | None:
    """mm between neighbours, from where they are."""
    heights = np.unique(np.round([float(np.array(one.place.corner) @ normal) for one in frames if one.place], 3))
    return float(np.diff(heights).min()) if len(heights) > 1 else None


def _masks(marks: Marks, image: Image, one: Marked) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    pixels = image.pixels(one.frame)
    if pixels.ndim != 2:
        raise InvalidInstance(UNREADABLE)
    if one.segment:
        yield one.segment, pixels != 0 if marks.most is None else pixels >= marks.most / 2
        return
    known = {each.number for each in marks.segments}
    for number in np.unique(pixels):
        if int(number) in known:
            yield int(number), pixels == number


def _contours(marks: Marks, where: Place, gap: float | None) -> Outlines:
    """Those whose points lie in the slice of the picture, half of the gap to either side."""
    normal, reach = np.array(where.position.normal), (gap or 1.0) / 2
    closed: dict[int, list[list[float]]] = {}
    others: dict[int, list[list[float]]] = {}
    crooked = False
    found, cut = _within(marks, where, normal, reach)
    for one in found:
        heights = (one.points - where.corner) @ normal
        if np.ptp(heights) > max(reach, 0.01):
            crooked = crooked or bool(heights.min() <= reach and heights.max() >= -reach)
            continue
        if not -reach <= float(heights.mean()) < reach:
            continue
        path = _pixels(one.points, where)
        kind = closed if one.kind.startswith("CLOSED") else others
        kind.setdefault(one.segment, []).extend(_drawn(one, path))
    drawn = [_named(marks, number, paths) for number, paths in closed.items()]
    drawn += [_named(marks, number, paths, closed=False) for number, paths in others.items()]
    missing = UNREADABLE if marks.damaged else TOO_MANY if cut else NOT_FLAT if crooked else ""
    return Outlines(tuple(drawn), missing)


def _within(marks: Marks, where: Place, normal: NDArray[np.float64], reach: float) -> tuple[list[Contour], bool]:
    """The contours that may lie in a slice, as many as are looked at, and whether there are more."""
    near = [marks.contours[at] for at in marks.crossing(where.corner, normal, reach)]
    points = np.cumsum([len(one.points) for one in near])
    count = min(int(np.searchsorted(points, MOST_POINTS, side="right")), MOST_CONTOURS)
    return near[:count], count < len(near)


def _drawn(contour: Contour, path: NDArray[np.float64]) -> list[list[float]]:
    """A contour as it is; of points a cross each."""
    if contour.kind != "POINT" and len(path) > 1:
        return [flat(path)]
    ends = (np.array([(-CROSS, 0), (CROSS, 0)]), np.array([(0, -CROSS), (0, CROSS)]))
    return [flat(point + end) for point in path for end in ends]


def _parallel(one: Place, other: Place) -> bool:
    return abs(float(np.array(one.position.normal) @ np.array(other.position.normal))) >= PARALLEL


def _pixels(points: NDArray[np.float64], where: Place) -> NDArray[np.float64]:
    """Points in the patient (n, 3) as (x, y) in pixels of a frame."""
    assert where.spacing is not None
    rows, columns = where.spacing
    found = (points - where.corner) @ np.array(where.axes).T / np.array([columns, rows])
    return np.asarray(found + 0.5)


def _moved(path: NDArray[np.float64], source: Place | None, where: Place | None) -> NDArray[np.float64]:
    """A path in pixels of one frame in pixels of another, along the normal."""
    if source is None or where is None or source.spacing is None:
        return path
    rows, columns = source.spacing
    points = (path - 0.5) * np.array([columns, rows]) @ np.array(source.axes) + source.corner
    return _pixels(points, where)


def _named(marks: Marks, number: int, paths: list[list[float]], *, closed: bool = True) -> Outline:
    for one in marks.segments:
        if one.number == number:
            return Outline(number, one.label, one.colour, paths, closed)
    return Outline(number, "", "#e69f00", paths, closed)
