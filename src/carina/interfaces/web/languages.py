"""The switch of languages in the footer of every page: a link that works without JavaScript."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from carina.errors import NotFound
from carina.interfaces.language import COOKIE, LANGUAGES
from carina.interfaces.web.pages import local_path

KEPT = 365 * 86400  # seconds


def language_routes() -> list[Route]:
    """`/language/{code}?next=path`: remember the language in a cookie, and go back to the page."""

    async def choose(request: Request) -> Response:
        code = request.path_params["code"]
        if code not in LANGUAGES:
            raise NotFound("Pages do not speak this language.", "Choose one of those in the footer of a page.")
        response = RedirectResponse(local_path(request.query_params.get("next", "/")), HTTPStatus.SEE_OTHER)
        response.set_cookie(
            COOKIE,
            code,
            max_age=KEPT,
            path="/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    return [Route("/language/{code}", choose, methods=["GET"])]
