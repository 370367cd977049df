"""The evidence of a dataset says what was done, and names nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import LUNG, SCANNER, ct, make_node

from carina.app.deid_report import read_report
from carina.deid.evidence.report import digest_of, lines_of
from carina.deid.evidence.reveal import Original, WayBack
from carina.deid.profile import load_profile
from carina.errors import BadInput, InvalidMessage, NotFound
from carina.federation.signing import verify
from carina.model.cohort import OneOf
from carina.node import clinical, datasets, ingest, snapshots, worker
from carina.node.evidence import FORM, evidence
from carina.node.reveal import reveal
from carina.node.site import Node, Project

TABLE = """patient_id,issuer,sex,birth_date,topography,morphology,diagnosis_date,stage,treatment,vital_status
A,,F,1960-01-02,C34.1,8140/3,2024-02-10,IIA,surgery,alive
B,,F,1960-01-02,C34.1,8140/3,2024-02-10,IV,none,alive
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    back = WayBack(tmp_path / "way-back.sqlite", b"k" * 32)
    made = make_node(tmp_path / "node", way_back=back)
    for patient, sex in (("A", "F"), ("B", "F"), ("C", "M")):
        for number in (1, 2):
            ingest.receive(made, ct(patient, number=number, elements={"PatientSex": sex}), SCANNER)
    while worker.work(made, "test"):
        pass
    yield made
    back.close()
    made.engine.dispose()


def test_the_evidence_counts_what_was_done_and_by_what(node: Node) -> None:
    iri = datasets.create(node, "ana", LUNG, "All").iri
    found = evidence(node, iri)["evidence"]
    assert found["form"] == FORM
    assert found["holds"] == {"patients": 3, "instances": 6, "series": 3}
    [profile] = found["made_with"]["profiles"]
    assert (profile["name"], profile["instances"]) == ("basic", 6)
    assert sum(found["made_with"]["engines"].values()) == 6
    assert found["pixels"] == {"none": 6}
    assert found["actions"]["instances"] == 6
    assert sum(item["elements"] for item in found["actions"]["elements"]) > 6 * 30
    assert {item["action"] for item in found["actions"]["elements"]} >= {"X", "U"}


def test_the_signature_is_of_this_evidence_and_no_other(node: Node) -> None:
    iri = datasets.create(node, "ana", LUNG, "All").iri
    found = evidence(node, iri)
    signed = verify(found["signature"].encode(), node.signing.public_jwk)
    assert signed == {"what": FORM, "sha256": digest_of(found["evidence"])}


def test_whoever_got_the_evidence_can_check_and_read_it(node: Node, tmp_path: Path) -> None:
    found = evidence(node, datasets.create(node, "ana", LUNG, "All").iri)
    file = tmp_path / "evidence.json"
    file.write_text(json.dumps(found, indent=1))
    report, signer = read_report(file)
    assert (report, signer) == (found["evidence"], node.signing.thumbprint)
    text = "\n".join(lines_of(report))
    assert "6 instances, 3 patients, 3 series" in text and "Profile basic" in text and "smallest group 1" in text
    found["evidence"]["holds"]["patients"] = 4
    file.write_text(json.dumps(found))
    with pytest.raises(InvalidMessage):
        read_report(file)
    with pytest.raises(BadInput):
        lines_of({"form": FORM})


def test_no_identifier_of_the_images_stands_in_the_evidence(node: Node) -> None:
    text = json.dumps(evidence(node, datasets.create(node, "ana", LUNG, "All").iri))
    for word in ("Garcia", "MRN", "Referring", "ACC-77", "SN-4711", "1.2.826", "20240311", "19600102"):
        assert word not in text, word


def test_persons_who_can_be_told_apart_are_counted_joint_with_the_clinical_table(node: Node) -> None:
    iri = datasets.create(node, "ana", LUNG, "All").iri

    def of(attributes: list[str]) -> tuple[int, int]:
        sets = evidence(node, iri)["evidence"]["anonymity"]["sets"]
        return next((one["k"], one["unique"]) for one in sets if one["attributes"] == attributes)

    assert of(["sex", "age"]) == (1, 1)
    clinical.import_table(node, LUNG, TABLE)
    assert evidence(node, iri)["evidence"]["anonymity"]["joint_with_clinical_table"]
    assert of(["sex", "age", "site"]) == (1, 1)
    assert of(["sex", "age", "site", "stage", "treatment", "vital_status"]) == (1, 3)


