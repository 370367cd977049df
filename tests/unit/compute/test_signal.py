from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from carina.compute.signal import frame_snr, otsu_threshold, snr
from carina.errors import InvalidInstance, NotFound

RANDOM = np.random.default_rng(7)
SCENE = np.clip(RANDOM.normal(np.where(np.arange(64 * 64).reshape(64, 64) % 64 < 32, 50, 1200), 20), 0, 4000)
STORED = SCENE.astype(np.int16)


def image(pixels: np.ndarray[Any, Any], **elements: Any) -> Dataset:
    """A monochrome image of one or several frames, with 16 bits."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def rescaled(slope: float, intercept: float) -> Dataset:
    item = Dataset()
    item.RescaleSlope, item.RescaleIntercept = slope, intercept
    return item


def expected(values: np.ndarray[Any, Any]) -> float:
    """By the definition, of values whose two halves are far apart."""
    foreground = values[values > 500].astype(np.float64)
    return float(foreground.mean() / foreground.std(ddof=1))


def test_the_ratio_is_mean_over_sample_standard_deviation_of_the_foreground() -> None:
    assert frame_snr(image(STORED), 1, "MR") == pytest.approx(expected(STORED), rel=1e-12)


def test_otsus_threshold_is_the_one_that_parts_the_classes_most() -> None:
    values = np.round(RANDOM.normal(100, 30, 4000)).clip(0, 255)
    values[:1500] += 100
    counts, edges = np.histogram(values, bins=256)
    levels = np.arange(256)

    def between(k: int) -> float:
        below, above = counts[: k + 1], counts[k + 1 :]
        means = [np.average(levels[: k + 1], weights=below), np.average(levels[k + 1 :], weights=above)]
        return float(below.sum() * above.sum() * (means[0] - means[1]) ** 2)

    best = max(range(255), key=lambda k: between(k) if 0 < counts[: k + 1].sum() < 4000 else 0.0)
    assert otsu_threshold(values) == edges[best + 1]


def test_two_values_are_parted_between_them() -> None:
    values = np.array([0.0] * 300 + [10.0] * 200)
    threshold = otsu_threshold(values)
    assert threshold is not None
    assert 0 < threshold <= 10


@pytest.mark.parametrize(
    "values",
    [
        np.array([]),
        np.full(5000, 3.0),
        np.array([0.0] * 5000 + [9.0, 11.0] * 40),
        np.array([0.0] * 500 + [7.0] * 500),
        np.array([1.0, 1.0 + 2**-52] * 500),
    ],
    ids=["nothing", "one value", "99 pixels are too few", "no spread", "the smallest range"],
)
def test_a_frame_without_a_foreground_that_varies_has_no_ratio(values: np.ndarray[Any, Any]) -> None:
    assert snr(values) is None


def test_a_foreground_of_a_hundred_pixels_is_enough() -> None:
    assert snr(np.array([0.0] * 5000 + [9.0, 11.0] * 50)) is not None
    assert snr(np.array([0.0] * 5000 + [9.0, 11.0] * 49 + [9.0])) is None


def test_values_are_those_after_the_rescaling_of_the_header() -> None:
    dataset = image(STORED, RescaleSlope="2", RescaleIntercept="100")
    assert frame_snr(dataset, 1, "PT") == pytest.approx(expected(STORED * 2.0 + 100), rel=1e-12)


def test_in_ct_air_is_zero_and_nothing_is_less() -> None:
    dataset = image(STORED, RescaleSlope="1", RescaleIntercept="-1000")
    assert frame_snr(dataset, 1, "CT") == pytest.approx(expected(STORED), rel=1e-12)
    outside = STORED.copy()
    outside[0] = -2000
    dataset = image(outside, RescaleSlope="1", RescaleIntercept="-1000")
    assert frame_snr(dataset, 1, "CT") == pytest.approx(expected(outside), rel=1e-12)


def test_padding_does_not_count() -> None:
    padded = STORED.copy()
    padded[:, :8] = -30000
    dataset = image(padded, PixelPaddingValue=-30000)
    assert frame_snr(dataset, 1, "MR") == pytest.approx(expected(padded), rel=1e-12)
    padded[:, :4] = -29990
    dataset = image(padded, PixelPaddingValue=-30000, PixelPaddingRangeLimit=-29990)
    assert frame_snr(dataset, 1, "MR") == pytest.approx(expected(padded), rel=1e-12)


def test_a_frame_has_its_own_rescaling_before_the_shared_one() -> None:
    frames = np.stack([STORED, STORED])
    shared, first, second = Dataset(), Dataset(), Dataset()
    shared.PixelValueTransformationSequence = Sequence([rescaled(1, 300)])
    second.PixelValueTransformationSequence = Sequence([rescaled(3, 90)])
    dataset = image(
        frames,
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence([first, second]),
    )
    assert frame_snr(dataset, 1, "MR") == pytest.approx(expected(STORED + 300.0), rel=1e-12)
    assert frame_snr(dataset, 2, "MR") == pytest.approx(expected(STORED * 3.0 + 90), rel=1e-12)


def test_the_same_image_gives_the_same_number_each_time() -> None:
    assert len({frame_snr(image(STORED), 1, "MR") for _ in range(3)}) == 1


def test_pixels_that_cannot_be_decoded_are_a_broken_image() -> None:
    dataset = image(STORED)
    dataset.PixelData = dataset.PixelData[:100]
    with pytest.raises(InvalidInstance):
        frame_snr(dataset, 1, "MR")


def test_a_broken_lookup_table_is_a_broken_image() -> None:
    dataset = image(STORED, ModalityLUTSequence=Sequence([Dataset()]))
    with pytest.raises(InvalidInstance, match="not consistent"):
        frame_snr(dataset, 1, "MR")


def test_colour_is_no_single_value() -> None:
    dataset = image(STORED.astype(np.uint8))
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PhotometricInterpretation = 3, 0, "RGB"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = bytes(64 * 64 * 3)
    with pytest.raises(InvalidInstance, match="single values"):
        frame_snr(dataset, 1, "US")


def test_a_frame_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound):
        frame_snr(image(STORED), 2, "MR")
