"""The node's console: what could not pass, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from carina.errors import BadInput, NotFound
from carina.interfaces.api.identity import STAFF
from carina.interfaces.api.node import MANAGERS
from carina.interfaces.api.quarantine import require_destroyer
from carina.interfaces.language import mark
from carina.interfaces.web import after
from carina.interfaces.web.pages import Pages
from carina.model.instance import Reason
from carina.model.principal import Principal
from carina.node import alternatives, discarded, quarantine
from carina.node.parcel import UNASSIGNED
from carina.node.quarantine import Batch, Wanted
from carina.node.remedies import REMEDIES
from carina.node.review import waits_for_reader
from carina.node.sender import sender_of
from carina.node.site import Node
from carina.storage import arrivals

ROWS = 50  # of a list on one page
FILTERS = ("source", "project", "modality", "days")
DAYS = (1, 7, 30, 90)  # ages that lists can be narrowed to
DONE = {
    "retried": mark("{images} given back to the workers."),
    "discarded": mark("{images} discarded. For 24 hours that can be undone."),
    "restored": mark("{images} taken back: waiting again as before."),
    "destroyed": mark("{images} destroyed for good."),
}
OPTIONS = {  # of a profile: what it keeps that others remove
    "retain_longitudinal_modified_dates": mark("dates, moved by a number of days of each person's own"),
    "retain_patient_characteristics": mark("sex, age, size and weight"),
    "retain_device_identity": mark("which device it was"),
    "retain_institution_identity": mark("which institution it was"),
    "retain_uids": mark("UIDs as they came"),
    "retain_safe_private": mark("private elements that are known to be safe"),
    "clean_descriptors": mark("descriptions, cleaned"),
    "clean_structured_content": mark("structured reports, cleaned"),
    "clean_graphics": mark("graphics and overlays, cleaned"),
    "clean_pixel_data": mark("pixels that were searched for text"),
    "clean_recognizable_visual_features": mark("heads with their faces removed"),
}
STATES = {
    "waiting": (mark("Waits"), "warn"),
    "retried": (mark("Given back to the workers"), "info"),
    "discarded": (mark("Discarded"), ""),
    "destroyed": (mark("Destroyed"), ""),
}


def quarantine_routes(node: Node, pages: Pages) -> list[Route]:
    """The reasons, the images of one reason, one image, what is discarded, and what is decided on them."""

    async def heaps(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        wanted = wanted_of(request.query_params)
        context = await run_in_threadpool(_overview, node, wanted)
        return await pages.render(request, "node/quarantine.html", **context, **_frame(request, wanted))

    async def heap(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        wanted = replace(wanted_of(request.query_params), reason=reason_of(request))
        context = await run_in_threadpool(_heap, node, wanted, request.query_params.get("after", ""), who)
        return await pages.render(request, "node/heap.html", **context, **_frame(request, wanted))

    async def one(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        context = await run_in_threadpool(_one, node, request.path_params["id"], who)
        if request.query_params.get("source") == "shown" and context["may_ask"]:
            context["sender"] = await run_in_threadpool(sender_of, node, who.subject, request.path_params["id"])
        return await pages.render(request, "node/held.html", **context, done=after.done(request, DONE))

    async def gone(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        wanted = wanted_of(request.query_params)
        last = request.query_params.get("after", "")
        found = await run_in_threadpool(
            partial(quarantine.entries, node, None, ROWS + 1, last, wanted=wanted, state="discarded")
        )
        context: dict[str, Any] = {"entries": found[:ROWS], "more": len(found) > ROWS}
        context["count"] = await run_in_threadpool(quarantine.count, node, wanted, "discarded")
        context["may_destroy"] = bool(who.roles & MANAGERS)
        return await pages.render(request, "node/discarded.html", **context, **_frame(request, wanted))

    async def progress(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        batch = _batch(request.query_params)
        found = await run_in_threadpool(quarantine.progress, node, batch)
        return await pages.render(request, "node/retried.html", progress=found, batch=batch)

    async def decide(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        async with request.form(max_files=0) as given:
            return await run_in_threadpool(_decide, node, who, given, f"/quarantine/{reason_of(request)}")

    async def decide_gone(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        async with request.form(max_files=0) as given:
            return await run_in_threadpool(_decide_gone, node, who, given)

    return [
        Route("/quarantine", heaps),
        Route("/quarantine/discarded", gone, methods=["GET"]),
        Route("/quarantine/discarded", decide_gone, methods=["POST"]),
        Route("/quarantine/progress", progress, methods=["GET"]),
        Route("/quarantine/{reason}", heap, methods=["GET"]),
        Route("/quarantine/{reason}", decide, methods=["POST"]),
        Route("/quarantine/{reason}/{id}", one, methods=["GET"]),
    ]


def _overview(node: Node, wanted: Wanted) -> dict[str, Any]:
    return {
        "heaps": quarantine.heaps(node, wanted),
        "choices": quarantine.choices(node),
        "discarded": quarantine.count(node, wanted, "discarded"),
        "remedies": REMEDIES,
    }


def _heap(node: Node, wanted: Wanted, last: str, who: Principal) -> dict[str, Any]:
    held = quarantine.entries(node, None, ROWS + 1, last, wanted=wanted)
    reason = wanted.reason or Reason.FAILED
    return {
        "reason": reason,
        "remedies": REMEDIES[reason],
        "entries": held[:ROWS],
        "more": len(held) > ROWS,
        "count": quarantine.count(node, wanted),
        "choices": quarantine.choices(node),
        "profiles": _profiles(node, wanted.project, who) if "profile" in REMEDIES[reason].actions else [],
        "reviewed": waits_for_reader(node, [one.id for one in held]),
    }


def _profiles(node: Node, project: str | None, who: Principal) -> list[alternatives.Alternative]:
    """Offered to data managers for one project: what another profile keeps depends on that project's own."""
    known = list(node.projects.values())
    mine = next((one for one in known if one.id == project), known[0] if len(known) == 1 and not project else None)
    return alternatives.offered(node, mine) if mine is not None and who.roles & MANAGERS else []


