"""What senders do, without pynetdicom: C-STORE and C-ECHO on one association, PS3.7 and PS3.8, fragment by fragment.

Nothing is put together here: a data set's bytes go on to `node.ingest` as they come.
docs/decisions/dimse-reception.md says why this is beside pynetdicom.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress

from carina.errors import Busy, CarinaError, Full
from carina.interfaces.dimse import messages
from carina.interfaces.dimse.bounds import LARGEST_COMMAND, LARGEST_PDU, PATIENCE, PDU_WITHIN
from carina.interfaces.dimse.messages import C_CANCEL, C_ECHO, C_STORE, Command
from carina.interfaces.dimse.negotiation import ABORT, DATA, HEAD, RELEASE_RP, RELEASE_RQ, Malformed, abort, pdu
from carina.interfaces.dimse.status import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, PROCESSING_FAILURE, SUCCESS, status_of
from carina.interfaces.dimse.stream import Ended, Stream
from carina.model.instance import Source
from carina.node.ingest import Arriving, arriving
from carina.node.site import Node

log = logging.getLogger(__name__)

_COMMAND, _LAST = 1, 2  # bits of a fragment's header, PS3.8 section E.2
_FRAGMENT = 6  # bytes before its data: length, context, header
_SMALL = 2**14  # bytes; smaller fragments are gathered
_UNRECOGNISED, _UNEXPECTED, _INVALID = 1, 2, 6
"""Reasons of an abort, PS3.8 table 9-26."""
_LINGER = 1.0  # s in which the peer may read why
_KNOWN = range(1, 8)


def serve(node: Node, stream: Stream, source: Source, contexts: Mapping[int, tuple[str, bool]]) -> None:
    """Answer messages until the association ends.

    contexts   transfer syntax of each accepted presentation context, and whether it is one of storage
    """
    association = _Association(node, stream, source, contexts)
    try:
        association.run()
    except Malformed:
        _end(stream, abort(2, _INVALID))
    finally:
        association.close()


class _Association:
    """One sender's association, once it is accepted."""

    def __init__(self, node: Node, stream: Stream, source: Source, contexts: Mapping[int, tuple[str, bool]]) -> None:
        self._node = node
        self._stream = stream
        self._source = source
        self._contexts = contexts
        self._encoded = bytearray()  # the command under way
        self._context = 0  # of the message under way
        self._storing: Storing | None = None  # whose data set is awaited

    def run(self) -> None:
        """Read PDUs until the association ends. Raises `Ended`, and `Malformed` when it is to be aborted."""
        stream = self._stream
        while True:
            stream.within(PATIENCE)
            kind, size = HEAD.unpack(stream.exactly(HEAD.size))
            stream.within(PDU_WITHIN)
            if kind == DATA and size <= LARGEST_PDU:
                self._fragments(size)
            elif kind == RELEASE_RQ and size == 4:
                stream.exactly(size)
                return stream.send(pdu(RELEASE_RP, bytes(4)))
            elif kind == ABORT:
                return None
            else:
                reason = _UNRECOGNISED if kind not in _KNOWN else _INVALID if kind == DATA else _UNEXPECTED
                return _end(stream, abort(2, reason))

    def close(self) -> None:
        """Keep nothing of what did not come to its end."""
        if self._storing is not None:
            self._storing.abort()

    def _fragments(self, left: int) -> None:
        while left:
            if left < _FRAGMENT:
                raise Malformed
            head = self._stream.exactly(_FRAGMENT)
            size, context, header = int.from_bytes(head[:4], "big") - 2, head[4], head[5]
            left -= _FRAGMENT + size
            if size < 0 or left < 0 or context not in self._contexts:
                raise Malformed
            if header & _COMMAND:
                self._command(context, size, last=bool(header & _LAST))
            else:
                self._data(context, size, last=bool(header & _LAST))

    def _command(self, context: int, size: int, *, last: bool) -> None:
        goes_on = bool(self._encoded)
        if self._storing is not None or len(self._encoded) + size > LARGEST_COMMAND:
            raise Malformed
        if goes_on and context != self._context:
            raise Malformed
        self._context = context
        self._encoded += self._stream.exactly(size)
        if last:
            encoded, self._encoded = bytes(self._encoded), bytearray()
            self._begin(context, messages.parse_command(encoded))

    def _begin(self, context: int, command: Command) -> None:
        transfer, stores = self._contexts[context]
        if command.operation == C_STORE and stores:
            if command.follows:
                self._storing = Storing(self._node, self._source, command, transfer)
            else:
                self._answer(command, CANNOT_UNDERSTAND)
        elif command.operation == C_ECHO and not command.follows:
            self._answer(command, SUCCESS)
        elif command.operation != C_CANCEL or command.follows:
            raise Malformed

    def _data(self, context: int, size: int, *, last: bool) -> None:
        storing, stream = self._storing, self._stream
        if storing is None or context != self._context:
            raise Malformed
        while size:
            some = stream.some(size)
            storing.write(some)
            size -= len(some)
        if last:
            status = storing.finish()
            self._storing = None
            self._answer(storing.command, status)

    def _answer(self, command: Command, status: int) -> None:
        self._stream.send(messages.response(command, self._context, status))


