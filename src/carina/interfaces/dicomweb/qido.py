"""QIDO-RS: search for studies, series and instances, PS3.18 section 10.6."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any as Json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from carina.dicom.levels import BELONGS, LEVELS, RETURNED, Level
from carina.dicom.query import MAX_RESULTS, Match, Query, parse_query
from carina.errors import BadInput
from carina.interfaces.api.problems import problem
from carina.interfaces.dicomweb.giving import give_document
from carina.interfaces.dicomweb.media import DICOM_JSON, accepted, fits
from carina.interfaces.dicomweb.opening import Reader
from carina.model.ids import uid
from carina.node.retrieve import find, is_picture, may_retrieve
from carina.node.site import Node
from carina.storage.search import Found

_STUDY_UID, _SERIES_UID, _INSTANCE_UID, _RETRIEVE_URL = "0020000D", "0020000E", "00080018", "00081190"
_PATH_TAGS = {"study": _STUDY_UID, "series": _SERIES_UID}
_LISTED = frozenset(tag for level in LEVELS for tag in BELONGS[level])


async def search(node: Node, request: Request, level: Level, reader: Reader) -> Response:
    """What the address asks for, as DICOM JSON; 204 when there is nothing."""
    if not accepts_json(request):
        return not_json()
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name != "accept"]
    query = parse_query(pairs, level)
    named = {name: uid(value) for name, value in request.path_params.items() if name in _PATH_TAGS}
    path = [Match(_PATH_TAGS[name], "UI", "one-of", (value,)) for name, value in named.items()]
    query = replace(query, matches=(*path, *query.matches))
    rows = await run_in_threadpool(_rows, node, reader, query, set(named), root_of(request))
    headers = {"Warning": warning} if (warning := _warning(query, len(rows))) else {}
    if not rows:
        return Response(status_code=204, headers=headers)
    return await give_document(node, reader, await run_in_threadpool(dicom_json, rows), DICOM_JSON, headers)


def _rows(node: Node, reader: Reader, query: Query, named: set[str], root: str) -> list[Json]:
    """What is found. Of an object that is no picture, a permit to look shows what `BELONGS` lists."""
    found = find(node, reader.grant, query)
    wanted = _wanted(query, named)
    no_pictures = [item for item in found if item.uid is not None and not is_picture(item.header)]
    if no_pictures and not may_retrieve(node, reader.who, reader.grant):
        for item in no_pictures:
            for tag in item.header.keys() - _LISTED:
                del item.header[tag]
    return [_row(item, query, wanted, root) for item in found]


def dicom_json(content: list[Json]) -> bytes:
    """As it is sent."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


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


def _wanted(query: Query, given: set[str]) -> set[str]:
    """Tags of the answer: the level's own and those of the levels above that the address does not name."""
    place = LEVELS.index(query.level)
    tags = {_STUDY_UID, *({_SERIES_UID} if place >= 1 else ()), *query.include}
    for level in LEVELS[: place + 1]:
        if level == query.level or level not in given:
            tags |= set(BELONGS[level] if query.include_all else RETURNED[level])
    return tags


def _row(found: Found, query: Query, wanted: set[str], root: str) -> dict[str, Json]:
    everything = query.include_all and query.level == "instance"
    row = {
        tag: element
        for tag, element in found.header.items()
        if (everything or tag in wanted) and "BulkDataURI" not in element
    }
    row[_RETRIEVE_URL] = {"vr": "UR", "Value": [address(root, found.study_uid, found.series_uid, found.uid)]}
    return dict(sorted(row.items()))


def address(root: str, study: str, series: str | None = None, instance: str | None = None) -> str:
    """Where something can be retrieved."""
    parts = (("studies", study), ("series", series), ("instances", instance))
    return root + "".join(f"/{name}/{value}" for name, value in parts if value)


def _warning(query: Query, count: int) -> str:
    """RFC 7234 section 5.5, as PS3.18 section 8.3.4 has it; names of parameters only, which hold no value."""
    told = []
    unknown = [name for name in query.unsupported if name != "fuzzymatching"]
    if len(unknown) < len(query.unsupported):
        told.append("The fuzzymatching parameter is not supported. Only literal matching has been performed.")
    if unknown:
        told.append(f"These parameters are not supported and were not applied: {', '.join(unknown)}.")
    if count >= MAX_RESULTS:
        told.append("There may be more results; ask for them with offset.")
    return ", ".join(f'299 carina "{text}"' for text in told)
