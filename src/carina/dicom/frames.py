"""The frames of an image, PS3.5 section 8 and annex A. Frames are numbered from 1, as in PS3.18."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from carina.dicom.quiet import quiet
from carina.errors import CarinaError, InvalidInstance, NotFound

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_HEADER = b"\xfe\xff\x00\xe0", 8  # tag (FFFE,E000); bytes of tag and length
_IMAGE_PIXEL = (
    "SOPClassUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
MAX_FRAME = 1 << 29  # bytes of one decoded frame


def count(dataset: Dataset) -> int:
    """How many frames there are; 0 for an instance without pixels. Raises `InvalidInstance` for a count below 1."""
    if not any(keyword in dataset for keyword in _PIXELS):
        return 0
    frames = _number(dataset, "NumberOfFrames", default=1)
    if frames < 1:
        raise InvalidInstance("The image states fewer than one frame.")
    return frames


def frame_bytes(dataset: Dataset, number: int) -> tuple[bytes, UID]:
    """One frame as it is stored, with its transfer syntax; native pixels always as Explicit VR Little Endian.

    A frame of single bits that begins inside a byte is moved to begin at one. Raises `NotFound` when there is no such
    frame, and `InvalidInstance` when the pixels are not as the header says.
    """
    total = _require_frame(dataset, number)
    syntax = syntax_of(dataset)
    try:
        with quiet():
            if syntax.is_encapsulated:
                return get_frame(dataset.PixelData, number - 1, number_of_frames=total, **_offsets(dataset)), syntax
            if syntax == ExplicitVRBigEndian:
                return _little_endian(dataset, number)
            return _native(dataset, number), ExplicitVRLittleEndian
    except CarinaError:
        raise
    except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
        raise InvalidInstance("The frames of the image are not where its header says.") from None


def decoded(dataset: Dataset, number: int) -> np.ndarray[Any, Any]:
    """One frame as an array: rows, columns, and for colour the three samples of RGB. Stored values, no LUT applied.

    Raises `NotFound` and `InvalidInstance` as `frame_bytes`, the latter also when its compression cannot be undone.
    """
    _require_frame(dataset, number)
    _require_size(dataset)
    try:
        with quiet():
            if has_swapped_bits(dataset) and dataset["PixelData"].VR == "OW":
                dataset = _unswapped(dataset)
            array, _ = get_decoder(syntax_of(dataset)).as_array(dataset, index=number - 1, raw=False)
    except Exception:  # noqa: BLE001  decoders raise many kinds, and their words may quote values
        raise InvalidInstance("The pixels of the image cannot be decoded.") from None
    return array


def unwrapped(items: bytes) -> bytes:
    """One frame from the items that hold its fragments, PS3.5 section A.4. Raises `InvalidInstance` for other bytes."""
    found, place = [], 0
    while place < len(items):
        size = int.from_bytes(items[place + 4 : place + 8], "little")
        first, last = place + _ITEM_HEADER, place + _ITEM_HEADER + size
        if items[place : place + 4] != _ITEM or last > len(items):
            raise InvalidInstance("The frames of the image are not where its header says.")
        found.append(items[first:last])
        place = last
    return found[0] if len(found) == 1 else b"".join(found)


def alone(header: Dataset, data: bytes) -> Dataset:
    """One frame as an image of its own, for `decoded`.

    header  of the image that it belongs to, with its file meta information
    data    the frame as it is stored: of compressed ones the joined fragments, of others in the file's byte order
    """
    image = Dataset()
    image.file_meta = header.file_meta
    for keyword in _IMAGE_PIXEL:
        if keyword in header:
            image[keyword] = header[keyword]
    image.NumberOfFrames = 1
    compressed = syntax_of(header).is_encapsulated
    image.add_new(_PIXEL_DATA, "OB" if compressed else "OW", encapsulate([data]) if compressed else data)
    return image


def has_swapped_bits(header: Dataset) -> bool:
    """Whether pixels of a single bit rest in words of big endian order (PS3.5 section 8.1.1), so that a frame of them
    is not one piece of the file.
    """
    return bool(syntax_of(header) == ExplicitVRBigEndian and header.get("BitsAllocated") == 1)


def _unswapped(dataset: Dataset) -> Dataset:
    """The same image in little endian order."""
    words = np.frombuffer(dataset.PixelData[: len(dataset.PixelData) // 2 * 2], ">u2")
    image = alone(dataset, words.astype("<u2").tobytes())
    image.NumberOfFrames = count(dataset)
    image.file_meta = copy(dataset.file_meta)
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def can_decode(syntax: str) -> bool:
    """Whether the pixels of this transfer syntax can be decoded here."""
    try:
        return get_decoder(UID(syntax)).is_available
    except NotImplementedError:
        return False


def syntax_of(dataset: Dataset) -> UID:
    """The transfer syntax of a parsed dataset."""
    return UID(str(dataset.file_meta.TransferSyntaxUID))


def _require_frame(dataset: Dataset, number: int) -> int:
    total = count(dataset)
    if not 1 <= number <= total:
        raise NotFound("The instance has no such frame.", "Its Number of Frames says how many there are.")
    return total


def _require_size(dataset: Dataset) -> None:
    if _frame_bits(dataset) / 8 > MAX_FRAME:
        raise InvalidInstance("A frame of the image is larger than Carina decodes.")


def _number(dataset: Dataset, keyword: str, default: int) -> int:
    value = dataset.get(keyword)
    if value is None or value == "":
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InvalidInstance("The image's header has no usable size.") from None


def _frame_bits(dataset: Dataset) -> int:
    samples = _number(dataset, "SamplesPerPixel", default=1)
    return _number(dataset, "Rows", 0) * _number(dataset, "Columns", 0) * samples * _bits(dataset)


def _bits(dataset: Dataset) -> int:
    if "FloatPixelData" in dataset:
        return 32
    return 64 if "DoubleFloatPixelData" in dataset else _number(dataset, "BitsAllocated", default=0)


def _offsets(dataset: Dataset) -> dict[str, Any]:
    """The Extended Offset Table, PS3.3 section C.7.6.3.1.8, when the image has one."""
    offsets, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    return {"extended_offsets": (offsets, lengths)} if offsets and lengths else {}


def _native(dataset: Dataset, number: int) -> bytes:
    pixels: bytes = next(dataset[keyword].value for keyword in _PIXELS if keyword in dataset)
    size = _frame_bits(dataset)
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        size = size * 2 // 3
    first, last = size * (number - 1), size * number
    if size <= 0 or (last + 7) // 8 > len(pixels):
        raise InvalidInstance("The image has fewer pixels than its header says.")
    if first % 8 == 0 and size % 8 == 0:
        return pixels[first // 8 : last // 8]
    bits = np.unpackbits(np.frombuffer(pixels[first // 8 : (last + 7) // 8], np.uint8), bitorder="little")
    return np.packbits(bits[first % 8 : first % 8 + size], bitorder="little").tobytes()


def _little_endian(dataset: Dataset, number: int) -> tuple[bytes, UID]:
    if _bits(dataset) == 1:
        raise InvalidInstance("Single-bit pixels in big endian order cannot be given out by frame.")
    array = decoded(dataset, number)
    return array.astype(array.dtype.newbyteorder("<")).tobytes(), ExplicitVRLittleEndian
