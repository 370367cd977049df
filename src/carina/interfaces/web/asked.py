"""The node's console: what hubs and researchers asked, what was answered, what left; and ending a job."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from carina.errors import BadInput
from carina.interfaces.api.asked import export_of, wanted_of
from carina.interfaces.api.identity import STAFF
from carina.interfaces.api.node import MANAGERS
from carina.interfaces.language import gettext as _
from carina.interfaces.language import mark
from carina.interfaces.web.node_permits import permit_rows, words_of
from carina.interfaces.web.pages import Pages
from carina.node import asked, datasets, jobs, permits
from carina.node.asked import Wanted
from carina.node.jobs import NodeJob
from carina.node.membership import list_hubs
from carina.node.site import Node

ROWS = 50  # of jobs on the page
LINES = 200  # of what was handed out day by day
SEARCHES = 20
SEARCH_STATES = {
    "counted": mark("With numbers"),
    "below-threshold": mark("Below the threshold"),
    "unknown-terms": mark("Did not know all terms"),
}
GIVEN = {"viewed": mark("Looked at"), "retrieved": mark("Fetched"), "released": mark("Sent out")}


def asked_routes(node: Node, pages: Pages) -> list[Route]:
    """`/asked` and what is below; `/jobs/{hub}/{id}`, where a data manager ends a job."""

    async def every(request: Request) -> Response:
        return await show(request, "node/asked.html")

    async def live(request: Request) -> Response:
        return await show(request, "node/asked_live.html")

    async def show(request: Request, template: str) -> Response:
        who = await pages.identity.identify(request, STAFF)
        context = await run_in_threadpool(present, node, request.query_params)
        done = request.query_params.get("done") == "cancelled"
        return await pages.render(request, template, **context, may_decide=bool(who.roles & MANAGERS), done=done)

    async def of_permit(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        hub, permit = request.path_params["hub"], request.path_params["id"]
        context = await run_in_threadpool(_of_permit, node, hub, permit, request.query_params)
        return await pages.render(request, "node/asked_permit.html", **context)

    async def export(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        return await run_in_threadpool(export_of, node, dict(request.query_params))

    async def cancel(request: Request) -> Response:
        who = await pages.identity.identify(request, MANAGERS)
        async with request.form(max_files=0) as given:
            if given.get("action") != "cancel":
                raise BadInput("This form asks for nothing that is known here.")
        await run_in_threadpool(jobs.cancel, node, who.subject, request.path_params["hub"], request.path_params["id"])
        return RedirectResponse("/asked?done=cancelled", 303)

    return [
        Route("/asked", every, methods=["GET"]),
        Route("/asked/live", live, methods=["GET"]),
        Route("/asked/export", export, methods=["GET"]),
        Route("/asked/permits/{hub}/{id}", of_permit, methods=["GET"]),
        Route("/jobs/{hub}/{id}", cancel, methods=["POST"]),
    ]


def present(node: Node, address: QueryParams) -> dict[str, Any]:
    """What the page of what was asked shows now."""
    fields = Wanted.__dataclass_fields__
    wanted = wanted_of({name: value for name, value in address.items() if name in fields and value})
    number, day = _number(address, "skip"), _number(address, "days")
    page = asked.jobs_asked(node, wanted, ROWS, number)
    rows = permit_rows(node)
    narrowed = any(asdict(wanted).values())
    of_permits = {str(row.permit.visa.id): str(row.permit.visa.dataset) for row in rows}
    kept = {name: value for name, value in asdict(wanted).items() if value}
    days = asked.given(node, wanted, of_permits, LINES, day) if narrowed else asked.Days((), False)
    answered = asked.searches(node, wanted, SEARCHES, _number(address, "before") or None)
    return {
        "jobs": page.jobs,
        "newer": f"/asked?{urlencode({**kept, 'skip': max(0, number - ROWS)})}" if number else "",
        "older": f"/asked?{urlencode({**kept, 'skip': number + ROWS})}" if page.more else "",
        "titles": {one.iri: one.title for one in datasets.listed(node)},
        "used": [row for row in rows if row.permit.use.last is not None and _fits(row.permit, wanted)],
        "given": days.lines,
        "days_newer": f"/asked?{urlencode({**kept, 'days': max(0, day - LINES)})}" if day else "",
        "days_older": f"/asked?{urlencode({**kept, 'days': day + LINES})}" if days.more else "",
        "still": bool(narrowed or number or address.get("before")),
        "given_words": GIVEN,
        "uses": {name: sum(getattr(row.permit.use, name) for row in rows) for name in ("view", "retrieve", "analyse")},
        "sent": sum(1 for job in page.jobs if job.released),
        "running": jobs.open_jobs(node),
        "searches": answered.entries,
        "searches_newer": f"/asked?{urlencode(kept)}" if address.get("before") else "",
        "searches_older": f"/asked?{urlencode({**kept, 'before': answered.before})}" if answered.before else "",
        "search_states": SEARCH_STATES,
        "left": left,
        "wanted": wanted,
        "narrowed": narrowed,
        "query": urlencode(kept),
        "hubs": list_hubs(node),
        "permits": rows,
        **words_of(node),
    }


def _number(address: QueryParams, name: str) -> int:
    text = address.get(name, "0")
    return int(text) if text.isdecimal() and len(text) < 9 else 0


def _fits(permit: permits.HeldPermit, wanted: Wanted) -> bool:
    pairs = (wanted.hub, permit.hub), (wanted.permit, permit.visa.id), (wanted.dataset, permit.visa.dataset)
    return all(not mine or mine == its for mine, its in (*pairs, (wanted.account, permit.visa.subject)))


def _of_permit(node: Node, hub: str, permit: str, address: QueryParams) -> dict[str, Any]:
    held = permits.get(node, hub, permit)
    given = {name: value for name in ("since", "until") if (value := address.get(name))}
    wanted = replace(wanted_of(given), hub=hub, permit=permit)
    titles = {one.iri: one.title for one in datasets.listed(node)}
    day, path = _number(address, "days"), f"/asked/permits/{hub}/{permit}"
    days = asked.given(node, wanted, {permit: held.visa.dataset}, LINES, day)
    return {
        "held": held,
        "title": titles.get(held.visa.dataset, _("A dataset that is not here")),
        "given": days.lines,
        "days_newer": f"{path}?{urlencode({**given, 'days': max(0, day - LINES)})}" if day else "",
        "days_older": f"{path}?{urlencode({**given, 'days': day + LINES})}" if days.more else "",
        "given_words": GIVEN,
        "jobs": asked.jobs_asked(node, wanted, ROWS).jobs,
        "left": left,
        "wanted": wanted,
        "since": wanted.since or asked.first_day(),
        "query": urlencode({name: value for name, value in asdict(wanted).items() if value}),
    }


def left(job: NodeJob) -> str:
    """What left the node with a job's answer, in a sentence."""
    if job.state not in ("done", "refused", "failed", "cancelled"):
        return _("Nothing yet.")
    if not job.released:
        return _("No group reached the threshold; none left.") if job.state == "done" else _("Nothing.")
    groups = ", ".join(f"{one.group}: {one.n}" for one in job.released)
    return _("{groups} (number, mean and spread of each)").format(groups=groups)
