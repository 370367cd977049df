"""WADO-RS: retrieve instances, metadata, frames, pictures and bulk data, PS3.18 sections 10.4."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any as Json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from carina.errors import BadInput
from carina.interfaces.api.problems import problem
from carina.interfaces.dicomweb import multipart
from carina.interfaces.dicomweb.media import (
    DEFAULT_SYNTAX,
    DICOM,
    DICOM_JSON,
    OCTETS,
    Media,
    accepted,
    choose_frames,
    fits,
)
from carina.interfaces.dicomweb.opening import Reader
from carina.interfaces.dicomweb.parameters import frame_numbers
from carina.interfaces.dicomweb.qido import accepts_json, address, not_json, root_of
from carina.model.ids import uid
from carina.node.retrieve import (
    Form,
    can_be_native,
    find_instance,
    find_instances,
    hand_out,
    read,
    read_bulk_data,
    read_frames,
    still_granted,
)
from carina.node.site import Node
from carina.storage.index import StoredInstance

ASK_AGAIN = 5.0
"""Seconds after which an answer under way asks whether the permit still holds."""


def found(node: Node, request: Request, reader: Reader) -> list[StoredInstance]:
    """The instances that the address names, at least one, or `NotFound`, also when the reader may not touch them."""
    names = {
        name: uid(request.path_params[name]) for name in ("study", "series", "instance") if name in request.path_params
    }
    if "instance" in names:
        return [find_instance(node, reader.grant, names["study"], names["series"], names["instance"])]
    return find_instances(node, reader.grant, names["study"], names.get("series"))


async def retrieve(node: Node, request: Request, reader: Reader) -> Response:
    """A study, series or instance as DICOM files."""
    instances = await run_in_threadpool(found, node, request, reader)
    ranges = [media for media in accepted(request) if fits(media.inner, DICOM)]
    alone = "instance" in request.path_params and bool(ranges) and ranges[0].type in (DICOM, "application/*")
    if not alone:
        ranges = [media for media in ranges if media.multipart or media.type == "*/*"]
    forms = [_form(instance, ranges) for instance in instances]
    if any(form is None for form in forms):
        return not_acceptable()
    chosen = [form for form in forms if form is not None]
    await run_in_threadpool(hand_out, node, reader.grant, instances, reader.who, "instances")
    if alone:
        data = await run_in_threadpool(read, node, instances[0], chosen[0])
        return Response(data, 200, media_type=_dicom_type(instances[0], chosen[0]))
    first = await run_in_threadpool(read, node, instances[0], chosen[0])  # so that what fails, fails before the answer
    boundary = multipart.new_boundary()
    files = _files(node, request, reader, list(zip(instances, chosen, strict=True)), first)
    return StreamingResponse(_joined(files, boundary), 200, media_type=related(DICOM, boundary))


def _form(instance: StoredInstance, ranges: Sequence[Media]) -> Form | None:
    """How the client takes the instance; None when not as it can be given."""
    syntaxes = {media.syntax if media.inner != "application/*" else "*" for media in ranges}
    if syntaxes & {"*", instance.transfer_syntax_uid}:
        return "stored"
    return "native" if DEFAULT_SYNTAX in syntaxes and can_be_native(instance) else None


def _dicom_type(instance: StoredInstance, form: Form) -> str:
    syntax = instance.transfer_syntax_uid if form == "stored" else DEFAULT_SYNTAX
    return f"{DICOM}; transfer-syntax={syntax}"


async def _files(
    node: Node, request: Request, reader: Reader, chosen: Sequence[tuple[StoredInstance, Form]], first: bytes
) -> AsyncIterator[tuple[list[tuple[str, str]], bytes]]:
    """Each file with its part's header. The answer is broken off when the permit ends while it is sent."""
    root, asked = root_of(request), time.monotonic()
    for number, (instance, form) in enumerate(chosen):
        if time.monotonic() - asked >= ASK_AGAIN:
            await run_in_threadpool(still_granted, node, reader.who, reader.grant)
            asked = time.monotonic()
        data = first if number == 0 else await run_in_threadpool(read, node, instance, form)
        fields = [("Content-Type", _dicom_type(instance, form)), ("Content-Location", _place(root, instance))]
        yield fields, data


def _place(root: str, instance: StoredInstance) -> str:
    return address(root, instance.study_uid, instance.series_uid, instance.uid)


