"""WADO-RS: retrieve instances, metadata, frames, pictures and bulk data, PS3.18 sections 10.4."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any as Json

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from carina.errors import BadInput
from carina.interfaces.api.problems import problem
from carina.interfaces.dicomweb.bounds import require_decodable, require_whole_decodable
from carina.interfaces.dicomweb.giving import Part, give, give_document, work
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
from carina.interfaces.dicomweb.qido import accepts_json, address, dicom_json, not_json, root_of
from carina.model.ids import uid
from carina.node.retrieve import (
    Form,
    can_be_native,
    find_instance,
    find_instances,
    open_image,
    read,
    read_bulk_data,
    read_frame,
    with_headers,
)
from carina.node.site import Node
from carina.storage.index import StoredInstance


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
    for instance, form in zip(instances, chosen, strict=True):
        if form == "native":
            require_whole_decodable(instance)
    files = _files(node, root_of(request), list(zip(instances, chosen, strict=True)))
    return await give(node, reader, instances, "instances", files, in_parts_of=None if alone else DICOM)


def _form(instance: StoredInstance, ranges: Sequence[Media]) -> Form | None:
    """How the client takes the instance; None when not as it can be given."""
    syntaxes = {media.syntax if media.inner != "application/*" else "*" for media in ranges}
    if syntaxes & {"*", instance.transfer_syntax_uid}:
        return "stored"
    return "native" if DEFAULT_SYNTAX in syntaxes and can_be_native(instance) else None


def _dicom_type(instance: StoredInstance, form: Form) -> str:
    syntax = instance.transfer_syntax_uid if form == "stored" else DEFAULT_SYNTAX
    return f"{DICOM}; transfer-syntax={syntax}"


async def _files(node: Node, root: str, chosen: Sequence[tuple[StoredInstance, Form]]) -> AsyncIterator[Part]:
    """Each file with its part's header, read when it is to be given."""
    for instance, form in chosen:
        run = work if form == "native" else run_in_threadpool
        fields = [("Content-Type", _dicom_type(instance, form)), ("Content-Location", _place(root, instance))]
        yield fields, await run(read, node, instance, form)


def _place(root: str, instance: StoredInstance) -> str:
    return address(root, instance.study_uid, instance.series_uid, instance.uid)


async def metadata(node: Node, request: Request, reader: Reader) -> Response:
    """The headers of a study, series or instance as DICOM JSON; binary values as addresses."""
    if not accepts_json(request):
        return not_json()
    content, headers = await run_in_threadpool(partial(_metadata, node, request, reader, root_of(request)))
    return await give_document(node, reader, content, DICOM_JSON, headers)


def _metadata(node: Node, request: Request, reader: Reader, root: str) -> tuple[bytes, dict[str, str]]:
    """The answer's body and header: what a permit to look leaves out is counted in a warning."""
    instances = found(node, request, reader)
    shown = with_headers(node, reader.who, reader.grant, instances)
    left_out = len(instances) - len(shown)
    warning = f'299 carina "Left out, since the permit is for looking, are instances that are no pictures: {left_out}."'
    return dicom_json([_header(instance, root) for instance in shown]), {"Warning": warning} if left_out else {}


def _header(instance: StoredInstance, root: str) -> dict[str, Json]:
    header = {**instance.header, "00083002": {"vr": "UI", "Value": [instance.transfer_syntax_uid]}}
    return _with_addresses(header, f"{_place(root, instance)}/bulkdata/")


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
    if form == "native":
        require_decodable(instance, len(numbers))
    place = f"{_place(root_of(request), instance)}/frames/"
    parts = _frames(node, instance, numbers, form, media=answer.media, place=place)
    return await give(node, reader, [instance], "frames", parts, in_parts_of=answer.media if answer.multipart else None)


async def _frames(
    node: Node, instance: StoredInstance, numbers: Sequence[int], form: Form, *, media: str, place: str
) -> AsyncIterator[Part]:
    """One after the other, each decoded when it is to be given."""
    image = await work(open_image, node, instance, numbers)
    for number in numbers:
        frame = await work(read_frame, image, number, form)
        kind = f"{media}; transfer-syntax={frame.syntax}"
        yield [("Content-Type", kind), ("Content-Location", f"{place}{number}")], frame.data
        del frame  # before the next is made


async def bulk_data(node: Node, request: Request, reader: Reader) -> Response:
    """A binary value that the metadata left out."""
    wanted = [media for media in accepted(request) if fits(media.inner, OCTETS)]
    if not wanted:
        return not_acceptable()
    [instance] = await run_in_threadpool(found, node, request, reader)
    value = _value(node, instance, request.path_params["path"], _place(root_of(request), instance))
    return await give(node, reader, [instance], "bulk data", value, in_parts_of=OCTETS if wanted[0].multipart else None)


async def _value(node: Node, instance: StoredInstance, path: str, place: str) -> AsyncIterator[Part]:
    value = await work(read_bulk_data, node, instance, path)
    yield [("Content-Type", OCTETS), ("Content-Location", f"{place}/bulkdata/{path}")], value.data


def not_acceptable() -> Response:
    """The answer to a client that accepts nothing that can be given."""
    return problem(
        BadInput(
            "None of the accepted media types and transfer syntaxes can be given.",
            'Accept multipart/related; type="application/dicom"; transfer-syntax=*, or its octet-stream for frames.',
        ),
        406,
    )
