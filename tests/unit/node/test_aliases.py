"""Merged identifiers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support import BREAST, LUNG, make_node, ring

from carina.deid.person import Person
from carina.errors import Conflict, InvalidTable, NotFound, WrongKey
from carina.node import aliases
from carina.node.site import Node

A, B, C = (Person("HOSPITAL", name) for name in ("A-1", "B-2", "C-3"))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    yield node
    node.engine.dispose()


def test_a_node_begins_without_merges(node: Node) -> None:
    assert aliases.load(node, node.projects[LUNG]) == {}


def test_a_chain_is_followed_to_its_end(node: Node) -> None:
    aliases.merge(node, A, B, "ana")
    aliases.merge(node, B, C, "ana")
    assert aliases.load(node, node.projects[LUNG]) == {A: C, B: C}


def test_a_loop_is_refused_and_nothing_changes(node: Node) -> None:
    aliases.merge(node, A, B, "ana")
    aliases.merge(node, B, C, "ana")
    with pytest.raises(Conflict):
        aliases.merge(node, C, A, "ana")
    with pytest.raises(Conflict):
        aliases.merge(node, A, A, "ana")
    assert aliases.load(node, node.projects[LUNG]) == {A: C, B: C}


def test_one_identifier_cannot_mean_two_others(node: Node) -> None:
    aliases.merge(node, A, B, "ana")
    aliases.merge(node, A, B, "ana")
    with pytest.raises(Conflict):
        aliases.merge(node, A, C, "ana")


def test_a_merge_can_be_taken_back(node: Node) -> None:
    aliases.merge(node, A, B, "ana")
    aliases.separate(node, A, "ana")
    assert aliases.load(node, node.projects[LUNG]) == {}
    with pytest.raises(NotFound):
        aliases.separate(node, A, "ana")


def test_the_same_identifier_of_two_issuers_is_two_persons(node: Node) -> None:
    other = Person("CLINIC", "A-1")
    aliases.merge(node, A, other, "ana")
    assert aliases.load(node, node.projects[LUNG]) == {A: other}


def test_the_list_is_encrypted_and_opens_with_this_node_s_key_only(node: Node, tmp_path: Path) -> None:
    aliases.merge(node, Person("HOSPITAL", "SENTINEL-ALIAS"), B, "ana")
    sealed = (node.folder / "aliases").read_bytes()
    assert b"SENTINEL-ALIAS" not in sealed
    other = make_node(tmp_path / "other", keys=ring(2))
    (other.folder / "aliases").write_bytes(sealed)
    with pytest.raises(WrongKey):
        aliases.load(other, other.projects[LUNG])
    other.engine.dispose()


def test_the_audit_trail_says_that_identifiers_were_merged_but_not_which(node: Node) -> None:
    aliases.merge(node, A, B, "ana")
    [entry] = node.audit.entries(5)
    assert (entry.action, entry.actor) == ("aliases-merged", "ana")
    assert "A-1" not in str(entry) and "B-2" not in str(entry)


HEADER = "old_issuer,old_id,new_issuer,new_id\n"


def test_a_table_of_merges_is_taken_whole(node: Node) -> None:
    assert aliases.import_table(node, HEADER + "HOSPITAL, A-1 ,HOSPITAL,B-2\n\n,B-2,,C-3\n", "ana") == 2
    assert aliases.load(node, node.projects[LUNG]) == {A: C, B: C}


def test_an_empty_issuer_is_the_one_that_each_project_assumes(node: Node) -> None:
    other = replace(node.projects[BREAST], issuer="CLINIC", strip_leading_zeros=True)
    aliases.import_table(node, HEADER + ",007,,B-2\n", "ana")
    assert aliases.load(node, node.projects[LUNG]) == {Person("HOSPITAL", "007"): B}
    assert aliases.load(node, other) == {Person("CLINIC", "7"): Person("CLINIC", "B-2")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "first line"),
        ("old,new\nA,B\n", "first line"),
        (HEADER + "H,A,H\n", "Line 2"),
        (HEADER + "H,A,H,B\nH,,H,B\n", "Line 3"),
        (HEADER + 'H,"A,H,B\n', "no CSV"),
    ],
)
def test_a_table_that_cannot_be_read_changes_nothing(node: Node, text: str, words: str) -> None:
    with pytest.raises(InvalidTable, match=words):
        aliases.import_table(node, text, "ana")
    assert aliases.load(node, node.projects[LUNG]) == {}


def test_a_table_that_contradicts_itself_is_refused_by_line(node: Node) -> None:
    with pytest.raises(Conflict, match="Line 3"):
        aliases.import_table(node, HEADER + "H,A,H,B\nH,A,H,C\n", "ana")
    with pytest.raises(Conflict, match="loop"):
        aliases.import_table(node, HEADER + "HOSPITAL,A,,B\n,B,HOSPITAL,A\n", "ana")
    assert aliases.load(node, node.projects[LUNG]) == {}
