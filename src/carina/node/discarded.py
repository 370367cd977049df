"""The end of what was discarded: its bytes are destroyed when its time is over, at once if asked, or for want of room.

The row goes first: from then on nobody takes it back, so that nothing is offered whose bytes are gone. Whoever is
killed in between leaves bytes that the next sweep removes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sqlalchemy import select, update

from carina.errors import CarinaError, NotFound
from carina.model.clock import now, stamp
from carina.node.quarantine import GRACE
from carina.node.site import Node
from carina.storage.audit import AuditRow
from carina.storage.schema import quarantine as table

log = logging.getLogger(__name__)

ACTOR = "node"
EVERY = 60.0  # s between sweeps
_AT_ONCE = 200


def destroy(node: Node, actor: str, ids: Iterable[str]) -> int:
    """Destroy discarded ones at once; how many. One that is not discarded, or gone already: `NotFound`."""
    named = list(dict.fromkeys(ids))
    for start in range(0, len(named), _AT_ONCE):
        some = named[start : start + _AT_ONCE]
        if len(_kept(node, table.c.id.in_(some))) < len(some):
            raise NotFound("Not all of these are discarded.", "Load the list again.")
    return _destroy(node, actor, named)


def sweep(node: Node) -> int:
    """Destroy what was discarded longer than `GRACE` ago, and finish what was begun; how many."""
    over = _kept(node, table.c.discarded_at < stamp(now() - GRACE))
    return _destroy(node, ACTOR, over)


def make_room(node: Node) -> int:
    """Destroy all that is discarded, since the disk is full and what arrives is worth more; how many."""
    try:
        done = _destroy(node, ACTOR, _kept(node, table.c.state == "discarded"), why="disk-full")
    except CarinaError as error:
        log.error("no-room-made", extra={"error": type(error).__name__})
        return 0
    if done:
        log.warning("room-made", extra={"count": done})
    return done


def _kept(node: Node, which: object) -> list[str]:
    wanted = select(table.c.id).where(table.c.state == "discarded", which).order_by(table.c.id)  # type: ignore[arg-type]
    with node.engine.connect() as connection:
        return list(connection.execute(wanted).scalars())


def _destroy(node: Node, actor: str, ids: list[str], why: str = "") -> int:
    done = 0
    for start in range(0, len(ids), _AT_ONCE):
        mine = table.c.id.in_(ids[start : start + _AT_ONCE]) & (table.c.state == "discarded")
        with node.engine.begin() as connection:
            gone = sorted(
                connection.execute(update(table).where(mine).values(state="destroyed").returning(table.c.id)).scalars()
            )
            said = {"why": why} if why else {}
            told = [AuditRow("quarantine-destroyed", actor, one, said) for one in gone]
            node.audit.append_all(told, connection)
            done += len(gone)
    _remove(node)
    return done


def _remove(node: Node) -> None:
    """Remove the bytes of all that is marked as destroyed; then the mark that there were any."""
    marked = select(table.c.id).where(table.c.state == "destroyed", table.c.discarded_at.is_not(None)).limit(_AT_ONCE)
    while True:
        with node.engine.connect() as connection:
            gone = list(connection.execute(marked).scalars())
        if not gone:
            return
        node.quarantine.remove_all(gone)
        node.spool.remove_all(gone)
        with node.engine.begin() as connection:
            connection.execute(update(table).where(table.c.id.in_(gone)).values(discarded_at=None))
