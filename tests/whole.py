"""A site and a hub with something on each of their pages, and the list of all those pages.

with open_whole(folder) as whole:        # console, outside pages and hub, each on a port of this machine
    whole.address(PAGES[0])              # where that page is
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

from sqlalchemy import select, update
from starlette.applications import Starlette
from tests.access import IMAGES_URL, ask_for, grant, hear, member, person
from tests.looking import NORA, Looking, open_looking, sample_files, served_on
from tests.pages import ANSWERS, IRI_A, IRI_B, IRI_C, PASSWORD, A, Answers, B, C, fill_hub, fill_node, hub_app
from tests.permitting import Site
from tests.reviewing import hold, ultrasound
from tests.running import finish, group, let_sign, progress, stop
from tests.support import BREAST, FOLDER, ct

from carina.federation.papers import make_order
from carina.hub import committee, requests, runs
from carina.hub.centre import Hub
from carina.hub.nodes import list_nodes
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.model.clock import new_id, now
from carina.model.instance import Reason
from carina.model.job import JobOrder
from carina.model.permit import Visa
from carina.model.principal import Principal
from carina.model.search import NodeAnswer
from carina.node import datasets, jobs, permits, quarantine, snapshots
from carina.node.authorise import authorise
from carina.node.ingest import receive
from carina.node.site import Node
from carina.node.worker import work
from carina.storage.hub_schema import nodes
from carina.storage.schema import series

Place = Literal["inside", "outside", "hub"]
ROSA, CLARA = ("rosa", PASSWORD), ("clara", PASSWORD)


@dataclass(frozen=True)
class Shown:
    """A page: the route that serves it, the query, and what the route's parameters stand for (`Whole.names`)."""

    place: Place
    route: str
    query: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.place} {self.name or self.route}{self.query}"


PAGES = (
    Shown("inside", "/"),
    Shown("inside", "/arrivals"),
    Shown("inside", "/arrivals", "?source=folder:inbox"),
    Shown("inside", "/quarantine"),
    Shown("inside", "/quarantine", "?days=90&source=aet:SCANNER"),
    Shown("inside", "/quarantine/discarded"),
    Shown("inside", "/quarantine/{reason}"),
    Shown("inside", "/quarantine/{reason}", "?done=discarded&n=1"),
    Shown("inside", "/quarantine/{reason}", name="/quarantine/not-dicom"),
    Shown("inside", "/quarantine/{reason}/{id}"),
    Shown("inside", "/review"),
    Shown("inside", "/review/{id}", name="/review/{review}"),
    Shown("inside", "/review/{id}/header", "?all=1", name="/review/{plain}/header"),
    Shown("inside", "/studies"),
    Shown("inside", "/studies", "?modality=XX"),
    Shown("inside", "/studies/{study}"),
    Shown("inside", "/datasets"),
    Shown("inside", "/datasets/new"),
    Shown("inside", "/datasets/{iri}"),
    Shown("inside", "/datasets/{iri}", name="/datasets/{draft}"),
    Shown("inside", "/permits"),
    Shown("inside", "/permits/{hub}/{id}", name="/permits/{hub}/{waiting}"),
    Shown("inside", "/permits/{hub}/{id}", name="/permits/{hub}/{permit}"),
    Shown("inside", "/permits/{hub}/{id}", name="/permits/{hub}/{ended}"),
    Shown("inside", "/asked"),
    Shown("inside", "/asked", "?account=rosa"),
    Shown("inside", "/asked/permits/{hub}/{id}", name="/asked/permits/{hub}/{permit}"),
    Shown("inside", "/hubs"),
    Shown("inside", "/system"),
    Shown("inside", "/audit"),
    Shown("inside", "/audit", "?actor=nobody-here"),
    Shown("inside", "/forget"),
    Shown("inside", "/sign-in"),
    Shown("inside", "/account"),
    Shown("inside", "/design"),
    Shown("inside", "/no-such-page"),
    Shown("outside", "/"),
    Shown("outside", "/datasets/{iri}"),
    Shown("outside", "/datasets/{iri}", "?modality=XX"),
    Shown("outside", "/datasets/{iri}/studies/{study}"),
    Shown("outside", "/datasets/{iri}/studies/{study}", "?mosaic=1"),
    Shown("outside", "/datasets/{iri}/studies/{study}", "?header=1"),
    Shown("outside", "/no-such-page"),
    Shown("outside", "/datasets/{iri}", name="/datasets/urn:uuid:00000000-0000-4000-8000-000000000000"),
    Shown("hub", "/"),
    Shown("hub", "/datasets"),
    Shown("hub", "/datasets", "?text=no-such-thing"),
    Shown("hub", "/datasets/{iri}", name="/datasets/{lung}"),
    Shown("hub", "/datasets/{iri}", name="/datasets/{small}"),
    Shown("hub", "/explorer"),
    Shown("hub", "/explorer", "?modality=CT&age=40-70"),
    Shown("hub", "/explorer", "?pirads=4"),
    Shown("hub", "/nodes"),
    Shown("hub", "/requests"),
    Shown("hub", "/requests/new", "?dataset={lung}"),
    Shown("hub", "/requests/{id}", name="/requests/{request}"),
    Shown("hub", "/committee"),
    Shown("hub", "/committee/{item}"),
    Shown("hub", "/permits"),
    Shown("hub", "/permits/{id}", name="/permits/{given}"),
    Shown("hub", "/runs"),
    Shown("hub", "/runs/new"),
    Shown("hub", "/runs/{id}", name="/runs/{run}"),
    Shown("hub", "/runs/{id}", name="/runs/{open}"),
    Shown("hub", "/sign-in"),
    Shown("hub", "/account"),
    Shown("hub", "/design"),
    Shown("hub", "/no-such-page"),
)
PARTS = {
    "inside": {
        "/language/{code}", "/overview", "/arrivals/live", "/quarantine/progress", "/permits/live", "/asked/live",
        "/asked/export", "/audit/export", "/review/{id}/frames/{frame:int}", "/studies/access",
    },
    "outside": {"/language/{code}", "/datasets/{iri}/access"},
    "hub": {"/language/{code}", "/live", "/explorer/answers", "/runs/{id}/live", "/runs/{id}.csv", "/runs/{id}.json"},
}  # fmt: skip
"""Addresses that are no pages of their own: parts of pages, pictures, files; so are all below `/series/`."""


