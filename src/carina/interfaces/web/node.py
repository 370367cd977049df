"""The node's console, inside only and for its staff: arrivals, quarantine, datasets, hubs, audit trail."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from carina.errors import BadInput, CarinaError, Conflict, InvalidQuery, NotFound
from carina.interfaces.api.identity import STAFF, Identity
from carina.interfaces.api.problems import status_of
from carina.interfaces.web import charts
from carina.interfaces.web.forget import forget_routes
from carina.interfaces.web.node_permits import asked_routes, permit_routes
from carina.interfaces.web.pages import Link, Pages, is_staff, static_files
from carina.interfaces.web.review import is_manager, review_routes
from carina.interfaces.web.signin import sign_in_routes
from carina.interfaces.web.words import SOURCE_KINDS, plural
from carina.model.cohort import Query, from_pairs
from carina.model.ids import ProjectId
from carina.model.instance import Reason
from carina.model.principal import Principal, Role
from carina.model.variables import RANGES
from carina.node import datasets, quarantine, snapshots
from carina.node.arrivals import overview
from carina.node.membership import list_hubs
from carina.node.site import Node
from carina.storage.arrivals import Tally

MANAGERS: frozenset[Role] = frozenset({"data-manager"})
MENU = (
    Link("/", "Arrivals", is_staff),
    Link("/quarantine", "Quarantine", is_staff),
    Link("/review", "Review", is_manager),
    Link("/datasets", "Datasets", is_staff),
    Link("/permits", "Permits", is_staff),
    Link("/asked", "Asked", is_staff),
    Link("/hubs", "Hubs", is_staff),
    Link("/audit", "Audit trail", is_staff),
)
ROWS = 50  # of a list on one page
DATASET_TEXTS = ("project", "title", "description", "query")  # of the form of a new one
CHECKED_AT_ONCE = 20_000  # rows of the audit trail that are checked whenever its page is shown

# What a page says after something was done; the address holds the word and a number, never a text.
DONE = {
    "retried": "{images} given back to the workers.",
    "discarded": "{images} discarded.",
    "created": "Saved as a draft.",
    "published": "Published. The hubs are told at the next contact.",
    "snapshot": "Kept as a snapshot. Permits can be for it from now on, and it never changes.",
    "withdrawn": "Withdrawn. Searches leave it out from now on, and the hubs are told at the next contact.",
}


def node_frame(node: Node, identity: Identity) -> Pages:
    """What all of the node's pages share; `.error` makes the pages of errors."""
    return Pages("node", node.id, node.title, identity, MENU)


def node_pages(node: Node, identity: Identity) -> list[Route | Mount]:
    """All routes of the console. Raises `BadSettings` when the files that pages load are not in place."""
    pages = node_frame(node, identity)
    return [
        static_files(),
        *_arrival_routes(node, pages),
        *_quarantine_routes(node, pages),
        *review_routes(node, pages),
        *_dataset_routes(node, pages),
        *permit_routes(node, pages),
        *asked_routes(node, pages),
        *_record_routes(node, pages),
        *forget_routes(node, pages),
        *sign_in_routes(pages),
    ]


def _arrival_routes(node: Node, pages: Pages) -> list[Route]:
    async def arrivals(request: Request) -> Response:
        return await show(request, "node/arrivals.html")

    async def live(request: Request) -> Response:
        return await show(request, "node/live.html")

    async def show(request: Request, template: str) -> Response:
        await pages.identity.identify(request, STAFF)
        seen = await run_in_threadpool(overview, node, 10)
        sources = source_rows(node, seen.sources)
        names = ("arrived", "archived", "unchanged", "quarantined", "forgotten", "waiting")
        sums = {name: sum(row[name] for row in sources) for name in names}
        return await pages.render(request, template, sums=sums, sources=sources, studies=seen.studies)

    return [Route("/", arrivals), Route("/live", live)]


def source_rows(node: Node, tallies: tuple[Tally, ...]) -> list[dict[str, Any]]:
    """A row per source: those that sent something, and those that are expected to."""
    silent = [Tally(source, 0, 0, 0, {}) for source in node.project_of if source not in {t.source for t in tallies}]
    return [
        {
            "name": tally.source.name,
            "kind": SOURCE_KINDS[tally.source.kind],
            "project": node.project_of.get(tally.source),
            "arrived": tally.total,
            "archived": tally.archived,
            "unchanged": tally.unchanged,
            "quarantined": sum(tally.quarantined.values()),
            "forgotten": tally.forgotten,
            "waiting": tally.received,
            "done": int(charts.share(tally.total - tally.received, tally.total)),
        }
        for tally in (*tallies, *silent)
    ]


