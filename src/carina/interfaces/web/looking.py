"""What the pages of a series load: its slices as pictures, their values, outlines over them, a sheet of all, headers.

Each request is judged when it comes and again before its answer begins, is written down as viewed, and answered from
the browser's own copy where that is still right; browsers ask each time, so that an ended permit ends their copies.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.dicom.rendering import Table, Window
from carina.dicom.voi import table_number
from carina.errors import BadInput, NotFound
from carina.interfaces.dicomweb.bounds import require_drawable
from carina.interfaces.dicomweb.conditions import tag_of, unchanged
from carina.interfaces.dicomweb.giving import Ready, give_ready
from carina.interfaces.dicomweb.opening import VIEW, Opener, Reader
from carina.interfaces.dicomweb.parameters import SHAPES, window_of
from carina.interfaces.dicomweb.wado import with_header
from carina.model.ids import uid
from carina.node import retrieve
from carina.node.documents import VIDEO, is_video
from carina.node.headers import header_rows
from carina.node.images import open_image
from carina.node.look import as_shown, sheet_of
from carina.node.mosaic import mosaic
from carina.node.overlays import outlines
from carina.node.shown import OWN, values_for
from carina.node.site import Node
from carina.node.spans import require_frames
from carina.node.stack import Stack, stacked
from carina.node.taken import taken
from carina.storage.locate import Located

KEPT = {"Cache-Control": "private, no-cache"}


@dataclass(frozen=True)
class Asked:
    """One request of one reader."""

    node: Node
    request: Request
    reader: Reader

    @property
    def series(self) -> list[Located]:
        """The series' instances, without headers. Raises `NotFound`."""
        return retrieve.place(self.node, self.reader.grant, self._uid("study"), self._uid("series"))

    @property
    def frame(self) -> tuple[Located, int]:
        """The instance and the number of the frame. Raises `NotFound` for one that has none."""
        path = self.request.path_params
        found = retrieve.place(self.node, self.reader.grant, self._uid("study"), self._uid("series"), self._uid("uid"))[
            0
        ]
        require_frames(found, [path["number"]])
        if is_video(found.transfer_syntax_uid):
            raise NotFound(VIDEO[1], "Retrieve it as a DICOM object.")
        return found, path["number"]

    def _uid(self, name: str) -> str:
        return uid(self.request.path_params[name])

    def ready(self, parts: list[object], media: str, made_of: list[Located], make: Callable[[], bytes]) -> Ready:
        """The answer that these parts decide on; nothing is made for who has it."""
        tag = tag_of(["look", media, *parts, *(one.content for one in made_of)])
        data = b"" if unchanged(self.request.headers, tag) else make()
        return Ready(tag, media, [data], made_of, "rendered", KEPT)

    def window(self) -> Window | Table | None:
        """What `window` names: one of the look's windows, or `center,width[,shape]`. Raises `BadInput`."""
        name = self.request.query_params.get("window", "")
        if name in ("", OWN.name):
            return None
        if "," in name:
            return window_of(self.request.query_params)
        if (number := table_number(name)) is not None:
            return Table(number)
        instances = self.series
        stack = stacked(self.node, instances)
        windows = as_shown(self.node, instances, stack).windows if stack.slices else ()
        found = next((one for one in windows if one.name == name), None)
        if found is None:
            raise BadInput("The series has no window of this name.", "Choose one of its list, or give center,width.")
        return Window(found.center, found.width, SHAPES[found.shape])

    def require(self, one: Located) -> None:
        """Raise `TooLarge` for an image that is not drawn for one request."""
        require_drawable(with_header(self.node, self.reader, one), 1, None)


