"""WADO-RS: retrieve instances, frames and bulk data, PS3.18 section 10.4; `metadata` has the headers, `rendered` the
pictures.

What lies in the store as it is to be sent is sent from there; what has to be decoded is made when it is to be given.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from carina.errors import BadInput, InvalidInstance
from carina.interfaces.api.problems import problem
from carina.interfaces.dicomweb.bounds import require_decodable, require_whole_decodable
from carina.interfaces.dicomweb.conditions import tag_of
from carina.interfaces.dicomweb.giving import Part, Ready, give, give_at_once, give_ready, in_parts, work
from carina.interfaces.dicomweb.media import (
    ANY,
    DEFAULT_SYNTAX,
    DICOM,
    OCTETS,
    FrameAnswer,
    Media,
    accepted,
    choose_frames,
    fits,
)
from carina.interfaces.dicomweb.opening import Enter, Reader
from carina.interfaces.dicomweb.parameters import frame_numbers
from carina.interfaces.dicomweb.qido import address, root_of
from carina.model.ids import uid
from carina.node import spans
from carina.node.images import Image, binary_value, open_image
from carina.node.retrieve import can_be_native, can_become, find_instance, place, read_as
from carina.node.site import Node
from carina.storage.index import StoredInstance
from carina.storage.locate import Located

STORED = "stored"
"""The form of what is given as it is; other forms are transfer syntaxes."""


def located(node: Node, request: Request, reader: Reader) -> list[Located]:
    """The instances that the address names, at least one, or `NotFound`, also when the reader may not touch them."""
    names = [uid(request.path_params[name]) for name in ("study", "series", "instance") if name in request.path_params]
    return place(node, reader.grant, *names)


def with_header(node: Node, reader: Reader, one: Located) -> StoredInstance:
    """The same with its header, which says how large its frames are."""
    return find_instance(node, reader.grant, one.study_uid, one.series_uid, one.uid)


def address_of(root: str, one: Located) -> str:
    """Where the instance can be retrieved."""
    return address(root, one.study_uid, one.series_uid, one.uid)


async def retrieve(node: Node, request: Request, reader: Reader) -> Response:
    """A study, series or instance as DICOM files."""
    ranges = [media for media in accepted(request) if fits(media.inner, DICOM)]
    alone = "instance" in request.path_params and bool(ranges) and ranges[0].type in (DICOM, "application/*")
    if not alone:
        ranges = [media for media in ranges if media.multipart or media.type == ANY]

    def make() -> Ready | tuple[list[Located], list[str | None]]:
        found = located(node, request, reader)
        forms = [_form(one, ranges) for one in found]
        if any(form != STORED for form in forms):
            return found, forms
        return stored_files(request, found, alone=alone)

    made = await give_ready(node, request, reader, make)
    if isinstance(made, Response):
        return made
    found, forms = made
    chosen = [(one, form) for one, form in zip(found, forms, strict=True) if form is not None]
    if len(chosen) < len(found):
        return not_acceptable()
    return await transcoded_files(node, request, reader, chosen, alone=alone)


def stored_files(request: Request, found: Sequence[Located], *, alone: bool) -> Ready:
    """Files as they are stored, one by itself or all in parts."""
    if alone:
        [one] = found
        return Ready(f'"{one.content}"', _dicom_type(one, STORED), spans.whole(one), found, "instances")
    root = root_of(request)
    tag = tag_of(["instances", root, *(part for one in found for part in (one.content, STORED))])
    parts = ((_fields(root, one, STORED), spans.whole(one)) for one in found)
    return in_parts(tag, DICOM, parts).of(found, "instances")


async def transcoded_files(
    node: Node, request: Request, reader: Reader, chosen: Sequence[tuple[Located, str]], *, alone: bool
) -> Response:
    """Files of which some have to be written in another transfer syntax."""
    root, found = root_of(request), [one for one, _ in chosen]
    for one, form in chosen:
        if form != STORED:
            require_whole_decodable(one, partial(with_header, node, reader, one))
    names = [root, *(part for one, form in chosen for part in (one.content, form))]
    files = _files(node, root, chosen)
    try:
        return await give(
            node,
            request,
            reader,
            files,
            instances=found,
            what="instances",
            tag=tag_of(["instances", alone, *names]),
            in_parts_of=None if alone else DICOM,
        )
    except InvalidInstance:
        if all(form in (STORED, DEFAULT_SYNTAX) for _, form in chosen):
            raise  # damaged
        return not_acceptable()


def _form(one: Located, ranges: Sequence[Media]) -> str | None:
    """How the client takes the instance; None when not as it can be given."""
    for media in ranges:
        syntax = media.syntax if media.inner != "application/*" else "*"
        if syntax in ("*", one.transfer_syntax_uid):
            return STORED
        if can_become(one, syntax):
            return syntax
    return None


def _dicom_type(one: Located, form: str) -> str:
    return f"{DICOM}; transfer-syntax={one.transfer_syntax_uid if form == STORED else form}"


def _fields(root: str, one: Located, form: str) -> list[tuple[str, str]]:
    return [("Content-Type", _dicom_type(one, form)), ("Content-Location", address_of(root, one))]


async def _files(node: Node, root: str, chosen: Sequence[tuple[Located, str]]) -> AsyncIterator[Part]:
    """Each file with its part's header, read when it is to be given."""
    for one, form in chosen:
        read = spans.read_whole if form == STORED else partial(read_as, syntax=form)
        yield _fields(root, one, form), await work(read, node, one)


