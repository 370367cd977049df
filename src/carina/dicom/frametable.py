"""Where the frames of an image lie in its file, PS3.5 section A.4."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, field

from carina.dicom.reader import Encoding, items

_ITEM_HEADER = 8  # bytes
_PAIR = struct.Struct("<QQ")


@dataclass(frozen=True)
class Frames:
    """All None where it is not clear; the frames are then found by reading the whole file.

    offset   of the value of Pixel Data, in bytes from the beginning of the file
    size     bytes of each frame without compression that begins at a byte
    table    of compressed ones: of each frame offset and length of its fragments' items, 8 bytes each, little-endian
    """

    offset: int | None = None
    size: int | None = None
    table: bytes | None = field(default=None, repr=False)


def frames_in(data: bytes, span: tuple[int, int], bits: int, count: int, encapsulated: bool) -> Frames:
    """Where so many frames lie between two places of a file that is little-endian and not deflated.

    bits   of one frame without compression
    """
    first, end = span
    if end <= first:
        return Frames()
    if encapsulated:
        table = _table(data, first, end, count)
        return Frames(first, None, table) if table is not None else Frames()
    size = bits // 8 if bits > 0 and bits % 8 == 0 and first + count * (bits // 8) <= end else None
    return Frames(first, size)


def _table(data: bytes, first: int, end: int, count: int) -> bytes | None:
    places = list(items(data, first, end, Encoding()))
    if not places:
        return None
    offsets, fragments = places[0], places[1:]
    begins = _begins(data, offsets, [start - _ITEM_HEADER for start, _ in fragments], count)
    if begins is None:
        return None
    ends = [*begins[1:], fragments[-1][1]]
    return b"".join([_PAIR.pack(start, last - start) for start, last in zip(begins, ends, strict=True)])


def _begins(data: bytes, offsets: tuple[int, int], starts: list[int], count: int) -> list[int] | None:
    """Where the first item of each frame is; None where fragments cannot be told apart for sure."""
    if not starts:
        return None
    if count == 1:
        return starts[:1]
    if len(starts) == count:
        return starts
    told = data[slice(*offsets)]
    if len(told) != 4 * count:
        return None
    begins = [starts[0] + offset for offset in struct.unpack(f"<{count}L", told)]
    known = set(starts)
    ordered = begins[0] == starts[0] and all(one < other for one, other in itertools.pairwise(begins))
    return begins if ordered and known.issuperset(begins) else None
