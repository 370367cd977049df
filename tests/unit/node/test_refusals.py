"""Refusals that repeat."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support import open_test_node

from carina.model.clock import now
from carina.node import refusals
from carina.node.site import Node

AT = now()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_test_node(tmp_path) as made:
        yield made


def note(node: Node, seconds: float = 0, actor: str = "rosa", dataset: str = "a", **details: str) -> None:
    at = AT + timedelta(seconds=seconds)
    node.refusals.note(node.audit, "access-refused", actor, dataset, now=at, **{"reason": "revoked", **details})


def rows(node: Node) -> list[tuple[str, str, str, int]]:
    """Actor, dataset, reason and repeats of each row, oldest first."""
    found = node.audit.entries(50, action="access-refused")
    return [(row.actor, row.subject, row.details["reason"], row.details.get("repeats", 0)) for row in found][::-1]


def test_the_first_is_written_at_once_and_the_others_are_counted_in_the_next_row(node: Node) -> None:
    for seconds in (0, 1, 59.9):
        note(node, seconds)
    assert rows(node) == [("rosa", "a", "revoked", 0)]
    note(node, 60)
    assert rows(node)[1:] == [("rosa", "a", "revoked", 2)]
    note(node, 120)
    assert rows(node)[2:] == [("rosa", "a", "revoked", 0)]


def test_another_person_dataset_or_reason_has_a_row_of_its_own(node: Node) -> None:
    note(node)
    note(node, actor="clara")
    note(node, dataset="b")
    note(node, reason="expired")
    assert len(rows(node)) == 4


def test_a_clock_that_was_set_back_silences_nothing(node: Node) -> None:
    note(node, 3_600)
    note(node)
    assert len(rows(node)) == 2


def test_what_could_not_be_written_is_written_the_next_time(node: Node) -> None:
    with node.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE audit RENAME TO gone")
    with pytest.raises(Exception, match="audit"):
        note(node)
    with node.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO audit")
    note(node)
    assert len(rows(node)) == 1


def test_only_so_many_rows_are_remembered(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "REMEMBERED", 2)
    for actor in ("a", "b", "c", "a"):
        note(node, actor=actor)
    assert len(rows(node)) == 4
