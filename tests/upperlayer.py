"""The DICOM upper layer byte by byte, for tests of the listener: PDUs as they should be, and as they should not."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"
RQ, AC, RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxL", kind, len(body)) + body


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def fragment(header: int, data: bytes, context: int = 1) -> bytes:
    """A presentation data value; `header`: 1 for a command, 2 for the last."""
    return struct.pack(">LBB", len(data) + 2, context, header) + data


def ask(
    *contexts: tuple[str, Sequence[str]],
    calling: str = "SCANNER",
    called: str = "CARINA",
    version: int = 1,
    application: str = "1.2.840.10008.3.1.1.1",
    user: bytes = b"",
) -> bytes:
    """An A-ASSOCIATE-RQ; the contexts are 1, 3, 5, …; `user`: further items of user information."""
    body = struct.pack(">H2x", version) + called.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
    body += item(0x10, application.encode())
    for place, (abstract, transfers) in enumerate(contexts or ((CT_CLASS, (EXPLICIT,)),)):
        inner = item(0x30, abstract.encode()) + b"".join(item(0x40, one.encode()) for one in transfers)
        body += item(0x20, bytes((2 * place + 1, 0, 0, 0)) + inner)
    return pdu(RQ, body + item(0x50, item(0x51, struct.pack(">L", 16384)) + user))


def command(
    field: int = 1, *, follows: bool = True, instance: str = "1.2.3", number: int = 7, kind: str = CT_CLASS
) -> bytes:
    """A command set: C-STORE-RQ, unless another field is asked for."""
    elements = [
        (0x0002, kind.encode() + b"\0" * (len(kind) % 2)),
        (0x0100, struct.pack("<H", field)),
        (0x0110, struct.pack("<H", number)),
        (0x0700, struct.pack("<H", 0)),
        (0x0800, struct.pack("<H", 1 if follows else 0x0101)),
        (0x1000, instance.encode() + b"\0" * (len(instance) % 2)),
    ]
    return b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in elements)


def read(connection: socket.socket) -> tuple[int, bytes]:
    """The next PDU; type 0 where the connection ends."""
    head = _exactly(connection, 6)
    if len(head) < 6:
        return 0, b""
    kind, size = struct.unpack(">BxL", head)
    return kind, _exactly(connection, size)


def status(body: bytes) -> int:
    """That of a response, whose PDU has one fragment."""
    place = 6
    while place < len(body):
        _, element, size = struct.unpack_from("<HHL", body, place)
        if element == 0x0900:
            return int.from_bytes(body[place + 8 : place + 10], "little")
        place += 8 + size
    raise AssertionError("The response has no status.")


@contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as made:
        yield made


@contextmanager
def associated(port: int, request: bytes = b"") -> Iterator[socket.socket]:
    with connection(port) as made:
        made.sendall(request or ask())
        kind, _ = read(made)
        assert kind == AC
        yield made


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        try:
            some = connection.recv(size - len(found))
        except ConnectionResetError:
            some = b""
        if not some:
            break
        found += some
    return found
