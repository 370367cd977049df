"""WADO-URI: one object, or a picture of it, by an address with parameters, PS3.18 section 9."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from carina.dicom.rendering import MAX_SIDE, Media, Viewport, Window
from carina.errors import BadInput
from carina.interfaces.dicomweb.bounds import require_drawable
from carina.interfaces.dicomweb.giving import Ready, give_ready
from carina.interfaces.dicomweb.media import DEFAULT_SYNTAX, DICOM, fits, ranked
from carina.interfaces.dicomweb.opening import RETRIEVE, VIEW, Opener, Reader
from carina.interfaces.dicomweb.rendered import Style, draw, refuse_additions
from carina.interfaces.dicomweb.wado import (
    not_acceptable,
    stored_files,
    transcoded_files,
    with_header,
)
from carina.model.ids import uid
from carina.node.retrieve import can_become, place, with_pixels
from carina.node.site import Node
from carina.storage.index import StoredInstance
from carina.storage.locate import Located

_HINT = "See docs/conformance.md for the parameters of WADO-URI."
_NUMBER = re.compile(r"[+-]?\d{1,12}(\.\d{1,12})?")
_PICTURES: tuple[Media, ...] = ("image/jpeg", "image/png")


@dataclass(frozen=True)
class Asked:
    """What an address names: the object, and the first of the types in `contentType` that can be given, if any."""

    study: str
    series: str
    instance: str
    media: str | None


async def wado_uri(node: Node, request: Request, opens: Opener) -> Response:
    """The object or picture that the parameters name, to whom `opens` lets in for that."""
    query = request.query_params
    asked = _asked(query)
    if asked.media is None:
        return not_acceptable()
    reader = await opens(request, RETRIEVE if asked.media == DICOM else VIEW)
    [one] = await run_in_threadpool(place, node, reader.grant, asked.study, asked.series, asked.instance)
    if asked.media == DICOM:
        return await _object(node, request, reader, one)
    return await _picture(node, request, reader, one, asked.media)


def _asked(query: QueryParams) -> Asked:
    if query.get("requestType") != "WADO":
        raise BadInput("'requestType' is not WADO.", _HINT)
    names = [query.get(name) for name in ("studyUID", "seriesUID", "objectUID")]
    if None in names:
        raise BadInput("'studyUID', 'seriesUID' and 'objectUID' name an object together.", _HINT)
    study, series, instance = (uid(name or "") for name in names)
    wanted = ranked(query.get("contentType") or "image/jpeg")
    offered = (*_PICTURES, DICOM)
    media = next((offer for media in wanted for offer in offered if fits(media.type, offer)), None)
    return Asked(study, series, instance, media)


async def _object(node: Node, request: Request, reader: Reader, one: Located) -> Response:
    query = request.query_params
    if any(name in query for name in ("frameNumber", "windowCenter", "windowWidth", "rows", "columns", "region")):
        raise BadInput("Parameters of pictures do not go with application/dicom.", _HINT)
    syntax = query.get("transferSyntax", DEFAULT_SYNTAX)
    if syntax in ("*", one.transfer_syntax_uid):
        make: partial[Ready] = partial(stored_files, request, [one], alone=True)
        return await give_ready(node, request, reader, make)
    if not can_become(one, syntax):
        return not_acceptable()
    return await transcoded_files(node, request, reader, [(one, syntax)], alone=True)


async def _picture(node: Node, request: Request, reader: Reader, one: Located, media: str) -> Response:
    query = request.query_params
    if not await run_in_threadpool(with_pixels, node, [one]):
        return not_acceptable()
    refuse_additions(query)
    number = _whole(query, "frameNumber", 1, 99_999_999) or 1
    quality = _whole(query, "imageQuality", 1, 100) or 90
    header = await run_in_threadpool(with_header, node, reader, one)
    viewport = _viewport(query, header)
    require_drawable(header, 1, viewport)
    style = Style("image/png" if media == "image/png" else "image/jpeg", _window(query), viewport, quality)
    return await draw(node, request, reader, [one], style, numbers=[number], multipart=False)


def _window(query: QueryParams) -> Window | None:
    """`windowCenter` and `windowWidth`, both or none."""
    texts = [query.get("windowCenter"), query.get("windowWidth")]
    if texts == [None, None]:
        return None
    if not all(text is not None and _NUMBER.fullmatch(text) for text in texts) or float(texts[1] or 0) < 1:
        raise BadInput("'windowCenter' and 'windowWidth' are two numbers, the width at least 1.", _HINT)
    return Window(float(texts[0] or 0), float(texts[1] or 0))


def _viewport(query: QueryParams, header: StoredInstance) -> Viewport | None:
    """`rows` and `columns` are what the picture fits into, `region` the part of the image that it shows."""
    rows, columns = (_whole(query, name, 1, MAX_SIDE) for name in ("rows", "columns"))
    region = _region(query.get("region"), _size(header))
    if rows is None and columns is None and region is None:
        return None
    return (
        Viewport(columns or MAX_SIDE, rows or MAX_SIDE, region)
        if region is None or rows or columns
        else Viewport(min(region[2], MAX_SIDE), min(region[3], MAX_SIDE), region)
    )


def _region(text: str | None, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """`xmin,ymin,xmax,ymax`, each from 0 to 1 of the image's width and height, as (x, y, width, height) in pixels."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise BadInput("'region' is not four numbers from 0 to 1.", _HINT)
    left, top, right, bottom = (float(part) for part in parts)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise BadInput("'region' is not four numbers from 0 to 1.", _HINT)
    columns, rows = size
    x, y = int(left * columns), int(top * rows)
    return x, y, max(1, round(right * columns) - x), max(1, round(bottom * rows) - y)


def _size(header: StoredInstance) -> tuple[int, int]:
    """Columns and rows."""
    values: Sequence[object] = [(header.header.get(tag, {}).get("Value") or [0])[0] for tag in ("00280011", "00280010")]
    columns, rows = (value if isinstance(value, int) else 0 for value in values)
    return columns, rows


def _whole(query: QueryParams, name: str, least: int, most: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 8 or not least <= int(text) <= most:
        raise BadInput(f"'{name}' is no whole number from {least} to {most}.", _HINT)
    return int(text)
