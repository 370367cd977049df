"""The hub's JSON API, under `/api`; `docs/reference/api.md` describes it. And the door by which nodes join."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Any, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from carina.errors import CarinaError
from carina.hub import catalogue, nodes
from carina.hub.centre import Hub
from carina.hub.nodes import HubNode
from carina.interfaces.api.access import access_routes
from carina.interfaces.api.documents import (
    answer_to_json,
    dataset_to_json,
    total_to_json,
    variable_to_json,
)
from carina.interfaces.api.health import health_routes
from carina.interfaces.api.identity import Identity
from carina.interfaces.api.problems import problem_content, unexpected
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.requests import json_object, no_parameters, texts
from carina.model.cohort import Query, from_pairs, to_json
from carina.model.principal import Principal
from carina.model.search import NodeAnswer, total
from carina.model.variables import RANGES, VARIABLES, require_known

Search: TypeAlias = Callable[[Query], AsyncIterator[NodeAnswer]]
"""Asks all nodes; gives each one's answer as it comes, silence included."""

EVENTS = "text/event-stream"


def api_routes(hub: Hub, identity: Identity, search: Search, limit: RateLimit) -> list[Route]:
    """All that programs may ask of a hub; each person has `limit` searches."""
    return [
        *_catalogue_routes(hub),
        *_search_routes(hub, identity, search, limit),
        *_session_routes(identity),
        *access_routes(hub, identity, limit),
        *_door(hub),
    ]


def service_info(hub: Hub) -> dict[str, Any]:
    """GA4GH service-info 1.0.0. `artifact` is how a client knows that this is a Carina hub."""
    release = version("carina")
    return {
        "id": hub.id,
        "name": hub.title,
        "type": {"group": "carina", "artifact": "carina-hub", "version": release},
        "description": "Finds cancer images over the nodes of this federation.",
        "organization": {"name": hub.title, "url": hub.url},
        "version": release,
    }


def _catalogue_routes(hub: Hub) -> list[Route]:
    async def info(request: Request) -> Response:
        no_parameters(request)
        return JSONResponse(service_info(hub))

    async def datasets(request: Request) -> Response:
        no_parameters(request)
        found = await run_in_threadpool(catalogue.list_datasets, hub)
        return JSONResponse({"datasets": [dataset_to_json(entry.dataset) for entry in found]})

    async def dataset(request: Request) -> Response:
        no_parameters(request)
        found = await run_in_threadpool(catalogue.get_dataset, hub, request.path_params["iri"])
        return JSONResponse(dataset_to_json(found.dataset))

    async def variables(request: Request) -> Response:
        no_parameters(request)
        return JSONResponse({"variables": [variable_to_json(variable) for variable in VARIABLES]})

    async def members(request: Request) -> Response:
        no_parameters(request)
        found = await run_in_threadpool(nodes.list_nodes, hub)
        return JSONResponse({"nodes": [_node_to_json(node) for node in found]})

    return [
        Route("/api", info),
        Route("/api/datasets", datasets),
        Route("/api/datasets/{iri}", dataset),
        Route("/api/variables", variables),
        Route("/api/nodes", members),
    ]


def _node_to_json(node: HubNode) -> dict[str, Any]:
    return {
        "id": node.id,
        "title": node.title,
        "institution": node.institution,
        "country": node.country,
        "url": node.public_url,
        "online": node.online(),
        "joined_at": node.joined_at,
        "last_seen": node.last_seen,
    }


def audit_search(hub: Hub, principal: Principal, query: Query) -> None:
    """Who searched for what; called before the nodes are asked, so that a question without a trace is never sent."""
    hub.audit.append("searched", principal.subject, query=to_json(query))


def _search_routes(hub: Hub, identity: Identity, search: Search, limit: RateLimit) -> list[Route]:
    async def answer(request: Request) -> Response:
        principal = await identity.identify(request)
        query = from_pairs(request.query_params.multi_items(), RANGES)
        require_known(query)
        limit.spend(principal.subject)
        await run_in_threadpool(audit_search, hub, principal, query)
        if EVENTS in request.headers.get("accept", ""):
            return StreamingResponse(_events(search(query)), media_type=EVENTS, headers={"X-Accel-Buffering": "no"})
        answers = [answer async for answer in search(query)]
        content = {
            "query": to_json(query),
            "answers": [answer_to_json(answer) for answer in answers],
            "total": total_to_json(total(answers)),
        }
        return JSONResponse(content)

    return [Route("/api/search", answer)]


async def _events(answers: AsyncIterator[NodeAnswer]) -> AsyncIterator[str]:
    """Server-sent events: `answer` for each node, then `total`; or `problem`, after which nothing comes."""
    seen: list[NodeAnswer] = []
    try:
        async for answer in answers:
            seen.append(answer)
            yield _event("answer", answer_to_json(answer))
        yield _event("total", total_to_json(total(seen)))
    except CarinaError as error:
        yield _event("problem", problem_content(error))
    except Exception as error:  # noqa: BLE001  the response has begun: this is the only way left to say so
        yield _event("problem", problem_content(unexpected(error)))


def _event(name: str, content: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


def _session_routes(identity: Identity) -> list[Route]:
    async def begin(request: Request) -> Response:
        name, password = texts(await json_object(request), ("name", "password"))
        session = await identity.sign_in(request, name, password)
        who = session.principal
        content = {"token": session.secret, "name": who.subject, "display_name": who.display_name}
        return JSONResponse({**content, "roles": sorted(who.roles)}, 201)

    async def end(request: Request) -> Response:
        await identity.identify(request)
        await identity.sign_out(request)
        return Response(status_code=204)

    return [Route("/api/session", begin, methods=["POST"]), Route("/api/session", end, methods=["DELETE"])]


def _door(hub: Hub) -> list[Route]:
    """Where a node with an invitation shows it; and health."""
    limit = RateLimit(times=20, seconds=60)

    async def join(request: Request) -> Response:
        limit.spend(request.client.host if request.client else "unknown")
        return JSONResponse(await run_in_threadpool(nodes.accept_join, hub, await json_object(request)))

    return [Route("/federation/join", join, methods=["POST"]), *health_routes(hub.engine)]
