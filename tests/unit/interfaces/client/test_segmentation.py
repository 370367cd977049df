"""What is marked lands on the voxels that it was drawn on, or a sentence says why it does not."""

from __future__ import annotations

import doctest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from tests.unit.interfaces.client.slices import item, segmented, slice_at

from carina.dicom import contours
from carina.dicom.contours import inside
from carina.errors import InvalidInstance, NotFound
from carina.interfaces.client.figure import figure
from carina.interfaces.client.reading import volume_of
from carina.interfaces.client.segmentation import Segmentation, segmentation_of

COUNT = 5


def images(**elements: Any) -> list[Dataset]:
    """Slices of 3 rows and 4 columns, from foot to head."""
    return [slice_at([-10, 20, 30 + 2.5 * place], place + 1, **elements) for place in range(COUNT)]


def marked(*voxels: tuple[int, int, int], value: float = 1) -> np.ndarray[Any, Any]:
    mask = np.zeros((COUNT, 3, 4))
    for voxel in voxels:
        mask[voxel] = value
    return mask


def written(masks: Sequence[np.ndarray[Any, Any]], kind: str = "BINARY") -> Dataset:
    """A segmentation of these masks."""
    return segmented(images(), masks, kind)


FIRST, SECOND = marked((1, 0, 0), (1, 2, 3), (3, 1, 1)), marked((4, 2, 2), (1, 1, 2))


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_labels_lie_on_the_volume_they_were_made_on(kind: str) -> None:
    """Also where frames of empty slices are left out."""
    volume = volume_of(images())
    found = segmentation_of(written([FIRST, SECOND], kind), volume)
    assert found.shape == volume.shape
    assert np.array_equal(found.affine, volume.affine)
    assert np.array_equal(found.labels, FIRST + 2 * SECOND)
    assert found.labels.dtype == np.uint8
    assert not found.overlapping
    assert np.array_equal(found.mask(2), SECOND)
    one = found.segments[0]
    assert (one.number, one.label, one.algorithm) == (1, "Part 1", "MANUAL")
    assert one.type is not None and one.type.meaning == "Liver"
    assert one.category is not None and one.category.scheme == "SCT"


def test_segments_that_overlap_come_one_by_one() -> None:
    both = marked((1, 0, 0), (2, 0, 0))
    found = segmentation_of(written([FIRST, both]), volume_of(images()))
    assert found.overlapping
    assert np.array_equal(found.mask(1), FIRST) and np.array_equal(found.mask(2), both)
    for call in (found.to_nifti, found.to_sitk, lambda: found.labels):
        with pytest.raises(InvalidInstance, match="overlap") as refused:
            call()
        assert "mask(number)" in refused.value.hint
    assert found.to_nifti(number=2).get_fdata().sum() == 2
    with pytest.raises(NotFound):
        found.mask(3)


def test_fractions_are_shares_and_half_a_voxel_is_marked() -> None:
    shares = marked((1, 0, 0), value=0.5) + marked((2, 1, 1), value=0.2) + marked((3, 0, 0))
    found = segmentation_of(written([shares], "FRACTIONAL"), volume_of(images()))
    assert np.allclose(found.fraction(1), shares, atol=1 / 200)
    assert np.array_equal(found.mask(1), shares >= 0.5)


def test_alone_it_has_a_grid_of_its_own_frames() -> None:
    found = segmentation_of(written([FIRST]))
    assert found.lattice.spacing == pytest.approx((2.5, 0.5, 0.8))
    assert found.lattice.origin[2] == pytest.approx(32.5)  # the first frame that is not empty
    assert np.array_equal(found.labels, FIRST[1:4])  # the empty one between is there


def test_frames_seen_from_elsewhere_land_on_the_same_voxels() -> None:
    """Frames that are turned by quarter turns, or come from head to foot, are parallel still."""
    dataset = written([FIRST])
    volume = volume_of(images())
    normal = segmentation_of(dataset, volume)
    turned = written([FIRST])
    shared = turned.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.8, 0.5]
    turned.Rows, turned.Columns = 4, 3
    places = [frame.PlanePositionSequence[0] for frame in turned.PerFrameFunctionalGroupsSequence]
    slices = [round((float(place.ImagePositionPatient[2]) - 30) / 2.5) for place in places]
    assert slices == [3, 1]
    frames = np.stack([FIRST[number].T for number in slices]).astype(np.uint8)
    turned.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    assert np.array_equal(segmentation_of(turned, volume).labels, normal.labels)


