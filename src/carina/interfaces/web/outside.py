"""The node's pages for researchers, on its outside listener: a dataset's studies, a study, a quick look at its images.

A hub hands a person over by a form with a one-time code; the cookie it brings is for one dataset. Each page, picture
and poll asks `node.authorise` anew, and an open page empties itself within seconds of a refusal.
"""

from __future__ import annotations

import json
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
from carina.interfaces.dicomweb.giving import work
from carina.interfaces.web import imagewords
from carina.interfaces.web.pages import Pages, static_files
from carina.model.ids import uid
from carina.model.permit import Action, Visa
from carina.model.principal import Principal
from carina.node import datasets, look, permits, visits
from carina.node.authorise import Grant, authorise, check
from carina.node.look import Look, Slice
from carina.node.site import Node
from carina.node.visits import Visit

ROWS = 50  # studies on one page
POLL = 5  # seconds between looks whether the permit still holds


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
        number = page_number(request)
        found = await run_in_threadpool(look.studies, node, opened.grant, ROWS + 1, (number - 1) * ROWS)
        context = {"studies": found[:ROWS], "number": number, "more": len(found) > ROWS}
        return await show(request, "outside/dataset.html", opened, **context)

    async def one(request: Request) -> Response:
        opened = await open_dataset(node, identity, request)
        seen = await run_in_threadpool(look.study, node, opened.grant, uid(request.path_params["study"]))
        wanted = request.query_params.get("series") or next((one.uid for one in seen.series), "")
        shown = None
        if wanted and opened.action == "view":
            looked = await work(look.look, node, opened.grant, seen, uid(wanted))
            await run_in_threadpool(partial(check, node, *opened.asked, door="web"))  # it may have waited
            shown = quick_look(looked, f"/datasets/{opened.visit.dataset}", seen.uid, dict(request.query_params))
        return await show(request, "outside/study.html", opened, study=seen, chosen=wanted, look=shown)

    async def access(request: Request) -> Response:
        visit = await identity.visit(request)
        action = (await run_in_threadpool(visa_of, node, visit))[1]
        await run_in_threadpool(partial(check, node, visit.principal, visit.dataset, action, door="web"))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def show(request: Request, template: str, opened: Open, **context: Any) -> Response:
        base = f"/datasets/{opened.visit.dataset}"
        return await pages.render(request, template, opened=opened, base=base, poll=POLL, say=imagewords, **context)

    return [
        Route("/datasets/{iri}", every, methods=["GET"]),
        Route("/datasets/{iri}/access", access, methods=["GET"]),
        Route("/datasets/{iri}/studies/{study}", one, methods=["GET"]),
    ]


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


def page_number(request: Request) -> int:
    """`page`, from 1; 1 for anything else."""
    text = request.query_params.get("page", "1")
    return int(text) if text.isdecimal() and 0 < len(text) < 7 and int(text) > 0 else 1


def quick_look(looked: Look, base: str, study: str, chosen: dict[str, str]) -> dict[str, Any]:
    """What the template shows of a series: the slice and window that the address names, or the middle and the usual.

    chosen   `slice`, from 1, and `window`, a preset's name
    """
    count = len(looked.slices)
    text = chosen.get("slice", "")
    number = int(text) if text.isdecimal() and 0 < len(text) < 7 else count // 2 + 1
    number = min(max(number, 1), max(count, 1))
    names = {window.name: window for window in looked.windows}
    window = names.get(chosen.get("window", "")) or names.get(looked.usual)
    place = f"{base}/dicom-web/studies/{study}/series/{looked.series.uid}/instances/"
    asked = "" if window is None or window.name == look.OWN.name else f"&window={window.parameter}"
    src = ""
    if count:
        now = looked.slices[number - 1]
        src = f"{place}{now.uid}/frames/{now.frame}/rendered?accept=image/png{asked}"
    return {
        "series": looked.series,
        "count": count,
        "number": number,
        "where": where(looked, looked.slices[number - 1]) if count else "",
        "windows": looked.windows,
        "window": window,
        "own": look.OWN.name,
        "base": place,
        "src": src,
        "slices": json.dumps(
            [[one.uid, one.frame, where(looked, one)] for one in looked.slices], separators=(",", ":")
        ),
    }


def where(looked: Look, one: Slice) -> str:
    """`axial, −123.5 mm`; nothing when the images do not say where they lie."""
    if one.position is None or not looked.plane:
        return ""
    return f"{looked.plane}, {imagewords.millimetres(one.position.distance)}"
