"""The evidence of a dataset as JSON, for its data managers."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.errors import BadInput
from carina.interfaces.api.identity import Identity
from carina.model.principal import Role
from carina.node.evidence import evidence
from carina.node.site import Node

MANAGERS: frozenset[Role] = frozenset({"data-manager"})


def evidence_routes(node: Node, identity: Identity) -> list[Route]:
    """`/api/datasets/{iri}/evidence`, with `?snapshot=` of one of its snapshots; as a file to be kept."""

    async def show(request: Request) -> Response:
        await identity.identify(request, MANAGERS)
        number = _snapshot(request)
        found = await run_in_threadpool(evidence, node, request.path_params["iri"], number)
        name = f"evidence-{number or 'live'}.json"
        return JSONResponse(found, headers={"Content-Disposition": f'attachment; filename="{name}"'})

    return [Route("/api/datasets/{iri}/evidence", show)]


def _snapshot(request: Request) -> int | None:
    given = request.query_params.multi_items()
    if not given:
        return None
    [(name, value), *more] = given
    if more or name != "snapshot" or not value.isdecimal() or len(value) > 6:
        raise BadInput(
            "Evidence is asked for with one parameter or none.", "Add ?snapshot= and its number, or nothing."
        )
    return int(value)