def _one(node: Node, arrival_id: str, who: Principal) -> dict[str, Any]:
    held = quarantine.get(node, arrival_id)
    with node.engine.connect() as connection:
        arrival = arrivals.get(connection, arrival_id)
    remedies = REMEDIES[held.reason]
    return {
        "held": held,
        "arrival": arrival,
        "remedies": remedies,
        "state": STATES[held.state],
        "options": OPTIONS,
        "profiles": _profiles(node, held.project or "-", who) if "profile" in remedies.actions else [],
        "reviewed": waits_for_reader(node, [held.id]),
        "may_ask": held.source.name == UNASSIGNED and held.state != "destroyed" and bool(who.roles & MANAGERS),
        "sender": None,
    }


def _decide(node: Node, who: Principal, given: FormData, path: str) -> Response:
    """What a form of a reason asks for: of one entry, or of all that its filters leave."""
    action, profile = str(given.get("action", "")), str(given.get("profile", ""))
    chosen, where = _chosen(given, Reason(path.rpartition("/")[2]))
    if action == "retry-by":
        if not who.roles & MANAGERS or not profile:
            raise BadInput("A data manager chooses another profile.", "Choose one of those that are offered.")
        action = "retry"
    else:
        profile = ""
    if action == "retry":
        batch = quarantine.retry(node, who.subject, **chosen, profile=profile)
        return _back(path, "retried", batch.count, {**where, "from": str(batch.first), "to": str(batch.last)})
    if action == "discard":
        return _back(path, "discarded", quarantine.discard(node, who.subject, **chosen), where)
    raise BadInput("This form asks for nothing that is known here.")


def _decide_gone(node: Node, who: Principal, given: FormData) -> Response:
    action, path = str(given.get("action", "")), "/quarantine/discarded"
    chosen, where = _chosen(given, None)
    if action == "restore":
        return _back(path, "restored", quarantine.restore(node, who.subject, **chosen), where)
    if action == "destroy":
        require_destroyer(who)
        ids = chosen.get("ids") or quarantine.ids(node, chosen["wanted"], "discarded")
        return _back(path, "destroyed", discarded.destroy(node, who.subject, ids), where)
    raise BadInput("This form asks for nothing that is known here.")


def _chosen(given: FormData, reason: Reason | None) -> tuple[dict[str, Any], dict[str, str]]:
    """What a service is asked with, and the filters of the page to go back to."""
    where = {name: str(given[name]) for name in FILTERS if given.get(name)}
    if one := str(given.get("id", "")):
        return {"ids": [one]}, where
    return {"wanted": replace(wanted_of(QueryParams(where)), reason=reason)}, where


def _back(path: str, word: str, count: int, where: dict[str, str]) -> Response:
    return RedirectResponse(f"{path}?{urlencode({**where, 'done': word, 'count': str(count)})}", 303)


def _frame(request: Request, wanted: Wanted) -> dict[str, Any]:
    """What lists share: what was just done, the filters as they are, and as an address has them."""
    batch = _batch(request.query_params)
    kept = {name: str(getattr(wanted, name)) for name in FILTERS if getattr(wanted, name)}
    return {
        "done": after.done(request, DONE),
        "batch": batch if batch.count and request.query_params.get("done") == "retried" else None,
        "wanted": wanted,
        "kept": kept,
        "query": urlencode(kept),
        "ages": DAYS,
        "options": OPTIONS,
    }


def _batch(given: QueryParams) -> Batch:
    first, last = (given.get(name, "") for name in ("from", "to"))
    if not (first.isdecimal() and last.isdecimal() and len(first) < 16 and len(last) < 16):
        return Batch(0)
    return Batch(max(0, int(last) - int(first) + 1), int(first), int(last))


def wanted_of(given: QueryParams) -> Wanted:
    """The filters of an address. Raises `BadInput` for a number of days that is none."""
    days = given.get("days", "") or "0"
    if not days.isdecimal() or len(days) > 5:
        raise BadInput("The age is no number of days.", "Write it in digits.")
    return Wanted(
        source=given.get("source", "")[:220],
        project=given.get("project", "")[:40],
        modality=given.get("modality", "")[:16],
        days=int(days),
    )


def reason_of(request: Request) -> Reason:
    """The reason that the address names, or `NotFound`."""
    try:
        return Reason(request.path_params["reason"])
    except ValueError:
        raise NotFound("There is no such reason for quarantine.") from None
