"""Answers that hold what is in the archive: given in pieces, straight from the store where they lie there as they are
sent, and broken off when the reader's permit ends.

The permit is judged when a request comes, again when the work is done and before the answer begins, and while the
answer is under way every `ASK_AGAIN` seconds, however slowly it is taken.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from carina.errors import BadInput
from carina.interfaces.api.problems import problem
from carina.interfaces.dicomweb import multipart
from carina.interfaces.dicomweb.conditions import Reply, boundary_of, judge, unchanged
from carina.interfaces.dicomweb.opening import Enter, Reader
from carina.node.retrieve import Handed, handing_out, still_granted
from carina.node.site import Node
from carina.node.spans import Piece, Span, fetch, size_of
from carina.storage.locate import Located

ASK_AGAIN = 5.0
"""Seconds after which an answer under way asks whether the permit still holds."""
PIECE = 1 << 20  # bytes that are read and given between two looks at the clock; an answer of no more is given at once
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

    def ask_here(self) -> None:
        """Ask now, in this thread."""
        still_granted(self._node, self._reader.who, self._reader.grant, self._reader.actions)
        self._asked = time.monotonic()

    async def ask(self) -> None:
        """Ask now."""
        await run_in_threadpool(self.ask_here)

    async def ask_when_due(self) -> None:
        """Ask when that was not done for `ASK_AGAIN` seconds."""
        if time.monotonic() - self._asked >= ASK_AGAIN:
            await self.ask()


@dataclass(frozen=True)
class Ready:
    """An answer whose bytes are known before it begins.

    pieces     where they are
    instances  that are handed out, as `what`; none: a document about them, of which nothing is written down
    """

    tag: str
    media: str
    pieces: Sequence[Piece]
    instances: Sequence[Located] = ()
    what: Handed = "instances"
    headers: Mapping[str, str] = field(default_factory=dict)

    def of(self, instances: Sequence[Located], what: Handed) -> Ready:
        """The same, which hands these instances out."""
        return replace(self, instances=instances, what=what)


def in_parts(tag: str, media: str, parts: Iterable[tuple[Sequence[tuple[str, str]], Sequence[Piece]]]) -> Ready:
    """The multipart answer of parts of this media type, each with its header fields."""
    boundary = boundary_of(tag)
    pieces: list[Piece] = []
    for fields, body in parts:
        pieces += [multipart.begin_part(boundary, fields, first=not pieces), *body]
    return Ready(tag, multipart_type(media, boundary), [*pieces, multipart.end(boundary)])


def multipart_type(media: str, boundary: str) -> str:
    """The media type of an answer whose parts are of type `media`."""
    return f'multipart/related; type="{media}"; boundary={boundary}'


async def give_ready(
    node: Node, request: Request, reader: Reader, make: Callable[[], Ready | T], *, heavy: bool = False
) -> Response | T:
    """Make an answer and begin it, all in one thread: what `make` does, the last look at the permit, the first bytes,
    and the audit trail. What `make` returns that is not `Ready` is passed on.

    heavy   whether `make` may take files apart, as `work`
    """
    begin = partial(_begin, node, request, reader, make)
    answer, written = await (work(begin) if heavy else run_in_threadpool(begin))
    if written is not None:
        await asyncio.wrap_future(written)
    return answer


async def give_at_once(node: Node, request: Request, enter: Enter, make: Callable[[Reader], Ready | T]) -> Response | T:
    """`give_ready` for whoever asks, who is judged in the same thread: for what is asked for most."""

    def begin(reader: Reader) -> tuple[Response | T, Future[None] | None]:
        return _begin(node, request, reader, partial(make, reader))

    answer, written = await enter(begin)
    if written is not None:
        await asyncio.wrap_future(written)
    return answer


def _begin(
    node: Node, request: Request, reader: Reader, make: Callable[[], Ready | T]
) -> tuple[Response | T, Future[None] | None]:
    """The answer, and what has to be durable before it may leave."""
    ready = make()
    if not isinstance(ready, Ready):
        return ready, None
    watch = Watch(node, reader)
    watch.ask_here()
    total = size_of(ready.pieces)
    reply = judge(request.headers, ready.tag, total)
    if request.method == "HEAD" and reply.status in (206, 416):
        reply = Reply(200, 0, total)  # ranges are for GET
    headers = {**ready.headers, "ETag": ready.tag, "Accept-Ranges": "bytes"}
    if reply.status not in (200, 206):
        return settled(reply, headers, total), None
    headers["Content-Length"] = str(reply.end - reply.first)
    if reply.status == 206:
        headers["Content-Range"] = f"bytes {reply.first}-{reply.end - 1}/{total}"
    if request.method == "HEAD":
        return Response(None, 200, headers, ready.media), None
    left = deque(_cut(ready.pieces, reply.first, reply.end))
    begun = _read(node, left)
    written = None
    if ready.instances:
        written = handing_out(node, reader.grant, ready.instances, reader.who, ready.what)
    if not left:
        data = begun[0] if len(begun) == 1 else b"".join(begun)
        return Response(data, reply.status, headers, ready.media), written
    return StreamingResponse(_given(watch, node, begun, left), reply.status, headers, ready.media), written


def settled(reply: Reply, headers: Mapping[str, str], total: int | None = None) -> Response:
    """The answer that needs none of the content."""
    if reply.status == 304:
        return Response(None, 304, dict(headers))
    if reply.status == 412:
        response: Response = problem(BadInput("It is not what 'If-Match' names.", "Retrieve it anew."), 412)
    else:
        response = problem(BadInput("It is shorter than the range that is asked for.", "Ask for less."), 416)
        response.headers["Content-Range"] = f"bytes */{total}"
    response.headers["ETag"] = headers["ETag"]
    return response


def _cut(pieces: Iterable[Piece], first: int, end: int) -> Iterable[Piece]:
    """Of what all pieces hold together, the bytes from `first` to before `end`, none longer than `PIECE`."""
    place = 0
    for piece in pieces:
        size = piece.size if isinstance(piece, Span) else len(piece)
        start, stop = max(first - place, 0), min(end - place, size)
        place += size
        for at in range(start, stop, PIECE):
            until = min(at + PIECE, stop)
            if isinstance(piece, Span):
                yield Span(piece.content, piece.offset + at, until - at)
            else:
                yield piece if until - at == size else piece[at:until]


def _read(node: Node, left: deque[Piece]) -> list[bytes]:
    """The next pieces, `PIECE` bytes of them at most, or one."""
    found: list[bytes] = []
    size = 0
    while left:
        piece = left[0]
        size += piece.size if isinstance(piece, Span) else len(piece)
        if found and size > PIECE:
            break
        left.popleft()
        found.append(fetch(node, piece) if isinstance(piece, Span) else piece)
    return found


async def _given(watch: Watch, node: Node, begun: list[bytes], left: deque[Piece]) -> AsyncIterator[bytes]:
    while begun:
        begun.reverse()
        while begun:
            await watch.ask_when_due()
            yield begun.pop()  # nothing that has been given is held
        if left:
            begun = await run_in_threadpool(_read, node, left)


async def give(
    node: Node,
    request: Request,
    reader: Reader,
    parts: AsyncIterator[Part],
    *,
    instances: Sequence[Located],
    what: Handed,
    tag: str,
    in_parts_of: str | None,
) -> Response:
    """The answer whose parts have to be made, one after the other; it is written down who receives them.

    parts         at least one, of these instances. The first is made before the answer begins, so that what fails,
                  fails as an error
    tag           of what decides on the bytes of the answer
    in_parts_of   the media type of the parts of a multipart answer; None: the first part alone is the answer
    """
    known = unchanged(request.headers, tag)
    watch = Watch(node, reader)
    if known is not None:
        await watch.ask()
        return settled(known, {"ETag": tag})
    first = await anext(parts)
    if in_parts_of is None:
        [(_, media), *_], data = first
        del first
        ready = Ready(tag, media, [data], instances, what)
        answer: Response = await give_ready(node, request, reader, lambda: ready)
        return answer

    await watch.ask()
    await asyncio.wrap_future(handing_out(node, reader.grant, instances, reader.who, what))
    boundary = boundary_of(tag)
    media = multipart_type(in_parts_of, boundary)
    return StreamingResponse(_joined(watch, first, parts, boundary), 200, {"ETag": tag}, media_type=media)


async def give_document(
    node: Node, reader: Reader, data: bytes, media: str, headers: Mapping[str, str] | None = None
) -> Response:
    """A document about what is in the archive, such as the answer to a search."""
    watch = Watch(node, reader)
    await watch.ask()
    if len(data) <= PIECE:
        return Response(data, 200, headers, media)
    length = {"Content-Length": str(len(data))}
    return StreamingResponse(_pieces(watch, data), 200, {**(headers or {}), **length}, media_type=media)


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
