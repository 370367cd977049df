"""What was asked of a node and what left it, by day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
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
    found = asked.given(node, Wanted(), {"p-1": "iri-1"})
    told = {(line.account, line.permit, line.dataset): (line.requests, line.instances) for line in found}
    assert told == {
        ("rosa", "p-1", "iri-1"): (2, 5), ("rosa", "p-2", ""): (1, 4), ("token:pacs", "", "iri-3"): (1, 7),
    }  # fmt: skip
    assert {line.day for line in found} == {asked.first_day(1)}


def test_it_is_narrowed_by_permit_dataset_account_and_days(node: Node) -> None:
    def instances(wanted: Wanted) -> list[int]:
        return sorted(line.instances for line in asked.given(node, wanted, {"p-1": "iri-1"}))

    assert instances(Wanted(permit="p-1")) == instances(Wanted(dataset="iri-1")) == [5]
    assert instances(Wanted(account="token:pacs")) == [7]
    assert instances(Wanted(hub="h-1")) == [4, 5]
    assert instances(Wanted(since="2019-01-01", until="2020-01-01")) == []


def test_searches_belong_to_no_permit_and_no_person(node: Node) -> None:
    assert [entry.details["state"] for entry in asked.searches(node, Wanted(), 9)] == ["counted"]
    assert asked.searches(node, Wanted(permit="p-1"), 9) == asked.searches(node, Wanted(account="rosa"), 9) == []
