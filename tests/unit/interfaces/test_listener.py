"""A listener ends what holds its connections for nothing, and goes on answering everybody else."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from carina.interfaces import listener


async def _size(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _events(_: Request) -> Response:
    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.sleep(1.2)
        yield b"data: 2\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def _flood(_: Request) -> Response:
    async def blocks() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 20)
            await asyncio.sleep(0)

    return StreamingResponse(blocks())


@contextmanager
def served(most: int = 8) -> Iterator[int]:
    """A server's port."""
    bound = listener.bind("127.0.0.1", 0, "test")
    routes = [Route("/", _size, methods=["GET", "POST"]), Route("/events", _events), Route("/flood", _flood)]
    server = listener.server(Starlette(routes=routes), most)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])), daemon=True)
    thread.start()
    try:
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_LOOK", 0.05)
    monkeypatch.setattr(listener, "HEADER_WITHIN", 0.3)
    monkeypatch.setattr(listener, "STALLED", 0.5)


def answered(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        return int(answer.status)


def connect(port: int, data: bytes = b"") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=5)
    made.sendall(data)
    return made


def is_ended(connection: socket.socket, within: float) -> bool:
    """Whether the server closes it without a word."""
    connection.settimeout(within)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n"])
def test_a_header_that_does_not_come_ends_its_connection(said: bytes) -> None:
    with served() as port, connect(port, said) as connection:
        assert is_ended(connection, 2)
        assert answered(port) == 200


def test_a_second_request_has_its_time_too() -> None:
    with served() as port, connect(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        heard = b""
        while not heard.endswith(b"\r\n\r\n0"):
            heard += (some := connection.recv(1000))
            assert some
        connection.sendall(b"GET / HTTP/1.1\r\nHo")
        assert is_ended(connection, 2)


def test_a_body_that_stands_still_ends_its_connection() -> None:
    with served() as port, connect(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc") as connection:
        assert is_ended(connection, 2)


def test_a_body_that_comes_slowly_is_waited_for() -> None:
    with (
        served() as port,
        connect(port, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16384\r\n\r\n") as connection,
    ):
        for _ in range(8):
            time.sleep(0.1)
            connection.sendall(bytes(2048))
        heard = b""
        while not heard.endswith(b"16384"):
            heard += (some := connection.recv(1000))
            assert some


def test_a_stream_may_be_silent_for_long() -> None:
    with served() as port, connect(port, b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        heard = b""
        while b"data: 2" not in heard:
            heard += (some := connection.recv(1000))
            assert some


def test_an_answer_that_nobody_takes_ends() -> None:
    with served() as port, connect(port, b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        time.sleep(1.5)
        connection.settimeout(2)
        with pytest.raises(ConnectionResetError):
            while connection.recv(1 << 20):
                pass
            raise ConnectionResetError


def test_those_who_wait_without_asking_do_not_shut_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEADER_WITHIN", 60)
    with served(most=8) as port:
        silent = [connect(port, b"GET / HTTP/1.1\r\nX: ") for _ in range(30)]
        assert answered(port) == 200
        assert sum(is_ended(one, 0.05) for one in silent) >= 25
        for one in silent:
            one.close()


def test_requests_beyond_the_most_are_told() -> None:
    with served(most=3) as port:
        streams = []
        for _ in range(2):
            streams.append(connect(port, b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n"))
            assert b" 200 " in streams[-1].recv(15)
        with connect(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as late:
            assert b" 503 " in late.recv(100)
        for stream in streams:
            stream.close()


def test_a_service_may_open_as_many_files_as_the_system_lets_it() -> None:
    code = (
        "import resource; from carina.interfaces import listener\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))\n"
        "listener.bind('127.0.0.1', 0, 'test').close()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(shown) == (listener.FILES if hard == resource.RLIM_INFINITY else min(hard, listener.FILES))


def test_a_service_runs_in_the_fast_loop_with_the_fast_parser_and_writes_no_access_log() -> None:
    async def serve() -> tuple[str, bool, bool]:
        bound = listener.bind("127.0.0.1", 0, "test")
        server = listener.server(Starlette(routes=[Route("/", _size)]))
        serving = asyncio.create_task(server.serve([bound]))
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.getsockname()[1])
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        [protocol] = server.server_state.connections
        writer.close()
        server.should_exit = True
        await serving
        loop = type(asyncio.get_running_loop()).__module__
        return loop, isinstance(protocol, HttpToolsProtocol), server.config.access_log

    frozen = gc.get_freeze_count()
    try:
        assert listener.run(serve()) == ("uvloop", True, False)
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
