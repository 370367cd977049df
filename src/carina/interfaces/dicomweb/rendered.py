"""Instances and frames as pictures, PS3.18 section 10.4.1.1.3."""

from __future__ import annotations

from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from carina.interfaces.dicomweb.opening import Reader
from carina.interfaces.dicomweb.parameters import frame_numbers, media_of, quality_of, viewport_of, window_of
from carina.interfaces.dicomweb.qido import address, root_of
from carina.interfaces.dicomweb.wado import found, in_parts, not_acceptable
from carina.node.retrieve import hand_out, render_frames
from carina.node.site import Node


async def rendered(node: Node, request: Request, reader: Reader) -> Response:
    """Frames as PNG or JPEG, without `frames` in the address the first; several of them in parts."""
    numbers = frame_numbers(request.path_params.get("frames", "1"))
    chosen = media_of(request)
    if chosen is None:
        return not_acceptable()
    media, multipart = chosen
    window, viewport = window_of(request.query_params), viewport_of(request.query_params)
    quality = quality_of(request.query_params)
    [instance] = await run_in_threadpool(found, node, request, reader)
    make = partial(
        render_frames, node, instance, numbers, window=window, viewport=viewport, media=media, quality=quality
    )
    pictures = await run_in_threadpool(make)
    await run_in_threadpool(hand_out, node, reader.grant, [instance], reader.who, "rendered")
    if len(pictures) == 1 and not multipart:
        return Response(pictures[0], media_type=media)
    place = f"{address(root_of(request), instance.study_uid, instance.series_uid, instance.uid)}/frames/"
    fields = [[("Content-Type", media), ("Content-Location", f"{place}{number}/rendered")] for number in numbers]
    return in_parts(media, fields, pictures)
