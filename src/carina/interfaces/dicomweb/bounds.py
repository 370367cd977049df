"""How much of an image one request may have decoded and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydicom.uid import UID

from carina.dicom.json import values_of
from carina.dicom.levels import tag_of
from carina.dicom.rendering import MAX_PIXELS, Viewport
from carina.errors import TooLarge
from carina.storage.index import StoredInstance
from carina.storage.locate import Located

MAX_BYTES = 256 << 20  # of frames without compression, together
MAX_PICTURES = 1000  # of a study or series
MAX_FILE = 512 << 20  # of an object that is written in another transfer syntax

_HINT = "Ask for fewer frames, or for smaller pictures by 'viewport'."
_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


def require_decodable(instance: StoredInstance, frames: int) -> None:
    """Raise `TooLarge` when so many frames are more than one request may have without compression."""
    if frames * _frame_size(instance) > MAX_BYTES:
        raise TooLarge("These are more pixels than are decoded for one request.", _HINT)


def require_whole_decodable(instance: StoredInstance | Located, header: Callable[[], StoredInstance]) -> None:
    """Raise `TooLarge` when an object has to be written anew that is larger than is decoded for one request.

    header  gives the instance with its header; asked when that matters
    """
    if instance.size > MAX_FILE or (
        UID(instance.transfer_syntax_uid).is_encapsulated and instance.frames * _frame_size(header()) > MAX_BYTES
    ):
        raise TooLarge(
            "An object is too large to be written in another transfer syntax for one request.",
            "Accept it as stored: transfer-syntax=*.",
        )


def require_drawable(instance: StoredInstance, frames: int, viewport: Viewport | None) -> None:
    """Raise `TooLarge` when so many frames are more than one request may have as pictures."""
    require_decodable(instance, frames)
    source = _number(instance, "Rows") * _number(instance, "Columns")
    drawn = source if viewport is None else viewport.width * viewport.height
    if source > MAX_PIXELS or frames * drawn > MAX_PIXELS:
        raise TooLarge("These are more pixels than are drawn for one request.", _HINT)


def require_few_pixels(instances: Iterable[StoredInstance], viewport: Viewport | None, count: int) -> None:
    """Raise `TooLarge` when the first frames of so many instances are more than one request may have as pictures."""
    if count > MAX_PICTURES:
        raise TooLarge("These are more images than are drawn for one request.", "Ask series by series, or by frames.")
    drawn = 0
    for one in instances:
        require_drawable(one, 1, viewport)
        size = _number(one, "Rows") * _number(one, "Columns")
        drawn += size if viewport is None else viewport.width * viewport.height
        if drawn > MAX_PIXELS:
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
