"""The only door: C-STORE, STOW-RS and folders hand bytes in here, and acknowledge when `receive` returns."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.exc import IntegrityError

from carina.dicom.parse import looks_like_dicom
from carina.errors import Full
from carina.model.clock import new_id, stamp
from carina.model.instance import Reason, Source
from carina.node import quarantine
from carina.node.parcel import Parcel, recorded, wrap
from carina.node.site import Node
from carina.storage import arrivals

log = logging.getLogger(__name__)

RESERVE = 32 * 2**20
"""Bytes left free on the disk, so that the records can always say what happened."""
KEEPABLE = 2**31 - 2**16
"""Bytes of the largest thing that quarantine can seal; what is larger is refused and not kept."""


@dataclass(frozen=True)
class Receipt:
    """What the sender is told. "received" and "refused" are both durable: in the spool, or in quarantine."""

    id: str
    state: Literal["received", "refused"]
    reason: Reason | None = None


def receive(node: Node, data: bytes, source: Source) -> Receipt:
    """Take bytes in. When this returns they are on the disk, encrypted, with a row that says so.

    What is no DICOM, or larger than the node's `largest_instance`, is "refused" and rests in quarantine with the reason
    (beyond 2 GiB it is not kept). Raises `Full` when the disk has no room for it, and `Busy` when the records are held
    for long; then nothing is kept and the sender must send it again. Safe in any number of threads and processes.
    """
    arrival_id = new_id()
    reason = _refusal(node, data)
    if len(data) > KEEPABLE:
        return refuse_unkept(node, len(data), source, arrival_id)
    _require_room(node, len(data))
    parcel = Parcel(source, stamp(), data)
    if reason is not None:
        _refuse(node, arrival_id, parcel, reason)
        return Receipt(arrival_id, "refused", reason)
    node.spool.put(arrival_id, wrap(parcel))
    try:
        with node.engine.begin() as connection:
            arrivals.add(connection, arrival_id, recorded(source, node.project_of), len(data))
    except IntegrityError:  # a node that starts has found the file and given it its row
        return Receipt(arrival_id, "received")
    except BaseException:
        node.spool.remove(arrival_id)
        raise
    return Receipt(arrival_id, "received")


def refuse_unkept(node: Node, size: int, source: Source, arrival_id: str = "") -> Receipt:
    """Tell the audit trail of something too large to be kept even in quarantine; `size` in bytes."""
    sender = str(recorded(source, node.project_of))
    node.audit.append("refused-not-kept", sender, arrival_id, reason=Reason.TOO_LARGE, size=size)
    return Receipt(arrival_id, "refused", Reason.TOO_LARGE)


def _refusal(node: Node, data: bytes) -> Reason | None:
    if not looks_like_dicom(data):
        return Reason.NOT_DICOM
    return Reason.TOO_LARGE if len(data) > node.largest_instance else None


def _refuse(node: Node, arrival_id: str, parcel: Parcel, reason: Reason) -> None:
    node.quarantine.put(arrival_id, wrap(parcel))
    try:
        with node.engine.begin() as connection:
            arrivals.add(connection, arrival_id, recorded(parcel.source, node.project_of), len(parcel.data))
            arrivals.finish(connection, arrival_id, "quarantined", reason=reason)
            quarantine.note(node, connection, quarantine.Held.of(node, arrival_id, parcel, reason))
    except IntegrityError:  # a node that starts has given it its row; a worker will refuse it again
        return
    except BaseException:
        node.quarantine.remove(arrival_id)
        raise
    log.info("arrival-refused", extra={"arrival": arrival_id, "reason": reason})


def _require_room(node: Node, size: int) -> None:
    """Raise `Full` unless the bytes, their copy in the archive and the reserve fit."""
    if shutil.disk_usage(node.folder).free < 2 * size + RESERVE:
        raise Full("There is no room left on the disk for this instance.")
