"""What one peer may take of the DICOM listener: connections, time, and memory.

pynetdicom, which answers those who ask for more than to send, bounds none of the three: it reads a PDU of any length,
waits for its end without end, and puts a message of any size together before anybody is asked.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from carina.interfaces.room import Room

MAX_ASSOCIATIONS = 50
PER_ADDRESS = 20  # connections of one address
MAX_READERS = 20  # associations of researchers, so that scanners find room
SILENT = 16  # connections that have not asked for an association yet; one more, and the oldest makes room
FIRST_WORD = 10.0  # s in which they must
PDU_WITHIN = 60.0  # s from a PDU's first byte to its last
PATIENCE = 60.0  # s without a message, after which an association is ended
LARGEST_PDU = 2**20  # bytes
LARGEST_COMMAND = 2**16  # bytes of a message's command
_COMMAND, _LAST = 1, 2  # bits of a fragment's header, PS3.8 section E.2


class _Socket(AssociationSocket):
    """A connection whose peer must send what it began, and nothing huge.

    before   bytes that were read already
    """

    before: bytes = b""

    @property
    def ready(self) -> bool:
        """Whether there is something to read."""
        return bool(self.before) or super().ready

    def recv(self, nr_bytes: int) -> bytearray:
        """That many bytes, fewer when the connection ends. Raises `OSError` when they are too many or too slow."""
        if nr_bytes > LARGEST_PDU:
            raise OSError("The PDU is too large.")
        until = time.monotonic() + (PDU_WITHIN if self.assoc.is_established else FIRST_WORD)
        connection, found = cast(socket.socket, self.socket), bytearray(self.before[:nr_bytes])
        self.before = self.before[nr_bytes:]
        while len(found) < nr_bytes:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            some = connection.recv(min(nr_bytes - len(found), 65536))
            if not some:
                break
            found += some
        connection.settimeout(PDU_WITHIN)  # for what is sent
        return found

    def _shutdown_socket(self) -> None:
        """Close, also where the peer was first; then the parent's does not."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


class BoundedAssociation(Association):
    """An association that gives back what it holds when it ends.

    secret  of the visit that its requestor has shown, or empty
    """

    incoming: Incoming
    secret: str = ""

    def run(self) -> None:
        """The association's thread."""
        try:
            super().run()
        finally:
            self.incoming.close()


class BoundedHandler(RequestHandler):
    """Makes the associations of a `BoundedServer`."""

    def _create_association(self) -> Association:
        made = super()._create_association()  # which takes no class of ours
        server = cast(BoundedServer, self.server)
        made.__class__ = BoundedAssociation
        bounded = cast(BoundedAssociation, made)
        bounded.incoming = Incoming(server.largest, server.room)
        connection = cast(_Socket, made.dul.socket)
        connection.__class__ = _Socket
        connection.before = server.begun.pop(self.request, b"")
        made.bind(evt.EVT_PDU_RECV, _on_pdu)
        return made


