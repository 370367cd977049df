"""A node's JSON. Inside, for its staff: its state, its permits. Outside, for programs: the way in. Health on both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.errors import BadInput
from carina.federation import wire
from carina.interfaces.api.asked import asked_routes
from carina.interfaces.api.audit import audit_routes
from carina.interfaces.api.evidence import evidence_routes
from carina.interfaces.api.health import Check, health_routes
from carina.interfaces.api.identity import STAFF, Identity
from carina.interfaces.api.metrics import Meter, metrics_routes
from carina.interfaces.api.quarantine import quarantine_routes
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.requests import json_object, no_parameters, texts
from carina.interfaces.api.review import review_routes
from carina.interfaces.api.visitors import count_entry
from carina.model.clock import stamp
from carina.model.permit import Visa
from carina.model.principal import Role
from carina.node import permits, visits
from carina.node.permits import HeldPermit
from carina.node.site import Node
from carina.node.status import status
from carina.storage.arrivals import Tally, tally

MANAGERS: frozenset[Role] = frozenset({"data-manager"})


def inside_routes(
    node: Node, identity: Identity, meter: Meter | None = None, checks: Sequence[Check] = ()
) -> list[Route]:
    """`/api/status` and `/metrics` for the staff, `/api/permits` and the evidence of datasets for data managers, and
    health.

    meter    what this process counts; None: nothing
    checks   see `health_routes`
    """

    async def show_status(request: Request) -> Response:
        await identity.identify(request, STAFF)
        no_parameters(request)
        return JSONResponse(await run_in_threadpool(status_to_json, node))

    managers = [*_permit_routes(node, identity), *evidence_routes(node, identity)]
    managers += [*quarantine_routes(node, identity), *review_routes(node, identity)]
    managers += [*asked_routes(node, identity), *audit_routes(node, identity)]
    figures = metrics_routes(node, identity, meter or Meter())
    return [Route("/api/status", show_status), *figures, *managers, *health_routes(node.engine, checks)]


def _permit_routes(node: Node, identity: Identity) -> list[Route]:
    async def every(request: Request) -> Response:
        await identity.identify(request, MANAGERS)
        no_parameters(request)
        held = await run_in_threadpool(permits.listed, node)
        return JSONResponse([permit_to_json(permit) for permit in held])

    async def one(request: Request) -> Response:
        await identity.identify(request, MANAGERS)
        no_parameters(request)
        return JSONResponse(permit_to_json(await run_in_threadpool(permits.get, node, *_permit_of(request))))

    async def decide(request: Request) -> Response:
        who = await identity.identify(request, MANAGERS)
        body = await json_object(request)
        step, reason = texts({"reason": "", **body}, ("step", "reason"))
        decided = await run_in_threadpool(step_of(step, reason), node, who.subject, *_permit_of(request))
        return JSONResponse(permit_to_json(decided))

    return [
        Route("/api/permits", every, methods=["GET"]),
        Route("/api/permits/{hub}/{id}", one, methods=["GET"]),
        Route("/api/permits/{hub}/{id}", decide, methods=["POST"]),
    ]


def _permit_of(request: Request) -> tuple[str, str]:
    return request.path_params["hub"], request.path_params["id"]


def step_of(step: str, reason: str) -> Callable[[Node, str, str, str], HeldPermit]:
    """What a data manager decides on a permit: node, who, hub, id → how it stands then.

    step     countersign, decline or withdraw; `BadInput` for another
    reason   of the last two
    """
    match step:
        case "countersign":
            return permits.countersign
        case "decline":
            return partial(permits.decline, reason=reason)
        case "withdraw":
            return partial(permits.withdraw, reason=reason)
        case _:
            raise BadInput("This step is not known here.", "Use countersign, decline or withdraw.")


def outside_routes(node: Node, limit: RateLimit, checks: Sequence[Check] = ()) -> list[Route]:
    """What programs may reach from outside: the way in with a hub's one-time code, and health (with `checks`).

    limit   how many codes one address may bring (`visitors.entries`); the same as that of the pages
    """

    async def enter(request: Request) -> Response:
        count_entry(limit, request)
        [code] = texts(await json_object(request), ("code",))
        visit = await run_in_threadpool(partial(visits.enter, node, code, lifetime=visits.PROGRAM))
        found = {"token": visit.secret, "dataset": visit.dataset, "expires": stamp(visit.expires)}
        return JSONResponse(found, HTTPStatus.CREATED)

    return [Route("/api/enter", enter, methods=["POST"]), *health_routes(node.engine, checks)]


def permit_to_json(permit: HeldPermit) -> dict[str, Any]:
    """A permit as this node holds it: the hub's word, its own, and how often it was used."""
    return {
        "hub": permit.hub,
        "hub_title": permit.hub_title,
        **_visa_to_json(permit.visa),
        "state": permit.state,
        "hub_state": permit.hub_state,
        "received_at": permit.received_at,
        "decided_at": permit.decided_at,
        "decided_by": permit.decided_by,
        "reason": permit.reason,
        "use": wire.write(permit.use),
    }


def _visa_to_json(visa: Visa) -> dict[str, Any]:
    return {
        "id": visa.id,
        "account": visa.subject,
        "name": visa.name,
        "organisation": visa.organisation,
        "project": visa.project,
        "purpose": visa.purpose,
        "dataset": visa.dataset,
        "version": visa.version,
        "actions": list(visa.actions),
        "conditions": visa.conditions,
        "issued_at": stamp(visa.issued),
        "expires_at": stamp(visa.expires),
    }


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
        "forgotten": sums.forgotten,
    }
