"""Diagnoses under the same pseudonyms as the images."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support import BREAST, LUNG, SCANNER, ct, make_node

from carina.deid.person import Person
from carina.errors import InvalidTable, NotFound
from carina.model.ids import ProjectId
from carina.node import aliases, clinical, ingest, worker
from carina.node.site import Node
from carina.storage.schema import clinical as table
from carina.storage.schema import studies

HEADER = "patient_id,issuer,sex,birth_date,topography,morphology,diagnosis_date,stage,treatment,vital_status\n"
MARIA = "MRN-0001,,F,1960-01-02,C34.1,8140/3,2024-02-10,IIIA,surgery;chemotherapy,alive\n"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    yield node
    node.engine.dispose()


def _take(node: Node, data: bytes) -> None:
    ingest.receive(node, data, SCANNER)
    while worker.work(node, "test"):
        pass


def test_a_row_meets_the_person_s_images_and_keeps_the_distance_in_days(node: Node) -> None:
    _take(node, ct("MRN-0001", elements={"StudyDate": "20240311"}))
    assert clinical.import_table(node, LUNG, HEADER + MARIA) == clinical.ClinicalReport(1, 1, 0)
    with node.engine.connect() as connection:
        study = connection.execute(select(studies)).one()
        row = connection.execute(select(table)).one()
    assert (row.patient, row.site, row.age_at_diagnosis) == (study.patient, "C34", 64)
    studied = date.fromisoformat(f"{study.study_date[:4]}-{study.study_date[4:6]}-{study.study_date[6:]}")
    assert studied - date.fromisoformat(row.diagnosis_date) == date(2024, 3, 11) - date(2024, 2, 10)
    assert row.diagnosis_date != "2024-02-10"


def test_persons_without_images_are_counted_and_their_rows_wait(node: Node) -> None:
    report = clinical.import_table(node, LUNG, HEADER + MARIA + MARIA.replace("MRN-0001", "MRN-0002"))
    assert report == clinical.ClinicalReport(2, 2, 2)
    _take(node, ct("MRN-0002"))
    assert clinical.import_table(node, LUNG, HEADER + MARIA).without_images == 1
    with node.engine.connect() as connection:
        patient = connection.execute(select(studies.c.patient)).scalar_one()
        assert connection.execute(select(table).where(table.c.patient == patient)).one().site == "C34"


def test_a_later_table_replaces_the_persons_it_names_and_no_others(node: Node) -> None:
    other = MARIA.replace("MRN-0001", "MRN-0002")
    clinical.import_table(node, LUNG, HEADER + MARIA + other)
    second = "MRN-0001,,F,1960-01-02,C50.1,8500/3,2020-01-01,IIA,surgery,alive\n"
    clinical.import_table(node, LUNG, HEADER + second)
    with node.engine.connect() as connection:
        assert sorted(connection.execute(select(table.c.site)).scalars()) == ["C34", "C50"]


def test_a_table_with_one_wrong_line_changes_nothing_and_quotes_no_value(node: Node) -> None:
    wrong = MARIA.replace("C34.1", "Garcia")
    with pytest.raises(InvalidTable) as caught:
        clinical.import_table(node, LUNG, HEADER + MARIA + wrong)
    assert "line 3" in caught.value.message and "Garcia" not in caught.value.message
    with node.engine.connect() as connection:
        assert connection.execute(select(table)).all() == []


def test_merged_persons_share_their_rows(node: Node) -> None:
    aliases.merge(node, Person("HOSPITAL", "MRN-0002"), Person("HOSPITAL", "MRN-0001"), "ana")
    second = "MRN-0002,,F,1960-01-02,C50.1,8500/3,2020-01-01,IIA,surgery,alive\n"
    assert clinical.import_table(node, LUNG, HEADER + MARIA + second).persons == 1


def test_two_projects_know_a_person_under_two_pseudonyms(node: Node) -> None:
    for project in (LUNG, BREAST):
        clinical.import_table(node, project, HEADER + MARIA)
    with node.engine.connect() as connection:
        rows = connection.execute(select(table)).all()
    assert len({row.patient for row in rows}) == 2 and len({row.diagnosis_date for row in rows}) == 2


def test_a_project_that_does_not_exist_is_named_as_missing(node: Node) -> None:
    with pytest.raises(NotFound):
        clinical.import_table(node, ProjectId("none"), HEADER + MARIA)


def test_thousands_of_rows_go_in_at_once(node: Node) -> None:
    many = "".join(MARIA.replace("MRN-0001", f"MRN-{number}") for number in range(2500))
    assert clinical.import_table(node, LUNG, HEADER + many) == clinical.ClinicalReport(2500, 2500, 2500)
    assert clinical.import_table(node, LUNG, HEADER + many).rows == 2500
