"""Parallel, evenly spaced frames as one block in space, and frames at the same places told apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carina.dicom.planes import INSTEAD, MARKS, Mark, Plane, Triple
from carina.errors import InvalidInstance

COSINES = 1e-3  # largest error of a direction cosine
SHARE = 0.01  # of the spacing, by which a slice may lie beside its place
LEAST = 0.01  # mm, the same where that is more
TWICE = "Several images of this series lie at the same place, as those of several times or echoes do."


@dataclass(frozen=True, eq=False)
class Stack:
    """The places of a block whose axes are slices, rows, columns; mm, x to the left, y to the back, z to the head.

    order      of the frames that it was made of, along the normal
    spacing    mm along each axis
    origin     the centre of the first voxel
    direction  3 × 3, a row for each axis
    """

    order: tuple[int, ...]
    spacing: Triple
    origin: Triple
    direction: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True)
class Group:
    """Frames that belong together: their places in what was given, and by what keywords they differ from others."""

    members: tuple[int, ...]
    key: tuple[tuple[str, Mark], ...] = ()


def stack_of(planes: Sequence[Plane]) -> Stack:
    """The frames as a block. Raises `InvalidInstance` that says why they make none."""
    _require_alike(planes)
    normal = planes[0].normal
    places = np.array([plane.position for plane in planes])
    order = np.argsort(places @ normal, kind="stable")
    rows, columns = planes[0].spacing
    if rows <= 0 or columns <= 0:
        raise _refused("The images of this series do not say how far their pixels are apart.")
    gap = _gap(places[order], normal) if len(planes) > 1 else _thickness(planes[0])
    return Stack(
        order=tuple(int(place) for place in order),
        spacing=(gap, rows, columns),
        origin=planes[int(order[0])].position,
        direction=np.stack([normal, np.array(planes[0].axes[1]), np.array(planes[0].axes[0])]),
    )


def apart(planes: Sequence[Plane]) -> list[Group]:
    """The frames by time, echo or whatever else their headers tell apart those that lie at the same place.

    One group, without a key, when no two lie at the same place. Raises `InvalidInstance` when headers do not say.
    """
    _require_alike(planes)
    sites = _sites(planes)
    if all(len(site) == 1 for site in sites):
        return [Group(tuple(range(len(planes))))]
    keywords = _telling(planes, sites)
    groups: dict[tuple[Mark, ...], list[int]] = defaultdict(list)
    for number, plane in enumerate(planes):
        groups[tuple(plane.marks[keyword] for keyword in keywords)].append(number)
    ordered = sorted(groups.items(), key=lambda pair: [(str(type(part)), part) for part in pair[0]])
    return [Group(tuple(members), tuple(zip(keywords, values, strict=True))) for values, members in ordered]


def _telling(planes: Sequence[Plane], sites: list[list[int]]) -> list[str]:
    """The fewest keywords, most telling first, whose values are the same set at each place and differ within it."""
    chosen: list[str] = []
    apart = 1  # frames that are told apart at each place
    wanted = len(sites[0])
    if any(len(site) != wanted for site in sites):
        raise _refused(TWICE)
    for keyword in dict.fromkeys(keyword for keyword, _ in MARKS):
        if not all(keyword in plane.marks for plane in planes):
            continue
        keys = [*chosen, keyword]
        found = [{tuple(planes[one].marks[key] for key in keys) for one in site} for site in sites]
        if len(found[0]) > apart and all(each == found[0] for each in found):
            chosen, apart = keys, len(found[0])
        if apart == wanted:
            return chosen
    raise _refused(TWICE)


def _sites(planes: Sequence[Plane]) -> list[list[int]]:
    """The frames by where they lie along the normal."""
    heights = np.array([plane.position for plane in planes]) @ planes[0].normal
    sites: list[list[int]] = []
    last = -np.inf
    for place in np.argsort(heights, kind="stable"):
        if heights[place] - last >= LEAST:
            sites.append([])
            last = float(heights[place])
        sites[-1].append(int(place))
    return sites


def _require_alike(planes: Sequence[Plane]) -> None:
    first = planes[0]
    axes = np.array(first.axes)
    for plane in planes[1:]:
        if np.abs(np.array(plane.axes) - axes).max() > COSINES:
            raise _refused("The images of this series look in different directions.")
        if plane.spacing != first.spacing and not np.allclose(plane.spacing, first.spacing, rtol=1e-5):
            raise _refused("The pixels of this series' images are not equally far apart.")
        if plane.unit != first.unit:
            raise _refused("The values of this series' images have different units.")


def _gap(places: NDArray[np.float64], normal: NDArray[np.float64]) -> float:
    """The distance of the slices, mm, from their positions in order."""
    heights = places @ normal
    steps = np.diff(heights)
    gap = float(heights[-1] - heights[0]) / (len(places) - 1)
    if steps.min() < LEAST:
        hint = "Take them apart with `volumes()` where headers tell them apart, or one by one with `datasets()`."
        raise InvalidInstance(TWICE, hint)
    allowed = max(LEAST, SHARE * gap)
    if np.abs(steps - gap).max() > allowed:
        raise InvalidInstance("The slices of this series are not evenly spaced; one may be missing.", _hole(steps))
    beside = places - places[0] - np.outer(heights - heights[0], normal)
    if np.abs(beside).max() > allowed:
        raise InvalidInstance(
            "The slices of this series are shifted against each other, as those of a tilted gantry are.",
            "No block of right angles holds them, in other programs neither, unless their values are interpolated. "
            + INSTEAD,
        )
    return gap


def _hole(steps: NDArray[Any]) -> str:
    """Where the widest gap is."""
    widest = int(np.argmax(steps))
    return (
        f"In the order of their positions the widest gap is between slices {widest + 1} and {widest + 2} "
        f"of {len(steps) + 1}. {INSTEAD}"
    )


def _thickness(plane: Plane) -> float:
    if plane.thickness is None or not 0 < plane.thickness < 1e9:
        raise _refused("The only image of this series does not say how thick its slice is.")
    return plane.thickness


def _refused(said: str) -> InvalidInstance:
    return InvalidInstance(said, INSTEAD)
