"""Errors over HTTP: one table of statuses, problem details for programs (RFC 9457), a page for people.

`Problems` answers every error of what it wraps; routes and inner middlewares just raise. An error that nobody raised on
purpose becomes a 500 with an id; the log gets that id, the error's class and the line, and no value.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carina.errors import (
    BadInput,
    BadSettings,
    Busy,
    CarinaError,
    Conflict,
    FinderUnavailable,
    Full,
    NotAllowed,
    NotFound,
    NotSignedIn,
    PermitDenied,
    SignInFailed,
    TooLarge,
    TooMany,
    Unreachable,
    Withheld,
)
from carina.interfaces.api.documents import error_word
from carina.model.clock import new_id

log = logging.getLogger(__name__)

HTTP_STATUS: dict[type[CarinaError], int] = {
    BadInput: 400,
    TooLarge: 413,
    BadSettings: 500,
    NotFound: 404,
    Conflict: 409,
    NotAllowed: 403,
    NotSignedIn: 401,
    SignInFailed: 401,
    TooMany: 429,
    Full: 507,
    Busy: 503,
    Unreachable: 502,
    FinderUnavailable: 503,
    Withheld: 422,
    CarinaError: 500,
}
"""An error has the status of its nearest class."""

RenderError: TypeAlias = Callable[[Request, int, CarinaError], Response]
"""Makes a page for people: request, status, error → HTML. Called in a thread, for it may look into the records."""

PROGRAM_PATHS = ("/api", "/dicom-web", "/federation", "/health")
"""Below these the answer is always problem details."""


def status_of(error: CarinaError) -> int:
    """The HTTP status of the error's nearest class in the table."""
    return next(HTTP_STATUS[kind] for kind in type(error).__mro__ if kind in HTTP_STATUS)


def problem_content(error: CarinaError, status: int | None = None) -> dict[str, str | int]:
    """Problem details: `about:blank`, so `title` is the status's phrase; `error` and `hint` are members of our own.

    A permit that does not cover something also has its `reason`, a constant word.
    """
    status = status or status_of(error)
    reason = {"reason": error.reason} if isinstance(error, PermitDenied) else {}
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "hint": error.hint,
        "error": error_word(type(error)),
        **reason,
    }


def problem(error: CarinaError, status: int | None = None) -> JSONResponse:
    """The answer to a program."""
    status = status or status_of(error)
    return JSONResponse(problem_content(error, status), status, _headers(status), "application/problem+json")


def respond(request: Request, error: CarinaError, status: int | None, render_error: RenderError | None) -> Response:
    """The answer to `error`: a page where a person asks, else problem details."""
    status = status or status_of(error)
    if render_error is None or not wants_page(request):
        return problem(error, status)
    response = render_error(request, status, error)
    response.headers.update(_headers(status))
    return response


def wants_page(request: Request) -> bool:
    """Whether a browser asks for a page, not a program for data."""
    path = request.url.path
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in PROGRAM_PATHS):
        return False
    return "text/html" in request.headers.get("accept", "") or "hx-request" in request.headers


def _headers(status: int) -> dict[str, str]:
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": 'Bearer realm="carina"'}  # RFC 6750 section 3
    return {429: {"Retry-After": "60"}, 503: {"Retry-After": "5"}}.get(status, {})


class Problems:
    """ASGI middleware: answers the errors of what it wraps. `render_error` makes the pages for people."""

    def __init__(self, app: ASGIApp, render_error: RenderError | None = None) -> None:
        self.app = app
        self.render_error = render_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; answer what it raises."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except CarinaError as error:
            if begun:
                log.warning("response-broken-off error=%s", error_word(type(error)))
                return
            answer = await run_in_threadpool(respond, Request(scope), error, None, self.render_error)
            await answer(scope, receive, send)
        except HTTPException as error:
            answer = await run_in_threadpool(routing_answer, Request(scope), error, self.render_error)
            await answer(scope, receive, send)
        except ClientDisconnect:
            log.info("request-left")
        except Exception as error:  # noqa: BLE001  whatever it is: an id for the person, the class for the log
            told = unexpected(error)
            if not begun:
                answer = await run_in_threadpool(respond, Request(scope), told, None, self.render_error)
                await answer(scope, receive, send)


def unexpected(error: Exception) -> CarinaError:
    """Log an error that nobody raised on purpose, without its values; what a person is told of it."""
    incident = new_id()
    frame = traceback.extract_tb(error.__traceback__)[-1]
    log.error("request-failed id=%s class=%s at=%s:%s", incident, type(error).__name__, frame.name, frame.lineno)
    return CarinaError(
        "Something failed here that should not have.", f"Try again; tell the operator this number: {incident}."
    )


_ROUTING = {
    404: ("There is nothing at this address.", "Check the address."),
    405: ("This address does not take requests of this kind.", "Check the method."),
}


def routing_answer(request: Request, error: HTTPException, render_error: RenderError | None) -> Response:
    """The answer to what the framework itself raises, in the same form as to our errors."""
    message, hint = _ROUTING.get(error.status_code, ("This request cannot be read.", "Check its form."))
    kind = NotFound if error.status_code == HTTPStatus.NOT_FOUND else BadInput
    response = respond(request, kind(message, hint), error.status_code, render_error)
    response.headers.update(error.headers or {})
    return response


def exception_handlers(
    render_error: RenderError | None = None,
) -> dict[type[Exception], Callable[[Request, Exception], Response]]:
    """For `Starlette(exception_handlers=…)`: the router's own errors."""

    def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return routing_answer(request, error, render_error)

    return {HTTPException: answer}
