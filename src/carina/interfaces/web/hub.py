"""The hub's pages: home with live figures, the catalogue, the nodes; and the way to all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from carina.hub.catalogue import Entry, get_dataset, list_datasets
from carina.hub.centre import Hub
from carina.hub.committee import nodes_of
from carina.hub.figures import figures
from carina.hub.nodes import list_nodes
from carina.hub.terms import offered
from carina.interfaces.api.hub import Search
from carina.interfaces.api.identity import Identity
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.language import mark
from carina.interfaces.web import charts
from carina.interfaces.web.committee import committee_routes
from carina.interfaces.web.design import design_routes
from carina.interfaces.web.explorer import EXAMPLES, NodeCard, explorer_routes
from carina.interfaces.web.languages import language_routes
from carina.interfaces.web.pages import Link, Pages, signed_in, static_files
from carina.interfaces.web.permits import permit_routes
from carina.interfaces.web.requests import request_routes
from carina.interfaces.web.runs import run_routes
from carina.interfaces.web.signin import sign_in_routes
from carina.interfaces.web.snippets import dataset_snippets
from carina.interfaces.web.words import country
from carina.model.clock import now
from carina.model.dataset import DatasetDescription, Group
from carina.model.principal import Principal
from carina.model.variables import BY_NAME

FACETS = (BY_NAME["modality"], BY_NAME["body_part"])


def hub_menu(hub: Hub) -> tuple[Link, ...]:
    """For everyone what is open, for people with an account their own, and the committee's page for its members."""

    def decides(who: Principal | None) -> bool:
        return who is not None and bool(nodes_of(hub, who.subject))

    return (
        Link("/", mark("Home")),
        Link("/datasets", mark("Datasets")),
        Link("/explorer", mark("Explorer")),
        Link("/nodes", mark("Nodes")),
        Link("/requests", mark("Requests"), signed_in),
        Link("/permits", mark("Permits"), signed_in),
        Link("/runs", mark("Runs"), signed_in),
        Link("/committee", mark("Committee"), decides),
    )


def hub_frame(hub: Hub, identity: Identity) -> Pages:
    """What all of the hub's pages share; `.error` makes the pages of errors."""
    return Pages("hub", hub.id, hub.title, identity, hub_menu(hub))


def hub_pages(hub: Hub, identity: Identity, search: Search, limit: RateLimit) -> list[Route | Mount]:
    """All routes. `search` asks the nodes and gives each answer as it arrives; each person has `limit` for searches
    and for all that makes something new.

    Raises `BadSettings` when the files that pages load are not in place.
    """
    pages = hub_frame(hub, identity)

    def nodes() -> list[NodeCard]:
        return node_cards(hub)

    return [
        static_files(),
        *language_routes(),
        *_home_routes(hub, pages),
        *_catalogue_routes(hub, pages),
        *explorer_routes(hub, pages, nodes, search, limit),
        *request_routes(hub, pages, limit),
        *committee_routes(hub, pages),
        *permit_routes(hub, pages, limit),
        *run_routes(hub, pages, limit),
        *sign_in_routes(pages),
        *design_routes(pages),
    ]


def _home_routes(hub: Hub, pages: Pages) -> list[Route]:
    def present() -> dict[str, Any]:
        cards = node_cards(hub)
        sky = charts.sky([(country(card.country), card.online) for card in cards])
        return {"figures": figures(hub), "nodes": cards, "sky": sky}

    async def home(request: Request) -> Response:
        context = await run_in_threadpool(present)
        return await pages.render(request, "hub/home.html", **context, examples=EXAMPLES)

    async def live(request: Request) -> Response:
        return await pages.render(request, "hub/live.html", **await run_in_threadpool(present))

    async def nodes(request: Request) -> Response:
        return await pages.render(request, "hub/nodes.html", nodes=await run_in_threadpool(node_cards, hub))

    return [Route("/", home), Route("/live", live), Route("/nodes", nodes)]


def _catalogue_routes(hub: Hub, pages: Pages) -> list[Route]:
    async def datasets(request: Request) -> Response:
        entries = await run_in_threadpool(list_datasets, hub)
        names = ("text", "node", *(variable.name for variable in FACETS))
        wanted = {name: request.query_params.get(name, "").strip()[:200] for name in names}
        shown = [entry for entry in entries if matches(entry, wanted)]
        titles: dict[str, str] = {entry.dataset.node: entry.node_title for entry in entries}
        return await pages.render(
            request,
            "hub/datasets.html",
            datasets=[summary(entry) for entry in shown],
            chosen=wanted,
            facets=FACETS,
            narrowed=any(wanted.values()),
            node_title=titles.get(wanted["node"], wanted["node"]),
        )

    async def dataset(request: Request) -> Response:
        entry = await run_in_threadpool(get_dataset, hub, request.path_params["iri"])
        found = entry.dataset
        return await pages.render(
            request,
            "hub/dataset.html",
            dataset=found,
            offered=offered(entry),
            node_title=entry.node_title,
            charts_shown=charts.charts(found.groups),
            snippets=dataset_snippets(hub.url, found.iri),
        )

    return [Route("/datasets", datasets), Route("/datasets/{iri}", dataset)]


def node_cards(hub: Hub) -> list[NodeCard]:
    """The joined nodes with the datasets each has in the catalogue."""
    at = now()
    iris: dict[str, list[str]] = {}
    for entry in list_datasets(hub):
        iris.setdefault(entry.dataset.node, []).append(entry.dataset.iri)
    return [
        NodeCard(
            id=node.id,
            title=node.title,
            institution=node.institution,
            country=node.country,
            online=node.online(at),
            last_seen=node.last_seen,
            joined_at=node.joined_at,
            datasets=tuple(iris.get(node.id, ())),
        )
        for node in list_nodes(hub)
    ]


def matches(entry: Entry, wanted: dict[str, str]) -> bool:
    """Whether a dataset has every word, the node, and a group of each value asked for. Case does not matter."""
    dataset = entry.dataset
    text = " ".join(
        (dataset.title, dataset.description, dataset.institution, entry.node_title, country(dataset.country))
    )
    has_words = all(word in text.casefold() for word in wanted["text"].casefold().split())
    has_node = wanted["node"] in ("", dataset.node)
    return has_words and has_node and all(_has(entry, variable.name, wanted[variable.name]) for variable in FACETS)


def _has(entry: Entry, variable: str, value: str) -> bool:
    """Whether a group of this value is shown; one that is hidden must not be found either."""
    return not value or any(group.value == value for group in _shown(entry.dataset, variable))


def _shown(dataset: DatasetDescription, variable: str) -> list[Group]:
    return [group for group in dataset.groups.get(variable, ()) if group.patients is not None]


def summary(entry: Entry) -> dict[str, Any]:
    """A dataset's card in the list."""
    dataset = entry.dataset
    modalities: Sequence[str] = [group.value for group in _shown(dataset, "modality")]
    return {
        "path": f"/datasets/{dataset.iri}",
        "title": dataset.title,
        "institution": dataset.institution,
        "country": dataset.country,
        "description": dataset.description,
        "modalities": modalities,
        "patients": dataset.patients,
        "studies": dataset.studies,
        "instances": dataset.instances,
        "threshold": dataset.threshold,
        "iri": dataset.iri,
        "terms": dataset.terms,
        "offered": offered(entry),
    }
