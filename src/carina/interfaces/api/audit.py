"""The audit trail as JSON, for a node's staff: parts of it, all of it as a file, and how far it was checked."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from carina.errors import BadInput
from carina.interfaces.api.days import filters
from carina.interfaces.api.identity import STAFF, Identity
from carina.interfaces.api.requests import json_object, texts
from carina.node.site import Node
from carina.storage import trail
from carina.storage.trail import Wanted

MOST = 1_000  # rows of one answer
FILTERS = tuple(Wanted.__dataclass_fields__)
_MEDIA = {"csv": "text/csv; charset=utf-8", "json": "application/x-ndjson"}


def audit_routes(node: Node, identity: Identity) -> list[Route]:
    """`/api/audit` and what is below."""

    async def show(request: Request) -> Response:
        await identity.identify(request, STAFF)
        given = dict(request.query_params)
        before, limit = given.pop("before", ""), given.pop("limit", "100")
        numbers = all(text.isdecimal() and len(text) < 16 for text in (limit, before or "0"))
        if not numbers or not 0 < int(limit) <= MOST:
            raise BadInput(f"The limit is 1 to {MOST}, `before` a row's number.")
        ask = partial(trail.find, node.engine, wanted_of(given), int(limit), int(before) if before else None)
        found = await run_in_threadpool(ask)
        return JSONResponse({"entries": [asdict(one) for one in found.entries], "before": found.before})

    async def export(request: Request) -> Response:
        who = await identity.identify(request, STAFF)
        return await run_in_threadpool(export_of, node, who.subject, dict(request.query_params))

    async def state(request: Request) -> Response:
        await identity.identify(request, STAFF)
        return JSONResponse(_check(await run_in_threadpool(trail.last_check, node.engine)))

    async def check(request: Request) -> Response:
        await identity.identify(request, STAFF)
        [begin] = texts(await json_object(request), ("from",))
        if begin not in ("first", "last"):
            raise BadInput("A check begins at the first row, or where the last one came to.", "Use first or last.")
        step = partial(trail.check_on, node.engine, anew=begin == "first")
        return JSONResponse(_check(await run_in_threadpool(step)))

    return [
        Route("/api/audit", show),
        Route("/api/audit/export", export),
        Route("/api/audit/check", state, methods=["GET"]),
        Route("/api/audit/check", check, methods=["POST"]),
    ]


def _check(found: trail.Check | None) -> dict[str, Any]:
    return {} if found is None else asdict(found)


def wanted_of(given: dict[str, str]) -> Wanted:
    """The filters, or `BadInput` for one that is not known or a day that is none."""
    return Wanted(**filters(given, FILTERS))


def export_of(node: Node, actor: str, given: dict[str, str]) -> Response:
    """The rows as a file that is sent while it is read, and written down before."""
    form = trail.form_of(given.pop("form", "json"))
    wanted = wanted_of({name: value for name, value in given.items() if value})
    note_export(node, actor, wanted, form)
    lines = trail.blocks(trail.lines(trail.every(node.engine, wanted), form))
    name = "audit.csv" if form == "csv" else "audit.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines, media_type=_MEDIA[form], headers=headers)


def note_export(node: Node, actor: str, wanted: Wanted, form: str) -> None:
    """Write down that the trail is exported: which filters, and of the days what they are."""
    used = {name: value for name, value in asdict(wanted).items() if value and name in ("since", "until")}
    named = sorted(name for name, value in asdict(wanted).items() if value)
    node.audit.append("audit-exported", actor, node.id, form=form, filters=named, **used)
