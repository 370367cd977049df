"""The transport over NATS. Subjects: `carina.HUB.to.NODE` and `carina.HUB.from.NODE`; answers go to the asker's inbox.

The connection begins with the TLS handshake, trusts the hub's CA alone, and is made again for ever when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from carina.federation.transport import Handler, check_size

_AT_ONCE = 64
_SHORTEST_WAIT, _LONGEST_WAIT = 0.1, 2.0  # seconds between attempts to connect
_GRACE = 1.0  # seconds for the other side to come back after the broker's restart
_log = logging.getLogger(__name__)


class NatsTransport:
    """One party's connection to the broker of one hub; connects at its first use.

    address     `host:port` of the broker
    ca          the broker CA's certificate (PEM)
    seed        the party's secret nkey (`federation.brokerkeys`)
    hub, me     ids; the hub itself has `me == hub`
    on_status   told True and False as the connection comes and goes
    """

    def __init__(
        self, *, address: str, ca: str, seed: str, hub: str, me: str, on_status: Callable[[bool], None] | None = None
    ) -> None:
        self._address = address
        self._tls = ssl.create_default_context(cadata=ca)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._seed = seed
        self._hub = hub
        self._me = me
        self._on_status = on_status
        self._handler: Handler | None = None
        self._client: Client | None = None
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._closed = False
        self._keeper: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def send(self, to: str, message: bytes, within: float) -> bytes | None:
        """See `Transport`."""
        check_size(message)
        if self._hub not in (to, self._me):
            return None
        self._begin()
        grace = time.monotonic() + min(within, _GRACE)
        try:
            async with asyncio.timeout(within):
                while True:
                    answer = await self._request(to, message, within)
                    if answer is not None or time.monotonic() > grace:
                        return answer
                    await asyncio.sleep(_SHORTEST_WAIT)
        except (TimeoutError, NatsError, OSError):
            return None

    async def _request(self, to: str, message: bytes, within: float) -> bytes | None:
        """The answer, or None when the broker says at once that nobody listens there: nothing was delivered."""
        await self._ready.wait()
        if self._client is None:
            return None
        try:
            answer = await self._client.request(self._subject(to), message, timeout=within)
        except NoRespondersError:
            return None
        return bytes(answer.data)

    async def serve(self, handler: Handler) -> None:
        """See `Transport`. Messages come as soon as the connection is there, now or later."""
        self._handler = handler
        self._begin()
        if self._client is not None and self._client.is_connected:
            await self._listen(self._client)

    async def close(self) -> None:
        """See `Transport`."""
        self._closed = True
        tasks = [task for task in (self._keeper, *self._answering) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._keeper = None
        if self._client is not None:
            await self._client.close()
        self._status(None)

    def _begin(self) -> None:
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        wait = _SHORTEST_WAIT
        while True:
            try:
                client = await self._connect()
            except (NatsError, OSError, TimeoutError) as error:
                if wait == _SHORTEST_WAIT:  # once for each outage
                    _log.warning("broker-unreachable", extra={"hub": self._hub, "error": type(error).__name__})
                await asyncio.sleep(wait)
                wait = min(_LONGEST_WAIT, wait * 2)
                continue
            wait = _SHORTEST_WAIT
            self._status(client)
            _log.info("broker-reached", extra={"hub": self._hub})
            await self._lost.wait()
            self._status(None)
            await asyncio.sleep(wait)

    async def _connect(self) -> Client:
        self._lost.clear()
        client = await nats.connect(
            servers=[f"tls://{self._address}"],
            tls=self._tls,
            tls_handshake_first=True,
            nkeys_seed_str=self._seed,
            inbox_prefix=f"_INBOX.{self._me}",
            name=self._me,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0.05,
            connect_timeout=5,
            ping_interval=10,
            error_cb=self._note,
            closed_cb=self._gone,
            disconnected_cb=self._gone,
        )
        if self._handler is not None:
            await self._listen(client)
        return client

    async def _listen(self, client: Client) -> None:
        mine = f"carina.{self._hub}.from.*" if self._me == self._hub else f"carina.{self._hub}.to.{self._me}"
        await client.subscribe(mine, cb=self._take)
        await client.flush()

    async def _take(self, message: Msg) -> None:
        """One task for each message, so that a slow answer keeps no other waiting."""
        await self._room.acquire()
        task = asyncio.create_task(self._answer(message))
        self._answering.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        self._room.release()
        if not task.cancelled() and task.exception() is not None:
            _log.error("answer-failed", extra={"hub": self._hub}, exc_info=task.exception())

    async def _answer(self, message: Msg) -> None:
        sender = message.subject.rsplit(".", 1)[-1] if self._me == self._hub else self._hub
        if self._handler is None or not message.reply.startswith(f"_INBOX.{sender}."):
            return
        answer = await self._handler(sender, bytes(message.data))
        if answer is not None and self._client is not None and self._client.is_connected:
            check_size(answer)
            await self._client.publish(message.reply, answer)

    def _subject(self, to: str) -> str:
        return f"carina.{self._hub}.to.{to}" if self._me == self._hub else f"carina.{self._hub}.from.{self._me}"

    def _status(self, client: Client | None) -> None:
        changed = (client is None) != (self._client is None)
        self._client = client
        if client is None:
            self._ready.clear()
        else:
            self._ready.set()
        if changed and self._on_status is not None:
            self._on_status(client is not None)

    async def _gone(self) -> None:
        self._lost.set()

    async def _note(self, error: Exception) -> None:
        _log.debug("broker-error", extra={"hub": self._hub, "error": type(error).__name__})
