"""What is given out is written down first, and many at once in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from tests.support import open_test_node

from carina.errors import Full
from carina.node.releases import Release, enter
from carina.node.site import Node
from carina.storage.audit import AuditRow, AuditTrail


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_test_node(tmp_path) as made:
        yield made


def release(study: str = "1.2", what: str = "frames", instances: int = 1) -> Release:
    return Release("retrieved", "dora", study, {"what": what}, instances)


def held_back(monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], threading.Event, threading.Event]:
    """Transactions wait for the second event, and set the first; how many rows each has written."""
    written: list[int] = []
    begun, go = threading.Event(), threading.Event()
    original = AuditTrail.append_all

    def slow(self: AuditTrail, rows: Sequence[AuditRow], connection: Any = None) -> list[int]:
        begun.set()
        assert go.wait(20)
        written.append(len(rows))
        return original(self, rows, connection)

    monkeypatch.setattr(AuditTrail, "append_all", slow)
    return written, begun, go


def test_a_release_is_durable_when_its_answer_is_there(node: Node) -> None:
    enter(node, release(instances=3)).result(20)
    [row] = node.audit.entries(1)
    assert (row.action, row.actor, row.subject) == ("retrieved", "dora", "1.2")
    assert dict(row.details) == {"what": "frames", "instances": 3}


def test_those_who_come_while_one_is_written_share_the_next_transaction(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, begun, go = held_back(monkeypatch)
    waiting: list[Future[None]] = [enter(node, release())]
    assert begun.wait(20)
    waiting += [enter(node, one) for one in [release()] * 5 + [release("1.3"), release(what="rendered")]]
    assert not any(each.done() for each in waiting)
    go.set()
    for each in waiting:
        each.result(20)
    assert written == [1, 3]
    rows = node.audit.entries(4)
    assert [(row.subject, row.details["what"], row.details["instances"]) for row in reversed(rows)] == [
        ("1.2", "frames", 1),
        ("1.2", "frames", 5),
        ("1.3", "frames", 1),
        ("1.2", "rendered", 1),
    ]
    node.audit.verify()


def test_what_cannot_be_written_is_given_to_nobody(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise Full("There is no room left on the disk for the records.")

    with monkeypatch.context() as patched:
        patched.setattr(AuditTrail, "append_all", full)
        waiting = [enter(node, release()) for _ in range(3)]
        for each in waiting:
            with pytest.raises(Full):
                each.result(20)
    enter(node, release()).result(20)
    assert len([row for row in node.audit.entries(9) if row.action == "retrieved"]) == 1
