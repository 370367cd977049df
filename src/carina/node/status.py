"""What `carina node status` prints."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select

from carina.node import arrivals, datasets, pixels, quarantine
from carina.node.site import Node
from carina.storage.schema import arrivals as rows
from carina.storage.schema import hubs


def status(node: Node) -> dict[str, Any]:
    """The node in numbers and ids, ready for JSON; sizes in bytes, instants in UTC."""
    heaps = quarantine.heaps(node)
    return {
        "id": node.id,
        "title": node.title,
        "archive": asdict(arrivals.archive(node)),
        "spool": _spool(node),
        "quarantine": {heap.reason.value: heap.count for heap in heaps},
        "pixels": pixels.counts(node),
        "text_finder": "unavailable" if pixels.is_blind(node) else "",
        "datasets": {state: len(datasets.listed(node, state)) for state in ("draft", "published", "withdrawn")},
        "hubs": _hubs(node),
        "disk_free": shutil.disk_usage(node.folder).free,
    }


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
        last = connection.execute(select(func.max(rows.c.finished_at))).scalar()
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
