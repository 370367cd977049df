"""The console's pages of permits; what was asked under them is in `asked`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.errors import BadInput, CarinaError, Conflict, PermitDenied
from carina.interfaces.api.identity import STAFF
from carina.interfaces.api.node import MANAGERS, step_of
from carina.interfaces.api.problems import status_of
from carina.interfaces.language import gettext as _
from carina.interfaces.language import mark
from carina.interfaces.web.imagewords import last_day
from carina.interfaces.web.pages import Pages, back
from carina.model.clock import now
from carina.node import datasets, permits
from carina.node.permits import HeldPermit
from carina.node.site import Node

# (word, colour) of how a permit stands, and the words of what the person just did.
STANDINGS = {
    "waiting": (mark("Waits for a signature"), "warn"),
    "in-force": (mark("In force"), "good"),
    "declined": (mark("Declined"), "bad"),
    "withdrawn": (mark("Taken back"), "bad"),
    "ended": (mark("Ended by the hub"), "bad"),
    "expired": (mark("Expired"), ""),
}
DONE = {
    "countersign": mark("Signed. The permit is in force from now on."),
    "decline": mark("Declined. The hub is told, with your reason."),
    "withdraw": mark("Taken back. Whatever was open under this permit is closed."),
}


@dataclass(frozen=True)
class Row:
    """A permit with the title of its dataset and how it stands: a word of `STANDINGS`."""

    permit: HeldPermit
    title: str
    standing: str


def permit_routes(node: Node, pages: Pages) -> list[Route]:
    """`/permits` and what is below."""

    async def every(request: Request) -> Response:
        return await show(request, "node/permits.html")

    async def live(request: Request) -> Response:
        return await show(request, "node/permits_live.html")

    async def show(request: Request, template: str) -> Response:
        who = await pages.identity.identify(request, STAFF)
        rows = await run_in_threadpool(permit_rows, node)
        groups: dict[str, Any] = {
            "waiting": [row for row in rows if row.standing == "waiting"],
            "current": [row for row in rows if row.standing == "in-force"],
            "over": [row for row in rows if row.standing not in ("waiting", "in-force")],
        }
        return await pages.render(request, template, **groups, **words_of(node), may_decide=bool(who.roles & MANAGERS))

    async def one(request: Request) -> Response:
        return await _one(node, pages, request)

    async def decide(request: Request) -> Response:
        who = await pages.identity.identify(request, MANAGERS)
        hub, permit = request.path_params["hub"], request.path_params["id"]
        async with request.form(max_files=0, max_fields=10) as given:
            step, reason = str(given.get("step", "")), str(given.get("reason", "")).strip()
        try:
            await run_in_threadpool(step_of(step, reason), node, who.subject, hub, permit)
        except (BadInput, Conflict, PermitDenied) as error:
            return await _one(node, pages, request, error, reason)
        return back(f"/permits/{hub}/{permit}", step)

    return [
        Route("/permits", every, methods=["GET"]),
        Route("/permits/live", live, methods=["GET"]),
        Route("/permits/{hub}/{id}", one, methods=["GET"]),
        Route("/permits/{hub}/{id}", decide, methods=["POST"]),
    ]


async def _one(
    node: Node,
    pages: Pages,
    request: Request,
    problem: CarinaError | None = None,
    reason: str = "",
) -> Response:
    """A permit's page; with `problem`, after a decision that could not be taken, what was typed is kept."""
    who = await pages.identity.identify(request, STAFF)
    held = await run_in_threadpool(permits.get, node, request.path_params["hub"], request.path_params["id"])
    [row] = await run_in_threadpool(_rows, node, [held])
    status = 200 if problem is None else status_of(problem)
    given = {"reason": reason, "problem": problem}
    done = DONE.get(request.query_params.get("done", ""), "") if problem is None else ""
    context = {"row": row, "given": given, "done": done, "may_decide": bool(who.roles & MANAGERS)}
    return await pages.render(request, "node/permit.html", status, **context, **words_of(node))


def words_of(node: Node) -> dict[str, Any]:
    """What the templates of permits share."""
    return {
        "standings": STANDINGS,
        "last_day_of": last_day,
        "countersigned": node.policy.countersign,
        "longest": permits.LONGEST_REASON,
    }


def permit_rows(node: Node) -> list[Row]:
    """All permits of joined hubs, newest first."""
    return _rows(node, permits.listed(node))


def _rows(node: Node, held: Sequence[HeldPermit]) -> list[Row]:
    titles = {dataset.iri: dataset.title for dataset in datasets.listed(node)}
    return [Row(one, titles.get(one.visa.dataset, _("A dataset that is not here")), standing(one)) for one in held]


def standing(permit: HeldPermit) -> str:
    """How a permit stands: what the hub has ended or time has is over, whatever the data manager said."""
    if permit.hub_state == "ended":
        return "ended"
    return "expired" if permit.visa.expires <= now() else permit.state
