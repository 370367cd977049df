"""STOW-RS: instances come in, PS3.18 section 10.5. Each goes through the node's one door."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any as Json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from carina.dicom.parse import Identifiers, identifiers
from carina.errors import BadInput, Busy, CarinaError, Full, NotAllowed
from carina.interfaces.api.problems import problem
from carina.interfaces.dicomweb.media import DICOM, DICOM_JSON, RELATED, accepted, fits, parse_media
from carina.interfaces.dicomweb.multipart import Part, malformed, parts
from carina.interfaces.room import Room, Share
from carina.model.instance import Reason, Source
from carina.model.principal import Principal
from carina.node.ingest import receive, refuse_unkept
from carina.node.site import Node

AT_ONCE = 4  # parts of one request that are on their way to the disk
MAX_PARTS = 100_000
CANNOT_UNDERSTAND = 0xC000
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
NO_SUCH_STUDY_HERE = 0xA900  # the data set does not match what the address says
"""Failure Reasons, PS3.18 table I.2-2 and PS3.4 table B.2-1."""

_FAILURES = {Reason.NOT_DICOM: CANNOT_UNDERSTAND, Reason.TOO_LARGE: OUT_OF_RESOURCES}
_REQUEST_HINT = 'Send multipart/related; type="application/dicom" with one DICOM file in each part.'


@dataclass(frozen=True)
class Outcome:
    """What became of one part. `failure` is None when it is durably taken in."""

    names: Identifiers
    failure: int | None = None


def source_of(principal: Principal) -> Source:
    """A sender is known by its token's name; people have none, and send nothing here."""
    kind, _, name = principal.subject.partition(":")
    if kind != "token" or not name:
        raise NotAllowed("Images come in with a sender's token.", "Make one with `carina node token create`.")
    return Source("token", name)


async def store(node: Node, request: Request, source: Source, study: str | None, room: Room) -> Response:
    """Take in what the request holds; 200 when all of it, 202 when some of it, 409 when none of it was.

    room   of all requests together, for what is in memory; one that finds none is answered 503
    """
    if not any(fits(media.inner, DICOM_JSON) or media.inner == "application/json" for media in accepted(request)):
        return problem(BadInput("The answer comes as application/dicom+json only.", "Accept that."), 406)
    media = parse_media(request.headers.get("content-type", ""))
    if media.type != RELATED or media.inner != DICOM:
        return problem(BadInput("The request's media type is not one that is stored here.", _REQUEST_HINT), 415)
    try:
        outcomes = await _take_all(node, request, media.parameters.get("boundary", ""), source, study, room=room)
    except (Full, Busy) as error:
        response = problem(error, 503)
        response.headers["Retry-After"] = "120"
        return response
    if not outcomes:
        raise malformed()
    failed = sum(outcome.failure is not None for outcome in outcomes)
    status = 200 if failed == 0 else 409 if failed == len(outcomes) else 202
    return JSONResponse(_answer(outcomes), status, media_type=DICOM_JSON)


async def _take_all(
    node: Node, request: Request, boundary: str, source: Source, study: str | None, *, room: Room
) -> list[Outcome]:
    """What became of each part, in order. A few are written while the next are read.

    When one of them meets a full disk, the rest is read and left, and `Full` is raised; `Busy` when there is no room.
    """
    share = Share(room)
    outcomes: dict[int, Outcome] = {}
    pending: dict[asyncio.Task[Outcome], int] = {}
    chunks = request.stream()
    try:
        async for part in parts(chunks, boundary, node.largest_instance, share.hold):
            number = len(outcomes) + len(pending)
            if number >= MAX_PARTS:
                raise BadInput(f"The request has more than {MAX_PARTS} parts.", "Send fewer in each request.")
            if len(pending) >= AT_ONCE:
                await _collect(pending, outcomes, asyncio.FIRST_COMPLETED)
            pending[asyncio.create_task(_take(node, part, source, study, share))] = number
        if pending:
            await _collect(pending, outcomes, asyncio.ALL_COMPLETED)
    except CarinaError:
        async for _ in chunks:  # what comes now is not kept; a sender that is cut off would not read the answer
            pass
        raise
    finally:
        await asyncio.gather(*pending, return_exceptions=True)
        share.close()
    return [outcome for _, outcome in sorted(outcomes.items())]


async def _collect(pending: dict[asyncio.Task[Outcome], int], outcomes: dict[int, Outcome], when: str) -> None:
    done, _ = await asyncio.wait(pending, return_when=when)
    for task in done:
        number = pending.pop(task)
        outcomes[number] = task.result()


async def _take(node: Node, part: Part, source: Source, study: str | None, share: Share) -> Outcome:
    try:
        kind = parse_media(part.media).type
        if kind not in ("", DICOM):
            return Outcome(Identifiers(), CANNOT_UNDERSTAND)
        return await run_in_threadpool(partial(_take_part, node, part, source, study))
    finally:
        share.hold(-len(part.data or b""))


def _take_part(node: Node, part: Part, source: Source, study: str | None) -> Outcome:
    if part.data is None:
        refuse_unkept(node, part.size, source)
        return Outcome(Identifiers(), OUT_OF_RESOURCES)
    names = identifiers(part.data)
    if study is not None and names.study != study:
        return Outcome(names, NO_SUCH_STUDY_HERE)
    receipt = receive(node, part.data, source)
    if receipt.state == "received":
        return Outcome(names)
    return Outcome(names, _FAILURES.get(receipt.reason or Reason.FAILED, PROCESSING_FAILURE))


def _answer(outcomes: list[Outcome]) -> dict[str, Json]:
    """The Store Instances Response Module, PS3.18 annex I: the UIDs are those that came."""
    stored = [_reference(outcome.names) for outcome in outcomes if outcome.failure is None]
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
