"""How signed messages travel between a hub and its nodes. A transport carries bytes; it is no proof of a sender."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from carina.errors import BadInput

MAX_MESSAGE_BYTES = 1_000_000
"""A larger message is not sent; images never travel in messages."""

Handler = Callable[[str, bytes], Awaitable[bytes | None]]
"""Sender's id as the transport knows it, and the message; gives the answer, or None for silence. What it raises is
logged, and silence too."""

_log = logging.getLogger(__name__)


class Transport(Protocol):
    """One party's connection to one hub's exchange. A node sends to its hub only, the hub to its nodes."""

    async def send(self, to: str, message: bytes, within: float) -> bytes | None:
        """The answer, or None when none came `within` seconds. `BadInput` when the message is too large."""

    async def serve(self, handler: Handler) -> None:
        """Give `handler` each message that comes, several at a time; returns once listening is arranged."""

    async def close(self) -> None:
        """Stop listening and sending; afterwards every `send` is silence."""


def check_size(message: bytes) -> None:
    """Raise `BadInput` when the message is larger than a transport carries."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise BadInput(
            f"The message has more than {MAX_MESSAGE_BYTES} bytes.", "Describe the dataset with fewer or shorter texts."
        )


class MemoryExchange:
    """The in-memory twin of a broker: one hub, its nodes, one event loop."""

    def __init__(self, hub: str) -> None:
        self.hub = hub
        self._handlers: dict[str, Handler] = {}

    def transport(self, me: str) -> Transport:
        """The connection of `me`, the hub or a node."""
        return _MemoryTransport(self, me)


class _MemoryTransport:
    def __init__(self, exchange: MemoryExchange, me: str) -> None:
        self._exchange = exchange
        self._me = me
        self._open = True

    async def send(self, to: str, message: bytes, within: float) -> bytes | None:
        check_size(message)
        reachable = to != self._me and self._exchange.hub in (to, self._me)
        handler = self._exchange._handlers.get(to)
        if not self._open or handler is None or not reachable:
            return None
        try:
            async with asyncio.timeout(within):
                return await handler(self._me, message)
        except TimeoutError:
            return None
        except Exception:  # noqa: BLE001  as over a network: the fault is logged where it is, and heard as silence
            _log.exception("answer-failed", extra={"hub": self._exchange.hub})
            return None

    async def serve(self, handler: Handler) -> None:
        if self._open:
            self._exchange._handlers[self._me] = handler

    async def close(self) -> None:
        self._open = False
        self._exchange._handlers.pop(self._me, None)
