"""HTTP listeners: sockets bound before anything else starts, several in one event loop."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from carina.errors import BadSettings, Busy


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to whoever runs the loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: the service stops its listeners itself."""
        yield


def bind(host: str, port: int, what: str) -> socket.socket:
    """A listening socket. Raises `Busy` for a port that is taken, `BadSettings` for an address not this machine's."""
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


def server(app: ASGIApp) -> uvicorn.Server:
    """A server for `app`: no access log (addresses hold queries), no server header, quick to end."""
    return _Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=3,
        )
    )
