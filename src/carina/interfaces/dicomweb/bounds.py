"""How much of an image one request may have decoded and drawn."""

from __future__ import annotations

from pydicom.uid import UID

from carina.dicom.json import values_of
from carina.dicom.levels import tag_of
from carina.dicom.rendering import Viewport
from carina.errors import TooLarge
from carina.storage.index import StoredInstance

MAX_BYTES = 256 << 20  # of frames without compression, together
MAX_PIXELS = 1 << 26  # of a frame that is drawn, and of the pictures together: four of 4096 × 4096

_HINT = "Ask for fewer frames, or for smaller pictures by 'viewport'."
_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


def require_decodable(instance: StoredInstance, frames: int) -> None:
    """Raise `TooLarge` when so many frames are more than one request may have without compression."""
    if frames * _frame_size(instance) > MAX_BYTES:
        raise TooLarge("These are more pixels than are decoded for one request.", _HINT)


def require_whole_decodable(instance: StoredInstance) -> None:
    """Raise `TooLarge` when an object has to be decompressed that is larger than is decoded for one request."""
    compressed = UID(instance.transfer_syntax_uid).is_encapsulated
    if compressed and instance.frames * _frame_size(instance) > MAX_BYTES:
        raise TooLarge(
            "An object is too large to be decompressed for one request.", "Accept it as stored: transfer-syntax=*."
        )


def require_drawable(instance: StoredInstance, frames: int, viewport: Viewport | None) -> None:
    """Raise `TooLarge` when so many frames are more than one request may have as pictures."""
    require_decodable(instance, frames)
    source = _number(instance, "Rows") * _number(instance, "Columns")
    drawn = source if viewport is None else viewport.width * viewport.height
    if source > MAX_PIXELS or frames * drawn > MAX_PIXELS:
        raise TooLarge("These are more pixels than are drawn for one request.", _HINT)


def _frame_size(instance: StoredInstance) -> int:
    """Bytes of one frame without compression, by the header."""
    stated = next((bits for keyword, bits in _BITS.items() if tag_of(keyword) in instance.header), None)
    bits = stated or _number(instance, "BitsAllocated")
    samples = _number(instance, "SamplesPerPixel") or 1
    return _number(instance, "Rows") * _number(instance, "Columns") * samples * bits // 8


def _number(instance: StoredInstance, keyword: str) -> int:
    """A whole number of the header; 0 when it states none, and then nothing can be decoded."""
    value = next(iter(values_of(instance.header, tag_of(keyword))), 0)
    return value if isinstance(value, int) else 0
