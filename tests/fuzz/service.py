"""The whole DICOMweb service: a request's address, parameters, header fields and body, as a server hands them over."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from tests.archive import READER, SENDER, application, archive, message
from tests.fuzz.target import Target
from tests.support import ct

from carina.dicom.query import parse_query
from carina.storage.search import search

_METHODS = ("GET", "POST", "HEAD")
_FIELDS = ("accept", "range", "if-none-match", "content-type")
_UNNAMED = re.compile(rb"@([0-2])")
"""In an address: the UID of a study, a series or an instance that is there."""


def _service(folder: Path) -> Callable[[bytes], None]:
    """Lines: a sign for the method, the address below /dicom-web, its parameters, header fields; then the body."""
    files = [ct("MRN-1", number=number, size=8) for number in (1, 2)]
    node = archive(folder / "node", files).__enter__()
    with node.engine.connect() as connection:
        ids = search(connection, parse_query([], "instance"))[0].ids[2:]
    uids = [str(uid).encode() for uid in ids]
    app = application(node)
    loop = asyncio.new_event_loop()

    def run(data: bytes) -> None:
        sign, path, query, *lines = (data + b"\n\n").split(b"\n", 2 + len(_FIELDS) + 1)
        method = _METHODS[(sign or b"\0")[0] % len(_METHODS)]
        path, query = (_UNNAMED.sub(lambda found: uids[int(found[1])], text) for text in (path, query))
        secret = SENDER if method == "POST" else READER
        headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {secret}".encode())]
        headers += [(name.encode(), line) for name, line in zip(_FIELDS, lines, strict=False) if line]
        body = lines[len(_FIELDS)] if len(lines) > len(_FIELDS) else b""
        scope = _scope(method, path, query, headers)
        status = loop.run_until_complete(asyncio.wait_for(_answer(app, scope, body), 8))
        assert status < 500 or status in (503, 507), status

    return run


def _scope(method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": f"/dicom-web/{path.decode('utf-8', 'replace')}",
        "raw_path": b"/dicom-web/" + path,
        "root_path": "",
        "query_string": query,
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def _answer(app: Starlette, scope: dict[str, Any], body: bytes) -> int:
    """The status; what the service raises comes out."""
    half = len(body) // 2
    coming: Iterator[tuple[bytes, bool]] = iter(((body[:half], True), (body[half:], False)))
    statuses: list[int] = []
    never = asyncio.Event()

    async def receive() -> dict[str, Any]:
        piece = next(coming, None)
        if piece is None:
            await never.wait()  # the client waits for the answer
        return {"type": "http.request", "body": piece[0] if piece else b"", "more_body": bool(piece and piece[1])}

    async def send(event: Any) -> None:
        if event["type"] == "http.response.start":
            statuses.append(event["status"])

    answering: Awaitable[None] = app(scope, receive, send)
    await answering
    return statuses[0]


def _requests(_folder: Path) -> Iterator[bytes]:
    addresses = [
        b"studies\nPatientID=*&limit=1&includefield=all\napplication/dicom+json",
        b"studies/@0/series\nModality=CT&offset=1",
        b"studies/@0/series/@1/instances\nfuzzymatching=true",
        b"instances\nRows=8&ImageType=ORIGINAL",
        b'studies/@0\n\nmultipart/related; type="application/dicom"; transfer-syntax=*\nbytes=0-99',
        b"studies/@0/series/@1/instances/@2\n\napplication/dicom; transfer-syntax=1.2.840.10008.1.2\nbytes=-9",
        b"studies/@0/metadata\n",
        b"studies/@0/series/@1/instances/@2/frames/1\n\napplication/octet-stream\nbytes=0-\n*",
        b"studies/@0/series/@1/instances/@2/frames/1,2\n\nmultipart/related; type=image/jls",
        b"studies/@0/series/@1/instances/@2/rendered\nwindow=40,400,linear&viewport=8,8,0,0,4,4&quality=9\nimage/png",
        b"studies/@0/series/@1/thumbnail\nviewport=4,4\nimage/jpeg",
        b"studies/@0/series/@1/instances/@2/bulkdata/7FE00010\n",
        b"studies/@0/series/@1/instances/@2/pixeldata\n",
        b"wado\nrequestType=WADO&studyUID=@0&seriesUID=@1&objectUID=@2&contentType=image/png&windowCenter=1&windowWidth=9",
        b"wado\nrequestType=WADO&studyUID=@0&seriesUID=@1&objectUID=@2&rows=4&columns=4&region=0,0,0.5,0.5&frameNumber=1",
        b"wado\nrequestType=WADO&studyUID=@0&seriesUID=@1&objectUID=@2&contentType=application/dicom&transferSyntax=*",
        b"capabilities\n",
    ]
    for address in addresses:
        yield b"0\n" + address + b"\n"
        yield b"2\n" + address + b"\n"
    related = b'\n\n\n\nmultipart/related; type="application/dicom"; boundary=edge\n'
    yield b"1\nstudies\n" + related + message([ct("MRN-2", size=4)])
    yield b"1\nstudies/1.2.3\n" + related + message([b"no DICOM", b""])


SERVICE = Target(_service, _requests, 4096)
