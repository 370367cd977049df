"""Pictures of real files of each kind have the shades that pydicom's own functions give, at most one apart."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.pixels import convert_color_space, get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing
from tests.support import corpus_files

from carina.dicom.quiet import quiet
from carina.dicom.rendering import Table, Window, render

LARGEST = 3_000_000  # bytes
ENOUGH = 3  # files of each kind


def grey(one: Dataset) -> bool:
    return int(one.get("SamplesPerPixel", 1)) == 1 and one.PhotometricInterpretation != "PALETTE COLOR"


def syntax(one: Dataset) -> str:
    return str(one.file_meta.TransferSyntaxUID)


def packed(one: Dataset) -> bool:
    return bool(one.file_meta.TransferSyntaxUID.is_encapsulated)


KINDS: dict[str, Callable[[Dataset], bool]] = {
    "CT": lambda one: grey(one) and one.Modality == "CT",
    "MR": lambda one: grey(one) and one.Modality == "MR",
    "PET": lambda one: one.Modality == "PT",
    "mammography": lambda one: one.Modality == "MG",
    "ultrasound in colour": lambda one: one.Modality == "US" and not grey(one),
    "MONOCHROME1": lambda one: one.PhotometricInterpretation == "MONOCHROME1",
    "a table of values": lambda one: grey(one) and "VOILUTSequence" in one,
    "a palette": lambda one: one.PhotometricInterpretation == "PALETTE COLOR",
    "signed": lambda one: grey(one) and one.get("PixelRepresentation") == 1,
    "compressed grey": lambda one: grey(one) and packed(one),
    "YBR": lambda one: str(one.PhotometricInterpretation) in ("YBR_FULL", "YBR_FULL_422"),
    "RCT or ICT": lambda one: str(one.PhotometricInterpretation) in ("YBR_RCT", "YBR_ICT"),
    "JPEG in colour": lambda one: not grey(one) and syntax(one) == "1.2.840.10008.1.2.4.50",
    "several frames": lambda one: grey(one) and int(one.get("NumberOfFrames") or 1) > 1,
    "functional groups": lambda one: grey(one) and "PerFrameFunctionalGroupsSequence" in one,
}


@cache
def headers() -> list[tuple[Path, Dataset]]:
    found = []
    for path in corpus_files():
        if path.stat().st_size > LARGEST:
            continue
        try:
            with quiet():
                one = pydicom.dcmread(path, stop_before_pixels=True)
                needed = one.Modality, one.PhotometricInterpretation, one.Rows, one.file_meta.TransferSyntaxUID
        except Exception:
            continue
        if all(needed) and int(one.get("BitsAllocated", 0)) in (8, 16):
            found.append((path, one))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_shades_are_those_of_pydicom(kind: str) -> None:
    compared = 0
    for path, header in headers():
        if compared == ENOUGH or not KINDS[kind](header):
            continue
        compared += compares(path, header)
    assert compared >= 1, f"no file of the corpus shows {kind}"


@pytest.mark.slow
def test_shades_of_all_files_are_those_of_pydicom() -> None:
    assert sum(compares(path, header) for path, header in headers()) > 500


def compares(path: Path, header: Dataset) -> bool:
    """Whether the file could be compared; its last frame is."""
    frame = int(header.get("NumberOfFrames") or 1)
    with quiet():
        dataset = pydicom.dcmread(path)
        try:
            decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
            pixels, about = decoder.as_array(dataset, index=frame - 1, raw=True)
        except Exception:
            return False
        window: Window | Table | None = None
        if grey(header):
            values = apply_modality_lut(pixels, transforming(dataset, frame)).astype(float)
            expected, window = shades(dataset, values)
        elif dataset.PhotometricInterpretation == "PALETTE COLOR":
            expected = narrow(apply_color_lut(pixels, dataset))
        else:
            expected = coloured(str(about["photometric_interpretation"]), pixels)
    picture = np.asarray(Image.open(io.BytesIO(render(dataset, frame, window=window)))).astype(int)
    assert picture.shape == expected.shape, path.name
    assert np.abs(picture - expected).max() <= 1, path.name
    return True


def transforming(dataset: Dataset, frame: int) -> Dataset:
    """What has the rescaling of the frame."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    own = (dataset.get("PerFrameFunctionalGroupsSequence") or [])[frame - 1 : frame]
    for group in [*own, *shared]:
        if group.get("PixelValueTransformationSequence"):
            return group.PixelValueTransformationSequence[0]
    return dataset


def shades(dataset: Dataset, values: Any) -> tuple[Any, Window | Table]:
    """By the header's first table, else by its first window where that is one, else by a window of the values."""
    if dataset.get("VOILUTSequence"):
        table = dataset.VOILUTSequence[0]
        out = apply_voi_lut(np.rint(values).astype(np.int64), dataset, prefer_lut=True).astype(float)
        return inverted(dataset, np.rint(out / (2 ** int(table.LUTDescriptor[2]) - 1) * 255)), Table(1)
    low, high = float(values.min()), float(values.max())
    center, width = round((low + high) / 2), max(2, round((high - low) / 2))
    told = Dataset()
    told.PhotometricInterpretation, told.BitsStored, told.PixelRepresentation = "MONOCHROME2", 16, 0
    told.WindowCenter, told.WindowWidth = center, width
    found = np.rint(apply_windowing(values, told) / 65535 * 255)
    return inverted(dataset, found), Window(center, width)


def inverted(dataset: Dataset, grey_levels: Any) -> Any:
    found = 255 - grey_levels if dataset.PhotometricInterpretation == "MONOCHROME1" else grey_levels
    return found.astype(int)


def coloured(photometric: str, pixels: Any) -> Any:
    """By the colours that the decoder left the pixels in."""
    turned = photometric in ("YBR_FULL", "YBR_FULL_422")
    return narrow(convert_color_space(pixels, photometric, "RGB") if turned else pixels)


def narrow(colour: Any) -> Any:
    return (colour >> 8 if colour.dtype.itemsize > 1 else colour)[..., :3].astype(int)