@dataclass(frozen=True)
class Whole:
    """The three places, and what their pages are about; `names` by the word in a route's braces."""

    looking: Looking
    hub: str
    names: dict[Place, dict[str, str]]

    def address(self, shown: Shown) -> str:
        """Where a page is."""
        base = {"inside": self.looking.inside, "outside": self.looking.outside, "hub": self.hub}[shown.place]
        return base + (shown.name or shown.route).format(**self.names[shown.place]) + self._query(shown)

    def _query(self, shown: Shown) -> str:
        return shown.query.format(**self.names[shown.place])


@contextmanager
def open_whole(folder: Path) -> Iterator[Whole]:
    """All three places, served; the console's `nora`, the hub's `rosa` and `clara` sign in with `PASSWORD`."""
    with open_looking(folder, sample_files(2, "CT", "SEG")) as looking, ExitStack() as stack:
        inside = fill_site(looking.site)
        hub, of_hub = looking.site.hub, fill_centre(looking.site.hub)
        url = stack.enter_context(served_on("hub.localhost", lambda url: _hub_app(replace(hub, url=url))))
        outside = {"iri": str(looking.site.dataset), "study": inside["study"]}
        yield Whole(looking, url, {"inside": inside, "outside": outside, "hub": of_hub})


def _hub_app(hub: Hub) -> Starlette:
    search, known = Answers(), {one.node for one in ANSWERS}
    search.given += [NodeAnswer(one.id, one.title, "ES", "silent") for one in list_nodes(hub) if one.id not in known]
    return hub_app(hub, Identity(LocalAccounts(hub.engine, hub.id), hub.id, secure=False), search)


def fill_site(site: Site) -> dict[str, str]:
    """Quarantine, review, datasets, permits, jobs and use; what a route's parameters are."""
    node = site.node
    fill_node(node)
    receive(node, b"another letter " * 9, FOLDER)
    while work(node, "test"):
        pass
    held = quarantine.entries(node, Reason.NOT_DICOM)
    quarantine.discard(node, NORA[0], ids=[held[0].id])
    seen = hold(node, ultrasound(1))
    hold(node, ultrasound(2), readers=2)
    plain = hold(node, ct(), size=(32, 32, 1), boxes=())
    [damaged, *_] = quarantine.entries(node, Reason.DAMAGED)
    draft = datasets.create(node, NORA[0], BREAST, "Mammograms before 2020").iri
    snapshots.take(node, NORA[0], site.dataset)
    names = {"iri": str(site.dataset), "draft": str(draft), "hub": str(site.hub.id), "study": _study(node)}
    return {**names, **_permits(site), "reason": "damaged", "id": damaged.id, "review": seen, "plain": plain}


