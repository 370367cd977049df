"""The signal-to-noise ratio of one frame. docs/reference/signal-statistics.md defines it, with its sources."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.sequence import Sequence

from carina.dicom.frames import decoded
from carina.dicom.quiet import quiet
from carina.errors import InvalidInstance

MONOCHROME = frozenset({"MONOCHROME1", "MONOCHROME2"})
AIR = -1000.0  # HU
BINS = 256
FEWEST = 100
"""Pixels of a foreground that is large enough to say anything."""

Values = np.ndarray[Any, np.dtype[np.float64]]
_LUT = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")


def frame_snr(dataset: Dataset, frame: int, modality: str) -> float | None:
    """The signal-to-noise ratio of a frame, numbered from 1, of a monochrome image; None where there is none.

    Raises `InvalidInstance` and `NotFound` as `dicom.frames.decoded`.
    """
    pixels = decoded(dataset, frame)
    if pixels.ndim != 2:
        raise InvalidInstance("The frame is not of single values.")
    try:
        with quiet(), np.errstate(all="ignore"):
            values = np.asarray(apply_modality_lut(pixels, _modality_header(dataset, frame)), np.float64)
            kept = values[_counts(dataset, pixels) & np.isfinite(values)]
    except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
        raise InvalidInstance("The values of the image cannot be worked out: its header is not consistent.") from None
    return snr(np.maximum(kept - AIR, 0) if modality == "CT" else kept)


def snr(values: Values) -> float | None:
    """Mean over sample standard deviation of the foreground; None when that is too small or all of one value.

    >>> snr(np.array([0.0] * 300 + [9.0, 11.0] * 100)) == 10 / np.std([9, 11] * 100, ddof=1)
    True
    """
    threshold = otsu_threshold(values)
    if threshold is None:
        return None
    foreground = values[values >= threshold]
    if foreground.size < FEWEST:
        return None
    with np.errstate(all="ignore"):
        ratio = float(np.mean(foreground) / np.std(foreground, ddof=1))
    return ratio if np.isfinite(ratio) else None


def otsu_threshold(values: Values) -> float | None:
    """The value from which on a pixel is foreground (Otsu 1979), None when there is but one value.

    Of the 256 bins between the lowest and the highest value, those from this one on and those below it differ most:
    the variance between the two classes, σ²B of equation (18), is largest; the lowest such threshold counts.
    """
    if values.size == 0 or not np.ptp(values) > 0:
        return None
    try:
        counts, edges = np.histogram(values, bins=BINS)
    except ValueError:  # too small a range for 256 bins of this size
        return None
    below = np.cumsum(counts)[:-1] / values.size  # ω(k)
    level = np.cumsum(counts * np.arange(BINS))[:-1] / values.size  # μ(k)
    total = float(np.dot(counts, np.arange(BINS))) / values.size
    between = (total * below - level) ** 2 / (below * (1 - below))  # neither class is empty: both ends are values
    return float(edges[int(np.argmax(between)) + 1])


def _modality_header(dataset: Dataset, frame: int) -> Dataset:
    """The modality LUT that holds for the frame: its own, the shared one, or the image's (PS3.3 C.7.6.16.2.9)."""
    header = Dataset()
    header.file_meta = dataset.file_meta  # for the byte order of a table
    shared = _item(dataset, "SharedFunctionalGroupsSequence", 0)
    own = _item(dataset, "PerFrameFunctionalGroupsSequence", frame - 1)
    transformations = [_item(group, "PixelValueTransformationSequence", 0) for group in (shared, own)]
    for place in (dataset, *transformations):
        for keyword in _LUT:
            if place is not None and place.get(keyword) not in (None, ""):
                header[keyword] = place[keyword]
    header.PixelRepresentation = dataset.get("PixelRepresentation", 0)
    return header


def _item(dataset: Dataset | None, keyword: str, number: int) -> Dataset | None:
    value = dataset.get(keyword) if dataset is not None else None
    return value[number] if isinstance(value, Sequence) and number < len(value) else None


def _counts(dataset: Dataset, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which stored values count: all but the padding (PS3.3 C.7.5.1.1.2)."""
    padding = dataset.get("PixelPaddingValue")
    if not isinstance(padding, int):
        return np.ones(pixels.shape, np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((padding, limit if isinstance(limit, int) else padding))
    return np.asarray((pixels < low) | (pixels > high))
