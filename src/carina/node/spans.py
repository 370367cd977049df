"""Which bytes of the store make up what is asked for: frames and binary values that are given as they lie there."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.uid import UID, ExplicitVRBigEndian

from carina.dicom.frames import unwrapped
from carina.errors import InvalidInstance, NotFound
from carina.node.site import Node
from carina.storage.locate import Located, frame_table

AT_ONCE = 1 << 20  # bytes of compressed frames that are read whole; of more, only where their fragments lie
_ENTRY = struct.Struct("<QQ")  # of a frame table: offset and length of a frame's items
_ITEM = struct.Struct("<4sI")
_ITEM_TAG, _END_TAG = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a stored file, in bytes."""

    content: str
    offset: int
    size: int


Piece = bytes | Span
"""Bytes that are at hand, or that are in the store."""


def whole(instance: Located) -> list[Piece]:
    """The instance's file."""
    return [Span(instance.content, 0, instance.size)]


def read_whole(node: Node, instance: Located) -> bytes:
    """The instance's file, in memory."""
    return fetch(node, Span(instance.content, 0, instance.size))


def is_compressed(instance: Located) -> bool:
    """Whether its pixels are in items."""
    return UID(instance.transfer_syntax_uid).is_encapsulated


def size_of(pieces: Sequence[Piece]) -> int:
    """Bytes of them all."""
    return sum(piece.size if isinstance(piece, Span) else len(piece) for piece in pieces)


def require_frames(instance: Located, numbers: Sequence[int]) -> None:
    """Raise `NotFound` when a number, from 1, is that of no frame."""
    if not all(1 <= number <= instance.frames for number in numbers):
        raise no_frame()


def no_frame() -> NotFound:
    """The answer to a number that is that of no frame."""
    return NotFound("The instance has no such frame.", "Its Number of Frames says how many there are.")


def frames(node: Node, instance: Located, numbers: Sequence[int]) -> list[list[Piece]] | None:
    """The bytes of frames as they are stored, those of compressed ones without the items around them.

    None where the index does not say where they lie, as for single bits that begin inside a byte, or where they are
    not as a client takes them, in big endian order; they are then to be decoded.

    Raises `NotFound` for a frame that is not there, and `InvalidInstance` when the file is not as the index says.
    """
    require_frames(instance, numbers)
    if instance.pixel_offset is None or instance.transfer_syntax_uid == ExplicitVRBigEndian:
        return None
    if instance.frame_size is not None:
        return [[_native(instance, number)] for number in numbers]
    table = table_of(node, instance)
    return None if table is None else _fragments(node, instance, [entry(instance, table, each) for each in numbers])


def native_span(instance: Located, number: int) -> Span | None:
    """Where a frame without compression lies, in the file's byte order; None where the index does not say."""
    if instance.pixel_offset is None or instance.frame_size is None:
        return None
    return _native(instance, number)


def _native(instance: Located, number: int) -> Span:
    size, first = instance.frame_size or 0, instance.pixel_offset or 0
    span = Span(instance.content, first + (number - 1) * size, size)
    if size <= 0 or span.offset + size > instance.size:
        raise InvalidInstance("The image has fewer pixels than its header says.")
    return span


def table_of(node: Node, instance: Located) -> bytes | None:
    """The table of a compressed instance's frames, if there is one."""
    if not is_compressed(instance):
        return None
    with node.engine.connect() as connection:
        return frame_table(connection, instance.content)


def entry(instance: Located, table: bytes, number: int) -> Span:
    """Where the items of a frame lie."""
    if len(table) < number * _ENTRY.size:
        raise InvalidInstance("The frames of the image are not where its header says.")
    offset, size = _ENTRY.unpack_from(table, (number - 1) * _ENTRY.size)
    return Span(instance.content, offset, size)


def fetch(node: Node, span: Span) -> bytes:
    """The bytes of a stretch. Raises `InvalidInstance` when the file ends before it does."""
    data = node.instances.read(span.content, span.offset, span.size)
    if len(data) != span.size:
        raise InvalidInstance("A stored file is shorter than the index says.", "Have the archive checked.")
    return data


def _fragments(node: Node, instance: Located, items: Sequence[Span]) -> list[list[Piece]]:
    """Small frames are read at once, and of large ones only the items' headers."""
    if sum(span.size for span in items) <= AT_ONCE:
        return [[unwrapped(fetch(node, span))] for span in items]
    return [list(_values(node, span)) for span in items]


def _values(node: Node, items: Span) -> list[Span]:
    found, place, end = [], items.offset, items.offset + items.size
    while place < end:
        tag, size = _ITEM.unpack(fetch(node, Span(items.content, place, _ITEM.size)))
        place += _ITEM.size
        if tag != _ITEM_TAG or place + size > end:
            raise InvalidInstance("The frames of the image are not where its header says.")
        found.append(Span(items.content, place, size))
        place += size
    return found


def pixel_data(node: Node, instance: Located) -> Span | None:
    """The value of Pixel Data as it is stored, of compressed pixels all items; None where the index does not say."""
    if instance.pixel_offset is None or instance.transfer_syntax_uid == ExplicitVRBigEndian:
        return None
    before = fetch(node, Span(instance.content, instance.pixel_offset - 4, 4))
    size = int.from_bytes(before, "little")
    if size != _UNDEFINED:
        return Span(instance.content, instance.pixel_offset, size)
    table = table_of(node, instance)
    if not table:
        return None
    last = entry(instance, table, len(table) // _ENTRY.size)
    end = last.offset + last.size
    if fetch(node, Span(instance.content, end, 4)) != _END_TAG:
        return None  # something follows the last frame
    return Span(instance.content, instance.pixel_offset, end - instance.pixel_offset)
