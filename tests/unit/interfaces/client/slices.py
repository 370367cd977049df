"""Small slices, stacks, images of several frames and segmentations for tests of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import highdicom
import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.sr.codedict import codes
from tests.support import ct

AXIAL = [1, 0, 0, 0, 1, 0]


def slice_at(position: Sequence[float], number: int = 1, **elements: Any) -> Dataset:
    """A CT slice of 3 rows and 4 columns whose stored values are 100 × `number` and counting."""
    stored = (100 * number + np.arange(12, dtype=np.int16)).reshape(3, 4)
    plain = {
        "ImagePositionPatient": list(position),
        "ImageOrientationPatient": AXIAL,
        "PixelSpacing": [0.5, 0.8],
        "Rows": 3,
        "Columns": 4,
        "PixelData": stored.tobytes(),
    }
    return pydicom.dcmread(BytesIO(ct(number=number, elements={**plain, **elements})))


def stack(count: int = 3, step: float = 2.5, **elements: Any) -> list[Dataset]:
    return [slice_at([-10, 20, 30 + step * place], place + 1, **elements) for place in range(count)]


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def enhanced(heights: Sequence[float], slopes: Sequence[float] = ()) -> Dataset:
    """An image of a frame at each height, whose stored values count on through all frames."""
    dataset = slice_at([0, 0, 0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(dataset, keyword)
    del dataset.RescaleIntercept, dataset.RescaleType
    dataset.NumberOfFrames = len(heights)
    dataset.PixelData = np.arange(12 * len(heights), dtype=np.int16).tobytes()
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)],
            PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.8], SliceThickness=1)],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[-10, 20, height])],
            PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=-5, RescaleType="HU")],
        )
        for height, slope in zip(heights, slopes or [1] * len(heights), strict=True)
    ]
    return dataset


def segmented(sources: list[Dataset], masks: Sequence[np.ndarray[Any, Any]], kind: str = "BINARY") -> Dataset:
    """A segmentation of these images, by highdicom; of each segment a mask (slices, rows, columns)."""
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=f"Part {number}",
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, len(masks) + 1)
    ]
    pixels = np.stack(masks, axis=-1)
    if kind == "LABELMAP":
        pixels = np.sum(pixels * np.arange(1, len(masks) + 1), axis=-1)
    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=pixels if kind == "FRACTIONAL" else np.asarray(pixels, np.uint8),
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="Carina",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        **({"fractional_type": "PROBABILITY", "max_fractional_value": 200} if kind == "FRACTIONAL" else {}),
    )
