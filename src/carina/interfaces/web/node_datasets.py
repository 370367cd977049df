"""The node's console: the datasets that it describes to its hubs."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.errors import BadInput, CarinaError, InvalidQuery, NotFound
from carina.interfaces.api.identity import STAFF
from carina.interfaces.api.problems import status_of
from carina.interfaces.web import after, charts
from carina.interfaces.web.pages import Pages
from carina.model.cohort import Query, from_pairs
from carina.model.ids import ProjectId
from carina.model.principal import Principal, Role
from carina.model.variables import RANGES
from carina.node import datasets, snapshots
from carina.node.datasetstate import state_of
from carina.node.membership import list_hubs
from carina.node.site import Node
from carina.node.watch import Watch

MANAGERS: frozenset[Role] = frozenset({"data-manager"})
TEXTS = ("project", "title", "description", "query")  # of the form of a new one
DONE = {
    "created": "Saved as a draft.",
    "published": "Published. The hubs are told at the next contact.",
    "snapshot": "Kept as a snapshot. Permits can be for it from now on, and it never changes.",
    "withdrawn": "Withdrawn. Searches leave it out from now on, and the hubs are told at the next contact.",
}


def dataset_routes(node: Node, pages: Pages, watch: Watch) -> list[Route]:
    """The list, the page of one, and the form of a new one."""

    async def every(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        found = await run_in_threadpool(datasets.listed, node)
        context: dict[str, Any] = {
            "datasets": found,
            "projects": list(node.projects.values()),
            "done": after.done(request, DONE),
        }
        return await pages.render(request, "node/datasets.html", **context, may_manage=may_manage(who))

    async def one(request: Request) -> Response:
        who = await pages.identity.identify(request, STAFF)
        dataset = await run_in_threadpool(datasets.get, node, request.path_params["iri"])
        found = await run_in_threadpool(watch.described, dataset)
        return await pages.render(
            request,
            "node/dataset.html",
            dataset=dataset,
            description=found.description,
            standing=await run_in_threadpool(state_of, node, dataset, found),
            charts_shown=charts.charts(found.description.groups),
            snapshots=await run_in_threadpool(snapshots.listed, node, dataset.iri),
            hubs=[hub.title for hub in await run_in_threadpool(list_hubs, node)],
            may_manage=may_manage(who),
            done=after.done(request, DONE),
        )

    async def change(request: Request) -> Response:
        who = await pages.identity.identify(request, MANAGERS)
        iri = request.path_params["iri"]
        async with request.form(max_files=0) as given:
            action = str(given.get("action", ""))
        if action == "publish":
            await run_in_threadpool(datasets.publish, node, who.subject, iri)
            return after.back(f"/datasets/{iri}", "published")
        if action == "withdraw":
            await run_in_threadpool(datasets.withdraw, node, who.subject, iri)
            return after.back(f"/datasets/{iri}", "withdrawn")
        if action == "snapshot":
            await run_in_threadpool(snapshots.take, node, who.subject, iri)
            return after.back(f"/datasets/{iri}", "snapshot")
        raise BadInput("This form asks for nothing that is known here.")

    async def form(request: Request) -> Response:
        await pages.identity.identify(request, MANAGERS)
        given = dict.fromkeys((*TEXTS, "longest_days"), "")
        return await _new_dataset(node, pages, request, {**given, "actions": list(node.policy.actions)})

    async def create(request: Request) -> Response:
        who = await pages.identity.identify(request, MANAGERS)
        async with request.form(max_files=0) as sent:
            given: dict[str, Any] = {name: str(sent.get(name, "")).strip() for name in (*TEXTS, "longest_days")}
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
        return after.back(f"/datasets/{made.iri}", "created")

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


def may_manage(who: Principal) -> bool:
    """Whether this person decides on datasets."""
    return bool(who.roles & MANAGERS)
