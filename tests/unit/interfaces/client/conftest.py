"""A hub's API on a real port, and a configuration folder of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from carina.interfaces.listener import bind, server


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[int]:
    """The application on loopback; its port."""
    socket = bind("127.0.0.1", 0, "test")
    running = server(app)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve([socket])))
    thread.start()
    try:
        yield socket.getsockname()[1]
    finally:
        running.should_exit = True
        thread.join(10)


@pytest.fixture
def serve() -> Callable[[ASGIApp], AbstractContextManager[int]]:
    return served


@pytest.fixture
def hub_url(hub_app: Callable[[], Starlette]) -> Iterator[str]:
    with served(hub_app()) as port:
        yield f"http://hub.localhost:{port}"


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the tokens of whoever runs it."""
    for name in ("CARINA_TOKEN", "CARINA_HUB", "CARINA_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CARINA_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"