async def _joined(files: AsyncIterator[tuple[list[tuple[str, str]], bytes]], boundary: str) -> AsyncIterator[bytes]:
    first = True
    async for fields, data in files:
        yield multipart.begin_part(boundary, fields, first)
        yield data
        first = False
    yield multipart.end(boundary)


def related(media: str, boundary: str) -> str:
    """The media type of an answer in parts."""
    return f'multipart/related; type="{media}"; boundary={boundary}'


async def metadata(node: Node, request: Request, reader: Reader) -> Response:
    """The headers of a study, series or instance as DICOM JSON; binary values as addresses."""
    if not accepts_json(request):
        return not_json()
    content = await run_in_threadpool(partial(_metadata, node, request, reader, root_of(request)))
    return JSONResponse(content, media_type=DICOM_JSON)


def _metadata(node: Node, request: Request, reader: Reader, root: str) -> list[Json]:
    return [
        _with_addresses(
            {**instance.header, "00083002": {"vr": "UI", "Value": [instance.transfer_syntax_uid]}},
            f"{_place(root, instance)}/bulkdata/",
        )
        for instance in found(node, request, reader)
    ]


def _with_addresses(header: dict[str, Json], base: str) -> dict[str, Json]:
    """The header with each relative `BulkDataURI` made whole."""
    return {tag: _element(element, base) for tag, element in sorted(header.items())}


def _element(element: dict[str, Json], base: str) -> dict[str, Json]:
    if "BulkDataURI" in element:
        return {**element, "BulkDataURI": base + element["BulkDataURI"]}
    if element["vr"] == "SQ" and "Value" in element:
        return {**element, "Value": [_with_addresses(item, base) for item in element["Value"]]}
    return element


async def frames(node: Node, request: Request, reader: Reader) -> Response:
    """Frames of an instance, as stored or decompressed, as the client accepts them."""
    numbers = frame_numbers(request.path_params["frames"])
    [instance] = await run_in_threadpool(found, node, request, reader)
    answer = choose_frames(
        accepted(request),
        instance.transfer_syntax_uid,
        native_possible=can_be_native(instance),
        alone=len(numbers) == 1,
    )
    if answer is None:
        return not_acceptable()
    form: Form = "stored" if answer.stored else "native"
    given = await run_in_threadpool(read_frames, node, instance, numbers, form)
    await run_in_threadpool(hand_out, node, reader.grant, [instance], reader.who, "frames")
    types = [f"{answer.media}; transfer-syntax={frame.syntax}" for frame in given]
    if not answer.multipart:
        return Response(given[0].data, media_type=types[0])
    place = f"{_place(root_of(request), instance)}/frames/"
    fields = [
        [("Content-Type", media), ("Content-Location", f"{place}{number}")]
        for media, number in zip(types, numbers, strict=True)
    ]
    return in_parts(answer.media, fields, [frame.data for frame in given])


def in_parts(media: str, fields: Sequence[list[tuple[str, str]]], bodies: Sequence[bytes]) -> Response:
    """Some bodies as one answer of several parts."""
    boundary = multipart.new_boundary()
    pieces: list[bytes] = []
    for number, (lines, body) in enumerate(zip(fields, bodies, strict=True)):
        pieces += [multipart.begin_part(boundary, lines, number == 0), body]
    return Response(b"".join([*pieces, multipart.end(boundary)]), media_type=related(media, boundary))


async def bulk_data(node: Node, request: Request, reader: Reader) -> Response:
    """A binary value that the metadata left out."""
    wanted = [media for media in accepted(request) if fits(media.inner, OCTETS)]
    if not wanted:
        return not_acceptable()
    [instance] = await run_in_threadpool(found, node, request, reader)
    value = await run_in_threadpool(read_bulk_data, node, instance, request.path_params["path"])
    await run_in_threadpool(hand_out, node, reader.grant, [instance], reader.who, "bulk data")
    if not wanted[0].multipart:
        return Response(value.data, media_type=OCTETS)
    place = f"{_place(root_of(request), instance)}/bulkdata/{request.path_params['path']}"
    return in_parts(OCTETS, [[("Content-Type", OCTETS), ("Content-Location", place)]], [value.data])


def not_acceptable() -> Response:
    """The answer to a client that accepts nothing that can be given."""
    return problem(
        BadInput(
            "None of the accepted media types and transfer syntaxes can be given.",
            'Accept multipart/related; type="application/dicom"; transfer-syntax=*, or its octet-stream for frames.',
        ),
        406,
    )
