"""What a node makes of a hub's answer to its request to join."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from carina.app.http import post_json
from carina.errors import InvalidInvitation, Unreachable
from carina.interfaces import listener


async def _echo(request: Request) -> Response:
    return JSONResponse(await request.json())


async def _refuse(_: Request) -> Response:
    return JSONResponse({"detail": "This invitation has expired."}, 400)


async def _list(_: Request) -> Response:
    return JSONResponse([1])


async def _page(_: Request) -> Response:
    return PlainTextResponse("Welcome to nginx")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that answers in all these ways."""
    routes = [Route(f"/{name}", route, methods=["POST"]) for name, route in _ROUTES.items()]
    bound = listener.bind("127.0.0.1", 0, "test")
    server = listener.server(Starlette(routes=routes))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])), daemon=True)
    thread.start()
    yield f"http://hub.localhost:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    bound.close()


_ROUTES: dict[str, Any] = {"echo": _echo, "refuse": _refuse, "list": _list, "page": _page}


def test_an_answer_is_what_the_hub_says_and_names_under_localhost_are_this_machine(url: str) -> None:
    assert post_json(f"{url}/echo", {"a": 1}) == {"a": 1}


def test_a_refusal_says_why_in_the_hub_s_words(url: str) -> None:
    with pytest.raises(InvalidInvitation, match="This invitation has expired") as refused:
        post_json(f"{url}/refuse", {})
    assert "new invitation" in refused.value.hint


def test_what_is_no_hub_is_not_believed(url: str) -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        post_json(f"{url}/page", {})
    with pytest.raises(InvalidInvitation):
        post_json(f"{url}/list", {})


def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable):
            post_json(f"http://127.0.0.1:{held.getsockname()[1]}/federation/join", {})


def test_answers_do_not_wait_for_acknowledgements() -> None:
    bound = listener.bind("127.0.0.1", 0, "test")
    with bound, socket.create_connection(bound.getsockname()), bound.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
