"""Storing over the web, part by part: large ones, many, slow and broken ones."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from tests.archive import PACS, archive, message
from tests.support import ct

from carina.dicom.parse import identifiers
from carina.errors import BadInput
from carina.interfaces.dicomweb import stow
from carina.node.parcel import unwrap
from carina.node.site import Node
from carina.storage.schema import arrivals

SENDER = PACS
LARGE = ct("LARGE", size=1024)  # 2 MiB
TYPE = b'multipart/related; type="application/dicom"; boundary=edge'


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with archive(tmp_path / "node") as made:
        yield made


@pytest.fixture
def reception() -> stow.Reception:
    return stow.Reception()


def request(chunks: AsyncIterator[bytes | None]) -> Request:
    """A request whose body comes in these chunks; None: the client is gone."""
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", TYPE)], "query_string": b""}

    async def receive() -> dict[str, Any]:
        async for chunk in chunks:
            if chunk is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunk, "more_body": True}
        return {"type": "http.request", "body": b"", "more_body": False}

    return Request(scope, receive)


async def cut(body: bytes, step: int = 65536) -> AsyncIterator[bytes | None]:
    for start in range(0, len(body), step):
        yield body[start : start + step]


def store(
    node: Node, chunks: AsyncIterator[bytes | None], reception: stow.Reception, study: str | None = None
) -> Response:
    return asyncio.run(stow.store(node, request(chunks), SENDER, study, reception))


def told(response: Response) -> Any:
    import json

    return json.loads(bytes(response.body))


def rows(node: Node) -> int:
    with node.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(arrivals)).scalar_one()


def files(node: Node) -> list[Path]:
    return [path for place in ("spool", "quarantine") for path in (node.folder / place).iterdir()]


def received(node: Node) -> list[bytes]:
    return [unwrap(node.spool.read(name)).data for name in node.spool.names()]


@pytest.mark.parametrize("step", [999, 65536, 10**8])
def test_small_and_large_parts_are_taken_in_as_they_came(node: Node, reception: stow.Reception, step: int) -> None:
    parts = [ct("A"), LARGE, ct("B"), LARGE + b"\r\n--edg", ct("C")]
    answer = store(node, cut(message(parts), step), reception)
    assert answer.status_code == 200
    assert sorted(received(node)) == sorted(parts)
    stored = [item["00081155"]["Value"][0] for item in told(answer)["00081199"]["Value"]]
    assert stored == [identifiers(data).instance for data in parts]  # in their order, and as they were sent
    assert reception.room.taken == 0


def test_many_parts_share_transactions_and_hold_little_memory(node: Node, reception: stow.Reception) -> None:
    from sqlalchemy import event

    commits: list[object] = []
    event.listen(node.engine, "commit", commits.append)
    data = ct("A", size=128)

    async def many() -> AsyncIterator[bytes | None]:
        for number in range(400):
            if number % 40 == 0:
                gc.collect()  # what is only waiting for the collector is not held
            yield message([data])[: -len(b"--edge--\r\n")]
        yield b"--edge--"

    store(node, cut(message([data])), reception)
    tracemalloc.start()
    assert store(node, many(), reception).status_code == 200
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows(node) == 401 and len(commits) < 380
    assert peak < 400 * len(data) / 3


def test_a_body_beyond_all_bounds_is_let_go_as_it_comes(node: Node, reception: stow.Reception) -> None:
    small = replace(node, largest_instance=4 * 2**20)

    async def endless() -> AsyncIterator[bytes | None]:
        yield message([LARGE])[: -len(b"\r\n--edge--\r\n")]
        for _ in range(200):
            yield bytes(2**20)
        yield b"\r\n--edge\r\n\r\n" + ct("A") + b"\r\n--edge--"

    tracemalloc.start()
    answer = store(small, endless(), reception)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 202 and peak < 24 * 2**20
    [failed] = told(answer)["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [stow.OUT_OF_RESOURCES]
    assert failed["00081155"]["Value"] == [identifiers(LARGE).instance]
    assert received(node) == [ct("A")]


def test_more_parts_than_may_be_are_refused(
    node: Node, reception: stow.Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow, "MAX_PARTS", 5)
    with pytest.raises(Exception, match="more than 5 parts"):
        store(node, cut(message([b"x"] * 1000)), reception)
    assert reception.room.taken == 0


def test_a_request_full_of_what_is_no_dicom_is_broken_off(node: Node, reception: stow.Reception) -> None:
    with pytest.raises(BadInput) as answer:
        store(node, cut(message([b"x"] * 5000)), reception)
    assert "no DICOM instances" in str(answer.value)
    assert stow.MAX_STRANGE < len(files(node)) < stow.MAX_STRANGE + 50
    assert reception.room.taken == 0


def test_a_client_that_is_gone_leaves_nothing_half_written(node: Node, reception: stow.Reception) -> None:
    async def gone() -> AsyncIterator[bytes | None]:
        yield message([ct("A"), LARGE])[:-100_000]
        yield None

    with pytest.raises(ClientDisconnect):
        store(node, gone(), reception)
    assert received(node) == [ct("A")] and len(files(node)) == 1
    assert reception.room.taken == 0


def test_a_client_that_stands_still_is_told_so(
    node: Node, reception: stow.Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow() -> AsyncIterator[bytes | None]:
        yield message([LARGE])[:-100_000]
        await asyncio.sleep(60)

    monkeypatch.setattr(stow, "PATIENCE", 0.05)
    assert store(node, slow(), reception).status_code == 408
    assert files(node) == [] and reception.room.taken == 0


def test_a_large_part_of_another_study_is_not_written(node: Node, reception: stow.Reception) -> None:
    answer = store(node, cut(message([LARGE, ct("A")])), reception, study=identifiers(ct("A")).study)
    assert answer.status_code == 202
    [failed] = told(answer)["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [stow.NO_SUCH_STUDY_HERE]
    assert received(node) == [ct("A")]


def test_a_part_of_another_media_type_is_not_taken_in(node: Node, reception: stow.Reception) -> None:
    body = message([ct("A")]).replace(b"Content-Type: application/dicom", b"Content-Type: text/html")
    answer = store(node, cut(body), reception)
    assert answer.status_code == 409 and files(node) == []
    assert told(answer)["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [stow.CANNOT_UNDERSTAND]}}]


def test_a_header_that_contradicts_its_data_set_is_a_warning(node: Node, reception: stow.Reception) -> None:
    data = ct("A")
    start = data.index(b"1.2.840.10008.5.1.4.1.1.2")
    answer = store(
        node, cut(message([data[:start] + b"1.2.840.10008.5.1.4.1.1.4" + data[start + 25 :], ct("B")])), reception
    )
    assert answer.status_code == 202
    first, second = told(answer)["00081199"]["Value"]
    assert first["00081196"]["Value"] == [stow.DOES_NOT_MATCH_ITS_CLASS] and "00081196" not in second
    assert first["00081150"]["Value"] == ["1.2.840.10008.5.1.4.1.1.2"]
    assert rows(node) == 2


def test_senders_come_again_when_too_many_wait(node: Node, reception: stow.Reception) -> None:
    few = replace(node, most_waiting=1)
    for _ in range(2):
        assert store(few, cut(message([ct("A")])), reception).status_code == 200
    answer = store(few, cut(message([ct("A"), LARGE])), reception)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, str(stow.COME_AGAIN))
    assert rows(node) == 2 and len(files(node)) == 2 and reception.room.taken == 0


def test_an_answer_never_names_the_new_uid(node: Node, reception: stow.Reception) -> None:
    from tests.archive import take_in

    from carina.storage.schema import instances

    answers = [bytes(store(node, cut(message([ct("A")])), reception).body) for _ in range(1)]
    take_in(node)
    answers.append(bytes(store(node, cut(message([ct("A")])), reception).body))
    with node.engine.connect() as connection:
        uid = connection.execute(select(instances.c.uid)).scalar_one()
    assert answers[0] == answers[1] and uid.encode() not in answers[0]