def look_routes(node: Node, opener: Opener, base: str) -> list[Route]:
    """The routes below `base`, which ends with `{series}`; `opener` says who asks, and what they may touch."""

    def route(path: str, make: Callable[[Asked], Ready]) -> Route:
        async def answer(request: Request) -> Response:
            reader = await opener(request, VIEW)
            asked = Asked(node, request, reader)
            given: Response = await give_ready(node, request, reader, lambda: make(asked), heavy=True)
            return given

        return Route(base + path, answer, methods=["GET"])

    return [
        route("/frames/{uid}/{number:int}.png", _frame),
        route("/values/{uid}/{number:int}", _values),
        route("/outlines/{uid}/{number:int}.json", _outlines),
        route("/header/{uid}.json", _header),
        route("/mosaic.jpg", _mosaic),
    ]


def _frame(asked: Asked) -> Ready:
    one, number = asked.frame
    window = asked.window()

    def draw() -> bytes:
        asked.require(one)
        return open_image(asked.node, one, [number]).draw(number, window=window)

    key = (one.content, number, window)
    return asked.ready([number, window], "image/png", [one], lambda: asked.node.pictures.kept.of(key, draw))


def _values(asked: Asked) -> Ready:
    one, number = asked.frame

    def make() -> bytes:
        asked.require(one)
        image = open_image(asked.node, one, [number])
        pixels = image.pixels(number)
        stored = values_for(image.header, pixels, number)
        if stored is None:
            raise NotFound("The values of this image are no whole numbers of 16 bits.", "Ask for its picture.")
        return np.ascontiguousarray(pixels.astype(np.dtype(stored.type).newbyteorder("<"), copy=False)).tobytes()

    return asked.ready(["values", number], "application/octet-stream", [one], make)


def _outlines(asked: Asked) -> Ready:
    one, number = asked.frame
    wanted = uid(asked.request.query_params.get("overlay", ""))
    study = retrieve.place(asked.node, asked.reader.grant, one.study_uid)
    overlay = next((each for each in study if each.uid == wanted), None)
    if overlay is None:
        raise NotFound("The study has no such overlay.", "Choose one that the look lists.")
    gap = _stack(asked).gap

    def make() -> bytes:
        found = outlines(asked.node, overlay, taken(asked.node, [one])[0], number, gap)
        return json.dumps(asdict(found), separators=(",", ":")).encode()

    return asked.ready(["outlines", number, gap], "application/json", [overlay, one], make)


def _stack(asked: Asked) -> Stack:
    return stacked(asked.node, asked.series)


def _header(asked: Asked) -> Ready:
    path = asked.request.path_params
    place = (uid(path["study"]), uid(path["series"]), uid(path["uid"]))
    whole = retrieve.may_retrieve(asked.node, asked.reader.who, asked.reader.grant)
    rows = header_rows(asked.node, asked.reader.grant, *place, whole=whole)
    data = json.dumps([asdict(one) for one in rows], separators=(",", ":")).encode()
    [one] = retrieve.place(asked.node, asked.reader.grant, *place)
    return asked.ready(["header", whole], "application/json", [one], lambda: data)


def _mosaic(asked: Asked) -> Ready:
    instances: dict[str, Located] = {one.uid: one for one in asked.series}
    stack = _stack(asked)
    if not stack.slices:
        raise NotFound("Nothing here has pixels.", "Retrieve it as DICOM objects.")
    page = asked.request.query_params.get("page", "0")
    if not page.isdecimal() or len(page) > 6:
        raise BadInput("'page' is no whole number.", "Count pages from 1.")
    sheet, window = sheet_of(len(stack.slices), int(page)), asked.window()
    shown = [stack.slices[number] for number in sheet.slices]
    made_of = list({one.uid: instances[one.uid] for one in shown}.values())

    def draw() -> bytes:
        return mosaic(
            asked.node, sheet, stack.slices, instances, window=window, require=asked.require, aspect=stack.aspect
        )

    places = tuple((one.uid, one.frame) for one in shown)
    key = ("mosaic", places, tuple(one.content for one in made_of), window)
    return asked.ready([places, window], "image/jpeg", made_of, lambda: asked.node.pictures.kept.of(key, draw))
