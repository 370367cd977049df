"""A series becomes a block in space, or a sentence says why it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.valuerep import DS
from tests.unit.interfaces.client.slices import slice_at, stack

from carina.dicom.quiet import quiet
from carina.errors import InvalidInstance
from carina.interfaces.client.reading import volume_of


def test_a_volume_has_slices_rows_and_columns_in_this_order_with_spacing_alike() -> None:
    volume = volume_of(stack())
    assert volume.shape == volume.array.shape == (3, 3, 4)
    assert volume.spacing == (2.5, 0.5, 0.8)  # Pixel Spacing is between rows, then between columns
    assert volume.origin == (-10, 20, 30)
    assert np.array_equal(volume.direction, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


def test_an_index_has_its_place_in_the_patient() -> None:
    volume = volume_of(stack())
    assert volume.position(0, 0, 0) == (-10, 20, 30)
    assert volume.position(2, 1, 3) == pytest.approx((-10 + 3 * 0.8, 20 + 0.5, 30 + 2 * 2.5))
    assert volume.position(0.5, 0, 0) == pytest.approx((-10, 20, 31.25))


def test_values_are_rescaled_per_slice_and_have_their_unit() -> None:
    volume = volume_of([slice_at([0, 0, 0], 1), slice_at([0, 0, 1], 2, RescaleSlope=2, RescaleIntercept=-5)])
    assert volume.array.dtype == np.float32
    assert volume.array[0, 0, 1] == 101 - 1024
    assert volume.array[1, 2, 3] == 2 * 211 - 5
    assert volume.unit == "HU"


def test_values_without_rescale_are_as_stored_and_have_no_unit() -> None:
    bare = dict.fromkeys(("RescaleSlope", "RescaleIntercept", "RescaleType"))
    volume = volume_of(stack(**bare))
    assert volume.array[2, 0, 0] == 300
    assert volume.unit == ""


def test_ct_that_names_no_unit_has_the_one_of_the_standard() -> None:
    assert volume_of(stack(RescaleType=None)).unit == "HU"
    assert volume_of(stack(RescaleType=None, MultienergyCTAcquisition="YES")).unit == ""


def test_pet_names_its_units_elsewhere() -> None:
    assert volume_of(stack(RescaleType=None, Units="BQML")).unit == "BQML"
    with pytest.raises(InvalidInstance, match="different units"):
        volume_of(
            [*stack(2, RescaleType=None, Units="BQML"), slice_at([-10, 20, 35], 3, RescaleType=None, Units="CNTS")]
        )


def test_slices_are_in_the_order_of_positions_and_not_of_numbers_or_arrival() -> None:
    """From head to foot by number, and given in no order at all: the block still goes from foot to head."""
    heights = {1: 40.0, 2: 30.0, 3: 20.0, 4: 10.0}
    given = [slice_at([0, 0, heights[number]], number) for number in (3, 1, 4, 2)]
    volume = volume_of(given)
    assert [int(plane[0, 0] + 1024) // 100 for plane in volume.array] == [4, 3, 2, 1]
    assert volume.origin == (0, 0, 10)
    assert volume.instances[0] == given[2].SOPInstanceUID


def test_sagittal_slices_go_along_their_own_normal() -> None:
    sagittal = [0, 1, 0, 0, 0, -1]  # columns to the back, rows to the feet: the normal points to the right
    volume = volume_of([slice_at([x, 0, 0], x + 1, ImageOrientationPatient=sagittal) for x in range(3)])
    assert np.allclose(volume.direction, [[-1, 0, 0], [0, 0, -1], [0, 1, 0]])
    assert volume.origin == (2, 0, 0)
    assert volume.position(2, 0, 0) == pytest.approx((0, 0, 0))


def test_oblique_slices_keep_their_geometry() -> None:
    turn, tilt = math.radians(20), math.radians(-35)
    columns = np.array([math.cos(turn), math.sin(turn), 0])
    rows = np.array([-math.sin(turn) * math.cos(tilt), math.cos(turn) * math.cos(tilt), math.sin(tilt)])
    normal = np.cross(columns, rows)
    start = np.array([-120.5, 33.25, 801.75])
    orientation = [float(f"{value:.10f}") for value in (*columns, *rows)]
    places = {number: start + 1.25 * number * normal for number in range(5)}
    volume = volume_of(
        [
            slice_at([float(f"{value:.6f}") for value in places[number]], number, ImageOrientationPatient=orientation)
            for number in (4, 0, 2, 1, 3)
        ]
    )
    assert volume.spacing == pytest.approx((1.25, 0.5, 0.8), abs=1e-5)
    assert volume.direction == pytest.approx(np.stack([normal, rows, columns]), abs=1e-6)
    assert np.allclose(volume.direction @ volume.direction.T, np.eye(3))
    corner = start + 4 * 1.25 * normal + 2 * 0.5 * rows + 3 * 0.8 * columns
    assert volume.position(4, 2, 3) == pytest.approx(tuple(corner), abs=1e-4)


def test_a_single_slice_is_as_thick_as_it_says() -> None:
    assert volume_of(stack(1, SliceThickness=3)).spacing == (3, 0.5, 0.8)
    with pytest.raises(InvalidInstance, match="how thick"):
        volume_of(stack(1, SliceThickness=None))


def test_positions_that_were_rounded_are_still_even() -> None:
    volume = volume_of([slice_at([0, 0, round(place * 2 / 3, 2)], place) for place in range(9)])
    assert volume.spacing[0] == pytest.approx(2 / 3, abs=1e-3)


TILTED = [slice_at([0, 0.3 * place, 2.0 * place], place) for place in range(3)]
REFUSED: list[tuple[str, list[Dataset]]] = [
    ("no images", []),
    ("not evenly spaced; one may be missing", [slice_at([0, 0, z], z + 1) for z in (0, 1, 3, 4)]),
    ("at the same place", [slice_at([0, 0, z], 1 + z) for z in (0, 1)] + [slice_at([0, 0, 1], 3)]),
    ("tilted gantry", TILTED),
    ("look in different directions", [*stack(2), slice_at([0, 0, 35], 3, ImageOrientationPatient=[0, 1, 0, 1, 0, 0])]),
    ("different sizes", [*stack(2), slice_at([0, 0, 35], 3, Rows=2, PixelData=bytes(16))]),
    ("not equally far apart", [*stack(2), slice_at([-10, 20, 35], 3, PixelSpacing=[0.5, 0.9])]),
    ("several frames", stack(NumberOfFrames=1)[:2] + stack(3, NumberOfFrames=2)[2:]),
    ("in colour", stack(SamplesPerPixel=3, PhotometricInterpretation="RGB")),
    ("in colour", stack(PhotometricInterpretation="PALETTE COLOR")),
    ("without an image", [*stack(2), slice_at([-10, 20, 35], 3, PixelData=None)]),
    ("where they lie", stack(ImagePositionPatient=None)),
    ("where they lie", stack(ImageOrientationPatient=None)),
    ("where they lie", stack(PixelSpacing=None)),
    ("how far their pixels", stack(PixelSpacing=[0, 0])),
    ("no right angle", stack(ImageOrientationPatient=[1, 0, 0, 0.5, 1, 0])),
    ("several series", [*stack(2), slice_at([-10, 20, 35], 3, SeriesInstanceUID="1.2.3")]),
    ("frame of reference", [*stack(2), slice_at([-10, 20, 35], 3, FrameOfReferenceUID="1.2.3")]),
    ("different units", [*stack(2), slice_at([-10, 20, 35], 3, RescaleType="US")]),
    ("cannot be decoded", stack(PixelData=bytes(4))),
]


def test_a_scale_that_is_no_number_is_refused_and_not_left_out() -> None:
    """Without it the stored values would be given as Hounsfield units."""
    datasets = stack()
    with quiet():
        datasets[1].RescaleSlope = DS("nan")
    with pytest.raises(InvalidInstance, match="is no number"):
        volume_of(datasets)


@pytest.mark.parametrize(("said", "datasets"), REFUSED, ids=[said for said, _ in REFUSED])
def test_what_makes_no_volume_is_refused_in_a_sentence(said: str, datasets: list[Dataset]) -> None:
    with pytest.raises(InvalidInstance, match=said) as refused:
        volume_of(datasets)
    assert "datasets()" in refused.value.hint
    assert not any(letter.isdigit() for letter in refused.value.message)  # no header value


def test_a_volume_shows_its_geometry_and_not_a_million_numbers() -> None:
    assert len(repr(volume_of(stack()))) < 200
