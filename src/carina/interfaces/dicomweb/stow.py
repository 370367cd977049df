"""STOW-RS: instances come in, PS3.18 section 10.5. Each goes through the node's one door, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any as Json
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from carina.dicom.names import Sent, sent_as
from carina.dicom.parse import Identifiers
from carina.errors import BadInput, Busy, CarinaError, Full, NotAllowed
from carina.interfaces.api.problems import problem
from carina.interfaces.dicomweb.media import DICOM, DICOM_JSON, RELATED, accepted, fits, parse_media
from carina.interfaces.dicomweb.multipart import Begin, End, Parser, malformed
from carina.interfaces.room import Room, Share
from carina.model.instance import Reason, Source
from carina.model.principal import Principal
from carina.node.ingest import IN_MEMORY, Arriving, arriving
from carina.node.site import Node

T = TypeVar("T")

AT_ONCE = 8  # parts of one request that are on their way to the disk
THREADS = 32  # that write; what they finish at the same time becomes durable together
MAX_PARTS = 10_000
MAX_STRANGE = 100  # parts of one request that are no DICOM instances; each of them is kept in quarantine
MOST_IN_MEMORY = 256 * 2**20  # bytes of all requests together
PATIENCE = 60.0  # s without a byte, after which a request is ended
COME_AGAIN = 120  # s
CANNOT_UNDERSTAND = 0xC000
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
NO_SUCH_STUDY_HERE = 0xA900  # the data set does not match what the address says
DOES_NOT_MATCH_ITS_CLASS = 0xB007  # a warning: the file meta information names another SOP class than the data set
"""Failure and Warning Reasons, PS3.18 tables I.2-1 and I.2-2 and PS3.4 table B.2-1."""

_FAILURES = {Reason.NOT_DICOM: CANNOT_UNDERSTAND, Reason.TOO_LARGE: OUT_OF_RESOURCES}
_REQUEST_HINT = 'Send multipart/related; type="application/dicom" with one DICOM file in each part.'


@dataclass(frozen=True)
class Outcome:
    """What became of one part: a failure reason, a warning reason, or neither when it is durably taken in."""

    names: Identifiers
    failure: int | None = None
    warning: int | None = None


class Reception:
    """What all requests of one listener share: threads that write, and room in memory."""

    def __init__(self) -> None:
        self.room = Room(MOST_IN_MEMORY)
        self._threads = ThreadPoolExecutor(THREADS, "stow")

    def in_thread(self, do: Callable[[], T]) -> Awaitable[T]:
        """What `do` gives, in one of the threads."""
        return asyncio.get_running_loop().run_in_executor(self._threads, do)


def source_of(principal: Principal) -> Source:
    """A sender is known by its token's name; people have none, and send nothing here."""
    kind, _, name = principal.subject.partition(":")
    if kind != "token" or not name:
        raise NotAllowed("Images come in with a sender's token.", "Make one with `carina node token create`.")
    return Source("token", name)


async def store(node: Node, request: Request, source: Source, study: str | None, reception: Reception) -> Response:
    """Take in what the request holds; 200 when all of it, 202 when some of it or with warnings, 409 when none of it."""
    if not any(fits(media.inner, DICOM_JSON) or media.inner == "application/json" for media in accepted(request)):
        return problem(BadInput("The answer comes as application/dicom+json only.", "Accept that."), 406)
    media = parse_media(request.headers.get("content-type", ""))
    if media.type != RELATED or media.inner != DICOM:
        return problem(BadInput("The request's media type is not one that is stored here.", _REQUEST_HINT), 415)
    taking = _Request(node, source, study, reception)
    try:
        outcomes = await taking.take_all(_patient(request.stream()), media.parameters.get("boundary", ""))
    except (Full, Busy) as error:
        response = problem(error, 503)
        response.headers["Retry-After"] = str(COME_AGAIN)
        return response
    except TimeoutError:
        return problem(BadInput("The rest of the request did not come in time.", "Send it again."), 408)
    if not outcomes:
        raise malformed()
    failed = sum(outcome.failure is not None for outcome in outcomes)
    warned = any(outcome.warning is not None for outcome in outcomes)
    status = 409 if failed == len(outcomes) else 202 if failed or warned else 200
    return JSONResponse(_answer(outcomes), status, media_type=DICOM_JSON)


