"""Instances and frames as pictures, PS3.18 section 10.4.1.1.3."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from carina.dicom.rendering import render
from carina.interfaces.dicomweb.bounds import require_drawable
from carina.interfaces.dicomweb.giving import Part, give, work
from carina.interfaces.dicomweb.opening import Reader
from carina.interfaces.dicomweb.parameters import frame_numbers, media_of, quality_of, viewport_of, window_of
from carina.interfaces.dicomweb.qido import address, root_of
from carina.interfaces.dicomweb.wado import found, not_acceptable
from carina.node.retrieve import open_image
from carina.node.site import Node
from carina.storage.index import StoredInstance


async def rendered(node: Node, request: Request, reader: Reader) -> Response:
    """Frames as PNG or JPEG, without `frames` in the address the first; several of them in parts."""
    numbers = frame_numbers(request.path_params.get("frames", "1"))
    chosen = media_of(request)
    if chosen is None:
        return not_acceptable()
    media, multipart = chosen
    viewport = viewport_of(request.query_params)
    window, quality = window_of(request.query_params), quality_of(request.query_params)
    [instance] = await run_in_threadpool(found, node, request, reader)
    require_drawable(instance, len(numbers), viewport)
    place = f"{address(root_of(request), instance.study_uid, instance.series_uid, instance.uid)}/frames/"
    draw = partial(render, window=window, viewport=viewport, media=media, quality=quality)
    pictures = _pictures(node, instance, numbers, draw, media=media, place=place)
    alone = len(numbers) == 1 and not multipart
    return await give(node, reader, [instance], "rendered", pictures, in_parts_of=None if alone else media)


async def _pictures(
    node: Node, instance: StoredInstance, numbers: Sequence[int], draw: partial[bytes], *, media: str, place: str
) -> AsyncIterator[Part]:
    """One after the other, each drawn when it is to be given."""
    image = await work(open_image, node, instance, numbers)
    for number in numbers:
        fields = [("Content-Type", media), ("Content-Location", f"{place}{number}/rendered")]
        yield fields, await work(draw, image, number)
