"""HTTP listeners: sockets bound before anything else starts, several in one event loop.

Nobody holds a connection for nothing: a request's header must be whole within 15 s, and a body or an answer under way
must move. When many wait at once, the one that has waited longest makes room.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import resource
import socket
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import uvicorn
import uvloop
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from carina.errors import BadSettings, Busy

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST = 256  # connections of one listener, streams of answers too; a request beyond is answered with 503
SPARE = 32  # connections beyond `MOST`, so that they can be told
HEADER_WITHIN = 15.0  # s from a request's beginning, or a connection's, to the end of its header
STALLED = 60.0  # s in which a body must bring `LEAST` bytes, or an answer be taken
LEAST = 1024  # bytes
FILES = 65536  # that a service may have open
_LOOK = 1.0  # s between looks at a connection


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to whoever runs the loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: the service stops its listeners itself."""
        yield


class _Watched(HttpToolsProtocol):
    """A connection that ends when its client is silent where it should speak; `waits_since` is None where not."""

    waits_since: float | None = None
    _moved_at = 0.0  # when the present window of `STALLED` seconds began
    _brought = 0  # bytes in it
    _looks: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or end another that waits, or this one when there are too many."""
        super().connection_made(transport)
        now = self.loop.time()
        self.waits_since, self._moved_at = now, now
        most = self.limit_concurrency or MOST
        if len(self.connections) > most + SPARE:
            transport.abort()
            return
        waiting = [one for one in self.connections if isinstance(one, _Watched) and one.waits_since is not None]
        if len(waiting) > most // 2:
            min(waiting, key=lambda one: one.waits_since or now).end("too-many-wait")
        self._looks = self.loop.call_later(_LOOK, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._looks is not None:
            self._looks.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes."""
        self._brought += len(data)
        if self.waits_since is None and (self.cycle is None or self.cycle.response_complete):
            self.waits_since = self.loop.time()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """The header came in time; what follows is watched as a body."""
        self.waits_since = None
        self._begin_window()
        super().on_headers_complete()

    def resume_writing(self) -> None:
        """The client took a part of the answer."""
        self._begin_window()
        super().resume_writing()

    def end(self, why: str) -> None:
        """Close at once."""
        log.info("connection-ended why=%s", why)
        self.waits_since = None
        self.transport.abort()

    def _begin_window(self) -> None:
        self._moved_at, self._brought = self.loop.time(), 0

    def _look(self) -> None:
        now = self.loop.time()
        reads = self.cycle is not None and self.cycle.more_body and not self.flow.read_paused
        if self.waits_since is not None and now - self.waits_since > HEADER_WITHIN:
            return self.end("no-header")
        if not (reads or self.flow.write_paused):  # nothing is owed by the client
            self._begin_window()
        elif now - self._moved_at > STALLED:
            if self.flow.write_paused or self._brought < LEAST:
                return self.end("stalled")
            self._begin_window()
        self._looks = self.loop.call_later(_LOOK, self._look)
        return None


def bind(host: str, port: int, what: str) -> socket.socket:
    """A listening socket. Raises `Busy` for a port that is taken, `BadSettings` for an address not this machine's."""
    _allow_files()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else an answer's second packet waits 40 ms
    try:
        bound.bind((host, port))
        bound.listen(512)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise Busy(
                f"Port {port} for the {what} is in use.", "Stop the program that has it, or choose another port."
            ) from None
        raise BadSettings(
            f"The {what} cannot listen on {host}, port {port}.", "Check host and port in the settings file."
        ) from None
    bound.set_inheritable(False)
    return bound


def _allow_files() -> None:
    """Let this process open as many files and connections as the system lets it, `FILES` at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a system that says no: it stays as it was
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a service in its event loop, which is uvloop's: uvicorn makes none where it is not the one that runs.

    What was loaded before stays until the end, so the collector of garbage need not look at it: that would be the
    larger part of answering a search.
    """
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def server(app: ASGIApp, most: int = MOST) -> uvicorn.Server:
    """A server for `app`: no access log (addresses hold queries), no server header, quick to end.

    most   connections at once
    """
    protocol: Any = _Watched
    return _Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=most,
            timeout_graceful_shutdown=3,
        )
    )
