"""What a start finds after whatever ended the node before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import SCANNER, ct, make_node

from carina.model.clock import new_id
from carina.model.instance import Reason, Source
from carina.node import discarded, ingest, quarantine, worker
from carina.node.parcel import Parcel, wrap
from carina.node.recovery import Recovered, recover
from carina.node.site import Node
from carina.storage import arrivals


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    yield node
    node.engine.dispose()


def _drain(node: Node) -> None:
    while worker.work(node, "test"):
        pass


def _state(node: Node, arrival: str) -> str:
    with node.engine.connect() as connection:
        return arrivals.get(connection, arrival).state


def test_a_clean_start_finds_nothing(node: Node) -> None:
    ingest.receive(node, ct(), SCANNER)
    assert recover(node) == Recovered(0, 0, 0, 0)
    assert len(node.spool.names()) == 1


def test_bytes_without_a_row_get_one_that_knows_their_source(node: Node) -> None:
    one = new_id()
    node.spool.put(one, wrap(Parcel(SCANNER, "2026-01-02T03:04:05.000000Z", ct())))
    assert recover(node).adopted == 1
    _drain(node)
    assert _state(node, one) == "archived"


def test_a_refused_file_whose_row_was_never_written_is_refused_again(node: Node) -> None:
    one = new_id()
    node.quarantine.put(one, wrap(Parcel(SCANNER, "2026-01-02T03:04:05.000000Z", b"text")))
    assert recover(node).adopted == 1
    _drain(node)
    assert quarantine.get(node, one).reason == Reason.NOT_DICOM
    assert node.quarantine.names() == [one]


def test_a_claim_of_a_dead_worker_ends(node: Node) -> None:
    ingest.receive(node, ct(), SCANNER)
    assert arrivals.claim(node.engine, "dead") is not None
    assert worker.work(node, "alive") == []
    recover(node)
    assert worker.work(node, "alive") == ["archived"]


def test_the_spool_file_of_a_finished_arrival_goes(node: Node) -> None:
    one = ingest.receive(node, ct(), SCANNER).id
    sealed = node.spool.read(one)
    _drain(node)
    node.spool.put(one, sealed)
    assert recover(node).removed == 1
    assert node.spool.names() == []


def test_what_was_quarantined_before_its_spool_file_went_is_kept_once(node: Node) -> None:
    one = ingest.receive(node, ct(), Source("aet", "STRANGER")).id
    sealed = node.spool.read(one)
    _drain(node)
    node.spool.put(one, sealed)
    assert recover(node).removed == 1
    assert (node.spool.names(), node.quarantine.names()) == ([], [one])


def test_what_is_in_quarantine_but_not_yet_said_to_be_is_done_again(node: Node) -> None:
    one = ingest.receive(node, ct(), Source("aet", "STRANGER")).id
    node.quarantine.put(one, node.spool.read(one))
    assert recover(node).removed == 0
    _drain(node)
    assert (node.spool.names(), node.quarantine.names()) == ([], [one])
    assert _state(node, one) == "quarantined"


def test_a_discarded_file_that_was_still_there_goes(node: Node) -> None:
    one = ingest.receive(node, b"text", SCANNER).id
    sealed = node.quarantine.read(one)
    quarantine.discard(node, "ana", ids=[one])
    discarded.destroy(node, "ana", [one])
    node.quarantine.put(one, sealed)
    assert recover(node).removed == 1
    assert node.quarantine.names() == []


def test_half_written_files_go(node: Node) -> None:
    for folder in ("spool", "quarantine", "store"):
        (node.folder / folder / ".new-0123").write_bytes(b"half")
    assert recover(node).half_written == 3


def test_a_file_that_does_not_open_is_left_and_counted(node: Node) -> None:
    (node.folder / "spool" / new_id()).write_bytes(b"not sealed by this node")
    assert recover(node).unreadable == 1
    assert len(node.spool.names()) == 1
