"""`carina node forget` and `carina node patient merge`, as a data manager types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import ct
from tests.unit.cli.conftest import Run

from carina.app.site import open_node
from carina.deid.person import Person
from carina.deid.pseudonyms import ProjectKeys, patient_key
from carina.model.ids import ProjectId
from carina.model.instance import Source
from carina.node import worker
from carina.node.ingest import receive

LUNG = ProjectId("lung")


@pytest.fixture
def filled(node: Path) -> Path:
    """A node with an image of each of two persons, and a journal of its own."""
    with (node / "node.toml").open("a") as settings:
        settings.write('\n[archive]\nforgotten = "../journal"\n')
    arrive(node, "MRN-0001", "MRN-0002")
    return node


def arrive(folder: Path, *patients: str) -> list[str]:
    with open_node(folder) as opened:
        for one in patients:
            receive(opened, ct(one), Source("aet", "SCANNER"))
        states: list[str] = []
        while batch := worker.work(opened, "test"):
            states += batch
    return states


def pseudonym(folder: Path, identifier: str) -> str:
    with open_node(folder) as opened:
        return patient_key(ProjectKeys.of(opened.keys.pseudonym, LUNG), Person("HOSPITAL", identifier))


def test_a_person_is_forgotten_after_a_yes(run: Run, filled: Path) -> None:
    said = run("node", "forget", filled, typed=b"MRN-0001\nyes\n")
    assert said.code == 0, said
    assert "Found: 1 instances in 1 series of 1 studies" in said.output and "The person is forgotten." in said.output
    assert "MRN-0001" not in said.output + said.error
    assert (filled.parent / "journal").read_text().startswith("forgotten ")
    assert arrive(filled, "MRN-0001") == ["forgotten"]


def test_without_a_yes_nothing_happens(run: Run, filled: Path) -> None:
    assert run("node", "forget", filled, typed=b"MRN-0001\nno\n").code != 0
    assert run("node", "forget", filled, typed=b"MRN-0001\n").code != 0
    assert arrive(filled, "MRN-0001") == ["unchanged"]
    assert not (filled.parent / "journal").exists()


def test_a_script_says_yes_beforehand(run: Run, filled: Path) -> None:
    assert run("node", "forget", filled, "--yes", "--project", "lung", typed=b"MRN-0001\n").code == 0
    run("node", "forget", filled, "--yes", "--project", "none", typed=b"MRN-0001\n").complaint(66, "no such project")
    run("node", "forget", filled, "--yes", typed=b"").complaint(65, "no identifier")


def test_whoever_is_forgotten_may_be_admitted_again(run: Run, filled: Path) -> None:
    run("node", "forget", filled, "--lift", typed=b"MRN-0001\n").complaint(66, "Nobody")
    assert run("node", "forget", filled, "--yes", typed=b"MRN-0001\n").code == 0
    assert run("node", "forget", filled, "--lift", typed=b"MRN-0001\n").code == 0
    assert arrive(filled, "MRN-0001") == ["archived"]


def test_two_persons_become_one_by_identifiers_or_pseudonyms(run: Run, filled: Path) -> None:
    typed = b"MRN-0001\nMRN-0002\n"
    said = run("node", "patient", "merge", filled, "-", "-", "--yes", typed=typed)
    assert said.code == 0 and "1 instances of 1 studies belong to the new one now." in said.output, said
    assert "MRN" not in said.output
    said = run("node", "patient", "merge", filled, "-", "-", "--yes", typed=typed)
    assert said.code == 0 and "0 instances of 0 studies" in said.output
    arrive(filled, "MRN-0003")
    names = pseudonym(filled, "MRN-0002"), pseudonym(filled, "MRN-0003")
    said = run("node", "patient", "merge", filled, *names, typed=b"yes\n")
    assert said.code == 0 and "Stored under the old one: 2 studies" in said.output, said


def test_half_a_pair_is_refused(run: Run, filled: Path) -> None:
    run("node", "patient", "merge", filled, "-", "PAAAAAAAAAAAAAAAA").complaint(65, "two pseudonyms")
    run("node", "patient", "merge", filled, "MRN-0001", "MRN-0002").complaint(65, "no pseudonyms")
    run("node", "patient", "merge", filled, "PAAAAAAAAAAAAAAAA", "PBBBBBBBBBBBBBBBB").complaint(66, "map")