def test_a_part_of_the_image_is_enough() -> None:
    """A segmentation that was cut to what it marks."""
    dataset = written([marked((2, 1, 2))])
    (frame,) = dataset.PerFrameFunctionalGroupsSequence
    frame.PlanePositionSequence[0].ImagePositionPatient = [-10 + 2 * 0.8, 20 + 0.5, 35]
    dataset.Rows = dataset.Columns = 1
    dataset.PixelData = b"\1\0"
    assert np.array_equal(segmentation_of(dataset, volume_of(images())).labels, marked((2, 1, 2)))


def moved(by: Sequence[float]) -> Dataset:
    dataset = written([FIRST])
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        place = frame.PlanePositionSequence[0]
        place.ImagePositionPatient = [
            float(one) + more for one, more in zip(place.ImagePositionPatient, by, strict=True)
        ]
    return dataset


def test_what_does_not_lie_on_the_image_is_refused_in_a_sentence() -> None:
    volume = volume_of(images())
    coarse, tilted = written([FIRST]), written([FIRST])
    coarse.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1, 1.6]
    plane = tilted.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [0.8, 0.6, 0, -0.6, 0.8, 0]
    other = written([FIRST])
    other.FrameOfReferenceUID = "1.2.3"
    for dataset, said in (
        (moved([0.4, 0, 0]), "between the voxels"),
        (moved([0, 0, 10]), "outside the image"),
        (coarse, "as far apart"),
        (tilted, "not parallel"),
        (other, "frame of reference"),
    ):
        with pytest.raises(InvalidInstance, match=said) as refused:
            segmentation_of(dataset, volume)
        assert "own_grid=True" in refused.value.hint
    beside = [slice_at([-10 + 0.8, 20, 30 + 2.5 * place], place + 1) for place in range(COUNT)]
    assert segmentation_of(moved([0.8, 0, 0]), volume_of(beside)).mask(1).any()


def test_masks_are_images_for_other_programs(tmp_path: Path) -> None:
    volume = volume_of(images())
    found = segmentation_of(written([FIRST, SECOND]), volume)
    found.save(tmp_path / "labels.nii.gz")
    image = nibabel.load(tmp_path / "labels.nii.gz")
    assert np.allclose(image.affine, volume.affine)
    assert image.get_fdata()[2, 2, 4] == 2
    assert image.header["descrip"].item() == b"Carina labels"
    assert found.to_sitk().GetPixel(2, 2, 4) == 2
    assert found.to_sitk().TransformIndexToPhysicalPoint((1, 1, 1)) == pytest.approx(volume.position(1, 1, 1))
    assert "Part 2" in figure(volume, found)
    widget = volume.show(found)
    assert len(widget.volumes) == 2
    widget.close()


def drawn(*contours: tuple[int, Sequence[tuple[float, float]]], kind: str = "CLOSED_PLANAR") -> Dataset:
    """A structure set of one region; of each contour the slice, and its corners as (row, column)."""
    system = images()[0].FrameOfReferenceUID
    items = [
        item(
            ContourGeometricType=kind,
            ContourData=[
                f"{value:.6g}"
                for row, column in corners
                for value in (-10 + 0.8 * column, 20 + 0.5 * row, 30 + 2.5 * z)
            ],
        )
        for z, corners in contours
    ]
    return item(
        SOPInstanceUID="1.2.3.4",
        Modality="RTSTRUCT",
        StructureSetROISequence=[
            item(ROINumber=7, ROIName="Liver", ROIGenerationAlgorithm="MANUAL", ReferencedFrameOfReferenceUID=system),
            item(ROINumber=8, ROIName="Empty", ROIGenerationAlgorithm="", ReferencedFrameOfReferenceUID=system),
        ],
        ROIContourSequence=[item(ReferencedROINumber=7, ContourSequence=items)],
    )


def box(low: float, high: float, left: float, right: float) -> list[tuple[float, float]]:
    return [(low, left), (low, right), (high, right), (high, left)]


