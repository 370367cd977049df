"""What the console shows, as JSON for its staff: `/api/overview`, `/api/arrivals`, `/api/storage`, `/api/keys`, and
`/api/datasets`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.interfaces.api.identity import STAFF, Identity
from carina.interfaces.api.node_datasets import dataset_routes
from carina.interfaces.api.requests import no_parameters
from carina.node import keylist
from carina.node.arrivals import Arriving, SourceRow, growing, latest
from carina.node.growth import Storage
from carina.node.keylist import KeyLine
from carina.node.overview import Overview
from carina.node.site import Node
from carina.node.watch import Watch
from carina.storage.arrivals import Arrival, StudyProgress

LISTED = 50  # newest arrivals, and studies that grew last


def console_routes(node: Node, identity: Identity, watch: Watch) -> list[Route]:
    """For the staff: people who have signed in, and tokens of operators and data managers."""

    def route(path: str, answer: Callable[[], Any]) -> Route:
        async def show(request: Request) -> Response:
            await identity.identify(request, STAFF)
            no_parameters(request)
            return JSONResponse(await run_in_threadpool(answer))

        return Route(path, show)

    def keys() -> Any:
        return [key_to_json(line) for line in keylist.listed(node, watch.around.certificates)]

    return [
        route("/api/overview", lambda: overview_to_json(watch.overview())),
        route("/api/arrivals", lambda: arrivals_to_json(node, watch.arriving())),
        route("/api/storage", lambda: storage_to_json(watch.storage())),
        route("/api/keys", keys),
        *dataset_routes(node, identity, watch),
    ]


def overview_to_json(overview: Overview) -> dict[str, Any]:
    """The verdict, the sentence, and each part with its state, sentence, hint and page."""
    parts = [dict(vars(part)) for part in overview.parts]
    return {"verdict": overview.verdict, "sentence": overview.sentence, "parts": parts}


def arrivals_to_json(node: Node, arriving: Arriving) -> dict[str, Any]:
    """Each source with what became of what it sent, the studies that grew last, the newest arrivals; newest first."""
    backlog = arriving.backlog
    return {
        "at": arriving.at,
        "waiting": {"images": backlog.waiting, "size": backlog.size, "oldest": backlog.oldest},
        "sources": [_source(row) for row in arriving.sources],
        "studies": [_study(study) for study in growing(node, LISTED)],
        "newest": [_arrival(one) for one in latest(node, None, LISTED)],
    }


def _source(row: SourceRow) -> dict[str, Any]:
    tally = row.tally
    return {
        "kind": row.source.kind,
        "name": row.source.name,
        "project": row.project,
        "arrived": tally.total,
        "archived": tally.archived,
        "unchanged": tally.unchanged,
        "quarantined": {reason.value: number for reason, number in tally.quarantined.items()},
        "forgotten": tally.forgotten,
        "waiting": tally.received,
        "percent": row.percent,
        "in_1_minute": row.minute,
        "in_15_minutes": row.quarter,
        "last_seen": row.last_seen,
    }


def _study(study: StudyProgress) -> dict[str, Any]:
    return {**vars(study), "modalities": list(study.modalities)}


def _arrival(one: Arrival) -> dict[str, Any]:
    """Without the identifiers of what was not archived."""
    study = one.study_uid if one.state in ("archived", "unchanged") else None
    return {
        "id": one.id,
        "source": str(one.source),
        "received_at": one.received_at,
        "size": one.size,
        "state": one.state,
        "reason": one.reason,
        "project": one.project,
        "study_uid": study,
        "finished_at": one.finished_at,
    }


def storage_to_json(stored: Storage) -> dict[str, Any]:
    """Where the bytes are, how they grew each day, and in how many days the disk is full; sizes in bytes."""
    grown = stored.growth
    week, month = grown.since(7), grown.since(30)
    return {
        "archive": {**vars(grown.archive), "size": grown.size},
        "by_project_and_modality": [dict(vars(heap)) for heap in grown.heaps],
        "days": [{**vars(day), "day": day.day.isoformat()} for day in grown.days],
        "in_7_days": {"images": week[0], "size": week[1]},
        "in_30_days": {"images": month[0], "size": month[1]},
        "spool": {"images": stored.waiting.waiting, "size": stored.waiting.size},
        "quarantine": {reason: {"images": count, "size": size} for reason, (count, size) in stored.held.items()},
        "discarded": {"images": stored.discarded[0], "size": stored.discarded[1]},
        "records": stored.records,
        "disk_size": stored.total,
        "disk_free": stored.free,
        "full_in_days": grown.days_until(stored.free),
    }


def key_to_json(line: KeyLine) -> dict[str, Any]:
    """A key or certificate by its fingerprint; nothing of it is secret."""
    return dict(vars(line))
