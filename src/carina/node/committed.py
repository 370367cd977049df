"""What a sender may forget about: the instances of its own that this node holds durably, under the UIDs it knows.

A sender hears of what it sent and of nothing else; whether another source sent the same instance, it does not learn.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, exists, or_, select

from carina.model.instance import Source
from carina.node.ingest import sent_digest
from carina.node.site import Node
from carina.storage.schema import arrivals, instances, quarantine

_AT_ONCE = 500  # digests in one question
_ARCHIVED = ("archived", "unchanged")


def kept(node: Node, source: Source, uids: Sequence[str]) -> set[str]:
    """Those of the SOP Instance UIDs, as the source sent them, of which all that it needs is durable here.

    Durable is what rests in the spool, in the archive or, still waiting, in quarantine; not what was discarded there,
    and not what belongs to a person who is forgotten.
    """
    named = {sent_digest(node, source, uid): uid for uid in uids}
    digests, found = list(named), set[str]()
    waits = and_(quarantine.c.id == arrivals.c.id, quarantine.c.state == "waiting")
    held = or_(
        arrivals.c.state == "received",
        and_(arrivals.c.state.in_(_ARCHIVED), exists(select(instances.c.uid).where(instances.c.uid == arrivals.c.uid))),
        and_(arrivals.c.state == "quarantined", exists(select(quarantine.c.id).where(waits))),
    )
    with node.engine.connect() as connection:
        for start in range(0, len(digests), _AT_ONCE):
            some = arrivals.c.sent.in_(digests[start : start + _AT_ONCE])
            found |= {named[digest] for digest in connection.scalars(select(arrivals.c.sent).where(some, held))}
    return found