def _quarantine_routes(node: Node, pages: Pages) -> list[Route]:
    async def heaps(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        found = await run_in_threadpool(quarantine.heaps, node)
        return await pages.render(request, "node/quarantine.html", heaps=found, done=done(request))

    async def heap(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        reason = reason_of(request)
        after = request.query_params.get("after", "")
        held = await run_in_threadpool(quarantine.entries, node, reason, ROWS + 1, after)
        sums = {found.reason: found.count for found in await run_in_threadpool(quarantine.heaps, node)}
        return await pages.render(
            request,
            "node/heap.html",
            reason=reason,
            entries=held[:ROWS],
            more=len(held) > ROWS,
            count=sums.get(reason, 0),
            done=done(request),
        )

    async def decide(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        reason = reason_of(request)
        async with request.form(max_files=0) as given:
            action, one = str(given.get("action", "")), str(given.get("id", ""))
        chosen: dict[str, Any] = {"ids": [one]} if one else {"reason": reason}
        if action == "retry":
            count = await run_in_threadpool(quarantine.retry, node, who.subject, **chosen)
            return _back(f"/quarantine/{reason}", "retried", count)
        if action == "discard":
            count = await run_in_threadpool(quarantine.discard, node, who.subject, **chosen)
            return _back(f"/quarantine/{reason}", "discarded", count)
        raise BadInput("This form asks for nothing that is known here.")

    return [
        Route("/quarantine", heaps),
        Route("/quarantine/{reason}", heap, methods=["GET"]),
        Route("/quarantine/{reason}", decide, methods=["POST"]),
    ]


def reason_of(request: Request) -> Reason:
    """The reason that the address names, or `NotFound`."""
    try:
        return Reason(request.path_params["reason"])
    except ValueError:
        raise NotFound("There is no such reason for quarantine.") from None


def _dataset_routes(node: Node, pages: Pages) -> list[Route]:
    async def every(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        found = await run_in_threadpool(datasets.listed, node)
        context: dict[str, Any] = {"datasets": found, "projects": list(node.projects.values()), "done": done(request)}
        return await pages.render(request, "node/datasets.html", **context, may_manage=may_manage(who))

    async def one(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        dataset = await run_in_threadpool(datasets.get, node, request.path_params["iri"])
        description = await run_in_threadpool(datasets.describe, node, dataset)
        return await pages.render(
            request,
            "node/dataset.html",
            dataset=dataset,
            description=description,
            charts_shown=charts.charts(description.groups),
            snapshots=await run_in_threadpool(snapshots.listed, node, dataset.iri),
            hubs=[hub.title for hub in await run_in_threadpool(list_hubs, node)],
            may_manage=may_manage(who),
            done=done(request),
        )

    async def change(request: Request) -> Response:
        who = await pages.identity.identify(request, MANAGERS)
        iri = request.path_params["iri"]
        async with request.form(max_files=0) as given:
            action = str(given.get("action", ""))
        if action == "publish":
            await run_in_threadpool(datasets.publish, node, who.subject, iri)
            return _back(f"/datasets/{iri}", "published")
        if action == "withdraw":
            await run_in_threadpool(datasets.withdraw, node, who.subject, iri)
            return _back(f"/datasets/{iri}", "withdrawn")
        if action == "snapshot":
            await run_in_threadpool(snapshots.take, node, who.subject, iri)
            return _back(f"/datasets/{iri}", "snapshot")
        raise BadInput("This form asks for nothing that is known here.")

    async def form(request: Request) -> Response:
        await pages.identity.identify(request, MANAGERS)
        given = dict.fromkeys((*DATASET_TEXTS, "longest_days"), "")
        return await _new_dataset(node, pages, request, {**given, "actions": list(node.policy.actions)})

    async def create(request: Request) -> Response:
        who = await pages.identity.identify(request, MANAGERS)
        async with request.form(max_files=0) as sent:
            given: dict[str, Any] = {name: str(sent.get(name, "")).strip() for name in (*DATASET_TEXTS, "longest_days")}
            given["actions"] = [str(action) for action in sent.getlist("actions")]
        try:
            make = partial(
                datasets.create,
                description=given["description"],
                query=typed_query(given["query"]),
                actions=None if set(given["actions"]) == set(node.policy.actions) else given["actions"],
                longest_days=typed_days(given["longest_days"]),
            )
            made = await run_in_threadpool(make, node, who.subject, ProjectId(given["project"]), given["title"])
        except (BadInput, NotFound) as error:
            return await _new_dataset(node, pages, request, given, error)
        return _back(f"/datasets/{made.iri}", "created")

    return [
        Route("/datasets", every),
        Route("/datasets/new", form, methods=["GET"]),
        Route("/datasets/new", create, methods=["POST"]),
        Route("/datasets/{iri}", one, methods=["GET"]),
        Route("/datasets/{iri}", change, methods=["POST"]),
    ]


def typed_query(text: str) -> Query:
    """The query of an explorer's address or of its end, `modality=CT&age=40-60`; empty: everything.

    Raises `InvalidQuery` for a text that is neither; nothing of it is left out in silence.
    """
    given = text.partition("/explorer?")[2] or text
    try:
        pairs = parse_qsl(given, strict_parsing=bool(given))
    except ValueError:
        raise InvalidQuery("This is no query.", "Write it as modality=CT&age=40-60, or leave it empty.") from None
    return from_pairs([pair for pair in pairs if pair != ("everyone", "1")], RANGES)


def typed_days(text: str) -> int | None:
    """A number of days, or None for nothing: as the node allows. Raises `BadInput`."""
    if not text:
        return None
    if not text.isdecimal() or len(text) > 5:
        raise BadInput("The longest time is no number of days.", "Write it in digits, or leave it empty.")
    return int(text)


async def _new_dataset(
    node: Node, pages: Pages, request: Request, given: dict[str, Any], problem: CarinaError | None = None
) -> Response:
    status = 200 if problem is None else status_of(problem)
    context = {"projects": list(node.projects.values()), "policy": node.policy, "given": given, "problem": problem}
    return await pages.render(request, "node/dataset_new.html", status, **context)


def _record_routes(node: Node, pages: Pages) -> list[Route]:
    async def hubs(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        found = await run_in_threadpool(lambda: list_hubs(node, joined_only=False))
        return await pages.render(request, "node/hubs.html", hubs=found)

    async def audit(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        before = request.query_params.get("before", "")
        action = request.query_params.get("action", "").strip()[:64]
        check = request.query_params.get("check") == "1"
        context = await run_in_threadpool(_audit, node, int(before) if before.isdecimal() else None, action, check)
        return await pages.render(request, "node/audit.html", **context, action=action)

    return [Route("/hubs", hubs), Route("/audit", audit)]


def _audit(node: Node, before: int | None, action: str, check: bool) -> dict[str, Any]:
    """Rows of the trail, and whether its chain is whole; a long one is checked only when asked for."""
    head = node.audit.entries(1)
    long = bool(head) and head[0].seq > CHECKED_AT_ONCE
    count, broken = None, None
    if check or not long:
        try:
            count = node.audit.verify()
        except Conflict as error:
            broken = error
    entries = node.audit.entries(ROWS + 1, before, action.replace(" ", "-") or None)
    older = None
    if len(entries) > ROWS:
        words = {"before": str(entries[ROWS - 1].seq), **({"action": action} if action else {})}
        older = f"/audit?{urlencode(words)}"
    return {"entries": entries[:ROWS], "older": older, "count": count, "broken": broken}


def may_manage(who: Principal) -> bool:
    """Whether this person decides on datasets."""
    return bool(who.roles & MANAGERS)


def done(request: Request) -> str:
    """The sentence for what was just done, from the address; empty for anything else."""
    count = request.query_params.get("count", "")
    images = plural(int(count), "image") if count.isdecimal() and len(count) < 10 else "Images"
    return DONE.get(request.query_params.get("done", ""), "").format(images=images)


def _back(path: str, word: str, count: int | None = None) -> Response:
    """Load the page after a form, so that loading it again does not send the form again."""
    words = {"done": word} | ({} if count is None else {"count": str(count)})
    return RedirectResponse(f"{path}?{urlencode(words)}", 303)
