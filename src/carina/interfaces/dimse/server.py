"""The DICOM listener, PS3.7 and PS3.8. Each instance that is sent goes through the node's one door.

An association is asked for in our own words first: who only sends is served by `reception`. Who asks for more
(`asking`), or shows who they are, is left to pynetdicom, together with what was read.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from pynetdicom import AE, PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event

from carina.errors import BadSettings, Busy
from carina.interfaces.dimse import asking, bounds, negotiation, reception
from carina.interfaces.dimse.admission import Admission, answers
from carina.interfaces.dimse.bounds import BoundedAssociation, BoundedServer
from carina.interfaces.dimse.logs import close_logs
from carina.interfaces.dimse.negotiation import HEAD, RQ, Malformed
from carina.interfaces.dimse.status import (
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    SUCCESS,
    status_of,
)
from carina.interfaces.dimse.stream import BUFFER, Ended, Stream
from carina.model.instance import Source
from carina.node.ingest import receive, refuse_unkept
from carina.node.site import Node

log = logging.getLogger(__name__)

_MAX_PDU = 131_072  # bytes, where pynetdicom puts them together; the largest that DCMTK sends
_FAREWELL = 3.0  # s in which associations end


class _Server(BoundedServer):
    """Sends small answers at once, and tells of failures without their words."""

    def __init__(self, node: Node, entity: AE, address: tuple[str, int], handlers: list[Any], *, strict: bool) -> None:
        self._node = node
        self._admission = Admission(node, {name for name, _ in asking.contexts()}, entity.ae_title if strict else None)
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._own: dict[socket.socket, None] = {}
        super().__init__(entity, address, entity.ae_title, handlers, node.largest_instance)

    def secure(self, tls: ssl.SSLContext | None, *, peers_only: bool) -> None:
        """Who may call, and how; before the first call."""
        self._tls, self._admission.peers_only = tls, peers_only

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection without Nagle's delay: each file's acknowledgement is a small packet of its own."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Instead of a traceback, which may quote values."""
        log.warning("association-failed")

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, in a thread of its own, or leave it to pynetdicom's threads."""
        connection: socket.socket = request
        try:
            connection = self._secured(connection)
            if self._served(connection, str(client_address[0])):
                self.shutdown_request(connection)
            else:
                super().process_request_thread(connection, client_address)
        except (Ended, Malformed, OSError):  # nobody's fault but the peer's
            self.shutdown_request(connection)
        except Exception:  # noqa: BLE001  this connection's end
            self.handle_error(connection, client_address)
            self.shutdown_request(connection)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection."""
        with suppress(OSError):  # it has ended already
            socket.socket.shutdown(request, socket.SHUT_RDWR)
        request.close()

    def count(self) -> int:
        """How many associations are open."""
        with self._lock:
            own = len(self._own)
        return own + len(self.active_associations)

    def end_own(self) -> None:
        """Let those end that are served here: what is made durable just now is answered, nothing more is read."""
        with self._lock:
            open_ = list(self._own)
        for connection in open_:
            with suppress(OSError):  # it has ended already
                socket.socket.shutdown(connection, socket.SHUT_RD)
        until = time.monotonic() + _FAREWELL
        while self._own and time.monotonic() < until:
            time.sleep(0.01)

    def _secured(self, connection: socket.socket) -> socket.socket:
        """The connection over TLS, if that is spoken here."""
        if self._tls is None:
            return connection
        connection.settimeout(bounds.FIRST_WORD)
        secured = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self.visitors.became(connection, secured)
        try:
            secured.do_handshake()
        except (OSError, ValueError):
            secured.close()
            raise Ended from None
        return secured

    def _served(self, connection: socket.socket, address: str) -> bool:
        """Whether the connection was served to its end; else it is pynetdicom's."""
        stream = Stream(connection)
        stream.within(bounds.FIRST_WORD)
        head = stream.exactly(HEAD.size)
        kind, size = HEAD.unpack(head)
        if kind != RQ or size > BUFFER - HEAD.size:
            return True
        body = stream.exactly(size)
        self.visitors.spoke(connection)
        request = negotiation.parse_request(body)
        refusal = self._admission.refusal(request, address)
        if refusal is None and self.count() >= bounds.MAX_ASSOCIATIONS:
            refusal = (2, 3, 2)
        if refusal is not None:
            stream.send(negotiation.rejection(*refusal))
            stream.finish_sending()
            return True
        if self._admission.asks_for_more(request):
            self.begun[connection] = head + body + stream.unread()
            return False
        with self._lock:
            self._own[connection] = None
        try:
            self._receive(stream, request)
        finally:
            with self._lock:
                del self._own[connection]
        return True

    def _receive(self, stream: Stream, request: negotiation.Request) -> None:
        results, contexts = answers(request)
        accepted = negotiation.acceptance(
            request,
            results,
            longest=bounds.LARGEST_PDU,
            class_uid=PYNETDICOM_IMPLEMENTATION_UID,
            name=PYNETDICOM_IMPLEMENTATION_VERSION,
        )
        stream.send(accepted)
        reception.serve(self._node, stream, Source("aet", request.calling), contexts)


