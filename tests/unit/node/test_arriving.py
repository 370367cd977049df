"""What arrives piece by piece, and at the same time."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, select
from tests.support import SCANNER, ct, make_node

from carina.errors import Busy, Full
from carina.model.instance import Reason, Source
from carina.node import ingest, quarantine, worker
from carina.node.ingest import Arriving, arriving, receive, sent_digest
from carina.node.parcel import unwrap
from carina.node.recovery import recover
from carina.node.site import Node
from carina.storage import arrivals
from carina.storage.schema import arrivals as rows

LARGE = ct(size=1024)  # 2 MiB: more than is kept in memory


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    yield node
    node.engine.dispose()


def feed(one: Arriving, data: bytes, step: int = 65536) -> None:
    for start in range(0, len(data), step):
        one.write(data[start : start + step])


def files(node: Node) -> list[str]:
    return [path.name for place in ("spool", "quarantine") for path in (node.folder / place).iterdir()]


def states(node: Node) -> list[str]:
    with node.engine.connect() as connection:
        return list(connection.execute(select(rows.c.state)).scalars())


@pytest.mark.parametrize("data", [ct(), LARGE])
@pytest.mark.parametrize("step", [1000, 70_000, 10**7])
def test_what_comes_in_pieces_is_what_comes_at_once(node: Node, data: bytes, step: int) -> None:
    one = arriving(node, SCANNER, "1.2.3")
    feed(one, data, step)
    receipt = one.finish()
    assert receipt.state == "received"
    parcel = unwrap(node.spool.read(receipt.id))
    assert (parcel.data, parcel.source, parcel.sent) == (data, SCANNER, sent_digest(node, SCANNER, "1.2.3"))
    with node.engine.connect() as connection:
        row = connection.execute(select(rows)).one()
    assert (row.size, row.sent, row.received_at) == (len(data), parcel.sent, parcel.received_at)
    assert worker.work(node, "test") == ["archived"]


def test_the_digest_of_what_was_sent_tells_nothing_and_differs_by_source(node: Node) -> None:
    digests = {sent_digest(node, source, uid) for source in (SCANNER, Source("aet", "OTHER")) for uid in ("1.2", "1.3")}
    assert len(digests) == 4 and all(len(digest) == 64 for digest in digests)
    other = replace(node, keys=replace(node.keys, storage=b"x" * 32))
    assert sent_digest(other, SCANNER, "1.2") not in digests


def test_a_large_one_takes_little_memory_and_is_never_on_the_disk_in_clear(node: Node) -> None:
    data = ct()
    arriving(node, SCANNER).abort()
    tracemalloc.start()
    one = arriving(node, SCANNER)
    one.write(data)
    for _ in range(40):
        one.write(b"Garcia^Maria" * 87_000)
    [name] = files(node)
    assert b"Garcia" not in (node.folder / "spool" / name).read_bytes()[: 3 * 2**20]
    one.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 * 2**20  # 42 MB of it are the file that this test read


@pytest.mark.parametrize("data", [b"text about Garcia", b"text about Garcia" * 100_000])
def test_what_is_no_dicom_rests_in_quarantine_however_it_comes(node: Node, data: bytes) -> None:
    one = arriving(node, SCANNER)
    feed(one, data)
    receipt = one.finish()
    assert (receipt.state, receipt.reason) == ("refused", Reason.NOT_DICOM)
    assert unwrap(node.quarantine.read(receipt.id)).data == data
    assert quarantine.get(node, receipt.id).size == len(data)
    assert node.spool.names() == []


def test_what_grows_beyond_the_largest_is_let_go_and_told(node: Node) -> None:
    small = replace(node, largest_instance=3 * 2**20)
    one = arriving(small, SCANNER)
    feed(one, LARGE)
    assert files(node)
    feed(one, LARGE)
    assert files(node) == []
    assert one.finish().reason == Reason.TOO_LARGE
    [entry] = node.audit.entries(10, action="refused-not-kept")
    assert entry.details["size"] == 2 * len(LARGE)
    assert files(node) == states(node) == []


@pytest.mark.parametrize("data", [ct(), LARGE])
def test_what_is_given_up_leaves_nothing(node: Node, data: bytes) -> None:
    one = arriving(node, SCANNER)
    feed(one, data)
    one.abort()
    one.abort()
    assert files(node) == states(node) == []


def test_those_that_finish_together_share_transactions(node: Node) -> None:
    commits: list[object] = []
    event.listen(node.engine, "commit", commits.append)
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda number: receive(node, ct(number=number), SCANNER), range(64)))
    assert {receipt.state for receipt in found} == {"received"}
    assert sorted(node.spool.names()) == sorted(receipt.id for receipt in found)
    assert len(states(node)) == 64 and len(commits) < 50


def test_when_the_transaction_of_a_group_fails_none_of_it_stays(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise Full("no room")

    monkeypatch.setattr(arrivals, "add_all", broken)
    with ThreadPoolExecutor(8) as threads:
        tries = [threads.submit(receive, node, ct(number=number), SCANNER) for number in range(8)]
    assert all(isinstance(one.exception(), Full) for one in tries)
    assert files(node) == states(node) == []


def test_a_start_amid_a_group_loses_none_of_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    add_all = arrivals.add_all
    begun: list[int] = []

    def start_before(connection: object, received: list[arrivals.Received]) -> None:
        if not begun:
            begun.append(len(received))
            with node.engine.connect() as other:
                assert not other.execute(select(rows.c.id)).all()
            connection.rollback()  # type: ignore[attr-defined]
            assert recover(node).adopted >= 1
            with node.engine.begin() as again:
                add_all(again, received)
        add_all(connection, received)  # type: ignore[arg-type]

    monkeypatch.setattr(arrivals, "add_all", start_before)
    receipt = receive(node, ct(), SCANNER, "1.2.3")
    monkeypatch.undo()
    assert receipt.state == "received" and states(node) == ["received"]
    with node.engine.connect() as connection:
        assert connection.execute(select(rows.c.sent)).scalar_one() == sent_digest(node, SCANNER, "1.2.3")


def test_senders_come_again_when_too_many_wait(node: Node) -> None:
    few = replace(node, most_waiting=3)
    taken = 0
    with pytest.raises(Busy):
        for number in range(10):
            receive(few, ct(number=number), SCANNER)
            taken += 1
    assert 3 <= taken <= 4
    with pytest.raises(Busy):
        arriving(few, SCANNER)
    assert len(files(node)) == taken
    while worker.work(node, "test"):
        pass
    few = replace(node, most_waiting=3)
    assert receive(few, ct(number=99), SCANNER).state == "received"


@pytest.mark.parametrize("data", [ct(), LARGE])
@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "writev", "fsync"])
def test_a_disk_that_takes_nothing_is_full_and_nothing_is_acknowledged(
    node: Node, data: bytes, code: int, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, "")

    one = arriving(node, SCANNER)
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(Full) as caught:
        try:
            feed(one, data)
            one.finish()
        finally:
            monkeypatch.undo()
            one.abort()
    assert ("only be read" in caught.value.message) == (code == errno.EROFS)
    assert files(node) == states(node) == []


def test_a_disk_that_fills_while_a_large_one_comes_is_full(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    one = arriving(node, SCANNER)
    feed(one, LARGE)
    monkeypatch.setattr(ingest, "RESERVE", 2**62)
    with pytest.raises(Full):
        for _ in range(20):
            feed(one, LARGE)
    one.abort()
    assert files(node) == []


def test_a_large_file_without_a_row_gets_one_from_its_line_and_half_a_file_goes(node: Node) -> None:
    receipt = receive(node, LARGE, SCANNER, "1.2.3")
    half = arriving(node, SCANNER)
    feed(half, LARGE)
    with node.engine.begin() as connection:
        connection.execute(rows.delete())
    found = recover(node)
    assert (found.half_written, found.adopted) == (1, 1)
    with node.engine.connect() as connection:
        row = connection.execute(select(rows)).one()
    assert (row.id, row.size) == (receipt.id, len(LARGE))
    assert row.sent == sent_digest(node, SCANNER, "1.2.3")
    assert files(node) == [receipt.id]
