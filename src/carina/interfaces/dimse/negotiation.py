"""A-ASSOCIATE-RQ, -AC and -RJ as bytes, PS3.8 section 9.3 and PS3.7 annex D."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

RQ, AC, RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
"""Types of PDUs, PS3.8 section 9.3.1."""
HEAD = struct.Struct(">BxL")
"""What each PDU begins with: its type, and the length of what follows."""

VERIFICATION = "1.2.840.10008.1.1"
DICOM = "1.2.840.10008.3.1.1.1"
"""The SOP class of C-ECHO, and the application context, PS3.7 annex A."""
ACCEPTED, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 0, 3, 4
"""Results of a presentation context, PS3.8 table 9-18."""

_ITEM = struct.Struct(">BxH")
_FIXED = 68  # bytes before the items
_APPLICATION, _CONTEXT, _CONTEXT_ANSWER, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x21, 0x30, 0x40, 0x50
_LENGTH, _CLASS, _WINDOW, _ROLE, _VERSION, _IDENTITY = 0x51, 0x52, 0x53, 0x54, 0x55, 0x58
_MOST_CONTEXTS = 128  # odd numbers up to 255
_NAME_AND_PASSCODE = 2


class Malformed(Exception):
    """Bytes that are no such PDU. Says nothing, for what it could say may identify a person."""


@dataclass(frozen=True)
class Proposed:
    """A presentation context that is proposed: its number, an abstract syntax, and transfer syntaxes in order."""

    number: int
    abstract: str
    transfers: tuple[str, ...]


@dataclass(frozen=True)
class User:
    """User information, PS3.8 section 9.3.2.3, as far as it counts here.

    roles        by SOP class, whether the requestor would be SCU, and SCP
    window       whether an asynchronous operations window is proposed
    identified   whether a user identity is shown, of any type
    passcode     whether it is a name with a passcode
    """

    roles: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    window: bool = False
    identified: bool = False
    passcode: bool = False


@dataclass(frozen=True)
class Request:
    """What an A-ASSOCIATE-RQ asks for. `titles`: called and calling AE title as they came, 32 bytes."""

    version: int
    titles: bytes = field(repr=False)
    application: str
    contexts: tuple[Proposed, ...]
    user: User = User()

    @property
    def called(self) -> str:
        """The AE title that is called."""
        return self.titles[:16].decode("ascii", "replace").strip(" \0")

    @property
    def calling(self) -> str:
        """The AE title of who calls."""
        return self.titles[16:].decode("ascii", "replace").strip(" \0")


def parse_request(body: bytes) -> Request:
    """What follows the head of an A-ASSOCIATE-RQ. Raises `Malformed`."""
    if len(body) < _FIXED:
        raise Malformed
    application, contexts, user = "", [], User()
    for kind, value in _items(memoryview(body)[_FIXED:]):
        if kind == _APPLICATION:
            application = _uid(value)
        elif kind == _CONTEXT:
            contexts.append(_proposed(value))
        elif kind == _USER:
            user = _user(value)
    numbers = {one.number for one in contexts}
    if len(numbers) != len(contexts) or len(contexts) > _MOST_CONTEXTS or any(not one % 2 for one in numbers):
        raise Malformed
    return Request(int.from_bytes(body[:2], "big"), body[4:36], application, tuple(contexts), user)


def acceptance(
    request: Request, results: Mapping[int, tuple[int, str]], *, longest: int, class_uid: str, name: str
) -> bytes:
    """An A-ASSOCIATE-AC.

    results   by number of a presentation context, its result and its transfer syntax
    longest   bytes of a PDU's data that are taken here
    class_uid, name   of this implementation

    The requestor may be SCU of what it asked for, never SCP. Of a window of operations one is granted, each way.
    """
    parts = [request_head(request), _item(_APPLICATION, DICOM.encode())]
    for number, (result, transfer) in results.items():
        parts.append(_item(_CONTEXT_ANSWER, struct.pack(">BxBx", number, result) + _item(_TRANSFER, transfer.encode())))
    user = [_item(_LENGTH, struct.pack(">L", longest)), _item(_CLASS, class_uid.encode())]
    if request.user.window:
        user.append(_item(_WINDOW, struct.pack(">HH", 1, 1)))
    for uid, (scu, _) in request.user.roles.items():
        user.append(_item(_ROLE, struct.pack(">H", len(uid)) + uid.encode() + bytes((scu, 0))))
    user.append(_item(_VERSION, name.encode()))
    parts.append(_item(_USER, b"".join(user)))
    return pdu(AC, b"".join(parts))


def request_head(request: Request) -> bytes:
    """What stands before the items of an A-ASSOCIATE-AC: the version, and the titles as they came."""
    return struct.pack(">H2x", 1) + request.titles + bytes(32)


def rejection(result: int, source: int, reason: int) -> bytes:
    """An A-ASSOCIATE-RJ, PS3.8 table 9-21."""
    return pdu(RJ, bytes((0, result, source, reason)))


def abort(source: int = 2, reason: int = 0) -> bytes:
    """An A-ABORT, PS3.8 table 9-26; `source` 0 is the service's user, 2 its provider."""
    return pdu(ABORT, bytes((0, 0, source, reason)))


def pdu(kind: int, body: bytes) -> bytes:
    """A whole PDU."""
    return HEAD.pack(kind, len(body)) + body


def _items(body: memoryview) -> Iterator[tuple[int, memoryview]]:
    place = 0
    while place < len(body):
        if place + _ITEM.size > len(body):
            raise Malformed
        kind, size = _ITEM.unpack_from(body, place)
        place += _ITEM.size + size
        if place > len(body):
            raise Malformed
        yield kind, body[place - size : place]


def _proposed(body: memoryview) -> Proposed:
    if len(body) < 4:
        raise Malformed
    abstract, transfers = "", []
    for kind, value in _items(body[4:]):
        if kind == _ABSTRACT:
            abstract = _uid(value)
        elif kind == _TRANSFER:
            transfers.append(_uid(value))
    return Proposed(body[0], abstract, tuple(transfers))


def _user(body: memoryview) -> User:
    roles: dict[str, tuple[bool, bool]] = {}
    window = identified = passcode = False
    for kind, value in _items(body):
        if kind == _WINDOW:
            window = True
        elif kind == _ROLE:
            uid, scu, scp = _role(value)
            roles[uid] = scu, scp
        elif kind == _IDENTITY:
            identified, passcode = True, value[:1] == bytes((_NAME_AND_PASSCODE,))
    return User(roles, window, identified, passcode)


def _role(value: memoryview) -> tuple[str, bool, bool]:
    size = int.from_bytes(value[:2], "big")
    if len(value) != 2 + size + 2:
        raise Malformed
    return _uid(value[2 : 2 + size]), bool(value[-2]), bool(value[-1])


def _uid(value: memoryview) -> str:
    """A UID as text; trailing zeros and spaces, which some write, do not count."""
    try:
        return bytes(value).rstrip(b"\0 ").decode("ascii")
    except UnicodeDecodeError:
        raise Malformed from None


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value
