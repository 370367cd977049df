"""A person's permits: what each allows until when, how often it was used, and the way to the images."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.errors import BadInput, CarinaError, Conflict, PermitDenied, TooMany, Unreachable
from carina.hub import committee, permits
from carina.hub.centre import Hub
from carina.hub.permits import Permit
from carina.interfaces.api.problems import status_of
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.security import policy
from carina.interfaces.language import mark
from carina.interfaces.web.committee import OVER
from carina.interfaces.web.pages import Link, Pages, back
from carina.interfaces.web.requests import above_others
from carina.interfaces.web.snippets import Snippet, permit_snippets
from carina.model.address import origin
from carina.model.clock import now
from carina.model.principal import Principal

IMAGES = {"view", "retrieve"}
DONE = {"ended": mark("Ended. The node refuses it from its next list of permits on, within a minute.")}


def permit_routes(hub: Hub, pages: Pages, limit: RateLimit) -> list[Route]:
    """`/permits`, `/permits/{id}`, and below it `/open` and `/end`.

    limit   spent each time that a person opens images
    """

    async def listed(request: Request) -> Response:
        who = await pages.identity.identify(request)
        at = now()
        own = [(permit, permit.condition_of(at)) for permit in await run_in_threadpool(permits.listed, hub, who)]
        current = [pair for pair in own if pair[1] not in OVER]
        over = [pair for pair in own if pair[1] in OVER]
        return await pages.render(request, "hub/permits.html", current=current, over=over)

    async def one(request: Request) -> Response:
        return await show(request)

    async def show(request: Request, problem: CarinaError | None = None, why: str = "") -> Response:
        who = await pages.identity.identify(request)
        context = await run_in_threadpool(_permit, hub, who, request.path_params["id"])
        status = 200 if problem is None else status_of(problem)
        done = DONE.get(request.query_params.get("done", ""), "")
        return await pages.render(
            request, "hub/permit.html", status, **context, problem=problem, why_typed=why, done=done
        )

    async def end(request: Request) -> Response:
        who = await pages.identity.identify(request)
        async with request.form(max_files=0, max_fields=10) as sent:
            why = str(sent.get("why", "")).strip()
        try:
            await run_in_threadpool(permits.revoke, hub, who, request.path_params["id"], why)
        except (BadInput, Conflict) as error:
            return await show(request, error, why)
        return back(f"/permits/{request.path_params['id']}", "ended")

    async def handed_over(request: Request) -> Response:
        """The page that sends the browser on to the node: the one-time code goes in a form's body, never an address.

        Its headers alone let a form go to the node, and tell the node which site sends it.
        """
        who = await pages.identity.identify(request)
        try:
            limit.spend(who.subject)
            handover = await run_in_threadpool(permits.handover, hub, who, request.path_params["id"])
        except (PermitDenied, TooMany, Unreachable) as error:
            return await show(request, error)
        response = await pages.render(
            request,
            "hub/open.html",
            permit_id=request.path_params["id"],
            target=f"{handover.url}/enter",
            host=urlsplit(handover.url).hostname,
            code=handover.code,
        )
        response.headers["Content-Security-Policy"] = policy(origin(handover.url))
        response.headers["Referrer-Policy"] = "strict-origin"  # with the others, `Origin` would be null (Fetch, 3.2)
        return response

    return [
        Route("/permits", listed, methods=["GET"]),
        Route("/permits/{id}", one, methods=["GET"]),
        Route("/permits/{id}/end", end, methods=["POST"]),
        Route("/permits/{id}/open", handed_over, methods=["POST"]),
    ]


def _permit(hub: Hub, who: Principal, permit_id: str) -> dict[str, Any]:
    """The page's values, for the permit's person or the committee of its node."""
    permit = permits.get(hub, who, permit_id)
    own = permit.account == who.subject
    return {
        "permit": permit,
        "condition": permit.condition_of(),
        "own": own,
        "above": Link("/permits", mark("Your permits")) if own else above_others(hub, who),
        "may_end": own or "operator" in who.roles or committee.is_member(hub, permit.node, who.subject),
        "opens_images": own and opens_images(permit),
        "over": permit.condition_of() in OVER,
        "snippets": _snippets(hub, permit) if own else [],
    }


def _snippets(hub: Hub, permit: Permit) -> list[Snippet]:
    fetches = "retrieve" in permit.actions and permit.public_url is not None
    return permit_snippets(hub.url, permit.id, images=fetches, analyse="analyse" in permit.actions)


def opens_images(permit: Permit) -> bool:
    """Whether the way to the images is shown: the permit is for images, and its node has an address."""
    return permit.public_url is not None and bool(IMAGES & set(permit.actions))