async def frames(node: Node, request: Request, enter: Enter) -> Response:
    """Frames of an instance, as stored, decompressed or compressed anew, as the client accepts them."""

    def make(reader: Reader) -> Ready | tuple[Reader, list[int], Located, FrameAnswer | None]:
        numbers = frame_numbers(request.path_params["frames"])
        [one] = located(node, request, reader)
        answer = choose_frames(
            accepted(request),
            one.transfer_syntax_uid,
            native_possible=can_be_native(one),
            alone=len(numbers) == 1,
            can_make=partial(can_become, one),
        )
        lying = None
        if answer is not None and not answer.made and (answer.stored or not spans.is_compressed(one)):
            lying = spans.frames(node, one, numbers)
        if answer is None or lying is None:
            return reader, numbers, one, answer
        syntax = one.transfer_syntax_uid if answer.stored else DEFAULT_SYNTAX
        return _stored_frames(request, one, numbers, lying, answer=answer, syntax=syntax)

    made = await give_at_once(node, request, enter, make)
    if isinstance(made, Response):
        return made
    reader, numbers, one, answer = made
    if answer is None:
        return not_acceptable()
    return await _made_frames(node, request, reader, one, numbers, answer=answer)


def _stored_frames(
    request: Request,
    one: Located,
    numbers: Sequence[int],
    lying: Sequence[Sequence[spans.Piece]],
    *,
    answer: FrameAnswer,
    syntax: str,
) -> Ready:
    """Frames that lie in the store as they are to be sent."""
    kind = f"{answer.media}; transfer-syntax={syntax}"
    base = f"{address_of(root_of(request), one)}/frames/"
    tag = tag_of(["frames", kind, answer.multipart and base, one.content, *numbers])
    if not answer.multipart:
        return Ready(tag, kind, lying[0], [one], "frames")
    parts = [
        ([("Content-Type", kind), ("Content-Location", f"{base}{number}")], pieces)
        for number, pieces in zip(numbers, lying, strict=True)
    ]
    return in_parts(tag, answer.media, parts).of([one], "frames")


async def _made_frames(
    node: Node, request: Request, reader: Reader, one: Located, numbers: Sequence[int], *, answer: FrameAnswer
) -> Response:
    """Frames that have to be decoded, or found in a file of which the index does not say where they lie."""
    if not answer.stored:
        require_decodable(with_header(node, reader, one), len(numbers))
    syntax = one.transfer_syntax_uid if answer.stored else answer.made or DEFAULT_SYNTAX
    kind = f"{answer.media}; transfer-syntax={syntax}"
    base = f"{address_of(root_of(request), one)}/frames/"
    try:
        return await give(
            node,
            request,
            reader,
            _frames(node, one, numbers, answer, kind=kind, base=base),
            instances=[one],
            what="frames",
            tag=tag_of(["frames", kind, answer.multipart and base, one.content, *numbers]),
            in_parts_of=answer.media if answer.multipart else None,
        )
    except InvalidInstance:
        if answer.made is None:
            raise
        return not_acceptable()


async def _frames(
    node: Node, one: Located, numbers: Sequence[int], answer: FrameAnswer, *, kind: str, base: str
) -> AsyncIterator[Part]:
    """One after the other, each decoded when it is to be given."""
    image = await work(open_image, node, one, numbers)
    take = image.stored if answer.stored else image.native
    if answer.made is not None:
        take = partial(_compressed, image, answer.made)
    for number in numbers:
        data = await work(take, number)
        yield [("Content-Type", kind), ("Content-Location", f"{base}{number}")], data
        del data  # before the next is made


def _compressed(image: Image, syntax: str, number: int) -> bytes:
    return image.encoded(number, syntax)


async def bulk_data(node: Node, request: Request, reader: Reader) -> Response:
    """A binary value that the metadata left out."""
    wanted = [media for media in accepted(request) if fits(media.inner, OCTETS)]
    if not wanted:
        return not_acceptable()
    path = request.path_params["path"]

    def make() -> Ready:
        [one] = located(node, request, reader)
        pieces = binary_value(node, one, path)
        where = f"{address_of(root_of(request), one)}/bulkdata/{path}"
        if not wanted[0].multipart:
            return Ready(tag_of(["bulk data", one.content, path]), OCTETS, pieces, [one], "bulk data")
        part = ([("Content-Type", OCTETS), ("Content-Location", where)], pieces)
        return in_parts(tag_of(["bulk data", where, one.content]), OCTETS, [part]).of([one], "bulk data")

    return await give_ready(node, request, reader, make, heavy=True)


def not_acceptable() -> Response:
    """The answer to a client that accepts nothing that can be given."""
    return problem(
        BadInput(
            "None of the accepted media types and transfer syntaxes can be given.",
            'Accept multipart/related; type="application/dicom"; transfer-syntax=*, or its octet-stream for frames.',
        ),
        406,
    )
