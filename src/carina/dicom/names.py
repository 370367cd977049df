"""What names an instance to its sender, found among the first bytes without pydicom, which takes milliseconds."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from carina.dicom.parse import Identifiers, identifiers
from carina.dicom.reader import Encoding, elements, header

_META_CLASS, _META_INSTANCE, _SYNTAX = 0x00020002, 0x00020003, 0x00020010
_CLASS, _INSTANCE, _STUDY = 0x00080016, 0x00080018, 0x0020000D
_ENDS = 0x0020000D
_BIG, _DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_ENOUGH = 1 << 15  # bytes that mostly hold all three
_INFLATED = 1 << 18  # bytes of a deflated dataset that are looked at
_UID = re.compile(rb"[0-9.]{1,64}")


@dataclass(frozen=True)
class Sent:
    """How an instance was sent, identifying: never kept, never logged.

    names   empty where the bytes do not say
    agrees  whether the file meta information names the same SOP class as the dataset
    """

    names: Identifiers = field(repr=False)
    agrees: bool = True


def sent_as(parts: Sequence[bytes]) -> Sent:
    """How an instance was sent, read from its first bytes, as they came; unusual ones are read by pydicom."""
    head = parts[0] if parts and len(parts[0]) >= _ENOUGH else b"".join(parts)[:_ENOUGH]
    found = _quick_or_none(head)
    if found is None:
        head = b"".join(parts)
        found = _quick_or_none(head)
    return Sent(identifiers(head)) if found is None else found


def _quick_or_none(head: bytes) -> Sent | None:
    try:
        return _quick(head)
    except (ValueError, struct.error, zlib.error, IndexError):
        return None


def _quick(head: bytes) -> Sent | None:
    """None for what is not an ordinary Part 10 file; what it raises says the same."""
    if head[128:132] != b"DICM":
        return None
    found: dict[int, bytes] = {}
    place = 132
    while head[place : place + 2] == b"\x02\x00":
        tag, _, first, place = header(head, place, Encoding())
        found[tag] = head[first:place]
    syntax = _text(found.get(_SYNTAX))
    if not syntax or syntax == _BIG:
        return None
    if syntax == _DEFLATED:
        head, place = zlib.decompressobj(-zlib.MAX_WBITS).decompress(head[place:], _INFLATED), 0
    last = 0
    for tag, _, _, first, end in elements(head, place, len(head), Encoding.of(syntax)):
        if tag <= last:
            return None
        last = tag
        if tag in (_CLASS, _INSTANCE, _STUDY):
            found[tag] = head[first:end]
        if tag >= _ENDS:
            break
    names = Identifiers(
        _text(found.get(_CLASS)) or _text(found.get(_META_CLASS)),
        _text(found.get(_INSTANCE)) or _text(found.get(_META_INSTANCE)),
        _text(found.get(_STUDY)),
    )
    meta = _text(found.get(_META_CLASS))
    return Sent(names, agrees=not meta or meta == names.sop_class)


def _text(value: bytes | None) -> str:
    """A UID, without its padding; "" for what is none."""
    bare = (value or b"").strip(b"\0 ")
    return bare.decode("ascii") if _UID.fullmatch(bare) else ""
