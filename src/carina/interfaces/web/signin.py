"""Signing in and out, and one's account: the same pages at hub and node."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from carina.errors import CarinaError, SignInFailed, TooMany
from carina.interfaces.api.problems import status_of
from carina.interfaces.web.pages import Pages, local_path


def sign_in_routes(pages: Pages) -> list[Route]:
    """`/sign-in`, `/sign-out`, `/account`."""

    async def show(request: Request) -> Response:
        back = local_path(request.query_params.get("next", "/"))
        if await pages.identity.who(request) is not None:
            return RedirectResponse(back, 303)
        return await form(request, back)

    async def form(request: Request, back: str, name: str = "", error: CarinaError | None = None) -> Response:
        status = 200 if error is None else status_of(error)
        return await pages.render(request, "sign_in.html", status, next=back, name=name, error=error)

    async def sign_in(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=10) as given:
            back, name = local_path(str(given.get("next", "/"))), str(given.get("name", "")).strip()
            password = str(given.get("password", ""))
        try:
            session = await pages.identity.sign_in(request, name, password)
        except (SignInFailed, TooMany) as error:
            return await form(request, back, name, error)
        response = RedirectResponse(back, 303)
        pages.identity.remember(response, session)
        return response

    async def sign_out(request: Request) -> Response:
        await pages.identity.sign_out(request)
        response = RedirectResponse("/" if pages.kind == "hub" else "/sign-in", 303)
        pages.identity.forget(response)
        return response

    async def account(request: Request) -> Response:
        await pages.identity.identify(request)
        return await pages.render(request, "account.html")

    return [
        Route("/sign-in", show, methods=["GET"]),
        Route("/sign-in", sign_in, methods=["POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
        Route("/account", account, methods=["GET"]),
    ]
