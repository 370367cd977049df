"""A node's JSON: its state for the staff on the inside listener, its health on both."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.interfaces.api.health import health_routes
from carina.interfaces.api.identity import STAFF, Identity
from carina.interfaces.api.requests import no_parameters
from carina.node.site import Node
from carina.node.status import status
from carina.storage.arrivals import Tally, tally


def inside_routes(node: Node, identity: Identity) -> list[Route]:
    """`/api/status` for the staff, and health."""

    async def show_status(request: Request) -> Response:
        await identity.identify(request, STAFF)
        no_parameters(request)
        return JSONResponse(await run_in_threadpool(status_to_json, node))

    return [Route("/api/status", show_status), *health_routes(node.engine)]


def outside_routes(node: Node) -> list[Route]:
    """What others may reach: health, and nothing else yet."""
    return health_routes(node.engine)


def status_to_json(node: Node) -> dict[str, Any]:
    """What the node is, and what became of all that each source has sent."""
    return {
        **status(node),
        "institution": node.institution,
        "country": node.country,
        "version": version("carina"),
        "sources": [_tally_to_json(sums) for sums in tally(node.engine)],
    }


def _tally_to_json(sums: Tally) -> dict[str, Any]:
    return {
        "kind": sums.source.kind,
        "name": sums.source.name,
        "total": sums.total,
        "waiting": sums.received,
        "archived": sums.archived,
        "unchanged": sums.unchanged,
        "quarantined": {reason.value: number for reason, number in sums.quarantined.items()},
    }
