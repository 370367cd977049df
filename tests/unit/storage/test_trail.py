"""Parts of the audit trail, its export, and how far it was checked."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from tests.support import make_node

from carina.errors import BadInput
from carina.node.site import Node
from carina.storage import trail
from carina.storage.schema import node_tables
from carina.storage.trail import Wanted

AUDIT = node_tables.tables["audit"]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    for number in range(1, 31):
        action = "viewed" if number % 3 else "archived"
        node.audit.append(action, f"person-{number % 2}", f"1.2.{number}", permit=f"p-{number % 5}")
    yield node
    node.engine.dispose()


def numbers(found: trail.Found) -> list[int]:
    return [entry.seq for entry in found.entries]


def dated(node: Node, number: int, day: str) -> None:
    """Let all rows up to this one be of a day."""
    with node.engine.begin() as connection:
        connection.execute(update(AUDIT).where(AUDIT.c.seq <= number).values(at=f"{day}T12:00:00.000000Z"))


def test_rows_are_found_by_action_actor_subject_and_permit(node: Node) -> None:
    assert numbers(trail.find(node.engine, Wanted(), 3)) == [30, 29, 28]
    assert numbers(trail.find(node.engine, Wanted(action="archived"), 2)) == [30, 27]
    assert numbers(trail.find(node.engine, Wanted(action="viewed", actor="person-1"), 2)) == [29, 25]
    assert numbers(trail.find(node.engine, Wanted(subject="1.2.7"), 9)) == [7]
    assert numbers(trail.find(node.engine, Wanted(permit="p-4"), 9)) == [29, 24, 19, 14, 9, 4]


def test_one_goes_on_where_a_page_ended(node: Node) -> None:
    page = trail.find(node.engine, Wanted(action="archived"), 4)
    assert (numbers(page), page.before) == ([30, 27, 24, 21], 21)
    page = trail.find(node.engine, Wanted(action="archived"), 10, page.before)
    assert (numbers(page), page.before) == ([18, 15, 12, 9, 6, 3], None)


def test_a_page_looks_through_so_many_rows_and_says_where_to_go_on(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "LOOKED_THROUGH", 10)
    page = trail.find(node.engine, Wanted(subject="1.2.5"), 4)
    assert (numbers(page), page.before) == ([], 21)
    page = trail.find(node.engine, Wanted(subject="1.2.5"), 4, 11)
    assert (numbers(page), page.before) == ([5], None)


def test_days_are_both_included(node: Node) -> None:
    dated(node, 20, "2026-03-02")
    dated(node, 10, "2026-03-01")
    assert numbers(trail.find(node.engine, Wanted(until="2026-03-01"), 2)) == [10, 9]
    assert len(trail.find(node.engine, Wanted(since="2026-03-02", until="2026-03-02"), 99).entries) == 10
    assert len(list(trail.every(node.engine, Wanted(since="2026-03-02")))) == 20


def test_all_that_is_wanted_is_written_as_lines_of_json_or_as_a_table(node: Node) -> None:
    node.audit.append("=1+1", "＠person", " =about")
    rows = [json.loads(line) for line in trail.lines(trail.every(node.engine, Wanted()), "json")]
    assert [row["seq"] for row in rows] == list(range(1, 32)) and rows[0]["details"] == {"permit": "p-1"}
    table = list(csv.DictReader(trail.lines(trail.every(node.engine, Wanted()), "csv")))
    assert [row["seq"] for row in table] == [str(number) for number in range(1, 32)]
    assert table[0]["details"] == '{"permit": "p-1"}' and table[-1]["action"] == "'=1+1"
    assert (table[-1]["actor"], table[-1]["subject"]) == ("'＠person", "' =about")
    with pytest.raises(BadInput):
        trail.form_of("pdf")


def test_the_actions_that_occur_are_listed_once_each(node: Node) -> None:
    assert trail.actions(node.engine) == ["archived", "viewed"]


def test_a_check_goes_on_step_by_step_until_the_trail_is_whole(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "_AT_ONCE", 10)
    assert trail.last_check(node.engine) is None
    step = trail.check_on(node.engine, anew=True, most=20)
    assert (step.seq, step.state, step.total, step.percent) == (20, "running", 30, 66)
    trail.check_on(node.engine, anew=False, most=20)
    found = trail.last_check(node.engine)
    assert found is not None and (found.seq, found.state) == (30, "whole")
    node.audit.append("viewed", "person")
    assert trail.check_on(node.engine, anew=False).seq == 31


def test_a_check_names_the_first_wrong_row(node: Node) -> None:
    with node.engine.begin() as connection:
        connection.execute(update(AUDIT).where(AUDIT.c.seq == 12).values(actor="another"))
    broken = trail.check_on(node.engine, anew=True)
    assert (broken.seq, broken.state) == (11, "broken")
    assert trail.check_on(node.engine, anew=False).seq == 11  # the next one begins at the first row


def test_rows_that_are_missing_at_the_end_are_missed(node: Node) -> None:
    with node.engine.begin() as connection:
        connection.execute(delete(AUDIT).where(AUDIT.c.seq > 28))
    assert trail.check_on(node.engine, anew=True).state == "broken"
