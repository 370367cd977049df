"""Compressed frames without what hides in them: comments, application data, bytes after the picture's end.

JPEG and JPEG-LS (ISO/IEC 10918-1, 14495-1), JPEG 2000 (ISO/IEC 15444-1) and RLE (PS3.5 annex G). The coded pixels are
not touched and not decoded. What is not as these say raises `ValueError`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from itertools import pairwise

Cleaner = Callable[[bytes, int, int], bytes]
"""A frame, its RLE segments and the pixels of each → the frame without what hides in it."""

_TEXT = re.compile(rb"[ -~]{24,}")
_LETTERS = re.compile(rb"[A-Za-z]")

_JFIF = re.compile(rb"JFIF\0.{7}\0\0", re.DOTALL)  # without a thumbnail
_ADOBE = re.compile(rb"Adobe.{7}", re.DOTALL)
_FRAME_HEADERS = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7, 0xDE))
_TABLES = frozenset((0xC4, 0xDB))  # Huffman, quantisation
_SHORT = {0xDC: (2,), 0xDD: (2,), 0xDF: (1,), 0xCC: (2, 4, 6, 8), 0xF8: (11,)}  # bytes; DNL, DRI, EXP, DAC, LSE
_SCAN, _END = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
_MARKER_LS = re.compile(rb"\xff+([\x80-\xcf\xd8-\xfe])", re.DOTALL)


def jpeg(frame: bytes, segments: int = 0, pixels: int = 0) -> bytes:
    """A JPEG or JPEG-LS stream without COM and APPn (but JFIF and Adobe, which say how colours are coded)."""
    if frame[:2] != b"\xff\xd8":
        raise ValueError("no JPEG stream")
    kept, place, marker_of = [b"\xff\xd8"], 2, _MARKER
    while True:
        found = _MARKER.match(frame, place)
        if found is None:
            raise ValueError("no marker where one must be")
        marker, place = found[1][0], found.end()
        if marker == _END:
            return _even(b"".join(kept) + b"\xff\xd9")
        (length,) = struct.unpack_from(">H", frame, place)
        body = frame[place + 2 : place + length]
        if length < 2 or len(body) != length - 2:
            raise ValueError("a segment is cut short")
        place += length
        if _is_wanted(marker, body):
            kept.append(bytes((0xFF, marker)) + struct.pack(">H", length) + body)
        if marker == 0xF7:
            marker_of = _MARKER_LS
        if marker == _SCAN:
            end = marker_of.search(frame, place)
            if end is None:
                raise ValueError("no end")
            kept.append(_without_text(frame[place : end.start()]))
            place = end.start()


def _is_wanted(marker: int, body: bytes) -> bool:
    """Whether a segment stays; raises for one that has not the form of its kind."""
    if marker == 0xFE or 0xE0 <= marker <= 0xEF:
        wanted = {0xE0: _JFIF, 0xEE: _ADOBE}.get(marker)
        return wanted is not None and wanted.fullmatch(body) is not None
    right = (
        (marker in _FRAME_HEADERS and len(body) >= 6 and len(body) == 6 + 3 * body[5])
        or (marker == _SCAN and body[:1] != b"" and len(body) == 4 + 2 * body[0])
        or (marker in _TABLES and _are_tables(marker, body))
        or len(body) in _SHORT.get(marker, ())
    )
    if not right:
        raise ValueError("a segment of an unknown kind")
    return True


def _are_tables(marker: int, body: bytes) -> bool:
    """Whether a segment is whole tables and nothing else."""
    place = 0
    while place < len(body):
        if marker == 0xDB:
            place += 129 if body[place] >> 4 else 65
        else:
            place += 17 + sum(body[place + 1 : place + 17])
    return place == len(body)


_MAIN = frozenset((0x50, 0x51, 0x52, 0x53, 0x55, 0x56, 0x57, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x63))
_TILE = frozenset((0x52, 0x53, 0x58, 0x5C, 0x5D, 0x5E, 0x5F, 0x61))
_COMMENT, _TILE_START, _DATA = 0x64, 0x90, 0x93


def jpeg_2000(frame: bytes, segments: int = 0, pixels: int = 0) -> bytes:
    """A JPEG 2000 codestream without the comments of its main header; comments of a tile raise `ValueError`."""
    if frame[:2] != b"\xff\x4f":
        raise ValueError("no JPEG 2000 codestream")
    kept, place = [b"\xff\x4f"], 2
    while True:
        marker, place, segment = _segment(frame, place)
        if marker == _TILE_START:
            break
        if marker != _COMMENT:
            if marker not in _MAIN:
                raise ValueError("a segment of an unknown kind")
            kept.append(segment)
    start = place - len(segment)
    while frame[start : start + 2] != b"\xff\xd9":
        end = _tile_end(frame, start)
        kept.append(_without_text(frame[start:end]))
        start = end
    return _even(b"".join(kept) + b"\xff\xd9")


def _segment(frame: bytes, place: int) -> tuple[int, int, bytes]:
    """The marker of the segment at `place`, where it ends, and its bytes."""
    lead, marker, length = struct.unpack_from(">BBH", frame, place)
    end = place + 2 + length
    if lead != 0xFF or length < 2 or end > len(frame):
        raise ValueError("no marker where one must be")
    return marker, end, frame[place:end]


def _tile_end(frame: bytes, start: int) -> int:
    """Where the tile-part that begins at `start` ends."""
    marker, place, segment = _segment(frame, start)
    if marker != _TILE_START or len(segment) != 12:
        raise ValueError("no tile where one must be")
    (length,) = struct.unpack_from(">I", segment, 6)
    while frame[place : place + 2] != bytes((0xFF, _DATA)):
        marker, place, _ = _segment(frame, place)
        if marker not in _TILE:
            raise ValueError("a segment of an unknown kind")
    end = start + length if length else frame.rindex(b"\xff\xd9")
    if not place + 2 <= end <= len(frame) - 2:
        raise ValueError("a tile has another length than it says")
    return end


def rle(frame: bytes, segments: int, pixels: int) -> bytes:
    """An RLE frame whose segments hold just so many pixels; bytes between and behind them are zero or few."""
    header = struct.unpack_from("<16L", frame)
    offsets = [*header[1 : segments + 1], len(frame)]
    if header[0] != segments or not 1 <= segments <= 15 or any(header[segments + 1 :]) or offsets[0] != 64:
        raise ValueError("no RLE header")
    end = 64
    for start, limit in pairwise(offsets):
        if start < end or start > limit or any(frame[end:start]):
            raise ValueError("segments that are not one after the other")
        end = _decoded_until(frame, start, limit, pixels)
    return _even(frame[:end])


def _decoded_until(frame: bytes, place: int, limit: int, pixels: int) -> int:
    """Where the coding of so many pixels ends."""
    while pixels > 0:
        if place >= limit:
            raise ValueError("a segment is cut short")
        count = frame[place]
        if count < 128:
            place += count + 2
            pixels -= count + 1
        elif count > 128:
            place += 2
            pixels -= 257 - count
        else:
            place += 1
    if pixels < 0 or place > limit:
        raise ValueError("a segment holds more than its pixels")
    return place


def native(frame: bytes, segments: int, pixels: int) -> bytes:
    """A frame that is not compressed, only encapsulated."""
    length = segments * pixels
    if len(frame) < length:
        raise ValueError("a frame is cut short")
    return _even(frame[:length])


def _without_text(coded: bytes) -> bytes:
    """Coded pixels as they are; raises if a text is among them: such a run does not occur by chance."""
    for found in _TEXT.finditer(coded):
        if len(set(_LETTERS.findall(found[0]))) >= 8:
            raise ValueError("a text among coded pixels")
    return coded


def _even(frame: bytes) -> bytes:
    return frame + bytes(len(frame) % 2)


_ROOT = "1.2.840.10008.1.2."
CLEANERS: dict[str, Cleaner] = {
    **{f"{_ROOT}4.{number}": jpeg for number in (*range(50, 67), 70, 80, 81)},
    **{f"{_ROOT}4.{number}": jpeg_2000 for number in (90, 91, 201, 202, 203)},
    f"{_ROOT}5": rle,
    f"{_ROOT}1.98": native,
}
"""The cleaner of each transfer syntax that has one."""
