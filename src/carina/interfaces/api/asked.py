"""What was asked of a node and what left it, and its jobs, as JSON for its staff; a job is ended by a data manager."""

from __future__ import annotations

from itertools import chain
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from carina.errors import BadInput
from carina.interfaces.api.days import filters
from carina.interfaces.api.identity import STAFF, Identity
from carina.interfaces.api.requests import json_object, no_parameters, texts
from carina.model.principal import Role
from carina.node import asked, jobs, permits
from carina.node.asked import Given, Wanted
from carina.node.site import Node
from carina.storage.trail import blocks, form_of, table_row

MANAGERS: frozenset[Role] = frozenset({"data-manager"})
FILTERS = tuple(Wanted.__dataclass_fields__)


def asked_routes(node: Node, identity: Identity) -> list[Route]:
    """`/api/asked`, `/api/jobs` and what is below."""

    async def show(request: Request) -> Response:
        await identity.identify(request, STAFF)
        wanted = wanted_of(dict(request.query_params))
        return JSONResponse(await run_in_threadpool(asked_to_json, node, wanted))

    async def every(request: Request) -> Response:
        await identity.identify(request, STAFF)
        no_parameters(request)
        return JSONResponse([asked.cell_of(job) for job in await run_in_threadpool(jobs.open_jobs, node)])

    async def one(request: Request) -> Response:
        await identity.identify(request, STAFF)
        no_parameters(request)
        place = request.path_params["hub"], request.path_params["id"]
        return JSONResponse(asked.cell_of(await run_in_threadpool(jobs.get_job, node, *place)))

    async def cancel(request: Request) -> Response:
        who = await identity.identify(request, MANAGERS)
        [action] = texts(await json_object(request), ("action",))
        if action != "cancel":
            raise BadInput("This action is not known here.", "Use cancel.")
        place = request.path_params["hub"], request.path_params["id"]
        return JSONResponse(asked.cell_of(await run_in_threadpool(jobs.cancel, node, who.subject, *place)))

    return [
        Route("/api/asked", show),
        Route("/api/jobs", every),
        Route("/api/jobs/{hub}/{id}", one, methods=["GET"]),
        Route("/api/jobs/{hub}/{id}", cancel, methods=["POST"]),
    ]


def wanted_of(given: dict[str, str]) -> Wanted:
    """The filters, or `BadInput` for one that is not known or a day that is none."""
    return Wanted(**filters(given, FILTERS))


def asked_to_json(node: Node, wanted: Wanted) -> dict[str, Any]:
    """Jobs, what was handed out day by day, and searches; `more`: of which there are others that are not in it."""
    jobs_found = asked.jobs_asked(node, wanted, asked.MOST)
    days = asked.given(node, wanted, _of_permits(node))
    answered = asked.searches(node, wanted, asked.MOST)
    return {
        "jobs": [asked.cell_of(job) for job in jobs_found.jobs],
        "given": [asked.given_to_json(line) for line in days.lines],
        "searches": [{"at": one.at, "hub": one.actor, **one.details} for one in answered.entries],
        "more": {"jobs": jobs_found.more, "given": days.more, "searches": answered.before is not None},
    }


def export_of(node: Node, given: dict[str, str]) -> Response:
    """It as a file: JSON, or as a table all that was handed out."""
    form = form_of(given.pop("form", "json"))
    wanted = wanted_of({name: value for name, value in given.items() if value})
    headers = {"Content-Disposition": f'attachment; filename="asked.{form}"'}
    if form == "json":
        return JSONResponse(asked_to_json(node, wanted), headers=headers)
    found = asked.all_given(node, wanted, _of_permits(node))
    lines = (table_row(asked.given_to_json(line).values()) for line in found)
    sent = blocks(chain([table_row(Given.__dataclass_fields__)], lines))
    return StreamingResponse(sent, media_type="text/csv; charset=utf-8", headers=headers)


def _of_permits(node: Node) -> dict[str, str]:
    return {str(one.visa.id): str(one.visa.dataset) for one in permits.listed(node)}
