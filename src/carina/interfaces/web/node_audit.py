"""The node's console: the audit trail, its export, and whether its chain is whole."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from carina.errors import BadInput
from carina.interfaces.api.audit import export_of, wanted_of
from carina.interfaces.api.identity import STAFF
from carina.interfaces.web.pages import Pages
from carina.node.site import Node
from carina.storage import trail
from carina.storage.trail import Check

ROWS = 50  # of a list on one page
CHECKED_AT_ONCE = 1_000  # rows of the audit trail that are checked whenever its page is shown


def audit_routes(node: Node, pages: Pages) -> list[Route]:
    """The trail, newest first, narrowed; as a file; and its check, step by step."""

    async def audit(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        context = await run_in_threadpool(_audit, node, request.query_params)
        return await pages.render(request, "node/audit.html", **context)

    async def export(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        return await run_in_threadpool(export_of, node, who.subject, dict(request.query_params))

    async def check(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        async with request.form(max_files=0) as given:
            begin = str(given.get("from", ""))
        if begin not in ("first", "last"):
            raise BadInput("This form asks for nothing that is known here.")
        found = await run_in_threadpool(lambda: trail.check_on(node.engine, anew=begin == "first"))
        if "hx-request" in request.headers:
            return await pages.render(request, "node/audit_check.html", check=found, check_at_once=CHECKED_AT_ONCE)
        return RedirectResponse("/audit?check=on", 303)

    return [
        Route("/audit", audit, methods=["GET"]),
        Route("/audit/export", export, methods=["GET"]),
        Route("/audit/check", check, methods=["POST"]),
    ]


def _audit(node: Node, address: QueryParams) -> dict[str, Any]:
    """Rows of the trail, and how far its chain is whole; a short one is checked whenever it is shown."""
    fields = trail.Wanted.__dataclass_fields__
    given = {name: value for name, value in address.items() if name in fields and value}
    if "action" in given:
        given["action"] = given["action"].strip().replace(" ", "-")
    wanted, before = wanted_of(given), address.get("before", "")
    found = trail.find(node.engine, wanted, ROWS, int(before) if before.isdecimal() and len(before) < 16 else None)
    kept = {name: value for name, value in asdict(wanted).items() if value}
    return {
        "entries": found.entries,
        "older": f"/audit?{urlencode({**kept, 'before': str(found.before)})}" if found.before is not None else "",
        "wanted": wanted,
        "kept": kept,
        "query": urlencode(kept),
        "actions": trail.actions(node.engine),
        "check": _checked(node, address.get("check") == "on"),
        "check_at_once": CHECKED_AT_ONCE,
    }


def _checked(node: Node, running: bool) -> Check | None:
    """What the last check has found; `running`: how far the present one has come, which somebody has asked for."""
    newest = node.audit.entries(1)
    if not newest or newest[0].seq < CHECKED_AT_ONCE:
        return trail.glance(node.engine, CHECKED_AT_ONCE)
    return (None if running else trail.last_verdict(node.engine)) or trail.last_check(node.engine)