def placed(dataset: Dataset) -> Segmentation:
    return segmentation_of(dataset, volume_of(images()))


def test_contours_take_the_pixels_whose_centre_they_enclose() -> None:
    found = placed(drawn((1, box(0.6, 2.4, 0.5, 2.49)), (3, box(-0.5, 2.5, -0.5, 3.5))))
    assert [segment.label for segment in found.segments] == ["Liver", "Empty"]
    wanted = np.zeros((COUNT, 3, 4), bool)
    wanted[1, 1:3, 1:3] = True
    wanted[3] = True
    assert np.array_equal(found.mask(7), wanted)
    assert not found.mask(8).any()


def test_a_contour_within_another_is_a_hole_and_so_is_a_keyhole() -> None:
    outer, inner = box(-0.5, 2.5, -0.5, 3.5), box(0.5, 1.5, 0.5, 2.5)
    hole = placed(drawn((2, outer), (2, inner))).mask(7)[2]
    assert hole.astype(int).tolist() == [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    keyhole = [outer[0], inner[0], *reversed(inner), outer[0], *outer[1:]]
    assert np.array_equal(placed(drawn((2, keyhole))).mask(7)[2], hole)


def test_a_region_of_the_number_zero_has_a_mask_and_no_label(tmp_path: Path) -> None:
    """Some programs count regions from zero, which a label cannot tell from the background."""
    dataset = drawn((1, box(0, 1, 0, 1)))
    dataset.StructureSetROISequence[0].ROINumber = 0
    dataset.ROIContourSequence[0].ReferencedROINumber = 0
    found = placed(dataset)
    assert found.mask(0).any() and found.overlapping
    with pytest.raises(InvalidInstance, match="below one") as refused:
        found.save(tmp_path / "labels.nii")
    assert "mask" in refused.value.hint


def test_what_is_marked_for_a_segment_that_is_not_described_is_refused() -> None:
    dataset = written([FIRST, SECOND], "LABELMAP")
    dataset.SegmentSequence = [one for one in dataset.SegmentSequence if one.SegmentNumber != 2]
    with pytest.raises(InvalidInstance, match="does not describe"):
        placed(dataset)
    twice = drawn((1, box(0, 1, 0, 1)))
    twice.StructureSetROISequence[1].ROINumber = 7
    with pytest.raises(InvalidInstance, match="same number"):
        placed(twice)


def test_a_structure_set_that_does_not_fit_is_refused() -> None:
    for dataset, said in (
        (drawn((9, box(0, 1, 0, 1))), "outside the image"),
        (drawn((1, [(0, 0)])), "damaged"),
    ):
        with pytest.raises(InvalidInstance, match=said):
            placed(dataset)
    slanted = drawn((1, box(0, 1, 0, 1)))
    slanted.ROIContourSequence[0].ContourSequence[0].ContourData[2] = 33.5
    with pytest.raises(InvalidInstance, match="does not lie in a slice"):
        placed(slanted)
    with pytest.raises(InvalidInstance, match="no grid of its own"):
        segmentation_of(drawn((1, box(0, 1, 0, 1))))
    with pytest.raises(InvalidInstance, match="neither"):
        segmentation_of(images()[0])
    assert not placed(drawn((1, box(0, 1, 0, 1)), kind="POINT")).mask(7).any()


def test_the_example_of_the_function_holds() -> None:
    assert doctest.testmod(contours).failed == 0


corner = st.tuples(st.floats(-2, 12), st.floats(-2, 12))


@settings(max_examples=60)
@given(corners=st.lists(corner, min_size=3, max_size=8))
def test_inside_is_what_counting_borders_to_the_left_says(corners: list[tuple[float, float]]) -> None:
    found = inside([np.array(corners)], 10, 10)
    ends = [*corners[1:], corners[0]]
    for row in range(10):
        for column in range(10):
            left = 0
            for (y0, x0), (y1, x1) in zip(corners, ends, strict=True):
                (top, start), (bottom, end) = sorted(((y0, x0), (y1, x1)), key=lambda point: point[0])
                if top <= row < bottom and start + (row - top) / (bottom - top) * (end - start) <= column:
                    left += 1
            assert found[row, column] == (left % 2 == 1)
