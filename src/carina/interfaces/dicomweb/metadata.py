"""The headers of a study, series or instance as DICOM JSON, PS3.18 section 10.4.1.1.2.

They are kept as they are sent, but for the addresses of bulk data: no header is read to be given, and no image opened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from carina.interfaces.dicomweb.conditions import tag_of
from carina.interfaces.dicomweb.giving import Ready, Watch, give_ready
from carina.interfaces.dicomweb.media import DICOM_JSON
from carina.interfaces.dicomweb.opening import Reader
from carina.interfaces.dicomweb.qido import accepts_json, not_json, root_of
from carina.interfaces.dicomweb.wado import address_of, located
from carina.node.retrieve import headers, with_headers
from carina.node.site import Node
from carina.storage.locate import Located

AT_ONCE = 8 << 20  # bytes of files' headers, about, whose JSON is held at once
MOST = 500  # headers that are read together
_RELATIVE = b'"BulkDataURI":"'  # never inside a text, where quotes are escaped


async def metadata(node: Node, request: Request, reader: Reader) -> Response:
    """The headers of a study, series or instance as DICOM JSON; binary values as addresses."""
    if not accepts_json(request):
        return not_json()
    root = root_of(request)

    def make() -> Ready | tuple[str, dict[str, str], list[Sequence[Located]]]:
        found = located(node, request, reader)
        shown, all_of_them = with_headers(node, reader.who, reader.grant, found)
        told = {} if all_of_them else {"Warning": _left_out(len(found) - len(shown))}
        tag = tag_of(["metadata", root, len(found) - len(shown), *(one.content for one in shown)])
        groups = list(_groups(shown))
        if len(groups) > 1:
            return tag, told, groups
        return Ready(tag, DICOM_JSON, [b"[" + _joined(node, shown, root) + b"]"], headers=told)

    made = await give_ready(node, request, reader, make)
    if isinstance(made, Response):
        return made
    tag, told, groups = made
    watch = Watch(node, reader)
    await watch.ask()
    return StreamingResponse(_given(watch, node, groups, root), 200, {**told, "ETag": tag}, DICOM_JSON)


def _left_out(count: int) -> str:
    return f'299 carina "Left out, since the permit is for looking, are instances that are no pictures: {count}."'


def _groups(instances: Sequence[Located]) -> list[Sequence[Located]]:
    """Instances whose headers are read together. What comes before the pixels tells how long a header is."""
    groups: list[Sequence[Located]] = []
    start = size = 0
    for place, one in enumerate(instances):
        length = one.size if one.pixel_offset is None else one.pixel_offset
        if place > start and (size + length > AT_ONCE or place - start >= MOST):
            groups.append(instances[start:place])
            start, size = place, 0
        size += length
    return [*groups, instances[start:]]


def _joined(node: Node, instances: Sequence[Located], root: str) -> bytes:
    """Their headers, in order, with commas between."""
    texts = headers(node, instances)
    return b",".join(
        texts[one.uid].encode().replace(_RELATIVE, _RELATIVE + f"{address_of(root, one)}/bulkdata/".encode())
        for one in instances
        if one.uid in texts  # not forgotten meanwhile
    )


async def _given(watch: Watch, node: Node, groups: Sequence[Sequence[Located]], root: str) -> AsyncIterator[bytes]:
    mark = b"["
    for group in groups:
        await watch.ask_when_due()
        text = await run_in_threadpool(_joined, node, group, root)
        if text:
            yield mark + text
            mark = b","
    yield b"]" if mark == b"," else b"[]"
