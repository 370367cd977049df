"""What `carina node status` prints."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from sqlalchemy import Connection, func, select

from carina.model.clock import now, parse_stamp
from carina.node import arrivals, datasets, pixels, quarantine
from carina.node.site import Node
from carina.storage.arrivals import End
from carina.storage.schema import arrivals as rows
from carina.storage.schema import hubs, instances, studies
from carina.storage.schema import quarantine as held

STUDY_STATES = ("receiving", "complete")


@dataclass(frozen=True)
class Figures:
    """The node in numbers alone, for who watches it.

    archive     patients, studies, series and instances
    size        bytes of all instances
    studies     how many may still get images, and how many are complete
    arrivals    what was received, by what became of it
    oldest      s that the oldest arrival has waited for a worker
    quarantine  by reason
    """

    archive: Mapping[str, int]
    size: int
    studies: Mapping[str, int]
    arrivals: Mapping[str, int]
    waiting: int
    waiting_size: int
    oldest: float
    quarantine: Mapping[str, int]


def status(node: Node) -> dict[str, Any]:
    """The node in numbers and ids, ready for JSON; sizes in bytes, instants in UTC."""
    heaps = quarantine.heaps(node)
    return {
        "id": node.id,
        "title": node.title,
        "archive": asdict(arrivals.archive(node)),
        "studies": _study_states(node),
        "quiet": node.quiet,
        "spool": _spool(node),
        "quarantine": {heap.reason.value: heap.count for heap in heaps},
        "pixels": pixels.counts(node),
        "text_finder": "unavailable" if pixels.is_blind(node) else "",
        "datasets": {state: len(datasets.listed(node, state)) for state in ("draft", "published", "withdrawn")},
        "hubs": _hubs(node),
        "disk_free": shutil.disk_usage(node.folder).free,
        "disk_size": shutil.disk_usage(node.folder).total,
    }


def figures(node: Node) -> Figures:
    """Count everything; takes as long as the archive is large, a second for some millions of instances."""
    spool = _spool(node)
    waited = (now() - parse_stamp(spool["oldest"])).total_seconds() if spool["oldest"] else 0.0
    with node.engine.connect() as connection:
        size = connection.execute(select(func.coalesce(func.sum(instances.c.size), 0))).scalar_one()
        return Figures(
            archive=asdict(arrivals.archive(node)),
            size=int(size),
            studies=_study_states(node),
            arrivals=_counts(connection, rows.c.state),
            waiting=spool["waiting"],
            waiting_size=spool["size"],
            oldest=max(0.0, waited),
            quarantine=_counts(connection, held.c.reason, held.c.state == "waiting"),
        )


def _study_states(node: Node) -> dict[str, int]:
    with node.engine.connect() as connection:
        return {**dict.fromkeys(STUDY_STATES, 0), **_counts(connection, studies.c.state)}


def _counts(connection: Connection, column: Any, *only: Any) -> dict[str, int]:
    wanted = select(column, func.count()).where(*only).group_by(column).order_by(column)
    return {str(value): int(number) for value, number in connection.execute(wanted)}


def _spool(node: Node) -> dict[str, Any]:
    """What waits for a worker, since when, and who works on it."""
    waits = rows.c.state == "received"
    with node.engine.connect() as connection:
        count, size, oldest = connection.execute(
            select(func.count(), func.coalesce(func.sum(rows.c.size), 0), func.min(rows.c.received_at)).where(waits)
        ).one()
        workers = connection.execute(
            select(rows.c.claimed_by)
            .where(waits, rows.c.claimed_by.is_not(None))
            .distinct()
            .order_by(rows.c.claimed_by)
        ).scalars()
        ends = [select(func.max(rows.c.finished_at)).where(rows.c.state == state) for state in get_args(End)]
        last = max((at for end in ends if (at := connection.execute(end).scalar()) is not None), default=None)
        return {
            "waiting": int(count),
            "size": int(size),
            "oldest": oldest,
            "workers": list(workers),
            "last_finished": last,
        }


def _hubs(node: Node) -> list[dict[str, Any]]:
    columns = (hubs.c.id, hubs.c.title, hubs.c.url, hubs.c.state, hubs.c.joined_at, hubs.c.last_contact)
    with node.engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(*columns).order_by(hubs.c.joined_at)).mappings()]
