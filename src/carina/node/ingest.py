"""The only door: C-STORE, STOW-RS and folders hand bytes in here, and acknowledge when `receive` or `finish` returns.

What arrives at the same time is made durable together: each file is synchronised by its own thread, then one of them
synchronises the folder and writes the rows of all in one transaction. What arrives alone does not wait.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from sqlalchemy.exc import IntegrityError

from carina.dicom.parse import looks_like_dicom
from carina.errors import Busy, Full
from carina.model.clock import new_id, stamp
from carina.model.instance import Reason, Source
from carina.model.keys import derive
from carina.node import discarded, quarantine
from carina.node.parcel import Label, recorded
from carina.node.site import Node
from carina.storage import arrivals
from carina.storage.arrivals import Received
from carina.storage.sealed import SealedFolder, SealedWriter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

log = logging.getLogger(__name__)

RESERVE = 32 * 2**20
"""Bytes left free on the disk, so that the records can always say what happened."""
IN_MEMORY = 1 << 20
"""Bytes up to which an instance is kept in memory until it is whole; larger ones go to the disk as they come."""
_LOOK = 16 * 2**20  # bytes between looks at the disk's room
_HEAD = 4096  # bytes by which DICOM is known


@dataclass(frozen=True)
class Receipt:
    """What the sender is told. "received" and "refused" are both durable: in the spool, or in quarantine."""

    id: str
    state: Literal["received", "refused"]
    reason: Reason | None = None


def receive(node: Node, data: bytes, source: Source, sent: str = "") -> Receipt:
    """Take bytes in. When this returns they are on the disk, encrypted, with a row that says so.

    sent   the SOP Instance UID that the sender knows it by; see `sent_digest`

    What is no DICOM, or larger than the node's `largest_instance`, is "refused" and rests in quarantine with the
    reason. Raises `Full` when the disk has no room for it or can only be read, and `Busy` when the records are held for
    long or too much waits for the workers; then nothing is kept and the sender must send it again. Safe in any number
    of threads and processes.
    """
    _require_few_waiting(node)
    one = Arriving(node, source, sent, largest=max(len(data), node.largest_instance))
    try:
        one.write(data)
        return one.finish()
    except BaseException:
        one.abort()
        raise


def arriving(node: Node, source: Source, sent: str = "") -> Arriving:
    """Take in one thing of any size, piece by piece. Raises `Busy` when too much waits for the workers.

    What turns out to be larger than the node's `largest_instance` is not kept.
    """
    _require_few_waiting(node)
    return Arriving(node, source, sent, largest=node.largest_instance)


class Arriving:
    """One thing that arrives. Up to 1 MiB is kept in memory, more goes to the disk at once, encrypted.

    Whoever does not `finish` it calls `abort`. Not for several threads at once.

    sent   the SOP Instance UID that the sender knows it by; may be set until 1 MiB has come, or `finish`
    size   bytes until now
    """

    def __init__(self, node: Node, source: Source, sent: str, *, largest: int) -> None:
        self.sent = sent
        self.size = 0
        self._node = node
        self._source = source
        self._largest = largest
        self._id = new_id()
        self._at = stamp()
        self._parts: list[bytes] = []
        self._refused: Reason | None = None
        self._writer: SealedWriter | None = None
        self._look = 0
        self._over = False
        self._digests = "", ""  # of `sent`, and that

    def write(self, data: ReadableBuffer) -> None:
        """Append bytes. Raises `Full`; then nothing is kept."""
        size = memoryview(data).nbytes
        self.size += size
        if self._over or self.size > self._largest:
            self._let_go()
        elif self._writer is None and self.size <= IN_MEMORY:
            self._parts.append(data if isinstance(data, bytes) else bytes(data))
        else:
            writer = self._writer or self._begin(data)
            if self.size >= self._look:
                _require_room(self._node, self.size)
                self._look = self.size + _LOOK
            writer.write(data)

    def finish(self) -> Receipt:
        """Make it durable, then say so; see `receive`."""
        if self._over:
            return refuse_unkept(self._node, self.size, self._source, self._id)
        if self._writer is not None:
            self._writer.finish()
        else:
            self._put()
        self._parts = []
        source = recorded(self._source, self._node.project_of)
        received = Received(self._id, source, self._at, self.size, self._digest())
        if self._refused is not None:
            return _refuse(self._node, received, self._refused)
        self._node.door.together(lambda group: _note(self._node, group)).do(received)
        return Receipt(self._id, "received")

    def abort(self) -> None:
        """Keep nothing of it; nothing happens when it is finished or let go."""
        self._parts = []
        if self._writer is not None:
            self._writer.abort()

    def _begin(self, data: ReadableBuffer) -> SealedWriter:
        """Go over from memory to the disk."""
        _require_room(self._node, self.size)
        head = b"".join((*self._parts, memoryview(data)[:_HEAD]))[:_HEAD]
        self._writer = self._folder(head).writer(self._id)
        self._writer.write(self._label().line())
        for part in self._parts:
            self._writer.write(part)
        self._parts = []
        return self._writer

    def _put(self) -> None:
        """Seal and write what is in memory."""
        _require_room(self._node, self.size)
        data = b"".join((self._label().line(), *self._parts))
        first = data.index(b"\n") + 1
        self._folder(data[first : first + _HEAD]).put(self._id, data, lasting=False)

    def _folder(self, head: bytes) -> SealedFolder:
        """Where it goes, by how it begins."""
        if not looks_like_dicom(head):
            self._refused = Reason.NOT_DICOM
        elif self.size > self._node.largest_instance:
            self._refused = Reason.TOO_LARGE
        return self._node.spool if self._refused is None else self._node.quarantine

    def _label(self) -> Label:
        return Label(self._source, self._at, self._digest())

    def _digest(self) -> str:
        if self._digests[0] != self.sent:
            self._digests = self.sent, sent_digest(self._node, self._source, self.sent)
        return self._digests[1]

    def _let_go(self) -> None:
        self._over = True
        self.abort()


def refuse_unkept(node: Node, size: int, source: Source, arrival_id: str = "") -> Receipt:
    """Tell the audit trail of something too large to be kept even in quarantine; `size` in bytes."""
    sender = str(recorded(source, node.project_of))
    node.audit.append("refused-not-kept", sender, arrival_id, reason=Reason.TOO_LARGE, size=size)
    return Receipt(arrival_id, "refused", Reason.TOO_LARGE)


def sent_digest(node: Node, source: Source, uid: str) -> str:
    """What records know a SOP Instance UID by as its sender wrote it: keyed, so that it tells nothing; hex."""
    return hmac.digest(_sent_key(node.keys.storage), f"{source}\0{uid}".encode(), hashlib.sha256).hex()


@lru_cache(maxsize=8)
def _sent_key(master: bytes) -> bytes:
    return derive(master, "sent")


def _note(node: Node, group: list[Received]) -> None:
    """Make files that have their names durable, and write their rows; all of them, or none stays."""
    try:
        node.spool.synchronise()
        _add_all(node, group)
    except BaseException:
        with suppress(Full, OSError):  # what stays has no row; the next start gives it one
            node.spool.remove_all(one.id for one in group)
        raise
    node.door.waiting.add(len(group))


def _add_all(node: Node, group: list[Received]) -> None:
    try:
        with node.engine.begin() as connection:
            arrivals.add_all(connection, group)
    except IntegrityError:  # a node that starts has found a file and given it its row
        for one in group:
            with suppress(IntegrityError), node.engine.begin() as connection:
                arrivals.add_all(connection, [one])


def _refuse(node: Node, received: Received, reason: Reason) -> Receipt:
    """Write the rows of what is in quarantine already."""
    held = quarantine.Held(received.id, reason, received.source, received.size, received.received_at, reason.sentence)
    try:
        node.quarantine.synchronise()
        with node.engine.begin() as connection:
            arrivals.add_all(connection, [received])
            arrivals.finish(connection, received.id, "quarantined", reason=reason)
            quarantine.note(node, connection, held)
    except IntegrityError:  # a node that starts has given it its row; a worker will refuse it again
        return Receipt(received.id, "refused", reason)
    except BaseException:
        with suppress(Full, OSError):
            node.quarantine.remove(received.id)
        raise
    log.info("arrival-refused", extra={"arrival": received.id, "reason": reason})
    return Receipt(received.id, "refused", reason)


def _require_few_waiting(node: Node) -> None:
    """Raise `Busy` when more wait than the site has set."""
    most = node.most_waiting
    if node.door.waiting.more_than(most, lambda: arrivals.waiting(node.engine, most + 1)):
        raise Busy("Too many images wait to be taken into the archive.", "Send it again in a few minutes.")


def _require_room(node: Node, size: int) -> None:
    """Raise `Full` unless the bytes, their copy in the archive and the reserve fit; what is discarded makes room."""
    needed = 2 * size + RESERVE
    if shutil.disk_usage(node.folder).free >= needed:
        return
    discarded.make_room(node)
    if shutil.disk_usage(node.folder).free < needed:
        raise Full("There is no room left on the disk for this instance.")
