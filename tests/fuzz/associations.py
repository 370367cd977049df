"""What reads PDUs and command sets, as senders write them: all that comes by one connection."""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from tests import upperlayer
from tests.fuzz.target import Target, plain
from tests.support import SCANNER, ct, make_node
from tests.upperlayer import ask, command, fragment, pdu

from carina.interfaces.dimse import messages, negotiation, reception
from carina.interfaces.dimse.admission import answers
from carina.interfaces.dimse.negotiation import HEAD, Malformed
from carina.interfaces.dimse.stream import BUFFER, Ended, Stream
from carina.node.site import Node

_CONTEXTS = {1: (upperlayer.EXPLICIT, True), 3: (upperlayer.EXPLICIT, False)}
_STEP = 5.0  # s in which all must be read and answered
_FILES = 1000  # after so many a new node is made
_LONGEST = 8192  # bytes; the answers to them must have room in the connection


class _Unexpected(logging.Handler):
    """Remembers that an error was logged: the sender is told of a failure, and the fuzzer must be too."""

    error: BaseException | None = None
    word = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.word = record.getMessage()


def _associations(folder: Path) -> Callable[[bytes], None]:
    """An even first byte: messages of an accepted association follow. An odd one: the request comes first."""
    log = logging.getLogger("carina")
    log.propagate = False
    unexpected = _Unexpected(logging.ERROR)
    log.addHandler(unexpected)
    nodes = _Nodes(folder)

    def run(data: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(_STEP)
            ours.sendall(data[1:])
            ours.shutdown(socket.SHUT_WR)
            stream = Stream(theirs)
            stream._quick = False  # an option of TCP
            with suppress(Ended, Malformed):
                _serve(nodes.current(), stream, asked=bool(data) and bool(data[0] & 1))
        assert not unexpected.word, unexpected.word

    return run


class _Nodes:
    """A node that takes in what is sent, made anew when it has much."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._made, self._node = folder, 0, make_node(folder / "0")

    def current(self) -> Node:
        if len(list((self._folder / str(self._made) / "spool").iterdir())) > _FILES:
            self._node.engine.dispose()
            shutil.rmtree(self._folder / str(self._made))
            self._made += 1
            self._node = make_node(self._folder / str(self._made))
        return self._node


def _serve(node: Node, stream: Stream, *, asked: bool) -> None:
    stream.within(_STEP)
    contexts = _CONTEXTS
    if asked:
        kind, size = HEAD.unpack(stream.exactly(HEAD.size))
        if kind != negotiation.RQ or size > BUFFER - HEAD.size:
            return
        contexts = _accepted(stream.exactly(size), stream)
    reception.serve(node, stream, SCANNER, contexts)


def _accepted(body: bytes, stream: Stream) -> dict[int, tuple[str, bool]]:
    request = negotiation.parse_request(body)
    results, contexts = answers(request)
    stream.send(negotiation.acceptance(request, results, longest=16384, class_uid="1.2.3", name="CARINA"))
    return contexts


def _conversations(_folder: Path) -> Iterator[bytes]:
    file = ct("MRN-1", size=8)
    store = pdu(upperlayer.DATA, fragment(3, command()))
    parts = [file[start : start + 400] for start in range(150, len(file), 400)]
    data = b"".join(pdu(upperlayer.DATA, fragment(0, part)) for part in parts[:-1])
    data += pdu(upperlayer.DATA, fragment(2, parts[-1]))
    echo = pdu(upperlayer.DATA, fragment(3, command(0x30, follows=False, kind=upperlayer.VERIFICATION), 3))
    release = pdu(upperlayer.RELEASE_RQ, bytes(4))
    first, second = command()[:20], command()[20:]
    split = pdu(upperlayer.DATA, fragment(1, first) + fragment(3, second) + fragment(2, b"\x08\0\x05\0CS\0\0"))
    cancel = pdu(upperlayer.DATA, fragment(3, command(0x0FFF, follows=False)))
    yield b"\0" + store + data + release
    yield b"\0" + echo + split + cancel + release
    yield b"\0" + pdu(upperlayer.ABORT, bytes(4))
    roles = upperlayer.item(0x54, b"\0\x19" + upperlayer.CT_CLASS.encode() + b"\1\1")
    identity = upperlayer.item(0x58, b"\1\0\0\4name\0\0") + upperlayer.item(0x53, b"\0\1\0\1")
    several = ((upperlayer.CT_CLASS, (upperlayer.EXPLICIT, "1.2.840.10008.1.2")), (upperlayer.VERIFICATION, ("1.2",)))
    yield b"\1" + ask(user=roles) + store + data + release
    yield b"\1" + ask(*several, user=identity) + echo + release


def _parts(data: bytes) -> None:
    """A command set and a request by themselves; what is answered to them must be readable too."""
    with suppress(Malformed):
        said = messages.parse_command(data)
        messages.response(said, 1, 0)
        if said.names_an_instance:
            said.instance.decode("ascii")
            messages.file_meta(said.sop_class, said.instance, upperlayer.EXPLICIT)
    with suppress(Malformed):
        request = negotiation.parse_request(data)
        results, _ = answers(request)
        negotiation.acceptance(request, results, longest=16384, class_uid="1.2.3", name="CARINA")
        assert request.called is not None and request.calling is not None


def _requests(folder: Path) -> Iterator[bytes]:
    yield command()
    yield command(0x30, follows=False)
    for one in _conversations(folder):
        if one[0] & 1:
            yield one[7 : 7 + int.from_bytes(one[3:7], "big")]


ASSOCIATION = Target(_associations, _conversations, _LONGEST)
REQUEST = Target(plain(_parts), _requests, 1 << 16)