class Storing:
    """One C-STORE: its data set on the way in, and the status that its sender gets."""

    def __init__(self, node: Node, source: Source, command: Command, transfer: str) -> None:
        self.command = command
        self._status: int | None = None
        self._any = False
        self._gathered = bytearray()
        self._arriving: Arriving | None = None
        if not command.names_an_instance:
            self._status = CANNOT_UNDERSTAND
            return
        self._gathered += messages.file_meta(command.sop_class, command.instance, transfer)
        try:
            self._arriving = arriving(node, source, command.instance.decode("ascii"))
        except Exception as error:  # noqa: BLE001  the sender is told
            self._fail(error)

    def write(self, data: memoryview) -> None:
        """A part of the data set; let go when the instance is not to be kept."""
        self._any = True
        if self._arriving is None:
            return
        try:
            if len(data) < _SMALL:
                self._gathered += data
                if len(self._gathered) < _SMALL:
                    return
                data = memoryview(b"")
            if self._gathered:
                self._arriving.write(self._gathered)
                self._gathered = bytearray()
            if data:
                self._arriving.write(data)
        except Exception as error:  # noqa: BLE001  as above
            self._fail(error)

    def finish(self) -> int:
        """The status, once the bytes are durable or refused."""
        if self._arriving is not None and not self._any:
            self._status = CANNOT_UNDERSTAND
            self.abort()
        if self._arriving is not None:
            try:
                self._arriving.write(self._gathered)
                self._status = status_of(self._arriving.finish())
                self._arriving = None
            except Exception as error:  # noqa: BLE001  as above
                self._fail(error)
        return PROCESSING_FAILURE if self._status is None else self._status

    def abort(self) -> None:
        """Keep nothing."""
        kept, self._arriving = self._arriving, None
        self._gathered = bytearray()
        if kept is not None:
            with suppress(CarinaError, OSError):  # what stays is swept at the next start
                kept.abort()

    def _fail(self, error: Exception) -> None:
        self._status = failure(error)
        self.abort()


def failure(error: Exception) -> int:
    """An error in the protocol's words; the sender keeps the image."""
    if isinstance(error, Full | Busy):
        return OUT_OF_RESOURCES
    log.log(
        logging.WARNING if isinstance(error, CarinaError) else logging.ERROR,
        "store-failed",
        extra={"error": type(error).__name__},
    )
    return PROCESSING_FAILURE


def _end(stream: Stream, last_word: bytes) -> None:
    """Say why, and let the peer read it: a connection that is closed with something unread is reset."""
    with suppress(Ended):
        stream.send(last_word)
        stream.finish_sending()
        stream.within(_LINGER)
        while True:
            stream.some(LARGEST_PDU)
