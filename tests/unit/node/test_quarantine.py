"""What waits, is tried again, or is discarded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support import LUNG, SCANNER, ct, make_node

from carina.errors import NotFound
from carina.model.instance import Reason, Source
from carina.node import ingest, quarantine, worker
from carina.node.site import Node
from carina.storage import arrivals

STRANGER = Source("aet", "STRANGER")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    yield node
    node.engine.dispose()


def _drain(node: Node) -> None:
    while worker.work(node, "test"):
        pass


def _unmapped(node: Node, count: int = 3) -> list[str]:
    ids = [ingest.receive(node, ct(number=number), STRANGER).id for number in range(1, count + 1)]
    _drain(node)
    return ids


def test_heaps_group_what_waits_by_reason(node: Node) -> None:
    _unmapped(node)
    ingest.receive(node, b"text", SCANNER)
    first, second = quarantine.heaps(node)
    assert (first.reason, first.count, first.modalities) == (Reason.UNMAPPED_SOURCE, 3, {"CT": 3})
    assert (second.reason, second.count, second.size) == (Reason.NOT_DICOM, 1, 4)
    assert first.sentence == "Its source is not assigned to a project."
    assert first.oldest <= first.newest


def test_entries_come_in_pages_in_order_of_arrival(node: Node) -> None:
    ids = _unmapped(node)
    page = quarantine.entries(node, Reason.UNMAPPED_SOURCE, limit=2)
    assert [held.id for held in page] == ids[:2]
    assert [held.id for held in quarantine.entries(node, after=page[-1].id)] == ids[2:]
    assert quarantine.entries(node, Reason.DAMAGED) == []


def test_a_reason_s_heap_passes_once_its_cause_is_gone(node: Node) -> None:
    ids = _unmapped(node)
    mapped = replace(node, project_of={**node.project_of, STRANGER: LUNG})
    assert quarantine.retry(mapped, "ana", reason=Reason.UNMAPPED_SOURCE) == 3
    assert quarantine.heaps(node) == []
    _drain(mapped)
    with node.engine.connect() as connection:
        assert [arrivals.get(connection, one).state for one in ids] == ["archived"] * 3
    assert node.quarantine.names() == node.spool.names() == []


def test_what_cannot_pass_yet_comes_back_with_its_bytes(node: Node) -> None:
    [one] = _unmapped(node, 1)
    before = node.quarantine.read(one)
    quarantine.retry(node, "ana", ids=[one])
    assert quarantine.get(node, one).state == "retried"
    _drain(node)
    assert quarantine.get(node, one).state == "waiting"
    assert node.quarantine.read(one) == before


def test_one_of_several_can_be_chosen(node: Node) -> None:
    first, *others = _unmapped(node)
    assert quarantine.discard(node, "ana", ids=[first]) == 1
    assert node.quarantine.names() == others
    assert quarantine.get(node, first).state == "discarded"
    assert [entry.action for entry in node.audit.entries(1)] == ["quarantine-discarded"]


def test_what_was_discarded_cannot_be_tried_again(node: Node) -> None:
    [one] = _unmapped(node, 1)
    quarantine.discard(node, "ana", ids=[one])
    with pytest.raises(NotFound):
        quarantine.retry(node, "ana", ids=[one])


def test_an_unknown_id_changes_nothing(node: Node) -> None:
    ids = _unmapped(node)
    with pytest.raises(NotFound):
        quarantine.discard(node, "ana", ids=[ids[0], "nothing"])
    assert node.quarantine.names() == ids


def test_who_did_what_is_in_the_audit_trail(node: Node) -> None:
    [one] = _unmapped(node, 1)
    quarantine.retry(node, "ana", ids=[one])
    newest, before = node.audit.entries(2)
    assert (newest.action, newest.actor, newest.subject) == ("quarantine-retried", "ana", one)
    assert (before.action, before.details["reason"]) == ("quarantined", "unmapped-source")
    assert node.audit.verify() == 2
