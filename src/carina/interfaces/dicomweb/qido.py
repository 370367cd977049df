"""QIDO-RS: search for studies, series and instances, PS3.18 section 10.6."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any as Json

import orjson
from starlette.requests import Request
from starlette.responses import Response

from carina.dicom.levels import BELONGS, LEVELS, RETURNED, Level
from carina.dicom.query import MAX_RESULTS, Match, Query, parse_query
from carina.errors import BadInput
from carina.interfaces.api.problems import problem
from carina.interfaces.dicomweb.giving import PIECE, give_document
from carina.interfaces.dicomweb.media import DICOM_JSON, accepted, fits
from carina.interfaces.dicomweb.opening import Enter, Reader
from carina.model.ids import uid
from carina.node.authorise import members
from carina.node.retrieve import is_picture, may_retrieve, still_granted
from carina.node.site import Node
from carina.storage.search import Found, scan

MOST_BYTES = 16 * 2**20
"""Of an answer; what has no room in it is for the next page."""
LONG = 0.05
"""Seconds of a search after which staff and services, too, are asked about again: their token may have ended."""

_STUDY_UID, _SERIES_UID, _RETRIEVE_URL = "0020000D", "0020000E", "00081190"
_PATH_TAGS = {"study": _STUDY_UID, "series": _SERIES_UID}
_LISTED = frozenset(tag for level in LEVELS for tag in BELONGS[level])


@dataclass(frozen=True)
class Page:
    """An answer: so many rows as DICOM JSON, and whether there may be more."""

    rows: int
    data: bytes
    more: bool


async def search(node: Node, request: Request, level: Level, enter: Enter) -> Response:
    """What the address asks for, as DICOM JSON; 204 when there is nothing."""
    found = await enter(partial(_search, node, request, level))
    if found is None:
        return not_json()
    reader, query, page = found
    headers = {"Warning": warning} if (warning := _warning(query, page)) else {}
    if not page.rows:
        return Response(status_code=204, headers=headers)
    if len(page.data) <= PIECE:
        return Response(page.data, 200, headers, DICOM_JSON)
    return await give_document(node, reader, page.data, DICOM_JSON, headers)


def _search(node: Node, request: Request, level: Level, reader: Reader) -> tuple[Reader, Query, Page] | None:
    """What is found for the reader; None when the client does not take it as it comes."""
    if not accepts_json(request):
        return None
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name != "accept"]
    query = parse_query(pairs, level, moments=True)
    named = {name: uid(value) for name, value in request.path_params.items() if name in _PATH_TAGS}
    path = [Match(_PATH_TAGS[name], "UI", "one-of", (value,)) for name, value in named.items()]
    query = replace(query, matches=(*path, *query.matches))
    return reader, query, _page(node, reader, query, frozenset(named), root_of(request))


def _page(node: Node, reader: Reader, query: Query, named: frozenset[str], root: str) -> Page:
    """What is found, when the reader may still see it after the search: a permit is judged again, always."""
    wanted = sorted(_wanted(query, named))
    everything = query.include_all and query.level == "instance"
    pieces: list[bytes] = []
    size = 0
    begun = time.monotonic()
    with node.engine.connect() as connection:
        found = scan(connection, query, within=members(reader.grant), tags=None if everything else wanted)
        with closing(found):
            for one in _as_permitted(node, reader, found) if everything or not _LISTED.issuperset(wanted) else found:
                pieces.append(orjson.dumps(_row(one, sorted(one.header) if everything else wanted, root)))
                size += len(pieces[-1]) + 1
                if size > MOST_BYTES:
                    break
    if reader.grant.permit or time.monotonic() - begun > LONG:
        still_granted(node, reader.who, reader.grant, reader.actions)
    full = size > MOST_BYTES or len(pieces) >= MAX_RESULTS
    return Page(len(pieces), b"[" + b",".join(pieces) + b"]", full)


def _as_permitted(node: Node, reader: Reader, found: Iterator[Found]) -> Iterator[Found]:
    """Of an object that is no picture, a permit to look shows what `BELONGS` lists."""
    may: bool | None = None
    for one in found:
        if one.uid is not None and not is_picture(one.header):
            if may is None:
                may = may_retrieve(node, reader.who, reader.grant)
            if not may:
                header = {tag: element for tag, element in one.header.items() if tag in _LISTED}
                yield replace(one, header=header)
                continue
        yield one


def dicom_json(content: list[Json]) -> bytes:
    """As it is sent."""
    return orjson.dumps(content)


def accepts_json(request: Request) -> bool:
    """Whether the client takes DICOM JSON."""
    return any(fits(media.inner, DICOM_JSON) or media.inner == "application/json" for media in accepted(request))


def not_json() -> Response:
    """The answer to a client that takes none."""
    return problem(BadInput("The answer comes as application/dicom+json only.", "Accept that."), 406)


def root_of(request: Request) -> str:
    """The address of the DICOMweb service, without a slash at the end."""
    base: str = getattr(request.state, "address", "") or f"{request.url.scheme}://{request.url.netloc}"
    path: str = request.scope.get("root_path", "")
    return base.rstrip("/") + path.rstrip("/")


def _wanted(query: Query, given: frozenset[str]) -> set[str]:
    """Tags of the answer: the level's own and those of the levels above that the address does not name."""
    place = LEVELS.index(query.level)
    tags = {_STUDY_UID, *({_SERIES_UID} if place >= 1 else ()), *query.include}
    for level in LEVELS[: place + 1]:
        if level == query.level or level not in given:
            tags |= set(BELONGS[level] if query.include_all else RETURNED[level])
    return tags


def _row(found: Found, tags: list[str], root: str) -> dict[str, Json]:
    """The attributes `tags` of what was found, in their order, which is that of the answer."""
    header = found.header
    header[_RETRIEVE_URL] = {"vr": "UR", "Value": [address(root, found.study_uid, found.series_uid, found.uid)]}
    return {tag: header[tag] for tag in tags if tag in header and "BulkDataURI" not in header[tag]}


def address(root: str, study: str, series: str | None = None, instance: str | None = None) -> str:
    """Where something can be retrieved."""
    parts = (("studies", study), ("series", series), ("instances", instance))
    return root + "".join(f"/{name}/{value}" for name, value in parts if value)


def _warning(query: Query, page: Page) -> str:
    """RFC 7234 section 5.5, as PS3.18 section 8.3.4 has it; names of parameters only, which hold no value."""
    told = []
    unknown = [name for name in query.unsupported if name != "fuzzymatching"]
    if len(unknown) < len(query.unsupported):
        told.append("The fuzzymatching parameter is not supported. Only literal matching has been performed.")
    if unknown:
        told.append(f"These parameters are not supported and were not applied: {', '.join(unknown)}.")
    if page.more:
        told.append("There may be more results; ask for them with offset.")
    return ", ".join(f'299 carina "{text}"' for text in told)
