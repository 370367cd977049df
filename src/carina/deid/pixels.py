"""What hides beside the pixels in Pixel Data (7FE0,0010): overlay planes in unused bits, bytes beyond the last frame.

The pixels themselves are not touched.
"""

from __future__ import annotations

import struct

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from carina.errors import Withheld
from carina.model.instance import Reason

PIXEL_DATA = 0x7FE00010
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002)  # Extended Offset Table and its lengths, of compressed frames
_SHORTEST = 6  # letters: a shorter word may occur in compressed bytes by chance


def put_pixel_data(clean: Dataset, dataset: Dataset, compressed: bool, own: frozenset[str]) -> None:
    """Write the dataset's Pixel Data, if it has any, into `clean`.

    Raises `Withheld` (pixels not checked) where the pixels' unused bits hold an overlay, or compressed pixel data holds
    one of the person's own words, as in a comment of a JPEG stream.
    """
    if PIXEL_DATA not in dataset:
        return
    element = dataset[PIXEL_DATA]
    if _has_overlay_bits(dataset):
        raise _withheld("Its pixel data carries overlay planes in unused bits.")
    if compressed and element.value is not None:
        capitals = element.value.upper()
        if any(len(word) >= _SHORTEST and word.encode() in capitals for word in own):
            raise _withheld("Its compressed pixel data holds a text that identifies the person.")
        for tag in _OFFSET_TABLES:
            if tag in dataset and _are_offsets(dataset[tag].value, len(element.value)):
                clean[tag] = dataset[tag]
    length = _native_length(dataset)
    if not compressed and element.value is not None and 0 < length < len(element.value):
        element = DataElement(PIXEL_DATA, element.VR, element.value[:length] + bytes(length % 2))
    clean[PIXEL_DATA] = element


def _withheld(message: str) -> Withheld:
    return Withheld(Reason.PIXELS_NOT_CHECKED, message)


def _has_overlay_bits(dataset: Dataset) -> bool:
    """Whether an overlay plane (60xx) has a position (60xx,0102) but no data of its own (60xx,3000), PS3.5 8.1.2."""
    groups = ((0x6000 + 2 * plane) << 16 for plane in range(16))
    return any(group | 0x0102 in dataset and group | 0x3000 not in dataset for group in groups)


def _are_offsets(table: object, length: int) -> bool:
    """Whether bytes are numbers of 64 bits that are places in, or lengths within, so many bytes."""
    if not isinstance(table, bytes) or len(table) % 8:
        return False
    return all(offset < length for (offset,) in struct.iter_unpack("<Q", table))


def _native_length(dataset: Dataset) -> int:
    """How many bytes the frames have, by PS3.5 section 8.1.1; 0 if the header does not tell."""
    rows, columns, allocated = (_number(dataset, name, 0) for name in ("Rows", "Columns", "BitsAllocated"))
    samples, frames = _number(dataset, "SamplesPerPixel", 1), _number(dataset, "NumberOfFrames", 1)
    bits = rows * columns * samples * max(frames, 1) * allocated
    if dataset.get("PhotometricInterpretation") in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        bits = bits * 2 // 3
    return (bits + 7) // 8


def _number(dataset: Dataset, keyword: str, otherwise: int) -> int:
    value = dataset.get(keyword)
    return int(value) if isinstance(value, int) else otherwise