class BoundedServer(ThreadedAssociationServer):
    """A listener that lets nobody take more than the share this module sets.

    largest   bytes of an instance
    begun     what was read of connections that pynetdicom takes over
    """

    daemon_threads = True
    request_queue_size = 128
    largest: int
    room: Room
    outgoing: Room
    begun: dict[Any, bytes]

    def __init__(self, entity: AE, address: tuple[str, int], ae_title: str, handlers: list[Any], largest: int) -> None:
        self.largest = largest
        self.room = Room(2 * largest)
        self.outgoing = Room(2 * largest)
        self.visitors = Visitors()
        self.begun = {}
        super().__init__(
            entity,
            address,
            ae_title,
            entity.supported_contexts,
            evt_handlers=handlers,
            request_handler=BoundedHandler,
        )

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the connection may stay."""
        return self.visitors.admit(request, client_address[0])


def _on_pdu(event: Event) -> None:
    cast(BoundedAssociation, event.assoc).incoming.on_pdu(event)


class Visitors:
    """The open connections by address, and which of them have not said a word."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[socket.socket, str] = {}
        self._silent: dict[socket.socket, None] = {}

    def admit(self, connection: socket.socket, address: str) -> bool:
        """Whether it may stay. The silent one that is oldest ends when there are too many."""
        with self._lock:
            for known in [one for one in self._open if one.fileno() < 0]:
                del self._open[known]
                self._silent.pop(known, None)
            spoken = sum(where == address and one not in self._silent for one, where in self._open.items())
            if spoken >= PER_ADDRESS:
                return False
            self._open[connection] = address
            self._silent[connection] = None
            if len(self._silent) > SILENT:
                self._end(next(iter(self._silent)))
            return True

    def became(self, connection: socket.socket, other: socket.socket) -> None:
        """The connection goes on as another object, as TLS makes one."""
        with self._lock:
            if connection in self._open:
                self._open[other] = self._open.pop(connection)
            if connection in self._silent:
                del self._silent[connection]
                self._silent[other] = None

    def spoke(self, connection: socket.socket | None) -> None:
        """It has asked for an association."""
        with self._lock:
            if connection is not None:
                self._silent.pop(connection, None)

    def _end(self, connection: socket.socket) -> None:
        del self._silent[connection], self._open[connection]
        with contextlib.suppress(OSError):  # it has ended already
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # its own thread sees the end, and closes


class Incoming:
    """What one association sent and nobody has taken yet. A data set that is too much is let go: it comes empty."""

    def __init__(self, largest: int, room: Room) -> None:
        self._largest = largest
        self._room = room
        self._lock = threading.Lock()  # the connection's thread fills, the association's empties
        self._held = 0
        self._gone: list[int] = []  # sizes of the data sets that were let go, in order
        self._closed = False
        self._commands = 0  # bytes of the command under way
        self._size = 0  # of its data set, held or not
        self._let_go = False

    def on_pdu(self, event: Event) -> None:
        """Count the fragments, PS3.8 annex E, before they are put together. In the connection's thread."""
        if isinstance(event.pdu, P_DATA_TF):
            for item in event.pdu.presentation_data_value_items:
                self._fragment(event.assoc, item)

    def take(self, size: int) -> int | None:
        """A data set of that many bytes is taken over; how large it was, if it is empty because it was let go."""
        with self._lock:
            if not size:
                return self._gone.pop(0) if self._gone else None
            if not self._closed:
                self._held -= size
                self._room.give(size)
            return None

    def close(self) -> None:
        """Give back all, and hold nothing any more."""
        with self._lock:
            self._room.give(self._held)
            self._held, self._closed = 0, True

    def _fragment(self, association: Association, item: Any) -> None:
        data: bytes = item.presentation_data_value
        header, size = data[0], len(data) - 1
        if header & _COMMAND:
            self._commands += size
            if self._commands > LARGEST_COMMAND:
                item.presentation_data_value = data[:1]
                association.dul.event_queue.put("Evt19")  # as an invalid PDU: the association is aborted
            elif header & _LAST:
                self._commands = 0
            return
        self._size += size
        if not self._let_go and not self._hold(size):
            self._let_go = True
            self._forget(association)
        if self._let_go:
            item.presentation_data_value = data[:1]
        if header & _LAST:
            self._end()

    def _hold(self, size: int) -> bool:
        with self._lock:
            if self._closed or self._size > self._largest or not self._room.take(size):
                return False
            self._held += size
            return True

    def _forget(self, association: Association) -> None:
        """Let go what came of this data set before."""
        message = association.dimse.message
        if message is not None and message.data_set is not None and message.data_set.tell():
            self.take(message.data_set.tell())
            message.data_set.seek(0)
            message.data_set.truncate()

    def _end(self) -> None:
        with self._lock:
            if self._let_go:
                self._gone.append(self._size)
        self._size, self._let_go = 0, False