def _study(node: Node) -> str:
    with node.engine.connect() as connection:
        of_segments = select(series.c.study_uid).where(series.c.modality == "SEG").order_by(series.c.study_uid)
        return str(connection.execute(of_segments).scalars().first())


def _permits(site: Site) -> dict[str, str]:
    """Permits in each state; a job that is done, one running, one waiting and one refused under them."""
    node, start = site.node, now()
    force = site.grant(project="Lung nodules", name="Rosa Ruiz", asserted=start, issued=start)
    waiting = site.grant(signed=False, project="A quite long title of a project", asserted=start, issued=start)
    ended = site.grant(project="Finished", asserted=start, issued=start)
    permits.withdraw(node, NORA[0], site.hub.id, ended.id, "The study is over.")
    only = site.grant(actions=("view",), project="Only to look", asserted=start, issued=start)
    done = _order(site, force)
    jobs.begin(node, site.hub.id, done.id)
    jobs.compute_job(node, site.hub.id, done.id)
    jobs.begin(node, site.hub.id, _order(site, force).id)
    _order(site, force)
    _order(site, only)
    details = {"hub": site.hub.id, "permit": force.id, "what": "rendered"}
    for number in (2, 3):
        authorise(node, site.rosa(permit=force.id), site.dataset, "view", door="web")
        node.audit.append("viewed", force.subject, "1.2.3", **details, instances=number)
    node.audit.append("search-answered", site.hub.id, node.id, state="counted", variables=["body_part", "age"])
    return {"permit": force.id, "waiting": waiting.id, "ended": ended.id}


def _order(site: Site, visa: Visa) -> JobOrder:
    order = JobOrder(new_id(), site.hub.id, new_id(), visa.id, visa.dataset, visa.subject, "signal-statistics")
    site.say(now())
    paper = make_order(site.hub.permit_key, order, node=site.node.id, expires=now() + timedelta(days=7))
    jobs.take(site.node, site.hub.id, paper)
    return order


def fill_centre(hub: Hub) -> dict[str, str]:
    """Nodes, datasets, a request in several states, permits, a run that is done and one that goes on."""
    fill_hub(hub)
    let_sign(hub)
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).where(nodes.c.id != C).values(public_url=IMAGES_URL))
    rosa, clara = person(hub, ROSA[0], shown="Rosa Ruiz"), member(hub, A, CLARA[0])
    committee.add(hub, B, CLARA[0])
    committee.add(hub, A, ROSA[0])
    asked = ask_for(hub, rosa, IRI_A, IRI_B)
    own = ask_for(hub, clara, IRI_A)
    requests.refuse(hub, clara, next(one.id for one in asked.items if one.dataset == IRI_B), "Our board did not agree.")
    requests.ask(hub, clara, next(one.id for one in asked.items if one.dataset == IRI_A), "Who reads the images?")
    given = [_given(hub, rosa, clara, iri) for iri in (IRI_A, IRI_B)]
    done, open_one = (runs.start(hub, rosa, given, "signal-statistics", title) for title in ("Both", "Going on"))
    for number, job in enumerate(done.jobs):
        finish(hub, done, job, group("CT", 40 + number, -512.5, 210.0), group("MR", 12, 300.25, 90.5))
    progress(hub, open_one.jobs[0], 50)
    stop(hub, open_one.jobs[1], "refused", "action")
    names = {"lung": IRI_A, "small": IRI_C, "request": asked.id, "item": own.items[0].id, "given": given[0]}
    return {**names, "run": done.id, "open": open_one.id}


def _given(hub: Hub, rosa: Principal, clara: Principal, iri: str) -> str:
    item = ask_for(hub, rosa, iri, project="Signal in lungs").items[0]
    permit = grant(hub, clara, item.id)
    hear(hub, permit)
    return permit.id
