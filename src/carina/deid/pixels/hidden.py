"""What hides beside the pixels in Pixel Data (7FE0,0010): overlay planes in unused bits, bytes beyond the last frame,
comments in compressed frames.

The pixels themselves are not touched: of their samples, the bits that are stored.
"""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, ExplicitVRBigEndian

from carina.deid.pixels.streams import CLEANERS
from carina.errors import Withheld
from carina.model.instance import Reason

PIXEL_DATA = 0x7FE00010
_FLOATS = {0x7FE00008: 32, 0x7FE00009: 64}  # bits of a sample
_SHORTEST = 6  # letters: a shorter word may occur in compressed bytes by chance


def put_pixel_data(clean: Dataset, dataset: Dataset, syntax: str, compressed: bool, own: frozenset[str]) -> None:
    """Write the dataset's Pixel Data, if it has any, into `clean`; compressed frames with a table of their places.

    An overlay in the pixels' unused bits is cleared. Raises `Withheld` (pixels not checked) where it cannot be, where
    the pixels are fewer than the header says, or where compressed frames are not what their transfer syntax says or
    hold a text.
    """
    for tag, bits in _FLOATS.items():
        if tag in dataset:
            _put_floats(clean, dataset, tag, bits)
    if PIXEL_DATA not in dataset:
        return
    value = dataset[PIXEL_DATA].value
    if value and has_overlay_bits(dataset):
        value = _without_overlays(dataset, value, compressed)
    if not value:
        clean[PIXEL_DATA] = dataset[PIXEL_DATA]
        return
    if compressed:
        data = _clean_frames(dataset, value, syntax, own)
        clean[PIXEL_DATA] = DataElement(PIXEL_DATA, "OB", data, is_undefined_length=True)
        return
    length = native_size(dataset, len(value))
    if value is dataset[PIXEL_DATA].value and length == len(value):
        clean[PIXEL_DATA] = dataset[PIXEL_DATA]
    else:
        clean[PIXEL_DATA] = DataElement(PIXEL_DATA, dataset[PIXEL_DATA].VR, value[:length] + bytes(length % 2))


def _put_floats(clean: Dataset, dataset: Dataset, tag: int, bits: int) -> None:
    """Float Pixel Data or Double Float Pixel Data, PS3.3 sections C.7.6.24 and C.7.6.25: just the frames' own bytes."""
    size = _number(dataset, "Rows", 0) * _number(dataset, "Columns", 0) * bits // 8
    size *= max(_number(dataset, "NumberOfFrames", 1), 1)
    value = dataset[tag].value or b""
    if not 0 < size <= len(value):
        raise _withheld("Its pixel data is shorter than its header says, or its header does not say how long it is.")
    clean[tag] = DataElement(tag, dataset[tag].VR, value[:size])


def native_size(dataset: Dataset, given: int) -> int:
    """How many bytes of native Pixel Data that has `given` bytes are the frames' own.

    Raises `Withheld` as `put_pixel_data` does. Not for pixels with `has_overlay_bits`.
    """
    length = _native_length(dataset)
    if not 0 < length <= given:
        raise _withheld("Its pixel data is shorter than its header says, or its header does not say how long it is.")
    return length


def _withheld(message: str) -> Withheld:
    return Withheld(Reason.PIXELS_NOT_CHECKED, message)


def _clean_frames(dataset: Dataset, value: bytes, syntax: str, own: frozenset[str]) -> bytes:
    """The compressed frames, each cleaned, one fragment each, behind a new offset table."""
    cleaner = CLEANERS.get(syntax)
    count = max(_number(dataset, "NumberOfFrames", 1), 1)
    pixels = _number(dataset, "Rows", 0) * _number(dataset, "Columns", 0)
    segments = _number(dataset, "SamplesPerPixel", 1) * ((_number(dataset, "BitsAllocated", 0) + 7) // 8)
    if cleaner is None or not pixels or not segments:
        raise _withheld("Its compressed pixel data is of a kind that cannot be checked.")
    try:
        found = list(generate_frames(value, number_of_frames=count))
        frames = [cleaner(frame, segments, pixels) for frame in found]
    except (ValueError, IndexError, struct.error):
        raise _withheld("Its compressed frames are not as their transfer syntax says.") from None
    if len(frames) != count:
        raise _withheld("Its compressed frames are not as many as its header says.")
    words = [word.encode() for word in own if len(word) >= _SHORTEST and word.isalnum() and not _rises(word)]
    for frame in frames:
        capitals = frame.upper()
        if any(word in capitals for word in words):
            raise _withheld("Its compressed pixel data holds a text that identifies the person.")
    return encapsulate(frames)


def _rises(word: str) -> bool:
    """Whether its characters go up or down in steps of one, as a run of pixels may: 123456."""
    return len({ord(second) - ord(first) for first, second in pairwise(word)} - {0}) <= 1


def has_overlay_bits(dataset: Dataset) -> bool:
    """Whether an overlay plane (60xx) has a position (60xx,0102) but no data of its own (60xx,3000), PS3.5 8.1.2."""
    return bool(_overlays_in_pixels(dataset))


def clear_overlay_bits(dataset: Dataset) -> None:
    """Clear the overlays in the unused bits of the dataset's native pixels. Raises `Withheld` where they cannot be."""
    if PIXEL_DATA in dataset and dataset[PIXEL_DATA].value and has_overlay_bits(dataset):
        compressed = UID(dataset.file_meta.TransferSyntaxUID).is_encapsulated
        dataset[PIXEL_DATA].value = _without_overlays(dataset, dataset[PIXEL_DATA].value, compressed)


def _overlays_in_pixels(dataset: Dataset) -> list[int]:
    groups = ((0x6000 + 2 * plane) << 16 for plane in range(16))
    return [group for group in groups if group | 0x0102 in dataset and group | 0x3000 not in dataset]


def _without_overlays(dataset: Dataset, value: bytes, compressed: bool) -> bytes:
    """Native pixels with each bit outside Bits Stored cleared, or set where the sign is (PS3.5 section 8.1.1).

    Only whole samples in which the overlays truly lie beside the stored bits; all else raises `Withheld`.
    """
    allocated, stored = _number(dataset, "BitsAllocated", 0), _number(dataset, "BitsStored", 0)
    low = _number(dataset, "HighBit", -1) + 1 - stored
    places = [dataset[group | 0x0102].value for group in _overlays_in_pixels(dataset)]
    beside = [isinstance(bit, int) and 0 <= bit < allocated and not low <= bit < low + stored for bit in places]
    big = UID(dataset.file_meta.TransferSyntaxUID) == ExplicitVRBigEndian
    if compressed or allocated not in (8, 16, 32) or not 0 < stored <= allocated - low <= allocated or not all(beside):
        raise _withheld("Its pixel data carries overlay planes in bits that cannot be cleared.")
    kind = np.dtype(f"{'>' if big else '<'}u{allocated // 8}")
    samples = np.frombuffer(value, kind, len(value) // kind.itemsize)
    mask = ((1 << stored) - 1) << low
    kept = samples & kind.type(mask)
    if _number(dataset, "PixelRepresentation", 0) == 1 and stored + low < allocated:
        sign = ((1 << allocated) - 1) & ~((1 << (low + stored)) - 1)
        kept = np.where(samples & kind.type(1 << (low + stored - 1)), kept | kind.type(sign), kept)
    return bytes(kept.astype(kind).tobytes()) + bytes(len(value) % kind.itemsize)


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
