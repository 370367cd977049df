"""Shades are worked out once for each value, and are those that each pixel by itself would have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.support import ct

from carina.dicom import rendering
from carina.dicom.parse import parse
from carina.dicom.rendering import Window

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("window", [None, Window(40, 400), Window(100, 50, "SIGMOID"), Window(0, 900, "LINEAR_EXACT")])
@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"WindowCenter": 100, "WindowWidth": 700},
        {"PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": "-2.5", "RescaleIntercept": "17"},
        {"PixelPaddingValue": -900, "PixelPaddingRangeLimit": -600},
    ],
)
def test_shades_of_values_are_those_of_pixels(elements: dict[str, Any], window: Window | None) -> None:
    dataset = parse(ct(elements=elements))
    pixels = RANDOM.integers(-1000, 1500, (96, 64), dtype=np.int16)
    assert rendering._span(pixels) is not None
    quick = rendering._eight_bits(dataset, pixels, 1, window)
    assert quick.dtype == np.uint8
    assert np.array_equal(quick, rendering._grey(dataset, pixels, 1, window))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_all_kinds_of_whole_numbers_have_shades(kind: type[np.generic]) -> None:
    limits = np.iinfo(kind)  # type: ignore[type-var]
    dataset = parse(ct(elements={"RescaleSlope": 1, "RescaleIntercept": 0}))
    for low, high in ((limits.min, limits.min + 99), (limits.max - 99, limits.max), (limits.min, limits.max)):
        pixels = np.linspace(low, high, 10_000).astype(kind).reshape(100, 100)
        expected = rendering._grey(dataset, pixels, 1, None)
        assert np.array_equal(rendering._eight_bits(dataset, pixels, 1, None), expected)


def test_real_numbers_are_taken_one_by_one() -> None:
    assert rendering._span(np.zeros((4, 4), np.float32)) is None
