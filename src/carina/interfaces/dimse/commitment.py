"""Storage commitment, push model, PS3.4 annex J: a peer asks whether what it sent is safe, and is told afterwards.

The answer is an N-EVENT-REPORT on an association that the node asks for at the peer's host and port, or, for a peer
without those, on the one that asked. It is worked out when it is sent; one that cannot be delivered is tried again a
few times and then given up, and the peer asks again. Requests that wait are lost when the node ends, likewise.
"""

from __future__ import annotations

import logging
import queue
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION
from pynetdicom.events import Event

from carina.dicom.quiet import quiet
from carina.interfaces.dimse import peers
from carina.interfaces.dimse.bounds import BoundedAssociation
from carina.model.instance import Peer, Source
from carina.node.committed import kept
from carina.node.site import Node

log = logging.getLogger(__name__)

COMMITMENT = "1.2.840.10008.1.20.1"
WELL_KNOWN = "1.2.840.10008.1.20.1.1"
"""Storage Commitment Push Model SOP Class, and its one instance."""

SUCCESS = 0x0000
FAILED = 0x0110
NO_SUCH_INSTANCE = 0x0112
INVALID_ARGUMENT = 0x0115
NO_SUCH_ACTION = 0x0123
NOT_AUTHORISED = 0x0124
NO_ROOM = 0x0213
"""Statuses of N-ACTION, PS3.7 annex C; `NO_SUCH_INSTANCE` also of what is not held."""

MOST_NAMED = 20_000  # instances in one request
LARGEST = 8 * 2**20  # bytes of a request
MOST_WAITING = 64  # requests that have not been answered
PATIENCE = (
    0.1,
    5.0,
    30.0,
    120.0,
)  # s before each try to deliver an answer; the first after the response to the request
_THREADS = 2


@dataclass(frozen=True)
class Reference:
    """One instance as the peer names it."""

    sop_class: str
    uid: str


@dataclass(frozen=True)
class Request:
    """What a peer asks for. `association`: the one that asked; `tries`: how often it was answered in vain."""

    peer: Peer
    transaction: str
    references: tuple[Reference, ...]
    association: Association
    tries: int = 0


class Commitments:
    """The requests that wait for their answer, and the threads that give it; made at the first request."""

    def __init__(self, node: Node, caller: str, tls: ssl.SSLContext | None) -> None:
        self._node = node
        self._caller = caller
        self._tls = tls
        self._due: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = 0  # requests that have no answer yet, those that wait for another try too
        self._threads: list[threading.Thread] = []

    def handlers(self) -> list[Any]:
        """What a listener needs."""
        return [(evt.EVT_N_ACTION, self.answer_action)]

    def answer_action(self, event: Event) -> tuple[int, None]:
        """Take a request on, or say why not."""
        try:
            return self._taken(event), None
        except Exception as error:  # noqa: BLE001  the peer is told that it failed
            log.error("commitment-failed class=%s", type(error).__name__)
            return FAILED, None

    def _taken(self, event: Event) -> int:
        title, address = peers.calling(event)
        sent = _take(event)
        peer = peers.known(self._node, title, address)
        if peer is None or "commit" not in peer.may:
            who = "unknown" if peer is None else peers.subject(peer)
            self._node.refusals.note(
                self._node.audit, "access-refused", who, "", reason="no-permit", asked="commit", door="dimse"
            )
            return NOT_AUTHORISED
        if event.action_type != 1 or str(cast(N_ACTION, event.request).RequestedSOPInstanceUID) != WELL_KNOWN:
            return NO_SUCH_ACTION
        asked = _read(event) if 0 < sent <= LARGEST else None
        if asked is None:
            return INVALID_ARGUMENT
        return self._begin(Request(peer, *asked, event.assoc))

    def _begin(self, request: Request) -> int:
        with self._lock:
            if self._open >= MOST_WAITING:
                return NO_ROOM
            self._open += 1
            while len(self._threads) < _THREADS:
                thread = threading.Thread(target=self._keep, name="commitment", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._later(request)
        return SUCCESS

    def _later(self, request: Request) -> None:
        timer = threading.Timer(PATIENCE[request.tries], self._due.put, [request])
        timer.daemon = True
        timer.start()

    def _keep(self) -> None:
        while True:
            self._try(self._due.get())

    def _try(self, request: Request) -> None:
        done = False
        try:
            done = self._delivered(request)
        except Exception as error:  # noqa: BLE001  tried again; whoever asked asks again in the end
            log.warning("commitment-not-delivered class=%s", type(error).__name__)
        again = replace(request, tries=request.tries + 1)
        if not done and again.tries < len(PATIENCE):
            self._later(again)
            return
        if not done:
            log.error("commitment-given-up")
        with self._lock:
            self._open -= 1

    def _delivered(self, request: Request) -> bool:
        """Whether the peer has taken the answer."""
        source = Source("aet", request.peer.ae_title)
        safe = kept(self._node, source, [one.uid for one in request.references])
        event_type, information = report(request.transaction, request.references, safe)
        if not request.peer.host:
            if not request.association.is_established:
                return True  # who asked is gone, and there is nowhere else to tell it
            return _told(request.association, event_type, information)
        role = build_role(COMMITMENT, scu_role=False, scp_role=True)
        context = build_context(COMMITMENT)
        made = peers.associate(request.peer, [context], caller=self._caller, tls=self._tls, items=[role])
        try:
            return _told(made, event_type, information)
        finally:
            made.release()


def report(transaction: str, references: Sequence[Reference], safe: set[str]) -> tuple[int, Dataset]:
    """Event Type ID and Event Information, PS3.4 table J.3-3: what is safe, and what is not."""
    made = Dataset()
    made.TransactionUID = transaction
    failed = [_item(one, NO_SUCH_INSTANCE) for one in references if one.uid not in safe]
    made.ReferencedSOPSequence = [_item(one) for one in references if one.uid in safe]
    if not made.ReferencedSOPSequence:
        del made.ReferencedSOPSequence
    if not failed:
        return 1, made
    made.FailedSOPSequence = failed
    return 2, made


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference.sop_class, reference.uid
    if reason is not None:
        item.FailureReason = reason
    return item


def _told(association: Association, event_type: int, information: Dataset) -> bool:
    with quiet():
        status, _ = association.send_n_event_report(information, event_type, UID(COMMITMENT), UID(WELL_KNOWN))
    return "Status" in status and status.Status == SUCCESS


def _take(event: Event) -> int:
    """How many bytes the request has; no longer counted as arriving."""
    information = cast(N_ACTION, event.request).ActionInformation
    size = 0 if information is None else information.getbuffer().nbytes
    incoming = getattr(cast(BoundedAssociation, event.assoc), "incoming", None)
    if incoming is not None:
        incoming.take(size)
    return size


def _read(event: Event) -> tuple[str, tuple[Reference, ...]] | None:
    """Transaction UID and references, or None for what has not the form of PS3.4 table J.3-2."""
    try:
        with quiet():
            information = event.action_information
            transaction = str(information.TransactionUID)
            items = information.ReferencedSOPSequence
            if not 1 <= len(items) <= MOST_NAMED:
                return None
            listed = tuple(
                Reference(str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID)) for one in items
            )
    except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
        return None
    texts = (transaction, *(text for one in listed for text in (one.sop_class, one.uid)))
    return (transaction, listed) if all(0 < len(text) <= 64 for text in texts) else None
