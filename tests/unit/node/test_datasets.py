"""What a site shows, and what a search over it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support import BREAST, LUNG, SCANNER, ct, make_node

from carina.errors import BadInput, Conflict, InvalidQuery, NotFound
from carina.model.cohort import All, OneOf
from carina.model.dataset import Group
from carina.model.ids import ProjectId
from carina.model.instance import Source
from carina.model.permit import ACTIONS, Terms
from carina.model.search import Counts
from carina.node import datasets, ingest, membership, search, worker
from carina.node.site import Node, Policy

EVERYONE = All(())
MEN = OneOf("sex", ("M",))
WOMEN = OneOf("sex", ("F",))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Twelve women and four men in `lung`, of whom the first women also came to `breast`."""
    node = make_node(tmp_path_factory.mktemp("node") / "node", threshold=3)
    for number in range(16):
        sex = "F" if number < 12 else "M"
        data = ct(f"MRN-{number}", elements={"PatientSex": sex, "PatientAge": f"0{40 + number}Y"}, size=4)
        ingest.receive(node, data, SCANNER)
        if number < 5:
            ingest.receive(node, data, Source("aet", "MAMMO"))
    while worker.work(node, "test"):
        pass
    yield node
    node.engine.dispose()


@pytest.fixture
def node(filled: Node) -> Iterator[Node]:
    yield filled
    for dataset in datasets.listed(filled, state="published"):
        datasets.withdraw(filled, "ana", dataset.iri)


def test_a_new_dataset_is_a_draft_with_an_iri(node: Node) -> None:
    dataset = datasets.create(node, "ana", LUNG, "  Lung CT  ", description="All of it.")
    assert (dataset.state, dataset.title, dataset.published_at) == ("draft", "Lung CT", None)
    assert dataset.iri.startswith("urn:uuid:")
    assert datasets.get(node, dataset.iri) == dataset
    assert dataset in datasets.listed(node, "draft")


def test_what_cannot_be_a_dataset_is_refused(node: Node) -> None:
    with pytest.raises(NotFound):
        datasets.create(node, "ana", ProjectId("none"), "Title")
    with pytest.raises(BadInput):
        datasets.create(node, "ana", LUNG, " ")
    with pytest.raises(InvalidQuery):
        datasets.create(node, "ana", LUNG, "Title", query=OneOf("pirads", ("5",)))


def test_a_draft_is_not_searched_and_a_published_dataset_is(node: Node) -> None:
    dataset = datasets.create(node, "ana", LUNG, "Lung CT")
    assert search.count(node, EVERYONE) == Counts(None, None, 3)
    datasets.publish(node, "ana", dataset.iri)
    assert search.count(node, EVERYONE) == Counts(16, 16, 3)
    assert search.count(node, MEN) == Counts(4, 4, 3)
    datasets.withdraw(node, "ana", dataset.iri)
    assert search.count(node, EVERYONE) == Counts(None, None, 3)


def test_only_what_a_published_dataset_holds_is_searched(node: Node) -> None:
    dataset = datasets.create(node, "ana", LUNG, "Women", query=WOMEN)
    datasets.publish(node, "ana", dataset.iri)
    assert search.count(node, EVERYONE) == Counts(12, 12, 3)
    assert search.count(node, MEN) == Counts(None, None, 3)


def test_datasets_that_overlap_count_a_patient_once_and_projects_twice(node: Node) -> None:
    for project, query in ((LUNG, EVERYONE), (LUNG, WOMEN), (BREAST, EVERYONE)):
        datasets.publish(node, "ana", datasets.create(node, "ana", project, "Some", query=query).iri)
    assert search.count(node, EVERYONE) == Counts(16 + 5, 16 + 5, 3)


def test_unknown_terms_are_named(node: Node) -> None:
    with pytest.raises(InvalidQuery, match="pirads"):
        search.count(node, OneOf("pirads", ("5",)))


def test_a_description_hides_small_groups(node: Node) -> None:
    description = datasets.publish(node, "ana", datasets.create(node, "ana", LUNG, "Lung CT").iri)
    assert (description.patients, description.studies, description.instances) == (16, 16, 16)
    assert description.groups["sex"] == (Group("F", 12), Group("M", 4))
    assert description.groups["modality"] == (Group("CT", 16),)
    assert description.groups["age"] == (Group("40-49", 10), Group("50-59", 6))
    assert (description.node, description.country, description.threshold) == (node.id, "ES", 3)


