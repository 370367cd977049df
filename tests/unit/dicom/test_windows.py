"""Windows: what is asked of a picture is what was meant, for values of any size."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from starlette.datastructures import QueryParams
from tests.support import ct

from carina.dicom.rendering import render, value_range
from carina.dicom.windows import PRESETS, USUAL, whole_range
from carina.interfaces.dicomweb.parameters import window_of


@pytest.mark.parametrize(("slope", "intercept"), [("1", "-1024"), ("0.0000213", "0"), ("4711.5", "12")])
def test_the_whole_range_reaches_from_black_to_white(slope: str, intercept: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(ct(elements={"RescaleSlope": slope, "RescaleIntercept": intercept})))
    ends = value_range(dataset)
    assert ends is not None
    window = window_of(QueryParams({"window": whole_range(*ends).parameter}))
    shown = np.asarray(Image.open(io.BytesIO(render(dataset, window=window))))
    stored = dataset.pixel_array
    assert (shown[stored == stored.min()].max(), shown[stored == stored.max()].min()) == (0, 255)


def test_every_preset_is_a_window_that_pictures_take() -> None:
    for presets in PRESETS.values():
        for preset in presets:
            window = window_of(QueryParams({"window": preset.parameter}))
            assert window is not None
            assert (window.center, window.width) == (preset.center, preset.width)


def test_the_usual_window_is_one_of_the_modalitys_presets() -> None:
    for (modality, _), name in USUAL.items():
        assert name in {preset.name for preset in PRESETS[modality]}


def test_colour_has_no_range() -> None:
    colour = {
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "PlanarConfiguration": 0,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PixelData": bytes(32 * 32 * 3),
    }
    assert value_range(pydicom.dcmread(io.BytesIO(ct(elements=colour)))) is None