async def _patient(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, as long as none keeps us waiting. Raises `TimeoutError`."""
    while True:
        async with asyncio.timeout(PATIENCE):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk


class _Part:
    """One part on its way: small ones in memory, large ones to the disk, a piece of 1 MiB at a time."""

    def __init__(self, node: Node, source: Source, study: str | None, media: str, share: Share) -> None:
        self._node, self._source, self._study, self._share = node, source, study, share
        self._arriving: Arriving | None = None
        self._sent: Sent | None = None
        self._held: list[bytes] = []
        self._size = 0  # of what is held
        self._large = False
        self.failure = None if parse_media(media).type in ("", DICOM) else CANNOT_UNDERSTAND

    def add(self, data: bytes) -> Callable[[], None] | None:
        """Hold the next bytes; what must be done in a thread before more come. Raises `Busy`."""
        if self.failure is not None:
            return None
        self._share.hold(len(data))
        self._held.append(data)
        self._size += len(data)
        return self._write if self._size > IN_MEMORY else None

    def _write(self) -> None:
        """Hand on what is held."""
        if self._sent is None:
            self._begin()
        if self._arriving is not None:
            for data in self._held:
                self._arriving.write(data)
        self._let_go()

    def _begin(self) -> None:
        self._sent = sent_as(self._held)
        if self._study is not None and self._sent.names.study != self._study:
            self.failure = NO_SUCH_STUDY_HERE
            return
        self._arriving = arriving(self._node, self._source, self._sent.names.instance)

    def finish(self) -> Outcome:
        """What became of it, when it is durable. In a thread. Raises `Full` and `Busy`."""
        try:
            if self.failure is None:
                self._write()
            names = Identifiers() if self._sent is None else self._sent.names
            if self._arriving is None or self._sent is None:
                return Outcome(names, self.failure)
            receipt = self._arriving.finish()
            if receipt.state == "received":
                return Outcome(names, warning=None if self._sent.agrees else DOES_NOT_MATCH_ITS_CLASS)
            return Outcome(names, _FAILURES.get(receipt.reason or Reason.FAILED, PROCESSING_FAILURE))
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Keep nothing of it."""
        if self._arriving is not None:
            self._arriving.abort()
        self._let_go()

    def _let_go(self) -> None:
        self._share.hold(-self._size)
        self._held, self._size = [], 0


class _Request:
    """The parts of one request; a few are written while the next are read."""

    def __init__(self, node: Node, source: Source, study: str | None, reception: Reception) -> None:
        self._node, self._source, self._study = node, source, study
        self._reception = reception
        self._share = Share(reception.room)
        self._outcomes: dict[int, Outcome] = {}
        self._pending: dict[asyncio.Future[Outcome], int] = {}
        self._part: _Part | None = None
        self._strange = 0  # parts that are no DICOM instances

    async def take_all(self, chunks: AsyncIterator[bytes], boundary: str) -> list[Outcome]:
        """What became of each part, in order.

        When one of them meets a full disk, the rest is read and left, and `Full` is raised; `Busy` when there is no
        room in memory or too much waits for the workers.
        """
        try:
            parser = Parser(boundary)
            async for chunk in chunks:
                for event in parser.feed(chunk):
                    await self._take(event)
            parser.close()
            while self._pending:
                await self._collect()
        except CarinaError:
            await self._end()
            async for _ in chunks:  # what comes now is not kept; a sender that is cut off would not read the answer
                pass
            raise
        finally:
            await self._end()
        return [outcome for _, outcome in sorted(self._outcomes.items())]

    async def _end(self) -> None:
        """Nothing is left in memory or half written."""
        if self._part is not None:
            await self._reception.in_thread(self._part.abort)
            self._part = None
        await asyncio.gather(*self._pending, return_exceptions=True)
        self._share.close()

    async def _take(self, event: Begin | bytes | End) -> None:
        if isinstance(event, Begin):
            if len(self._outcomes) + len(self._pending) >= MAX_PARTS:
                raise BadInput(f"The request has more than {MAX_PARTS} parts.", "Send fewer in each request.")
            self._part = _Part(self._node, self._source, self._study, event.media, self._share)
        elif self._part is None:
            raise malformed()
        elif isinstance(event, End):
            await self._finish(self._part)
        elif (write := self._part.add(event)) is not None:
            await self._reception.in_thread(write)

    async def _finish(self, part: _Part) -> None:
        """Let a part become durable while the next is read."""
        while len(self._pending) >= AT_ONCE:
            await self._collect()
        number = len(self._outcomes) + len(self._pending)
        self._pending[asyncio.ensure_future(self._reception.in_thread(part.finish))] = number
        self._part = None

    async def _collect(self) -> None:
        """The outcomes of those that are done; at least one."""
        done, _ = await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            number = self._pending.pop(task)
            outcome = self._outcomes[number] = task.result()
            self._strange += outcome.failure == CANNOT_UNDERSTAND
        if self._strange > MAX_STRANGE:
            raise BadInput(
                f"More than {MAX_STRANGE} parts of the request are no DICOM instances.",
                "Send a DICOM file in each part.",
            )


def _answer(outcomes: list[Outcome]) -> dict[str, Json]:
    """The Store Instances Response Module, PS3.18 annex I: the UIDs are those that came."""
    stored = [{**_reference(item.names), **_warning(item)} for item in outcomes if item.failure is None]
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    named = [{**_reference(item.names), **_failure(item)} for item in failed if item.names.instance]
    others = [_failure(item) for item in failed if not item.names.instance]
    answer: dict[str, Json] = {"00081190": {"vr": "UR"}}  # they get other UIDs here, so none can be retrieved as sent
    for tag, items in (("00081198", named), ("00081199", stored), ("0008119A", others)):
        if items:
            answer[tag] = {"vr": "SQ", "Value": items}
    return answer


def _reference(names: Identifiers) -> dict[str, Json]:
    return {"00081150": _ui(names.sop_class), "00081155": _ui(names.instance)}


def _ui(uid: str) -> dict[str, Json]:
    return {"vr": "UI", "Value": [uid]} if uid else {"vr": "UI"}


def _failure(outcome: Outcome) -> dict[str, Json]:
    return {"00081197": {"vr": "US", "Value": [outcome.failure]}}


def _warning(outcome: Outcome) -> dict[str, Json]:
    return {} if outcome.warning is None else {"00081196": {"vr": "US", "Value": [outcome.warning]}}
