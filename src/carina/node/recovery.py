"""What a start puts right after whatever ended the node before: every file has its row, and every row its file."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy import select

from carina.errors import BadInput, WrongKey
from carina.node import pixels
from carina.node.parcel import recorded
from carina.node.site import Node
from carina.node.spooled import opened_parcel
from carina.storage import arrivals
from carina.storage.instances import FileInstances
from carina.storage.schema import arrivals as rows
from carina.storage.schema import quarantine as held
from carina.storage.sealed import SEGMENT

log = logging.getLogger(__name__)

_DONE = ("archived", "unchanged", "forgotten")  # states in which the bytes received are kept no longer


@dataclass(frozen=True)
class Recovered:
    """What was found: files half written, files without a row that have one now, files that had done their part."""

    half_written: int
    adopted: int
    removed: int
    unreadable: int


def recover(node: Node) -> Recovered:
    """Put spool and quarantine in order and end all claims. For the start of the one server of a folder.

    A worker that outlived the last server, or a command that receives at this moment, is not harmed: its work is
    repeated, or finds itself done.
    Bytes whose row was never written were not acknowledged, but they are whole: they get a row, for the line within
    names their source. Bytes that do not open are left alone, and counted.
    """
    half_written = node.spool.sweep() + node.quarantine.sweep()
    if isinstance(node.instances, FileInstances):
        half_written += node.instances.sweep()
    arrivals.release_claims(node.engine)
    pixels.release_claims(node)
    counts = {"adopted": 0, "removed": 0, "unreadable": 0, "kept": 0}
    in_quarantine = set(node.quarantine.names())
    for name in node.spool.names():
        counts[_spooled(node, name, name in in_quarantine)] += 1
    for name in in_quarantine:
        counts[_quarantined(node, name)] += 1
    found = Recovered(half_written, counts["adopted"], counts["removed"], counts["unreadable"])
    if found != Recovered(0, 0, 0, 0):
        log.info("recovered", extra={name: getattr(found, name) for name in Recovered.__dataclass_fields__})
    return found


def _spooled(node: Node, name: str, in_quarantine: bool) -> str:
    state = _state(node, name)
    if state is None:
        return _adopt(node, name)
    if state in _DONE or (state == "quarantined" and in_quarantine):
        node.spool.remove(name)
        return "removed"
    return "kept"


def _quarantined(node: Node, name: str) -> str:
    state = _state(node, name)
    if state is None:
        return _adopt(node, name)
    if state in _DONE or _destroyed(node, name):
        node.quarantine.remove(name)
        return "removed"
    return "kept"


def _adopt(node: Node, name: str) -> str:
    """Give the bytes a row, so that a worker takes them up from where they are."""
    try:
        received = _received(node, name)
    except (BadInput, WrongKey) as error:
        log.error("file-unreadable", extra={"arrival": name, "error": type(error).__name__})
        return "unreadable"
    with node.engine.begin() as connection:
        arrivals.add_all(connection, [received])
    return "adopted"


def _received(node: Node, name: str) -> arrivals.Received:
    """The row that the file's own line gives; all of the file is read, to see that it opens."""
    with opened_parcel(node, name) as (label, stream, size):
        while stream.read(SEGMENT):
            pass
        return arrivals.Received(name, recorded(label.source, node.project_of), label.received_at, size, label.sent)


def _state(node: Node, name: str) -> str | None:
    with node.engine.connect() as connection:
        return connection.execute(select(rows.c.state).where(rows.c.id == name)).scalar()


def _destroyed(node: Node, name: str) -> bool:
    with node.engine.connect() as connection:
        return connection.execute(select(held.c.state).where(held.c.id == name)).scalar() == "destroyed"