def test_a_snapshot_has_evidence_of_its_own(node: Node) -> None:
    iri = datasets.create(node, "ana", LUNG, "Women", query=OneOf("sex", ("F",))).iri
    taken = snapshots.take(node, "ana", iri)
    found = evidence(node, iri, 1)["evidence"]
    assert (found["dataset"]["version"], found["dataset"]["sha256"]) == (1, taken.digest)
    assert found["holds"]["patients"] == 2
    with pytest.raises(NotFound):
        evidence(node, iri, 2)


def test_the_way_back_names_the_person_and_the_look_is_audited(node: Node) -> None:
    [study, *_] = worker.arrivals.progress(node.engine)
    [original] = reveal(node, "ana", study.study_uid)
    assert original.kind == "study"
    assert original.value.startswith("1.2.826")
    assert [(one.actor, one.subject) for one in node.audit.entries(1, action="revealed")] == [("ana", study.study_uid)]
    with pytest.raises(NotFound):
        reveal(node, "ana", "PAAAAAAAAAAAAAAAA")
    assert len(node.audit.entries(5, action="revealed")) == 2


def test_a_site_that_keeps_no_map_has_no_way_back(tmp_path: Path) -> None:
    made = make_node(tmp_path / "other")
    with pytest.raises(NotFound, match="no map"):
        reveal(made, "ana", "P")
    made.engine.dispose()


@pytest.mark.parametrize("typed", ["DOE^JOHN 12345", "1.2.826.0.1.3680043.8.498.65.1", "2.25.4711", "P123", ""])
def test_what_is_no_pseudonym_is_not_written_down_when_somebody_asks_for_it(
    node: Node, tmp_path: Path, typed: str
) -> None:
    with pytest.raises(BadInput):
        reveal(node, "ana", typed)
    assert [(one.actor, one.subject) for one in node.audit.entries(9, action="revealed")] == [("ana", "")]
    assert node.way_back is not None
    assert node.way_back.verify_trail() == 1
    assert json.loads(node.way_back.trail.read_text())["subject"] == ""


def test_a_pseudonym_that_does_not_look_like_one_is_known_by_the_map(node: Node) -> None:
    assert node.way_back is not None
    node.way_back.put(node.way_back._sealer.seal([("1.2.3.4", Original("study", "1.2.3.4"))]))
    assert [one.value for one in reveal(node, "ana", "1.2.3.4")] == ["1.2.3.4"]
    assert [one.subject for one in node.audit.entries(9, action="revealed")] == ["1.2.3.4"]


def test_what_stays_of_a_persons_characteristics_and_the_institution_counts(tmp_path: Path) -> None:
    options = ["retain_longitudinal_modified_dates", "retain_patient_characteristics", "retain_institution_identity"]
    profile = load_profile(f'name = "more"\noptions = {json.dumps(options)}\n')
    made = make_node(tmp_path / "more", projects={LUNG: Project(LUNG, "Lung", profile, "HOSPITAL")})
    same = {"SmokingStatus": "NO", "PregnancyStatus": 4, "PatientSexNeutered": "UNALTERED", "EthnicGroup": "GROUP B"}
    other = {"SmokingStatus": "YES", "PregnancyStatus": 1, "PatientSexNeutered": "ALTERED", "EthnicGroup": "GROUP A"}
    for patient, elements in (("A", same), ("B", same), ("C", other), ("D", same | {"InstitutionName": "Elsewhere"})):
        ingest.receive(made, ct(patient, elements=elements), SCANNER)
    while worker.work(made, "test"):
        pass
    sets = evidence(made, datasets.create(made, "ana", LUNG, "All").iri)["evidence"]["anonymity"]["sets"]
    alone = {tuple(one["attributes"]): one["unique"] for one in sets}
    assert alone["sex", "age"] == 0
    assert alone["sex", "age", "ethnic_group"] == 1
    assert alone["sex", "age", "smoking_status", "pregnancy_status", "sex_neutered"] == 1
    assert alone["sex", "age", "institution", "institution_address"] == 1
    made.engine.dispose()
