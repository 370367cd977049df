"""The order of slices in space, from headers as DICOM JSON."""

from __future__ import annotations

import random
from typing import Any

import pytest

from carina.dicom.geometry import Position, order_of, place_of

AXIAL = [1, 0, 0, 0, 1, 0]
CORONAL = [1, 0, 0, 0, 0, -1]
SAGITTAL = [0, 1, 0, 0, 0, -1]
TILTED = [1, 0, 0, 0, 0.8, 0.6]


def header(position: list[float] | None, orientation: list[float] | None = None) -> dict[str, Any]:
    found = {"00200032": {"vr": "DS", "Value": position}, "00200037": {"vr": "DS", "Value": orientation or AXIAL}}
    return {tag: element for tag, element in found.items() if element["Value"] is not None}


def position_of(said: dict[str, Any], frame: int = 1) -> Position | None:
    place = place_of(said, frame)
    return None if place is None else place.position


@pytest.mark.parametrize(
    ("orientation", "axis", "plane"), [(AXIAL, 2, "axial"), (CORONAL, 1, "coronal"), (SAGITTAL, 0, "sagittal")]
)
def test_slices_are_ordered_along_their_normal_and_their_plane_has_its_name(
    orientation: list[float], axis: int, plane: str
) -> None:
    places = [float(place) for place in range(-40, 40, 5)]
    random.Random(1).shuffle(places)
    positions = [position_of(header([place if axis == at else 7 for at in range(3)], orientation)) for place in places]
    order, name = order_of(positions)
    assert name == plane
    ordered = [places[number] for number in order]
    assert ordered in (sorted(places), sorted(places, reverse=True))
    distances = [position.distance for number in order if (position := positions[number]) is not None]
    assert distances == sorted(distances)


def test_a_tilted_stack_is_oblique() -> None:
    positions = [position_of(header([0, 0, place], TILTED)) for place in (3.0, 1.0, 2.0)]
    assert order_of(positions) == ([1, 2, 0], "oblique")


def test_a_slight_tilt_keeps_the_planes_name() -> None:
    [position] = [position_of(header([0, 0, 1], [1, 0, 0, 0, 0.98, 0.199]))]
    assert order_of([position]) == ([0], "axial")


def test_slices_at_one_place_keep_their_order() -> None:
    positions = [position_of(header([0, 0, place])) for place in (5, 5, 1, 1)]
    assert order_of(positions)[0] == [2, 3, 0, 1]


@pytest.mark.parametrize(
    "odd",
    [
        {},
        header(None),
        header([0, 0, 1], CORONAL),
        header([0, 0]),
        header([0, 0, float("nan")]),
        header([0, 0, 1], [0, 0, 0, 0, 0, 0]),
        header(["x", 0, 1]),  # type: ignore[list-item]
    ],
)
def test_with_one_that_lies_nowhere_or_across_the_slices_stay_as_numbered(odd: dict[str, Any]) -> None:
    positions = [position_of(header([0, 0, 9])), position_of(odd), position_of(header([0, 0, 1]))]
    assert order_of(positions) == ([0, 1, 2], "")


def test_no_slices_have_no_order() -> None:
    assert order_of([]) == ([], "")


def test_each_frame_of_an_enhanced_image_has_its_own_place() -> None:
    frames = [{"00209113": {"vr": "SQ", "Value": [header([0, 0, place])]}} for place in (4.0, 2.0)]
    enhanced = {
        "52009229": {"vr": "SQ", "Value": [{"00209116": {"vr": "SQ", "Value": [header(None)]}}]},
        "52009230": {"vr": "SQ", "Value": frames},
    }
    places = [position_of(enhanced, frame) for frame in (1, 2, 3)]
    assert [place and place.distance for place in places] == [4.0, 2.0, None]
