"""No answer goes on when the permit has ended, however slowly it is taken; and no request holds much at once."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from tests.access import Scene, deliver, open_scene, permit_in_force, share
from tests.archive import outside_application, served, take_in
from tests.support import ct

from carina.errors import PermitDenied
from carina.hub import permits as hub_permits
from carina.interfaces.dicomweb import bounds, giving, qido, wado
from carina.interfaces.dicomweb.metadata import metadata
from carina.interfaces.dicomweb.opening import LOOK_UP, RETRIEVE, VIEW, Enter, Reader
from carina.interfaces.dicomweb.rendered import rendered
from carina.model.permit import Action
from carina.model.principal import Principal
from carina.node import visits
from carina.node.retrieve import granted
from carina.node.site import Node
from carina.storage.index import StoredInstance, find_instance
from carina.storage.schema import instances

Handler = Callable[..., Awaitable[Response]]
PARTS = "multipart/related; type="


def let_in(reader: Reader) -> Enter:
    """What lets this reader in, whom it judges no more."""
    return lambda function: run_in_threadpool(function, reader)


def search(node: Node, request: Request, reader: Reader) -> Awaitable[Response]:
    return qido.search(node, request, "instance", let_in(reader))


def frames(node: Node, request: Request, reader: Reader) -> Awaitable[Response]:
    return wado.frames(node, request, let_in(reader))


ANSWERS: dict[str, tuple[Handler, tuple[Action, ...], str, str]] = {
    "search": (
        lambda node, request, reader: qido.search(node, request, "instance", let_in(reader)),
        LOOK_UP,
        "*/*",
        "",
    ),
    "metadata": (metadata, LOOK_UP, "*/*", ""),
    "object": (wado.retrieve, RETRIEVE, "application/dicom", ""),
    "objects": (wado.retrieve, RETRIEVE, f'{PARTS}"application/dicom"', ""),
    "frame": (frames, RETRIEVE, "application/octet-stream", "1"),
    "frames": (frames, RETRIEVE, f'{PARTS}"application/octet-stream"', "1,2,3"),
    "frames made": (frames, RETRIEVE, f'{PARTS}"image/jls"', "1,2,3"),
    "bulk data": (wado.bulk_data, RETRIEVE, "application/octet-stream", ""),
    "picture": (rendered, VIEW, "image/png", "1"),
    "pictures": (rendered, VIEW, f'{PARTS}"image/png"', "1,2,3"),
}
IMAGES = [name for name in ANSWERS if name not in ("search", "metadata")]


class Stage(NamedTuple):
    """An image of three frames, of half a megabyte each, in a dataset for which Rosa has a permit."""

    scene: Scene
    permit: str
    who: Principal
    instance: StoredInstance

    def ask(self, name: str) -> Awaitable[Response]:
        """One of `ANSWERS`, to someone whom the permit has let in at this moment."""
        handler, actions, accept, frames = ANSWERS[name]
        node, one = self.scene.node, self.instance
        reader = Reader(self.who, granted(node, self.who, self.scene.dataset, actions), actions)
        place = {"study": one.study_uid, "series": one.series_uid, "instance": one.uid, "path": "7FE00010"}
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "query_string": b""}
        scope |= {"headers": [(b"accept", accept.encode())], "server": ("127.0.0.1", 80)}
        scope["path_params"] = place | ({"frames": frames} if frames else {})
        return handler(node, Request(scope), reader)

    def revoke(self) -> None:
        """The permit ends, and the node hears of it."""
        hub_permits.revoke(self.scene.hub, self.scene.clara, self.permit, "The study has ended.")
        deliver(self.scene.hub, self.scene.node)

    def given(self) -> list[str]:
        """What the audit trail says was given."""
        entries = self.scene.node.audit.entries(50)
        return [str(entry.details["what"]) for entry in entries if entry.action in ("viewed", "retrieved")]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    pixels = np.random.default_rng(1).integers(0, 2000, (3, 512, 512), dtype=np.int16).tobytes()
    with stage_with(tmp_path, ct(size=512, elements={"NumberOfFrames": 3, "PixelData": pixels})) as made:
        yield made


@contextmanager
def stage_with(folder: Path, image: bytes) -> Iterator[Stage]:
    with open_scene(folder) as opened:
        assert take_in(opened.node, [image]) == ["archived"]
        scene = replace(opened, dataset=share(opened.hub, opened.node))
        permit = permit_in_force(scene, actions=("view", "retrieve", "analyse"))
        who = Principal("rosa", scene.hub.id, frozenset({"researcher"}), permit=permit.id)
        with scene.node.engine.connect() as connection:
            stored = find_instance(connection, str(connection.execute(select(instances.c.uid)).scalar_one()))
        yield Stage(scene, permit.id, who, stored)


async def whole(response: Response) -> bytes:
    if not isinstance(response, StreamingResponse):
        return bytes(response.body)  # small, so given at once
    return b"".join([bytes(piece) async for piece in response.body_iterator])


@pytest.mark.parametrize("name", ANSWERS)
def test_a_permit_that_ends_while_the_answer_is_made_ends_it_before_it_begins(stage: Stage, name: str) -> None:
    asked = stage.ask(name)
    stage.revoke()

    async def take() -> None:
        await asked

    with pytest.raises(PermitDenied) as refused:
        asyncio.run(take())
    assert refused.value.reason == "revoked"
    assert stage.given() == []


@pytest.mark.parametrize("name", IMAGES)
def test_a_permit_that_ends_while_the_answer_is_taken_ends_it(
    stage: Stage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving, "ASK_AGAIN", 0.0)
    monkeypatch.setattr(giving, "PIECE", 1 << 16)
    taken: list[bytes] = []

    async def take() -> None:
        response = await stage.ask(name)
        assert isinstance(response, StreamingResponse)
        async for piece in response.body_iterator:
            taken.append(bytes(piece))
            if len(taken) == 2:
                stage.revoke()

    with pytest.raises(PermitDenied):
        asyncio.run(take())
    assert len(taken) == 2
    assert max(len(piece) for piece in taken) <= giving.PIECE


def test_a_reader_who_takes_it_slowly_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a real connection, whose buffers hold a part of the answer."""
    monkeypatch.setattr(giving, "ASK_AGAIN", 0.1)
    size = 3500 * 3500 * 2
    with stage_with(tmp_path, ct(size=3500)) as stage, served(stage.scene.node, outside_application) as url:
        code = hub_permits.handover(stage.scene.hub, stage.scene.rosa, stage.permit).code
        secret = visits.enter(stage.scene.node, code, lifetime=visits.PROGRAM).secret
        one = stage.instance
        place = f"studies/{one.study_uid}/series/{one.series_uid}/instances/{one.uid}/frames/1"
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as connection:
            lines = [
                f"GET /datasets/{stage.scene.dataset}/dicom-web/{place} HTTP/1.1",
                "Host: 127.0.0.1",
                "Accept: application/octet-stream",
                f"Authorization: Bearer {secret}",
            ]
            connection.sendall("\r\n".join([*lines, "", ""]).encode())
            begun = connection.recv(20_000)
            assert begun.startswith(b"HTTP/1.1 200")
            assert f"content-length: {size}".encode() in begun.lower()
            stage.revoke()
            time.sleep(0.3)
            rest = sum(len(piece) for piece in iter(partial(connection.recv, 1 << 20), b""))
    assert rest < size - 20_000


