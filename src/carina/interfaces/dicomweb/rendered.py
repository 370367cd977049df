"""Studies, series, instances and frames as pictures and thumbnails, PS3.18 sections 10.4.1.1.3 and 10.4.1.1.4."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from carina.dicom.rendering import Media, Viewport, Window
from carina.errors import BadInput, NotFound
from carina.interfaces.dicomweb.bounds import require_drawable, require_few_pixels
from carina.interfaces.dicomweb.conditions import tag_of
from carina.interfaces.dicomweb.giving import Part, Ready, give, give_ready, work
from carina.interfaces.dicomweb.opening import Reader
from carina.interfaces.dicomweb.parameters import frame_numbers, media_of, quality_of, viewport_of, window_of
from carina.interfaces.dicomweb.qido import root_of
from carina.interfaces.dicomweb.wado import address_of, located, not_acceptable, with_header
from carina.node.images import open_image
from carina.node.retrieve import with_pixels
from carina.node.site import Node
from carina.node.thumbnails import thumbnail as kept
from carina.storage.locate import Located

THUMBNAIL = Viewport(128, 128)
"""What a thumbnail fits into where no viewport is asked for."""


@dataclass(frozen=True)
class Style:
    """How a picture is drawn."""

    media: Media
    window: Window | None
    viewport: Viewport | None
    quality: int

    def draw(self, node: Node, one: Located, number: int) -> bytes:
        """A frame in this style. Raises `NotFound` and `InvalidInstance`."""
        image = open_image(node, one, [number])
        return image.draw(number, window=self.window, viewport=self.viewport, media=self.media, quality=self.quality)


async def rendered(node: Node, request: Request, reader: Reader) -> Response:
    """Frames as PNG or JPEG, without `frames` in the address the first; several of them in parts.

    Of a study or series, the first frame of each instance that has pixels.
    """
    numbers = frame_numbers(request.path_params.get("frames", "1"))
    chosen = media_of(request)
    style = _style(request, chosen, None)
    if chosen is None or style is None:
        return not_acceptable()
    found = await run_in_threadpool(_drawable, node, request, reader, len(numbers), style.viewport)
    return await draw(node, request, reader, found, style, numbers=numbers, multipart=chosen[1])


async def draw(
    node: Node,
    request: Request,
    reader: Reader,
    found: Sequence[Located],
    style: Style,
    *,
    numbers: Sequence[int],
    multipart: bool,
) -> Response:
    """The answer with these frames of each instance; in parts where it is asked for, or where there are several."""
    root = root_of(request)
    alone = len(numbers) == 1 and len(found) == 1 and not multipart
    names = [alone or root, repr(style), *numbers, *(one.content for one in found)]
    parts = _pictures(node, found, numbers, style, root)
    return await give(
        node,
        request,
        reader,
        parts,
        instances=found,
        what="rendered",
        tag=tag_of(["rendered", *names]),
        in_parts_of=None if alone else style.media,
    )


async def thumbnail(node: Node, request: Request, reader: Reader) -> Response:
    """A small picture that stands for a study, series, instance or frame; one that was made before is kept."""
    [number, *more] = frame_numbers(request.path_params.get("frames", "1"))
    chosen = media_of(request)
    style = _style(request, chosen, THUMBNAIL)
    if chosen is None or style is None or chosen[1] or more:
        return not_acceptable()

    def make() -> Ready:
        one = middle(_shown(node, located(node, request, reader)))
        asked = f"{number} {style!r}"

        def made() -> bytes:
            require_drawable(with_header(node, reader, one), 1, style.viewport)
            return style.draw(node, one, number)

        picture = kept(node, one.content, asked, made)
        return Ready(tag_of(["thumbnail", one.content, asked]), style.media, [picture], [one], "rendered")

    return await give_ready(node, request, reader, make, heavy=True)


def middle(shown: Sequence[Located]) -> Located:
    """Of images in order, the one in the middle of the first series."""
    of_first = [one for one in shown if one.series_uid == shown[0].series_uid]
    return of_first[len(of_first) // 2]


def refuse_additions(query: QueryParams) -> None:
    """Raise `BadInput` for what would add to the pixels, or change their colours, and is not done here."""
    if query.get("annotation"):
        raise BadInput("Nothing is written into pictures: 'annotation' cannot be had.", "Ask without it.")
    if query.get("iccprofile", "no") != "no":
        raise BadInput("Pictures have no ICC profile: 'iccprofile' is 'no' at most.", "Ask without it.")
    if any(query.get(name) for name in ("presentationUID", "presentationSeriesUID")):
        raise BadInput("Presentation states are not applied to pictures.", "Retrieve the state as a DICOM object.")


def _style(request: Request, chosen: tuple[Media, bool] | None, usual: Viewport | None) -> Style | None:
    query = request.query_params
    refuse_additions(query)
    viewport, window, quality = viewport_of(query) or usual, window_of(query), quality_of(query)
    return None if chosen is None else Style(chosen[0], window, viewport, quality)


def _drawable(node: Node, request: Request, reader: Reader, frames: int, viewport: Viewport | None) -> list[Located]:
    """The images that the address names. Raises `TooLarge` when they are more than one request may have."""
    found = _shown(node, located(node, request, reader))
    if len(found) == 1:
        require_drawable(with_header(node, reader, found[0]), frames, viewport)
    else:
        require_few_pixels((with_header(node, reader, one) for one in found), viewport, len(found))
    return found


def _shown(node: Node, found: Sequence[Located]) -> list[Located]:
    shown = with_pixels(node, found)
    if not shown:
        raise NotFound("Nothing here has pixels.", "Retrieve it as DICOM objects.")
    return shown


async def _pictures(
    node: Node, found: Sequence[Located], numbers: Sequence[int], style: Style, root: str
) -> AsyncIterator[Part]:
    """One after the other, each drawn when it is to be given."""
    for one in found:
        image = await work(open_image, node, one, numbers)
        draw = partial(
            image.draw, window=style.window, viewport=style.viewport, media=style.media, quality=style.quality
        )
        for number in numbers:
            place = f"{address_of(root, one)}/frames/{number}/rendered"
            yield [("Content-Type", style.media), ("Content-Location", place)], await work(draw, number)
        del image, draw
