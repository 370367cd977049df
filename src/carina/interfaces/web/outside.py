"""The node's pages for researchers, on its outside listener: a dataset's studies, a study, a quick look at its images.

A hub hands a person over by a form with a one-time code; the cookie it brings is for one dataset. Each page, picture
and poll asks `node.authorise` anew, and an open page empties itself within seconds of a refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from carina.errors import CarinaError
from carina.interfaces.api.identity import Session
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.visitors import Visitors, count_entry, require_hub
from carina.interfaces.dicomweb.opening import by_visit
from carina.interfaces.web import imagewords, kinds
from carina.interfaces.web.languages import language_routes
from carina.interfaces.web.looking import look_routes
from carina.interfaces.web.ohif import viewer
from carina.interfaces.web.pages import Pages, static_files
from carina.interfaces.web.snippets import series_snippet
from carina.interfaces.web.studypage import POLL, list_of_studies, shown_series
from carina.model.ids import uid
from carina.model.permit import Action, Visa
from carina.model.principal import Principal
from carina.node import datasets, look, permits, visits
from carina.node.authorise import Grant, authorise, check
from carina.node.look import StudySeen
from carina.node.retrieve import may_retrieve
from carina.node.site import Node
from carina.node.visits import Visit


@dataclass(frozen=True)
class Open:
    """What a visitor has opened: the dataset's title, the permit, and what may be touched."""

    visit: Visit
    visa: Visa
    action: Action
    grant: Grant
    title: str

    @property
    def asked(self) -> tuple[Principal, str, Action]:
        """What `node.authorise` was asked."""
        return self.visit.principal, self.visit.dataset, self.action

    @property
    def last_day(self) -> date:
        """The last day on which the permit holds here."""
        return imagewords.last_day(self.grant.expires or self.visa.expires)


class OutsidePages(Pages):
    """Pages whose errors send nobody to sign in: there is only the way by the hub."""

    def error(self, request: Request, status: int, error: CarinaError) -> Response:
        """The page that says what went wrong, or, in a page that is open, what takes the place of its content."""
        template = "outside/ended.html" if "hx-request" in request.headers else "outside/error.html"
        return HTMLResponse(self.text(request, template, error=error, status=status), status)


def outside_frame(node: Node, identity: Visitors) -> OutsidePages:
    """What all of the outside's pages share; `.error` makes the pages of errors."""
    return OutsidePages("outside", node.id, node.title, identity, ())


def outside_pages(node: Node, identity: Visitors, limit: RateLimit) -> list[Route | Mount]:
    """All routes for browsers. The listener's `Rules` must have `/enter` among their `open_paths`.

    limit   how many codes one address may bring (`visitors.entries`); the same as that of the API

    Raises `BadSettings` when the files that pages load are not in place.
    """
    pages = outside_frame(node, identity)
    return [
        static_files(),
        *language_routes(),
        *_door_routes(node, identity, pages, limit),
        *_look_routes(node, identity, pages),
    ]


def _door_routes(node: Node, identity: Visitors, pages: Pages, limit: RateLimit) -> list[Route]:
    async def home(request: Request) -> Response:
        return await pages.render(request, "outside/home.html")

    async def enter(request: Request) -> Response:
        count_entry(limit, request)
        await run_in_threadpool(require_hub, node, request)
        async with request.form(max_files=0, max_fields=5) as given:
            code = str(given.get("code", ""))
        visit = await run_in_threadpool(partial(visits.enter, node, code, lifetime=visits.BROWSER))
        path = f"/datasets/{visit.dataset}"
        response = RedirectResponse(path, HTTPStatus.SEE_OTHER)
        identity.remember(response, Session(visit.principal, visit.secret, visit.csrf), path)
        return response

    async def leave(request: Request) -> Response:
        visit = await identity.visit(request)
        await identity.sign_out(request)
        response = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        identity.forget(response, f"/datasets/{visit.dataset}")
        return response

    return [
        Route("/", home, methods=["GET"]),
        Route("/enter", enter, methods=["POST"]),
        Route("/datasets/{iri}/leave", leave, methods=["POST"]),
    ]


def _look_routes(node: Node, identity: Visitors, pages: Pages) -> list[Route]:
    async def every(request: Request) -> Response:
        opened = await open_dataset(node, identity, request)
        context = await run_in_threadpool(list_of_studies, node, opened.grant, request)
        return await show(request, "outside/dataset.html", opened, **context, persons=False)

    async def one(request: Request) -> Response:
        opened = await open_dataset(node, identity, request)
        base = f"/datasets/{opened.visit.dataset}"
        study = await run_in_threadpool(look.study, node, opened.grant, uid(request.path_params["study"]))
        may = {"looks": opened.action == "view", "whole": "retrieve" in opened.visa.actions}
        may["whole"] = may["whole"] and await run_in_threadpool(may_retrieve, node, opened.asked[0], opened.grant)
        shown = await shown_series(node, opened.grant, study, request, base, who=opened.visit.principal, **may)
        await run_in_threadpool(partial(check, node, *opened.asked, door="web"))  # it may have waited
        snippet = None
        if shown["chosen"]:
            retrieve = "retrieve" in opened.visa.actions
            snippet = series_snippet(
                opened.visa.issuer, opened.visit.permit, study.uid, shown["chosen"], retrieve=retrieve
            )
        context = {"snippet": snippet, "viewer": _viewer_for(opened, study)}
        return await show(request, "outside/study.html", opened, study=study, **shown, **context)

    async def access(request: Request) -> Response:
        visit = await identity.visit(request)
        action = (await run_in_threadpool(visa_of, node, visit))[1]
        await run_in_threadpool(partial(check, node, visit.principal, visit.dataset, action, door="web"))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def show(request: Request, template: str, opened: Open, **context: Any) -> Response:
        base = f"/datasets/{opened.visit.dataset}"
        frame: dict[str, Any] = {"opened": opened, "base": base, "here": base, "access": f"{base}/access", "poll": POLL}
        looks = opened.action == "view"
        return await pages.render(request, template, **frame, say=imagewords, kinds=kinds, looks=looks, **context)

    return [
        Route("/datasets/{iri}", every, methods=["GET"]),
        Route("/datasets/{iri}/access", access, methods=["GET"]),
        Route("/datasets/{iri}/studies/{study}", one, methods=["GET"]),
        *look_routes(node, by_visit(node, identity.cookie), "/datasets/{iri}/studies/{study}/series/{series}"),
    ]


def _viewer_for(opened: Open, study: StudySeen) -> str:
    """Whether the visitor can open OHIF: "open", "not-allowed", "no-images", or "absent" where the node has none."""
    if viewer() is None:
        return "absent"
    if "retrieve" not in opened.visa.actions:
        return "not-allowed"
    return "open" if kinds.has_images(study.series) else "no-images"


async def open_dataset(node: Node, identity: Visitors, request: Request) -> Open:
    """Let a visitor open the dataset of the address: to look, or for its list when the permit is only for fetching."""
    visit = await identity.visit(request)
    visa, action = await run_in_threadpool(visa_of, node, visit)
    judge = partial(authorise, node, visit.principal, visit.dataset, action, door="web")
    grant = await run_in_threadpool(judge)
    title = (await run_in_threadpool(datasets.get, node, visit.dataset)).title
    return Open(visit, visa, action, grant, title)


def visa_of(node: Node, visit: Visit) -> tuple[Visa, Action]:
    """What the visit's permit says, and what it lets a browser do. Whether it holds is for `authorise`."""
    visa = permits.get(node, visit.hub, visit.permit).visa
    return visa, "view" if "view" in visa.actions else "retrieve"
