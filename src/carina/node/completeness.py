"""When a study is complete: after a quiet time without another image. A late one reopens it (`storage.indexing`)."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select, update

from carina.model.clock import now as present
from carina.model.clock import stamp
from carina.node.site import Node
from carina.storage.audit import AuditRow
from carina.storage.schema import arrivals, studies

_AT_ONCE = 200


def settle(node: Node, now: datetime | None = None) -> int:
    """Note the studies that have become complete; how many. Any number of processes may do so at once.

    Not while something waits for a worker that came before the quiet time began: it may belong to any study.
    """
    since = stamp((now or present()) - timedelta(seconds=node.quiet))
    quiet = (studies.c.state == "receiving") & (studies.c.last_at < since)
    with node.engine.connect() as connection:
        if connection.execute(select(studies.c.study_uid).where(quiet).limit(1)).first() is None:
            return 0
        waits = select(func.min(arrivals.c.received_at)).where(arrivals.c.state == "received")
        oldest = connection.execute(waits).scalar()
    if oldest is not None and oldest < since:
        return 0
    with node.engine.begin() as connection:
        wanted = select(studies.c.project, studies.c.study_uid, studies.c.instance_count).where(quiet)
        found = connection.execute(wanted.limit(_AT_ONCE).with_for_update(skip_locked=True)).all()
        for row in found:
            place = (studies.c.project == row.project) & (studies.c.study_uid == row.study_uid)
            complete = update(studies).where(place).values(state="complete", completed_at=stamp(now))
            connection.execute(complete)
        told = [
            AuditRow("study-complete", "node", row.study_uid, {"project": row.project, "instances": row.instance_count})
            for row in found
        ]
        node.audit.append_all(told, connection)
    return len(found)