def test_a_dataset_of_too_few_patients_says_no_number_at_all(node: Node) -> None:
    small = OneOf("body_part", ("BRAIN",))
    description = datasets.publish(node, "ana", datasets.create(node, "ana", LUNG, "Brain", query=small).iri)
    assert (description.patients, description.studies, description.series, description.instances) == (None,) * 4
    assert not any(group.patients for groups in description.groups.values() for group in groups)


def test_published_describes_each_published_dataset(node: Node) -> None:
    first = datasets.create(node, "ana", LUNG, "First")
    second = datasets.create(node, "ana", BREAST, "Second")
    datasets.create(node, "ana", BREAST, "A draft")
    for dataset in (first, second):
        datasets.publish(node, "ana", dataset.iri)
    described = datasets.published(node)
    assert [item.iri for item in described] == [first.iri, second.iri]
    assert described[0].digest == datasets.get(node, first.iri).published_digest


def test_a_new_image_changes_the_digest(tmp_path: Path) -> None:
    node = make_node(tmp_path / "node")
    dataset = datasets.create(node, "ana", LUNG, "Lung CT")
    before = datasets.describe(node, dataset).digest
    ingest.receive(node, ct(), SCANNER)
    while worker.work(node, "test"):
        pass
    after = datasets.describe(node, dataset).digest
    assert after != before
    node.engine.dispose()


def test_only_what_is_published_can_be_withdrawn(node: Node) -> None:
    dataset = datasets.create(node, "ana", LUNG, "Lung CT")
    with pytest.raises(Conflict):
        datasets.withdraw(node, "ana", dataset.iri)
    with pytest.raises(NotFound):
        datasets.withdraw(node, "ana", "urn:uuid:none")
    datasets.publish(node, "ana", dataset.iri)
    assert datasets.withdraw(node, "ana", dataset.iri).state == "withdrawn"
    assert [entry.action for entry in node.audit.entries(2)] == ["dataset-withdrawn", "dataset-published"]


def outside(node: Node, **policy: object) -> Node:
    """The node with an outside address, which images need."""
    return replace(node, public_url="https://node.example.org", policy=Policy(**policy))  # type: ignore[arg-type]


def test_a_dataset_without_terms_of_its_own_has_the_nodes(node: Node) -> None:
    dataset = datasets.create(node, "ana", LUNG, "Lung CT")
    assert (dataset.actions, dataset.longest_days) == (None, None)
    assert datasets.terms(outside(node), dataset) == Terms(ACTIONS, 365, (), countersign=True)
    strict = outside(node, countersign=False, actions=("retrieve",), longest_days=30)
    assert datasets.terms(strict, dataset) == Terms(("retrieve",), 30, (), countersign=False)


def test_a_dataset_narrows_what_the_node_allows(node: Node) -> None:
    dataset = datasets.create(outside(node), "ana", LUNG, "Lung CT", actions=["analyse", "view"], longest_days=90)
    assert (dataset.actions, dataset.longest_days) == (("view", "analyse"), 90)
    assert datasets.terms(outside(node), dataset) == Terms(("view", "analyse"), 90)
    stricter = outside(node, actions=("retrieve", "analyse"), longest_days=30)  # the settings changed since
    assert datasets.terms(stricter, dataset) == Terms(("analyse",), 30)


def test_a_dataset_cannot_allow_more_than_its_node(node: Node) -> None:
    strict = outside(node, actions=("analyse",), longest_days=30)
    for wrong in ({"actions": ["view"]}, {"longest_days": 31}, {"longest_days": 0}, {"longest_days": -1}):
        with pytest.raises(BadInput):
            datasets.create(strict, "ana", LUNG, "Lung CT", **wrong)  # type: ignore[arg-type]
    for wrong in ({"actions": []}, {"actions": ["delete"]}):
        with pytest.raises(BadInput):
            datasets.create(node, "ana", LUNG, "Lung CT", **wrong)  # type: ignore[arg-type]


def test_a_node_without_an_outside_address_offers_analysis_only(node: Node) -> None:
    assert datasets.terms(node, datasets.create(node, "ana", LUNG, "Lung CT")).actions == ("analyse",)
    pictures = datasets.create(node, "ana", LUNG, "Lung CT", actions=["view"])
    assert datasets.terms(node, pictures).actions == ()
    described = membership.description(datasets.describe(node, pictures))
    assert described.terms.actions == ()


def test_other_terms_change_the_digest(node: Node) -> None:
    dataset = datasets.create(node, "ana", LUNG, "Lung CT")
    nodes = [node, outside(node), outside(node, longest_days=30), outside(node, countersign=False)]
    descriptions = [datasets.describe(item, dataset) for item in nodes]
    assert len({description.digest for description in descriptions}) == 4
    assert [description.terms for description in descriptions] == [datasets.terms(item, dataset) for item in nodes]