def test_while_an_answer_is_under_way_the_permit_is_asked_every_few_seconds_only(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving, "PIECE", 1 << 16)

    async def take() -> bytes:
        response = await stage.ask("frame")
        stage.revoke()  # which nobody notices yet
        return await whole(response)

    assert giving.ASK_AGAIN <= 5
    assert len(asyncio.run(take())) == 512 * 512 * 2
    assert stage.given() == ["frames"]


@pytest.mark.parametrize("name", ["object", "frame", "bulk data", "picture", "metadata", "search"])
def test_an_answer_that_comes_alone_says_how_long_it_is(stage: Stage, name: str) -> None:
    async def take() -> tuple[str, int]:
        response = await stage.ask(name)
        return response.headers["content-length"], len(await whole(response))

    length, size = asyncio.run(take())
    assert length == str(size) != "0"


@pytest.mark.parametrize("name", ["frames made", "pictures"])
def test_parts_are_made_when_they_are_given(stage: Stage, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    original = giving.work

    async def counted(function: Any, *arguments: object) -> Any:
        done.append(getattr(function, "func", function).__name__)
        return await original(function, *arguments)

    for module in ("wado", "rendered"):
        monkeypatch.setattr(f"carina.interfaces.dicomweb.{module}.work", counted)

    async def take() -> bytes:
        response = await stage.ask(name)
        assert len(done) == 2  # it is opened, and the first is made
        return await whole(response)

    assert asyncio.run(take()).count(b"Content-Location") == 3
    assert len(done) == 4


def test_few_works_on_pixels_run_at_once_and_those_that_wait_keep_nothing_else_waiting() -> None:
    go, lock = threading.Event(), threading.Lock()
    running, most = 0, 0

    def decode() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go.wait(20)
        with lock:
            running -= 1

    async def many() -> str:
        works = [asyncio.create_task(giving.work(decode)) for _ in range(60)]
        await asyncio.sleep(0.2)
        try:
            return await asyncio.wait_for(run_in_threadpool(lambda: "answered"), 5)
        finally:
            go.set()
            await asyncio.gather(*works)

    assert asyncio.run(many()) == "answered"
    assert most == giving.AT_ONCE == 4


# --- bounds ---


def header(**changes: int) -> dict[str, Any]:
    numbers = {"00280010": 512, "00280011": 512, "00280100": 16, "00280002": 1}
    tags = {"rows": "00280010", "columns": "00280011", "bits": "00280100", "samples": "00280002"}
    numbers |= {tags[name]: value for name, value in changes.items()}
    return {tag: {"vr": "US", "Value": [number]} for tag, number in numbers.items()}


def image(**changes: int) -> StoredInstance:
    empty: dict[str, Any] = dict.fromkeys(StoredInstance.__dataclass_fields__, "")
    return StoredInstance(**{**empty, "frames": 1000, "size": 0, "header": header(**changes)})


@pytest.mark.parametrize(
    ("changes", "frames", "viewport", "fits"),
    [
        ({}, 256, None, True),
        ({}, 257, None, False),
        ({}, 512, (128, 128), True),
        ({}, 513, (128, 128), False),  # of which more is decoded than 256 MiB
        ({}, 4, (4096, 4096), True),
        ({}, 5, (4096, 4096), False),
        ({"samples": 3, "bits": 8}, 341, (8, 8), True),
        ({"samples": 3, "bits": 8}, 342, (8, 8), False),
        ({"rows": 16384, "columns": 8192, "bits": 8}, 1, (8, 8), False),
        ({"rows": 8192, "columns": 8192, "bits": 8}, 1, (8, 8), True),
    ],
)
def test_one_request_draws_so_many_pixels(
    changes: dict[str, int], frames: int, viewport: tuple[int, int] | None, fits: bool
) -> None:
    wanted = None if viewport is None else bounds.Viewport(*viewport)
    ask = partial(bounds.require_drawable, image(**changes), frames, wanted)
    if fits:
        ask()
        return
    with pytest.raises(bounds.TooLarge):
        ask()


@pytest.mark.parametrize(("syntax", "fits"), [("1.2.840.10008.1.2.5", False), ("1.2.840.10008.1.2", True)])
def test_an_object_that_is_too_large_is_not_decompressed_whole(syntax: str, fits: bool) -> None:
    large, small = (replace(image(), frames=frames, transfer_syntax_uid=syntax) for frames in (513, 512))
    bounds.require_whole_decodable(small, lambda: small)
    if fits:
        bounds.require_whole_decodable(large, lambda: large)
        return
    with pytest.raises(bounds.TooLarge):
        bounds.require_whole_decodable(large, lambda: large)


def test_a_file_that_is_too_large_is_not_written_anew() -> None:
    large = replace(image(), transfer_syntax_uid="1.2.840.10008.1.2", size=bounds.MAX_FILE + 1)
    with pytest.raises(bounds.TooLarge):
        bounds.require_whole_decodable(large, lambda: large)


def test_pixels_of_real_numbers_are_counted_with_their_size() -> None:
    one = image(bits=0)
    one.header["7FE00009"] = {"vr": "OD", "BulkDataURI": "7FE00009"}
    bounds.require_decodable(one, 128)
    with pytest.raises(bounds.TooLarge):
        bounds.require_decodable(one, 129)
