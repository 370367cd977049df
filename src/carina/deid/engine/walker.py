"""The root elements of a little-endian DICOM file as pieces of its bytes, without an object for each (PS3.5 section 7).

What is in any way unusual gives None: the caller then reads the file with pydicom, which knows what to say of it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from itertools import dropwhile

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from carina.dicom.parse import KNOWN_TRANSFER_SYNTAXES, MAX_DEPTH

PIXEL_DATA = 0x7FE00010
FIRST_TAG = 0x00080000
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SHORT_HEADER = frozenset(vr.value.encode() for vr in EXPLICIT_VR_LENGTH_16)
_LONG_HEADER = frozenset(vr.value.encode() for vr in EXPLICIT_VR_LENGTH_32)
_EXPLICIT = struct.Struct("<HH2sHL").unpack_from
_IMPLICIT = struct.Struct("<HHL").unpack_from
_META_START = 132
_SYNTAX = 0x00020010


Piece = tuple[int, int, int, int]
"""One element: its tag, where it starts, where its value starts, and where that ends."""


@dataclass(frozen=True)
class Pieces:
    """A file in pieces.

    elements   those of the root but Pixel Data, in the order of their tags
    pixels     Pixel Data (7FE0,0010); None if there is none. With `cut` its value reaches beyond the bytes given
    """

    syntax: str
    implicit: bool
    elements: list[Piece]
    pixels: Piece | None
    cut: bool = False

    def headers(self, size: int) -> tuple[tuple[int, int], ...]:
        """Where the elements before Pixel Data, and those behind, begin and end in so many bytes."""
        start = min([self.elements[0][1], *([self.pixels[1]] if self.pixels else [])])
        if self.pixels is None:
            return ((start, size),)
        return (start, self.pixels[1]), (self.pixels[2] if self.cut else self.pixels[3], size)


class _Unusual(Exception):
    """Something that pydicom must read."""


def pieces(data: bytes, *, head_only: bool = False) -> Pieces | None:
    """The pieces of a Part 10 file; None for what is unusual, damaged, big-endian or deflated.

    With `head_only` the bytes may end within the value of a Pixel Data element of known length.
    """
    try:
        syntax, start = _meta(data)
        return _root(data, len(data), start, syntax, head_only)
    except (_Unusual, struct.error, RecursionError):
        return None


def without_pixels(head: bytes, tail: bytes) -> tuple[bytes, Pieces] | None:
    """A large file without the values of its native Pixel Data, and its pieces; None for what is unusual.

    head   its beginning, which ends within the value of Pixel Data
    tail   all that comes behind that value

    The piece of Pixel Data has the length that the value has in the file, and reaches beyond it.
    """
    found = pieces(head, head_only=True)
    if found is None or found.pixels is None or not found.cut:
        return None
    start = found.pixels[2]
    data = head[:start] + tail
    walk = _implicit_elements if found.implicit else _explicit_elements
    try:
        behind = walk(data, start, len(data))
    except (_Unusual, struct.error, RecursionError):
        return None
    if behind and (behind[0][0] <= PIXEL_DATA or behind[-1][0] > 0xFFFE0000 or behind[-1][3] > len(data)):
        return None
    return data, replace(found, elements=found.elements + behind)


def _meta(data: bytes) -> tuple[str, int]:
    """The transfer syntax that the file meta information names, and where the dataset begins."""
    if data[128:_META_START] != b"DICM":
        raise _Unusual
    place, last, syntax = _META_START, 0, ""
    while data[place : place + 2] == b"\x02\x00":
        tag, value, length = _explicit(data, place)
        if tag <= last or length == _UNDEFINED or value + length > len(data):
            raise _Unusual
        if tag == _SYNTAX:
            syntax = data[value : value + length].rstrip(b"\0 ").decode("ascii", "replace")
        place, last = value + length, tag
    usable = syntax in KNOWN_TRANSFER_SYNTAXES
    if not usable or syntax in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        raise _Unusual
    return syntax, place


def _root(data: bytes, size: int, start: int, syntax: str, head_only: bool) -> Pieces:
    implicit = syntax == ImplicitVRLittleEndian
    walk = _implicit_elements if implicit else _explicit_elements
    if implicit and data[start + 4 : start + 6] in _SHORT_HEADER | _LONG_HEADER:
        raise _Unusual  # it says implicit, and is not
    elements = walk(data, start, size)
    near = next(dropwhile(lambda piece: piece[0] > PIXEL_DATA, reversed(elements)), None)
    pixels = near if near is not None and near[0] == PIXEL_DATA else None
    if pixels is not None:
        elements.remove(pixels)
    last = elements[-1] if elements else (0, 0, 0, size + 1)
    cut = pixels is not None and pixels[3] > size
    undefined = pixels is not None and data[pixels[2] - 4 : pixels[2]] == b"\xff\xff\xff\xff"
    if last[3] > size or last[0] > 0xFFFE0000 or elements[0][0] < FIRST_TAG:
        raise _Unusual
    if cut and (undefined or not head_only):
        raise _Unusual
    return Pieces(syntax, implicit, elements, pixels, cut)


def _explicit_elements(data: bytes, place: int, size: int) -> list[Piece]:
    """The elements from `place` on; the last may reach beyond `size`."""
    elements: list[Piece] = []
    last, short, long_ones = -1, _SHORT_HEADER, _LONG_HEADER
    while place < size:
        header, at = (data, place) if place + 12 <= size else (data[place : place + 8] + bytes(4), 0)  # empty, the last
        group, number, vr, length, long = _EXPLICIT(header, at)
        tag = group << 16 | number
        if tag <= last:
            raise _Unusual
        if vr in short:
            value = place + 8
            end = value + length
        elif vr in long_ones:
            value = place + 12
            end = value + long if long != _UNDEFINED else _end_of_undefined(data, (tag, place, value, size), False)
        else:
            raise _Unusual
        elements.append((tag, place, value, end))
        place, last = end, tag
    return elements


def _implicit_elements(data: bytes, place: int, size: int) -> list[Piece]:
    elements: list[Piece] = []
    last = -1
    while place < size:
        tag, value, length = _implicit(data, place)
        if tag <= last:
            raise _Unusual
        end = value + length if length != _UNDEFINED else _end_of_undefined(data, (tag, place, value, size), True)
        elements.append((tag, place, value, end))
        place, last = end, tag
    return elements


def _explicit(data: bytes, place: int) -> tuple[int, int, int]:
    """Tag, start of the value, length."""
    group, number, vr, short, long = _EXPLICIT(data[place : place + 12].ljust(12, b"\0"))
    if vr in _SHORT_HEADER:
        return group << 16 | number, place + 8, short
    if vr in _LONG_HEADER:
        return group << 16 | number, place + 12, long
    raise _Unusual


def _implicit(data: bytes, place: int) -> tuple[int, int, int]:
    group, number, length = _IMPLICIT(data, place)
    return group << 16 | number, place + 8, length


def _end_of_undefined(data: bytes, element: Piece, implicit: bool) -> int:
    """Where an element of undefined length ends: a sequence, or fragments of Pixel Data. Its last part is the size."""
    tag, place, value, size = element
    if tag == PIXEL_DATA:
        return _end_of_fragments(data, value, size)
    if not implicit and data[place + 4 : place + 6] != b"SQ":
        raise _Unusual  # UN: its items are implicit
    return _end_of_items(data, value, size, implicit, 0)


def _end_of_fragments(data: bytes, place: int, size: int) -> int:
    while True:
        tag, value, length = _implicit(data, place)
        if tag == _SEQUENCE_END and length == 0:
            return value
        place = value + length
        if tag != _ITEM or place > size:
            raise _Unusual


def _end_of_items(data: bytes, place: int, size: int, implicit: bool, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise _Unusual
    while True:
        tag, value, length = _implicit(data, place)
        if tag == _SEQUENCE_END and length == 0:
            return value
        if tag != _ITEM:
            raise _Unusual
        place = value + length if length != _UNDEFINED else _end_of_item(data, value, size, implicit, depth)
        if place > size:
            raise _Unusual


def _end_of_item(data: bytes, place: int, size: int, implicit: bool, depth: int) -> int:
    header = _implicit if implicit else _explicit
    while True:
        tag, value, length = _implicit(data, place)
        if tag == _ITEM_END and length == 0:
            return value
        tag, value, length = header(data, place)
        if length != _UNDEFINED:
            place = value + length
        elif implicit or data[place + 4 : place + 6] == b"SQ":
            place = _end_of_items(data, value, size, implicit, depth + 1)
        else:
            raise _Unusual
        if place > size:
            raise _Unusual
