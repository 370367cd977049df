"""C-STORE and C-ECHO over the DICOM upper layer, PS3.7 and PS3.8. Each instance goes through the node's one door.

C-FIND and C-GET are in `retrieve`.

pynetdicom writes whole data sets into its log lines, so its loggers are closed.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from dataclasses import dataclass
from typing import Any, cast

from pynetdicom import AE, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event

from carina.errors import BadSettings, Busy, CarinaError, Full
from carina.interfaces.dimse import retrieve
from carina.interfaces.dimse.bounds import FIRST_WORD, MAX_ASSOCIATIONS, BoundedAssociation, BoundedServer
from carina.model.instance import Reason, Source
from carina.node.ingest import Receipt, receive, refuse_unkept
from carina.node.site import Node

log = logging.getLogger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
"""Statuses of C-STORE, PS3.4 table B.2-1 and PS3.7 annex C."""

_REFUSALS = {Reason.NOT_DICOM: CANNOT_UNDERSTAND, Reason.TOO_LARGE: OUT_OF_RESOURCES}
_VERIFICATION = "1.2.840.10008.1.1"
_MAX_PDU = 131_072  # bytes; the largest that DCMTK sends
_PATIENCE = 60.0  # s without a message, after which an association is ended


class _Server(BoundedServer):
    """Sends small answers at once, and tells of failures without their words."""

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection without Nagle's delay: each file's acknowledgement is a small packet of its own."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Instead of a traceback, which may quote values."""
        log.warning("association-failed")


@dataclass(frozen=True)
class DimseServer:
    """A listener in its own threads. `port` is the one it has got."""

    port: int
    _server: _Server

    def stop(self) -> None:
        """Take no more, end the associations and close; what was acknowledged stays."""
        self._server.shutdown()
        for association in self._server.active_associations:
            association.abort()


def start_dimse(node: Node, host: str, port: int, ae_title: str, *, strict: bool = False) -> DimseServer:
    """Listen for C-ECHO and C-STORE of every storage SOP class, private and unknown ones too, in any transfer syntax;
    and, of researchers, for C-FIND and C-GET.

    port    0 lets the system choose
    strict  whether a caller must name `ae_title`

    Raises `Busy` when the port is taken and `BadSettings` when the address or the AE title cannot be used.
    """
    _close_logs()
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    try:
        entity = AE(ae_title=ae_title)
    except (TypeError, ValueError):
        raise BadSettings("The AE title cannot be used.", "It has 1 to 16 ASCII characters, no backslash.") from None
    entity.add_supported_context(_VERIFICATION)
    for syntax in (retrieve.FIND, retrieve.GET):
        entity.add_supported_context(syntax, retrieve.SYNTAXES)
    entity.require_called_aet = strict
    entity.maximum_associations = MAX_ASSOCIATIONS
    entity.acse_timeout = FIRST_WORD
    entity.maximum_pdu_size = _MAX_PDU
    entity.network_timeout = entity.dimse_timeout = _PATIENCE
    handlers = [(evt.EVT_C_STORE, _store, [node]), (evt.EVT_C_ECHO, _echo), *retrieve.handlers(node)]
    server = _listen(entity, host, port, ae_title, handlers, largest=node.largest_instance)
    entity._servers.append(server)  # as `AE.start_server` does; `shutdown` takes it off
    threading.Thread(target=server.serve_forever, name="dimse", daemon=True, kwargs={"poll_interval": 0.2}).start()
    return DimseServer(server.server_address[1], server)


def _listen(entity: AE, host: str, port: int, ae_title: str, events: list[Any], *, largest: int) -> _Server:
    try:
        return _Server(entity, (host, port), ae_title, events, largest)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Busy(
                f"Port {port} for DICOM (DIMSE) is in use.", "Stop the program that has it, or choose another port."
            ) from None
        raise BadSettings(
            f"DICOM (DIMSE) cannot listen on {host}, port {port}.", "Check host and port in the settings file."
        ) from None


def _close_logs() -> None:
    _config.LOG_HANDLER_LEVEL = "none"  # else each message is written out, only to be dropped
    for name in ("pynetdicom", *(name for name in logging.Logger.manager.loggerDict if name.startswith("pynetdicom."))):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _echo(_event: Event) -> int:
    return SUCCESS


def _store(event: Event, node: Node) -> int:
    """The status that the sender gets, once the bytes are durable or refused."""
    sent, incoming = cast(C_STORE, event.request).DataSet, cast(BoundedAssociation, event.assoc).incoming
    if sent is None:
        return CANNOT_UNDERSTAND
    source = Source("aet", str(event.assoc.requestor.ae_title).strip())
    size = sent.getbuffer().nbytes
    try:
        if not size:
            return _empty(incoming.take(0), node, source)
        data = event.encoded_dataset()
        sent.close()  # its copy
        return status_of(receive(node, data, source))
    except (Full, Busy):
        return OUT_OF_RESOURCES
    except CarinaError as error:
        log.warning("store-failed class=%s", type(error).__name__)
        return PROCESSING_FAILURE
    except Exception as error:  # noqa: BLE001  the sender is told that it failed, and keeps the image
        log.error("store-failed class=%s", type(error).__name__)
        return PROCESSING_FAILURE
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


def status_of(receipt: Receipt) -> int:
    """What a receipt is in the protocol's words."""
    if receipt.state == "received":
        return SUCCESS
    return _REFUSALS.get(receipt.reason or Reason.FAILED, PROCESSING_FAILURE)
