"""What was asked of a node and what left it, by day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support import make_node

from carina.node import asked
from carina.node.asked import Wanted
from carina.node.site import Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    for permit, number in (("p-1", 2), ("p-1", 3), ("p-2", 4)):
        node.audit.append("viewed", "rosa", "1.2", hub="h-1", permit=permit, what="rendered", instances=number)
    node.audit.append("viewed", "nora", "1.2", what="rendered", instances=9)
    node.audit.append("released", "token:pacs", "1.2", dataset="iri-3", what="instances", instances=7)
    node.audit.append("search-answered", "h-1", node.id, state="counted", variables=["sex"])
    yield node
    node.engine.dispose()


def test_what_was_handed_out_is_summed_by_day_and_permit_without_what_the_staff_saw(node: Node) -> None:
    found = asked.given(node, Wanted(), {"p-1": "iri-1"}).lines
    told = {(line.account, line.permit, line.dataset): (line.requests, line.instances) for line in found}
    assert told == {
        ("rosa", "p-1", "iri-1"): (2, 5), ("rosa", "p-2", ""): (1, 4), ("token:pacs", "", "iri-3"): (1, 7),
    }  # fmt: skip
    assert {line.day for line in found} == {asked.first_day(1)}


def test_it_is_narrowed_by_permit_dataset_account_and_days(node: Node) -> None:
    def instances(wanted: Wanted) -> list[int]:
        return sorted(line.instances for line in asked.given(node, wanted, {"p-1": "iri-1"}).lines)

    assert instances(Wanted(permit="p-1")) == instances(Wanted(dataset="iri-1")) == [5]
    assert instances(Wanted(account="token:pacs")) == [7]
    assert instances(Wanted(hub="h-1")) == [4, 5]
    assert instances(Wanted(since="2019-01-01", until="2020-01-01")) == []


def test_searches_belong_to_no_permit_and_no_person(node: Node) -> None:
    assert [entry.details["state"] for entry in asked.searches(node, Wanted(), 9).entries] == ["counted"]
    for wanted in (Wanted(permit="p-1"), Wanted(account="rosa")):
        assert asked.searches(node, wanted, 9).entries == ()


def test_lines_come_by_pages_and_all_of_them_when_they_are_exported(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked.given(node, Wanted(), {}, limit=2)
    second = asked.given(node, Wanted(), {}, limit=2, skip=2)
    assert (len(first.lines), first.more, len(second.lines), second.more) == (2, True, 1, False)
    monkeypatch.setattr(asked, "MOST", 2)
    assert list(asked.all_given(node, Wanted(), {})) == [*first.lines, *second.lines]


def test_the_sums_are_found_by_an_index_within_the_days(node: Node) -> None:
    question = (
        "SELECT substr(at, 1, 10), COUNT(*) FROM audit WHERE seq >= 2 AND seq < 5 "
        "AND action IN ('viewed', 'retrieved', 'released') GROUP BY 1"
    )
    with node.engine.connect() as connection:
        plan = [row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {question}"))]
    assert plan[0].startswith("SEARCH audit USING"), plan
