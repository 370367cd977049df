"""Answers that hold what is in the archive: made part by part, given in small pieces, and broken off when the reader's
permit ends.

The permit is judged when a request comes, again when the work is done and before the answer begins, and while the
answer is under way every `ASK_AGAIN` seconds, however slowly it is taken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from carina.interfaces.dicomweb import multipart
from carina.interfaces.dicomweb.opening import Reader
from carina.node.retrieve import Handed, hand_out, still_granted
from carina.node.site import Node
from carina.storage.index import StoredInstance

ASK_AGAIN = 5.0
"""Seconds after which an answer under way asks whether the permit still holds."""
PIECE = 64 * 1024  # bytes that are given between two looks at the clock
AT_ONCE = 4  # works on pixels in this process

Part: TypeAlias = tuple[list[tuple[str, str]], bytes]
"""Header fields, `Content-Type` first, and body."""
T = TypeVar("T")

_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def work(function: Callable[..., T], *arguments: object) -> T:
    """Run what decodes or renders pixels in a thread: `AT_ONCE` at once, and the others wait without a thread, so that
    what else the service does goes on.
    """
    gate = _gates.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))
    async with gate:
        return await run_in_threadpool(function, *arguments)


class Watch:
    """Whether what is being given to a reader still may be. Each question raises `PermitDenied` when it may not."""

    def __init__(self, node: Node, reader: Reader) -> None:
        self._node = node
        self._reader = reader
        self._asked = 0.0

    async def ask(self) -> None:
        """Ask now."""
        reader = self._reader
        await run_in_threadpool(still_granted, self._node, reader.who, reader.grant, reader.actions)
        self._asked = time.monotonic()

    async def ask_when_due(self) -> None:
        """Ask when that was not done for `ASK_AGAIN` seconds."""
        if time.monotonic() - self._asked >= ASK_AGAIN:
            await self.ask()


async def give(
    node: Node,
    reader: Reader,
    instances: Sequence[StoredInstance],
    what: Handed,
    parts: AsyncIterator[Part],
    *,
    in_parts_of: str | None,
) -> Response:
    """The answer that holds these parts; it is written down who receives them.

    parts         at least one. The first is made before the answer begins, so that what fails, fails as an error
    in_parts_of   the media type of the parts of a multipart answer; None: the first part alone is the answer
    """
    watch = Watch(node, reader)
    first = await anext(parts)
    await watch.ask()
    await run_in_threadpool(hand_out, node, reader.grant, instances, reader.who, what)
    if in_parts_of is None:
        fields, data = first
        return _alone(watch, data, fields[0][1], {})
    boundary = multipart.new_boundary()
    joined = _joined(watch, first, parts, boundary)
    return StreamingResponse(joined, 200, media_type=f'multipart/related; type="{in_parts_of}"; boundary={boundary}')


async def give_document(
    node: Node, reader: Reader, data: bytes, media: str, headers: Mapping[str, str] | None = None
) -> Response:
    """A document about what is in the archive, such as the answer to a search."""
    watch = Watch(node, reader)
    await watch.ask()
    return _alone(watch, data, media, headers or {})


def _alone(watch: Watch, data: bytes, media: str, headers: Mapping[str, str]) -> Response:
    """With its length, so that a client knows of an answer that is broken off."""
    length = {"Content-Length": str(len(data))}
    return StreamingResponse(_pieces(watch, data), 200, {**headers, **length}, media_type=media)


async def _pieces(watch: Watch, data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE):
        await watch.ask_when_due()
        yield data[start : start + PIECE]


async def _joined(watch: Watch, first: Part, others: AsyncIterator[Part], boundary: str) -> AsyncIterator[bytes]:
    fields, data = first
    del first  # no two parts are held at once
    yield multipart.begin_part(boundary, fields, first=True)
    while True:
        async for piece in _pieces(watch, data):
            yield piece
        data = b""
        await watch.ask_when_due()
        try:
            fields, data = await anext(others)
        except StopAsyncIteration:
            break
        await watch.ask_when_due()
        yield multipart.begin_part(boundary, fields, first=False)
    yield multipart.end(boundary)
