"""A snapshot holds what a dataset held, whatever becomes of the dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support import LUNG, SCANNER, ct, make_node

from carina.errors import BadInput, Conflict, NotFound
from carina.model.cohort import OneOf
from carina.node import datasets, ingest, snapshots, worker
from carina.node.site import Node
from carina.storage.members import Members, instances_within
from carina.storage.schema import instances, snapshot_members


def send(node: Node, *patients: str, sex: str = "F") -> None:
    for patient in patients:
        ingest.receive(node, ct(patient, elements={"PatientSex": sex}, size=4), SCANNER)
    while worker.work(node, "test"):
        pass


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = make_node(tmp_path / "node", public_url="https://node.example.org")
    send(made, "MRN-1", "MRN-2")
    send(made, "MRN-3", sex="M")
    yield made
    made.engine.dispose()


def held(node: Node, iri: str, number: int) -> set[str]:
    """The instances that a snapshot's members are, as doors look them up."""
    within = instances_within(Members(LUNG, dataset=datasets.get(node, iri).iri, number=number))
    with node.engine.connect() as connection:
        return set(connection.execute(select(instances.c.uid).where(within)).scalars())


def test_a_snapshot_holds_what_its_dataset_held_then(node: Node) -> None:
    iri = datasets.create(node, "ana", LUNG, "Women", query=OneOf("sex", ("F",))).iri
    first = snapshots.take(node, "ana", iri)
    assert (first.number, first.instances, first.created_by) == (1, 2, "ana")
    before = held(node, iri, 1)
    send(node, "MRN-4")
    second = snapshots.take(node, "ana", iri)
    assert (second.number, second.instances) == (2, 3)
    assert held(node, iri, 1) == before and len(before) == 2
    assert held(node, iri, 2) > before
    assert snapshots.listed(node, iri) == [first, second]


def test_each_snapshot_is_audited(node: Node) -> None:
    iri = datasets.create(node, "ana", LUNG, "All").iri
    taken = snapshots.take(node, "ana", iri)
    row = node.audit.entries(1, action="snapshot-taken")[0]
    assert (row.actor, row.subject) == ("ana", iri)
    assert row.details == {"number": 1, "instances": 3, "digest": taken.digest}


def test_its_members_name_the_version_that_they_had(node: Node) -> None:
    iri = datasets.create(node, "ana", LUNG, "All").iri
    snapshots.take(node, "ana", iri)
    with node.engine.connect() as connection:
        kept = {tuple(row) for row in connection.execute(select(snapshot_members.c.uid, snapshot_members.c.content))}
        now = {tuple(row) for row in connection.execute(select(instances.c.uid, instances.c.content))}
    assert kept == now


def test_where_nothing_has_changed_no_snapshot_is_taken(node: Node) -> None:
    iri = datasets.create(node, "ana", LUNG, "All").iri
    snapshots.take(node, "ana", iri)
    with pytest.raises(Conflict, match="since snapshot 1"):
        snapshots.take(node, "ana", iri)
    assert len(snapshots.listed(node, iri)) == 1


def test_of_nothing_no_snapshot_is_taken(node: Node) -> None:
    empty = datasets.create(node, "ana", LUNG, "None", query=OneOf("modality", ("PT",))).iri
    with pytest.raises(BadInput):
        snapshots.take(node, "ana", empty)
    for ask in (snapshots.listed, lambda *_: snapshots.take(node, "ana", "urn:uuid:none")):
        with pytest.raises(NotFound):
            ask(node, "urn:uuid:none")


def test_a_dataset_has_no_more_snapshots_than_its_terms_can_name(node: Node) -> None:
    iri = datasets.create(node, "ana", LUNG, "All").iri
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "MOST", 0)
        with pytest.raises(Conflict):
            snapshots.take(node, "ana", iri)


def test_hubs_are_told_of_a_snapshot_with_the_terms(node: Node) -> None:
    dataset = datasets.create(node, "ana", LUNG, "All")
    before = datasets.describe(node, dataset)
    snapshots.take(node, "ana", dataset.iri)
    after = datasets.describe(node, dataset)
    assert (before.terms.versions, after.terms.versions) == ((), (1,))
    assert after.digest != before.digest