@dataclass(frozen=True)
class DimseServer:
    """A listener in its own threads. `port` is the one it has got."""

    port: int
    _server: _Server

    def associations(self) -> int:
        """How many associations are open."""
        return self._server.count()

    def stop(self) -> None:
        """Take no more, end the associations and close; what was acknowledged stays."""
        self._server.shutdown()
        self._server.end_own()
        for association in self._server.active_associations:
            association.abort()


def start_dimse(
    node: Node,
    host: str,
    port: int,
    ae_title: str,
    *,
    strict: bool = False,
    peers_only: bool = False,
    tls: ssl.SSLContext | None = None,
    calling: ssl.SSLContext | None = None,
) -> DimseServer:
    """Listen for C-ECHO and C-STORE of every storage SOP class, private and unknown ones too, in any transfer syntax;
    and for what `asking` answers.

    port        0 lets the system choose
    strict      whether a caller must name `ae_title`
    peers_only  whether callers are refused that are no peers of the node
    tls         of the listener, see `secure.listener_context`; None: without TLS
    calling     for peers that speak TLS, see `secure.client_context`

    Raises `Busy` when the port is taken and `BadSettings` when the address or the AE title cannot be used.
    """
    close_logs()
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    try:
        entity = AE(ae_title=ae_title)
    except (TypeError, ValueError):
        raise BadSettings("The AE title cannot be used.", "It has 1 to 16 ASCII characters, no backslash.") from None
    entity.add_supported_context(negotiation.VERIFICATION)
    for syntax, written in asking.contexts():
        entity.add_supported_context(syntax, written)
    entity.require_called_aet = strict
    entity.maximum_associations = bounds.MAX_ASSOCIATIONS
    entity.acse_timeout = bounds.FIRST_WORD
    entity.maximum_pdu_size = _MAX_PDU
    entity.network_timeout = entity.dimse_timeout = bounds.PATIENCE
    handlers = [(evt.EVT_C_STORE, _store, [node]), (evt.EVT_C_ECHO, _echo)]
    handlers += asking.handlers(node, ae_title, calling)
    server = _listen(partial(_Server, node, entity, (host, port), handlers, strict=strict), host, port)
    server.secure(tls, peers_only=peers_only)
    entity._servers.append(server)  # as `AE.start_server` does; `shutdown` takes it off
    threading.Thread(target=server.serve_forever, name="dimse", daemon=True, kwargs={"poll_interval": 0.2}).start()
    return DimseServer(server.server_address[1], server)


def _listen(make: partial[_Server], host: str, port: int) -> _Server:
    try:
        return make()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Busy(
                f"Port {port} for DICOM (DIMSE) is in use.", "Stop the program that has it, or choose another port."
            ) from None
        raise BadSettings(
            f"DICOM (DIMSE) cannot listen on {host}, port {port}.", "Check host and port in the settings file."
        ) from None


def _echo(_event: Event) -> int:
    return SUCCESS


def _store(event: Event, node: Node) -> int:
    """C-STORE of who may also ask for more: the status that the sender gets, once the bytes are durable or refused."""
    request, association = event.request, event.assoc
    assert isinstance(request, C_STORE) and isinstance(association, BoundedAssociation)
    sent, incoming = request.DataSet, association.incoming
    if sent is None:
        return CANNOT_UNDERSTAND
    source = Source("aet", str(association.requestor.ae_title).strip())
    size = sent.getbuffer().nbytes
    try:
        if not size:
            return _empty(incoming.take(0), node, source)
        data = event.encoded_dataset()
        sent.close()  # its copy
        return status_of(receive(node, data, source, str(request.AffectedSOPInstanceUID or "")))
    except Exception as error:  # noqa: BLE001  the sender is told that it failed, and keeps the image
        return reception.failure(error)
    finally:
        if size:
            incoming.take(size)


def _empty(let_go: int | None, node: Node, source: Source) -> int:
    """A data set of no bytes: as it was sent, or because so many, `let_go`, were too large or found no room."""
    if let_go is None:
        return CANNOT_UNDERSTAND
    if let_go > node.largest_instance:
        refuse_unkept(node, let_go, source)
    return OUT_OF_RESOURCES
