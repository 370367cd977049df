"""Commands of messages as bytes, PS3.7 section 6.3 and annex E, and the file meta information of what is stored."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from carina.interfaces.dimse.negotiation import DATA, HEAD, Malformed

C_STORE, C_ECHO, C_CANCEL = 0x0001, 0x0030, 0x0FFF
"""Command Field of requests."""
_RESPONSE = 0x8000
_NO_DATA_SET = 0x0101
_CLASS, _FIELD, _NUMBER, _ANSWERED, _KIND, _STATUS, _INSTANCE = 0x0002, 0x0100, 0x0110, 0x0120, 0x0800, 0x0900, 0x1000
"""Elements of group 0000."""
_ELEMENT = struct.Struct("<HHL")
_PDV = struct.Struct(">LBB")
_COMMAND_AND_LAST = 3
_LONGEST_UID = 64
_CLASSES = 4096  # of which the beginnings of files are remembered


@dataclass(frozen=True)
class Command:
    """What a request says.

    operation  `C_STORE`, `C_ECHO`, or another
    number     by which the answer names it
    follows    whether a data set follows
    """

    operation: int
    number: int
    follows: bool
    sop_class: bytes = field(default=b"", repr=False)
    instance: bytes = field(default=b"", repr=False)

    @property
    def names_an_instance(self) -> bool:
        """Whether SOP class and instance are there, and could be UIDs."""
        return all(
            0 < len(uid) <= _LONGEST_UID and uid.isascii() and uid.replace(b".", b"").isalnum()
            for uid in (self.sop_class, self.instance)
        )


def parse_command(encoded: bytes) -> Command:
    """A command set in Implicit VR Little Endian. Raises `Malformed`."""
    found: dict[int, bytes] = {}
    place, size = 0, len(encoded)
    while place < size:
        if place + 8 > size:
            raise Malformed
        group, element, length = _ELEMENT.unpack_from(encoded, place)
        place += 8 + length
        if group or place > size:
            raise Malformed
        found[element] = encoded[place - length : place]
    try:
        operation, number, kind = (int.from_bytes(_two(found[one]), "little") for one in (_FIELD, _NUMBER, _KIND))
    except KeyError:
        raise Malformed from None
    sop_class, instance = (found.get(one, b"").rstrip(b"\0 ") for one in (_CLASS, _INSTANCE))
    return Command(operation, number, kind != _NO_DATA_SET, sop_class, instance)


def response(command: Command, context: int, status: int) -> bytes:
    """A whole P-DATA-TF PDU with the answer to a request."""
    elements = [
        _element(_CLASS, command.sop_class),
        _short(_FIELD, command.operation | _RESPONSE),
        _short(_ANSWERED, command.number),
        _short(_KIND, _NO_DATA_SET),
        _short(_STATUS, status),
    ]
    if command.instance:
        elements.append(_element(_INSTANCE, command.instance))
    body = b"".join(elements)
    body = _ELEMENT.pack(0, 0, 4) + len(body).to_bytes(4, "little") + body
    return HEAD.pack(DATA, len(body) + 6) + _PDV.pack(len(body) + 2, context, _COMMAND_AND_LAST) + body


def file_meta(sop_class: bytes, instance: bytes, transfer: str) -> bytes:
    """Preamble, prefix and file meta information, PS3.10 section 7.1: the same bytes that pynetdicom would write."""
    before, after = _around(sop_class, transfer)
    uid = _explicit(0x0003, b"UI", instance)
    size = len(before) + len(uid) + len(after)
    return bytes(128) + b"DICM\2\0\0\0UL\4\0" + size.to_bytes(4, "little") + before + uid + after


@lru_cache(maxsize=_CLASSES)
def _around(sop_class: bytes, transfer: str) -> tuple[bytes, bytes]:
    """What stands before and after the instance's UID."""
    before = b"\2\0\1\0OB\0\0\2\0\0\0\0\1" + _explicit(0x0002, b"UI", sop_class)
    after = _explicit(0x0010, b"UI", transfer.encode())
    after += _explicit(0x0012, b"UI", PYNETDICOM_IMPLEMENTATION_UID.encode())
    return before, after + _explicit(0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION.encode())


def _explicit(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def _element(number: int, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0"
    return _ELEMENT.pack(0, number, len(value)) + value


def _short(number: int, value: int) -> bytes:
    return _ELEMENT.pack(0, number, 2) + value.to_bytes(2, "little")


def _two(value: bytes) -> bytes:
    if len(value) != 2:
        raise Malformed
    return value
