"""A small reader of bytes: tags, VRs and places of values, PS3.5 section 7. It makes no objects of them.

It shares no code with pydicom or any writer, so that what they get wrong shows here, and it costs so little that bytes
can be counted before they are taken in. It forgives nothing: what does not fit raises `ValueError`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.datadict import dictionary_has_tag, dictionary_VR

MAX_DEPTH = 80
_SHORT, _LENGTH = struct.Struct("<HH2sH").unpack_from, struct.Struct("<L").unpack_from
_TAG, _TAG_BIG = struct.Struct("<HHL").unpack_from, struct.Struct(">HHL").unpack_from
_LENGTH_BIG = struct.Struct(">L").unpack_from
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_IMPLICIT, _BIG, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_PIXELS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))


@dataclass(frozen=True)
class Encoding:
    """How a dataset is written; the default is Explicit VR Little Endian."""

    implicit: bool = False
    big: bool = False

    @classmethod
    def of(cls, syntax: str) -> Encoding:
        """The encoding of a transfer syntax."""
        return cls(syntax == _IMPLICIT, syntax == _BIG)


@dataclass(frozen=True)
class File:
    """The parts of a Part 10 file; `dataset` is inflated where it was deflated.

    start   where the dataset begins in `data`
    """

    preamble: bytes
    meta: tuple[tuple[int, bytes, bytes], ...]
    data: bytes
    start: int
    encoding: Encoding


def opened(data: bytes) -> File:
    """The parts of a Part 10 file, PS3.10 section 7.1."""
    if data[128:132] != b"DICM":
        raise ValueError("no Part 10 file")
    meta, start, syntax = [], 132, ""
    while start < len(data) and data[start : start + 2] == b"\x02\x00":
        tag, vr, first, start = header(data, start, Encoding())
        meta.append((tag, vr, data[first:start]))
        if tag == 0x00020010:
            syntax = data[first:start].rstrip(b"\0 ").decode("ascii")
    dataset = data
    if syntax == _DEFLATED:
        dataset, start = _inflated(data[start:]), 0
    return File(data[:128], tuple(meta), dataset, start, Encoding.of(syntax))


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data)
    except zlib.error:
        raise ValueError("a deflated dataset is damaged") from None


def elements(data: bytes, place: int, end: int, encoding: Encoding) -> Iterator[tuple[int, bytes, int, int, int]]:
    """Of each element: its tag, its VR, where it begins, where its value begins and where that ends.

    An item's own delimiter ends them, and so do up to seven zeros: the padding of a deflated dataset.
    """
    plain = not (encoding.implicit or encoding.big)
    while place + 8 <= end:
        first = 0
        if plain:
            group, number, vr, length = _SHORT(data, place)
            if vr in _LONG:
                if place + 12 <= end:
                    (length,) = _LENGTH(data, place + 8)
                    first = 0 if length == _UNDEFINED else place + 12
            elif group != 0xFFFE:
                first = place + 8
        if first:
            tag, last = group << 16 | number, first + length
        else:
            tag, vr, first, last = header(data, place, encoding)
            if tag >> 16 == 0xFFFE:
                return
        if last > end:
            raise ValueError("a value is cut short")
        yield tag, vr, place, first, last
        place = last
    if any(data[place:end]):
        raise ValueError("an element is cut short")


def header(data: bytes, place: int, encoding: Encoding, depth: int = 0) -> tuple[int, bytes, int, int]:
    """The element at `place`: its tag, its VR, where its value begins and where it ends, delimiters included."""
    tag, vr, first, length = _start(data, place, encoding)
    if length == _UNDEFINED:
        return tag, b"SQ" if vr == b"UN" else vr, first, _end_of_sequence(data, first, encoding, depth)
    if first + length > len(data):
        raise ValueError("a value is cut short")
    return tag, vr, first, first + length


def _start(data: bytes, place: int, encoding: Encoding) -> tuple[int, bytes, int, int]:
    """Of the element, item or delimiter at `place`: tag, VR, where its value begins, and the length that it says."""
    try:
        group, element, length = (_TAG_BIG if encoding.big else _TAG)(data, place)
        tag = group << 16 | element
        if encoding.implicit or group == 0xFFFE:
            return tag, _implied(tag), place + 8, length
        vr = data[place + 4 : place + 6]
        if vr in _LONG:
            (length,) = (_LENGTH_BIG if encoding.big else _LENGTH)(data, place + 8)
            return tag, vr, place + 12, length
        return tag, vr, place + 8, length & 0xFFFF if encoding.big else length >> 16
    except struct.error:
        raise ValueError("an element is cut short") from None


def items(data: bytes, place: int, end: int, encoding: Encoding, depth: int = 0) -> Iterator[tuple[int, int]]:
    """Where each item's content begins and ends in a sequence's value, and each fragment in encapsulated pixels."""
    sign = ">" if encoding.big else "<"
    while place < end:
        if place + 8 > len(data):
            raise ValueError("an item is cut short")
        group, element, length = struct.unpack_from(f"{sign}HHL", data, place)
        tag, place = group << 16 | element, place + 8
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            raise ValueError("no item where one must be")
        last = _end_of_item(data, place, encoding, depth) if length == _UNDEFINED else place + length
        if last > len(data):
            raise ValueError("an item is cut short")
        yield place, last
        place = last + 8 if length == _UNDEFINED else last


@dataclass
class Count:
    """How much a dataset holds, all depths together; raises `OverflowError` beyond these numbers."""

    most_items: int
    most_elements: int
    items: int = 0
    elements: int = 0

    def dataset(self, data: bytes, place: int, end: int, encoding: Encoding) -> None:
        """Count the elements and items between two places, one after the other whatever holds them: in linear time."""
        depth = 0
        while place + 8 <= end:
            tag, vr, first, length = _start(data, place, encoding)
            place = first
            if tag == _ITEM:
                self.items += 1
            elif tag == _SEQUENCE_END:
                depth -= 1
            elif tag >> 16 != 0xFFFE:
                self.elements += 1
                if is_pixels(tag) and length == _UNDEFINED:
                    place = _end_of_sequence(data, first, encoding, 0)
                elif length == _UNDEFINED:
                    depth += 1
                elif vr != b"SQ":
                    place = first + length
            if depth > MAX_DEPTH or self.items > self.most_items or self.elements > self.most_elements:
                raise OverflowError("more than may be taken in")


def is_pixels(tag: int) -> bool:
    """Whether a tag is that of pixel data, native or encapsulated, PS3.3 section C.7.6.3."""
    return tag in _PIXELS


def _end_of_sequence(data: bytes, place: int, encoding: Encoding, depth: int) -> int:
    """Where a sequence of undefined length ends, its delimiter included."""
    last = place
    for _, end in items(data, place, len(data), encoding, depth + 1):
        last = end
    sign = ">" if encoding.big else "<"
    for where in (last, last + 8):  # behind the last item's own delimiter, if it has one
        group, element = struct.unpack_from(f"{sign}HH", data, where) if where + 8 <= len(data) else (0, 0)
        if group << 16 | element == _SEQUENCE_END:
            return where + 8
    raise ValueError("a sequence has no end")


def _end_of_item(data: bytes, place: int, encoding: Encoding, depth: int) -> int:
    """Where the content of an item of undefined length ends; its delimiter comes then."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    while True:
        tag, _, _, end = header(data, place, encoding, depth + 1)
        if tag == _ITEM_END:
            return place
        place = end


def _implied(tag: int) -> bytes:
    """The VR of an element in Implicit VR, by PS3.6; `UN` for what that does not list."""
    if tag & 0xFFFF == 0:
        return b"UL"
    if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
        return b"LO"
    return dictionary_VR(tag)[:2].encode() if dictionary_has_tag(tag) else b"UN"
