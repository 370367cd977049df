"""Who decides on a node's datasets, with real records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.access import PASSWORD, Scene, member, open_scene, person
from tests.federating import open_joined_node

from carina.errors import Conflict, NotAllowed, NotFound
from carina.hub import committee
from carina.storage import accounts


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with open_scene(tmp_path) as opened:
        yield opened


def test_members_are_accounts_named_for_each_node(scene: Scene, tmp_path: Path) -> None:
    with open_joined_node(tmp_path / "second", scene.hub, seed=2) as (second, _):
        member(scene.hub, second.id, "carlos")
        committee.add(scene.hub, second.id, "clara")
        assert committee.members(scene.hub, scene.node.id) == ["clara"]
        assert committee.members(scene.hub, second.id) == ["carlos", "clara"]
        assert committee.nodes_of(scene.hub, "clara") == sorted([scene.node.id, second.id])
        assert committee.nodes_of(scene.hub, "rosa") == []
        assert committee.is_member(scene.hub, second.id, "carlos")
        assert not committee.is_member(scene.hub, scene.node.id, "carlos")


def test_joining_and_leaving_a_committee_are_audited(scene: Scene) -> None:
    committee.add(scene.hub, scene.node.id, "rosa", actor="otto")
    committee.remove(scene.hub, scene.node.id, "rosa", actor="otto")
    left, joined = scene.hub.audit.entries(2)
    assert (left.action, left.actor, left.subject, left.details) == (
        "committee-left",
        "otto",
        "rosa",
        {"node": scene.node.id},
    )
    assert (joined.action, joined.details) == ("committee-joined", {"node": scene.node.id})
    assert committee.members(scene.hub, scene.node.id) == ["clara"]


def test_an_unknown_node_or_account_is_not_found_and_nothing_is_written(scene: Scene) -> None:
    rows = scene.hub.audit.verify()
    with pytest.raises(NotFound, match="no such node"):
        committee.add(scene.hub, "n-nobody", "rosa")
    with pytest.raises(NotFound, match="no account"):
        committee.add(scene.hub, scene.node.id, "nobody")
    with pytest.raises(NotFound, match="no such node"):
        committee.remove(scene.hub, "n-nobody", "clara")
    with pytest.raises(NotFound, match="not on this node's committee"):
        committee.remove(scene.hub, scene.node.id, "rosa")
    with pytest.raises(NotFound, match="no such node"):
        committee.members(scene.hub, "n-nobody")
    assert scene.hub.audit.verify() == rows


def test_nobody_is_on_a_committee_twice(scene: Scene) -> None:
    rows = scene.hub.audit.verify()
    with pytest.raises(Conflict, match="already"):
        committee.add(scene.hub, scene.node.id, "clara")
    assert scene.hub.audit.verify() == rows


def test_who_is_no_member_may_not_decide(scene: Scene) -> None:
    person(scene.hub, "otto", "operator")
    with scene.hub.engine.connect() as connection:
        committee.require_member(connection, scene.node.id, "clara")
        for name in ("rosa", "otto", "nobody"):
            with pytest.raises(NotAllowed, match="access committee"):
                committee.require_member(connection, scene.node.id, name)


def test_the_people_of_tests_can_sign_in(scene: Scene) -> None:
    assert accounts.check_password(scene.hub.engine, "rosa", PASSWORD, "here", issuer=scene.hub.id) == scene.rosa
