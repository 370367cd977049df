"""Errors over HTTP."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from carina import errors
from carina.errors import CarinaError, Conflict, NotFound
from carina.interfaces.api.documents import error_word
from carina.interfaces.api.problems import HTTP_STATUS, Problems, exception_handlers, status_of

SECRET = "MRN-12345 of Garcia^Maria"


def page(request: Request, status: int, error: CarinaError) -> Response:
    return HTMLResponse(f"<h1>{status}: {error.message}</h1>", status)


async def conflict(request: Request) -> Response:
    raise Conflict("The name is taken.", "Choose another.")


async def broken(request: Request) -> Response:
    raise ValueError(SECRET)


async def broken_off(request: Request) -> Response:
    async def content() -> AsyncIterator[str]:
        yield "begun"
        raise NotFound(SECRET)

    return StreamingResponse(content())


async def fine(request: Request) -> Response:
    return PlainTextResponse("fine")


@pytest.fixture
def http() -> TestClient:
    routes = [Route(f"{prefix}/{function.__name__}", function) for prefix in ("", "/api") for function in _ROUTES]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Problems, render_error=page)],
        exception_handlers=exception_handlers(page),
    )
    return TestClient(app)


_ROUTES = (conflict, broken, broken_off, fine)
HTML = {"Accept": "text/html,application/xhtml+xml"}


def every_error() -> list[type[CarinaError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CarinaError)]


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_status_and_a_word_of_its_own(kind: type[CarinaError]) -> None:
    error = kind("reason", "x") if kind is errors.Withheld else kind("x")
    assert 400 <= status_of(error) < 600
    assert error_word(kind) not in {error_word(other) for other in every_error() if other is not kind}


def test_the_nearest_class_decides_on_the_status() -> None:
    assert status_of(errors.InvalidQuery("x")) == 400
    assert status_of(errors.NotAllowed("x")) == 403
    assert status_of(errors.SignInFailed("x")) == status_of(errors.NotSignedIn("x")) == 401
    assert status_of(errors.TooLarge("x")) == 413
    assert status_of(errors.WrongKey("x")) == HTTP_STATUS[errors.BadSettings] == 500


def test_a_program_gets_problem_details(http: TestClient) -> None:
    answer = http.get("/api/conflict", headers=HTML)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "The name is taken.",
        "hint": "Choose another.",
        "error": "conflict",
    }
    assert http.get("/conflict").json()["error"] == "conflict"


def test_a_person_gets_a_page(http: TestClient) -> None:
    answer = http.get("/conflict", headers=HTML)
    assert (answer.status_code, answer.text) == (409, "<h1>409: The name is taken.</h1>")
    missing = http.get("/nothing", headers=HTML)
    assert (missing.status_code, missing.text) == (404, "<h1>404: There is nothing at this address.</h1>")
    assert http.post("/fine", headers=HTML).status_code == 405
    assert http.get("/conflict", headers={"HX-Request": "true"}).text.startswith("<h1>")


@pytest.mark.parametrize("path", ["/broken", "/api/broken"])
def test_an_unexpected_error_gets_a_number_and_shows_no_value(
    http: TestClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = http.get(path)
    assert answer.status_code == 500
    number = answer.json()["hint"].split()[-1].rstrip(".")
    assert len(number) == 26
    [record] = [record for record in caplog.records if record.name.startswith("carina")]
    assert record.getMessage().startswith(f"request-failed id={number} class=ValueError at=broken:")
    assert SECRET not in answer.text + caplog.text
    assert record.exc_info is None


def test_an_answer_that_has_begun_is_broken_off_and_not_mended(
    http: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = http.get("/broken_off")
    assert (answer.status_code, answer.text) == (200, "begun")
    assert "response-broken-off error=not-found" in caplog.text
    assert SECRET not in caplog.text
