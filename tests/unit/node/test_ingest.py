"""The only door."""

from __future__ import annotations

import resource
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, select
from tests.support import SCANNER, ct, make_node

from carina.errors import Full
from carina.model.instance import Reason
from carina.node import ingest, quarantine, worker
from carina.node.parcel import unwrap
from carina.node.recovery import recover
from carina.node.site import Node
from carina.storage import arrivals
from carina.storage.schema import arrivals as rows
from carina.storage.sealed import SealedFolder


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    yield node
    node.engine.dispose()


def _states(node: Node) -> list[str]:
    with node.engine.connect() as connection:
        return list(connection.execute(select(rows.c.state)).scalars())


def test_what_is_received_rests_encrypted_in_the_spool_with_its_source(node: Node) -> None:
    data = ct()
    receipt = ingest.receive(node, data, SCANNER)
    assert receipt.state == "received"
    parcel = unwrap(node.spool.read(receipt.id))
    assert (parcel.data, parcel.source) == (data, SCANNER)
    assert b"Garcia" not in (node.folder / "spool" / receipt.id).read_bytes()
    with node.engine.connect() as connection:
        arrival = arrivals.get(connection, receipt.id)
    assert (arrival.state, arrival.size, arrival.source) == ("received", len(data), SCANNER)


def test_a_text_file_is_refused_and_kept_in_quarantine(node: Node) -> None:
    receipt = ingest.receive(node, b"Dear colleague, the patient Garcia", SCANNER)
    assert (receipt.state, receipt.reason) == ("refused", Reason.NOT_DICOM)
    assert node.spool.names() == []
    assert unwrap(node.quarantine.read(receipt.id)).data == b"Dear colleague, the patient Garcia"
    held = quarantine.get(node, receipt.id)
    assert (held.reason, held.source, held.size) == (Reason.NOT_DICOM, SCANNER, 34)
    assert _states(node) == ["quarantined"]


def test_an_empty_file_is_refused(node: Node) -> None:
    assert ingest.receive(node, b"", SCANNER).reason == Reason.NOT_DICOM


def test_an_instance_larger_than_the_node_takes_is_refused_and_kept(node: Node) -> None:
    small = replace(node, largest_instance=1000)
    receipt = ingest.receive(small, ct(), SCANNER)
    assert (receipt.state, receipt.reason) == ("refused", Reason.TOO_LARGE)
    assert quarantine.get(node, receipt.id).reason == Reason.TOO_LARGE
    assert node.quarantine.names() == [receipt.id]


@contextmanager
def _no_file_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to let a file of this process grow beyond `size` bytes, as a full disk or a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_without_room_for_the_file_nothing_half_written_stays(node: Node) -> None:
    data = ct(size=256)
    with _no_file_larger_than(100_000), pytest.raises(Full):
        ingest.receive(node, data, SCANNER)
    assert list((node.folder / "spool").iterdir()) == []
    assert _states(node) == []
    assert ingest.receive(node, data, SCANNER).state == "received"


def test_without_room_for_the_records_nothing_half_written_stays(node: Node) -> None:
    with node.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    node.engine.dispose()

    @event.listens_for(node.engine, "connect")
    def _no_more_pages(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    data, taken = ct(), 0
    with pytest.raises(Full):
        while taken < 1000:
            ingest.receive(node, data, SCANNER)
            taken += 1
    assert len(list((node.folder / "spool").iterdir())) == len(_states(node)) == taken


def test_a_refused_file_without_room_is_not_said_to_be_kept(node: Node) -> None:
    with _no_file_larger_than(1000), pytest.raises(Full):
        ingest.receive(node, b"no DICOM" * 1000, SCANNER)
    assert list((node.folder / "quarantine").iterdir()) == []
    assert _states(node) == []


def test_a_nearly_full_disk_refuses_before_it_writes(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "RESERVE", 2**62)
    with pytest.raises(Full):
        ingest.receive(node, ct(), SCANNER)
    assert _states(node) == []


def test_a_start_amid_a_reception_does_not_lose_the_file(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server starts after a command has spooled a file and before it writes the row."""
    put = SealedFolder.put

    def put_then_start(folder: SealedFolder, name: str, data: bytes, *, lasting: bool = True) -> None:
        put(folder, name, data, lasting=lasting)
        assert recover(node).adopted == 1

    monkeypatch.setattr(SealedFolder, "put", put_then_start)
    received, refused = ingest.receive(node, ct(), SCANNER), ingest.receive(node, b"text", SCANNER)
    monkeypatch.undo()
    assert (received.state, refused.state) == ("received", "refused")
    assert node.spool.names() == [received.id] and node.quarantine.names() == [refused.id]
    while worker.work(node, "test"):
        pass
    assert sorted(_states(node)) == ["archived", "quarantined"]
