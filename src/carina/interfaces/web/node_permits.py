"""The console's pages of permits, and of what was asked of the node and what left it."""

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
from carina.interfaces.web.imagewords import last_day
from carina.interfaces.web.pages import Pages, back
from carina.model.clock import now
from carina.node import datasets, jobs, permits
from carina.node.jobs import NodeJob
from carina.node.permits import HeldPermit
from carina.node.site import Node

ROWS = 100  # of jobs, and of searches, on the page of what was asked
SEARCHES = "search-answered"

# (word, colour) of how a permit stands, and the words of what the person just did.
STANDINGS = {
    "waiting": ("Waits for a signature", "warn"),
    "in-force": ("In force", "good"),
    "declined": ("Declined", "bad"),
    "withdrawn": ("Taken back", "bad"),
    "ended": ("Ended by the hub", "bad"),
    "expired": ("Expired", ""),
}
DONE = {
    "countersign": "Signed. The permit is in force from now on.",
    "decline": "Declined. The hub is told, with your reason.",
    "withdraw": "Taken back. Whatever was open under this permit is closed.",
}
SEARCH_STATES = {
    "counted": "With numbers",
    "below-threshold": "Below the threshold",
    "unknown-terms": "Did not know all terms",
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
    return [Row(one, titles.get(one.visa.dataset, "A dataset that is not here"), standing(one)) for one in held]


def standing(permit: HeldPermit) -> str:
    """How a permit stands: what the hub has ended or time has is over, whatever the data manager said."""
    if permit.hub_state == "ended":
        return "ended"
    return "expired" if permit.visa.expires <= now() else permit.state


def asked_routes(node: Node, pages: Pages) -> list[Route]:
    """`/asked`: what hubs asked of the node, what it answered, what left it."""

    async def asked(request: Request) -> Response:
        return await show(request, "node/asked.html")

    async def live(request: Request) -> Response:
        return await show(request, "node/asked_live.html")

    async def show(request: Request, template: str) -> Response:
        await pages.identity.identify(request, STAFF)
        return await pages.render(request, template, **await run_in_threadpool(present, node))

    return [Route("/asked", asked, methods=["GET"]), Route("/asked/live", live, methods=["GET"])]


def present(node: Node) -> dict[str, Any]:
    """What the page of what was asked shows now."""
    found = jobs.list_jobs(node, ROWS)
    rows = permit_rows(node)
    titles = {dataset.iri: dataset.title for dataset in datasets.listed(node)}
    uses = {name: sum(getattr(row.permit.use, name) for row in rows) for name in ("view", "retrieve", "analyse")}
    return {
        "jobs": found,
        "titles": titles,
        "used": [row for row in rows if row.permit.use.last is not None],
        "uses": uses,
        "sent": sum(1 for job in found if job.released),
        "open": sum(1 for job in found if job.state in ("taken", "running")),
        "searches": node.audit.entries(20, action=SEARCHES),
        "search_states": SEARCH_STATES,
        "left": left,
        **words_of(node),
    }


def left(job: NodeJob) -> str:
    """What left the node with a job's answer, in a sentence."""
    if job.state not in ("done", "refused", "failed", "cancelled"):
        return "Nothing yet."
    if not job.released:
        return "No group reached the threshold; none left." if job.state == "done" else "Nothing."
    groups = ", ".join(f"{one.group}: {one.n}" for one in job.released)
    return f"{groups} (number, mean and spread of each)"
