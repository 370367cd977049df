from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, func, select
from tests.stored import BREAST, FIRST, SECOND, clean, index, records

from carina.errors import Conflict, NotFound
from carina.model.ids import PatientKey, Uid
from carina.storage.index import contents, find_instance, instances_of, is_needed
from carina.storage.schema import instance_versions, instances, patients, series, studies


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with records(tmp_path) as engine, engine.begin() as connection:
        yield connection


def rows(connection: Connection, table: Table) -> list[Any]:
    return list(connection.execute(select(table)).mappings())


def text(vr: str, value: str) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def test_an_instance_brings_its_series_study_and_patient(connection: Connection) -> None:
    facts = {"sex": "F", "age_years": 64, "device": "D1", "study_date": "20200102"}
    assert index(connection, clean(**facts), body_part="CHEST", manufacturer="SIEMENS", instrument="I1") == "added"
    [patient], [study], [one] = rows(connection, patients), rows(connection, studies), rows(connection, series)
    assert (patient["patient"], patient["sex"]) == ("PATIENT1", "F")
    assert (study["patient"], study["age_years"], study["study_date"]) == ("PATIENT1", 64, "20200102")
    assert (study["modalities"], study["series_count"], study["instance_count"]) == (["CT"], 1, 1)
    assert (one["modality"], one["body_part"], one["manufacturer"]) == ("CT", "CHEST", "SIEMENS")
    assert (one["device"], one["instrument"], one["series_number"], one["instance_count"]) == ("D1", "I1", 1, 1)


def test_counts_and_modalities_follow_what_is_added(connection: Connection) -> None:
    for number in (1, 2, 3):
        index(connection, clean(number))
    index(connection, clean(1, series=2, modality="SEG"))
    index(connection, clean(1, study=2, modality="MR"))
    first, second = sorted(rows(connection, studies), key=lambda row: row["study_uid"])
    assert (first["modalities"], first["series_count"], first["instance_count"]) == (["CT", "SEG"], 2, 4)
    assert (second["modalities"], second["series_count"], second["instance_count"]) == (["MR"], 1, 1)
    assert sorted(row["instance_count"] for row in rows(connection, series)) == [1, 1, 3]
    assert len(rows(connection, patients)) == 1


def test_the_same_source_and_version_again_changes_nothing(connection: Connection) -> None:
    index(connection, clean())
    tables = (patients, studies, series, instances, instance_versions)
    before = [rows(connection, table) for table in tables]
    assert index(connection, clean()) == "unchanged"
    assert [rows(connection, table) for table in tables] == before


def test_a_new_version_becomes_the_current_one_and_the_old_is_remembered(connection: Connection) -> None:
    index(connection, clean(data=b"old"), content="a" * 64)
    assert index(connection, clean(data=b"new!", version=SECOND), content="b" * 64) == "replaced"
    current = find_instance(connection, clean().uid)
    assert (current.content, current.size) == ("b" * 64, 4)
    assert [row["content"] for row in rows(connection, instance_versions)] == ["a" * 64, "b" * 64]
    [study] = rows(connection, studies)
    assert (study["series_count"], study["instance_count"]) == (1, 1)
    assert index(connection, clean(data=b"old")) == "unchanged"
    assert find_instance(connection, clean().uid).content == "b" * 64


def test_each_part_of_a_version_counts(connection: Connection) -> None:
    others = (replace(FIRST, engine="e"), replace(FIRST, profile_digest="p"), replace(FIRST, review="r"))
    index(connection, clean())
    assert [index(connection, clean(version=other)) for other in others] == ["replaced"] * 3


def test_what_a_new_version_no_longer_states_leaves_the_index(connection: Connection) -> None:
    old = {"00081030": text("LO", "a name that was overlooked")}
    index(connection, clean(age_years=64), study=dict(old), series=dict(old), body_part="CHEST")
    index(connection, clean(version=SECOND))
    found = [rows(connection, table)[0] for table in (studies, series, instances)]
    assert all("00081030" not in row["header"] for row in found)
    assert (found[0]["age_years"], found[1]["body_part"]) == (None, None)


def test_the_same_uid_from_another_source_is_a_conflict_and_changes_nothing(connection: Connection) -> None:
    index(connection, clean(), content="a" * 64)
    for version in (FIRST, SECOND):
        with pytest.raises(Conflict):
            index(connection, clean(source="other", version=version), content="b" * 64)
    assert find_instance(connection, clean().uid).content == "a" * 64
    assert len(rows(connection, instance_versions)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"patient": PatientKey("PATIENT2"), "uid": Uid("2.25.76")},
        {"study_uid": Uid("2.25.77"), "uid": Uid("2.25.78")},
        {"series_uid": Uid("2.25.79"), "version": SECOND},
    ],
    ids=["another patient's study", "another study's series", "another series' instance"],
)
def test_what_belongs_elsewhere_is_a_conflict_and_changes_nothing(
    connection: Connection, changes: dict[str, Any]
) -> None:
    index(connection, clean())
    with pytest.raises(Conflict):
        index(connection, replace(clean(), **changes))
    numbers = [len(rows(connection, table)) for table in (patients, studies, series, instances, instance_versions)]
    assert numbers == [1, 1, 1, 1, 1]


def test_projects_do_not_meet(connection: Connection) -> None:
    index(connection, clean(patient="SAME", source="one original"))
    assert index(connection, clean(patient="SAME", source="one original", project=BREAST)) == "added"
    assert {row["project"] for row in rows(connection, patients)} == {"breast", "lung"}
    assert len(rows(connection, studies)) == 2


def test_the_first_stated_sex_age_and_date_are_kept(connection: Connection) -> None:
    index(connection, clean(1))
    index(connection, clean(2, sex="M", age_years=50, study_date="20200101"))
    index(connection, clean(3, sex="F", age_years=51, study_date="20200102"))
    [patient], [study] = rows(connection, patients), rows(connection, studies)
    assert (patient["sex"], study["age_years"], study["study_date"]) == ("M", 50, "20200101")


def test_headers_are_completed_by_later_instances_but_not_changed(connection: Connection) -> None:
    index(connection, clean(1), study={"00080050": {"vr": "SH"}, "00200010": text("SH", "S1")})
    index(connection, clean(2), study={"00080050": text("SH", "A1 "), "00200010": text("SH", "S2")})
    [study] = rows(connection, studies)
    assert study["header"]["00080050"] == text("SH", "A1 ")
    assert study["header"]["00200010"] == text("SH", "S1")
    assert (study["accession_number"], study["study_id"]) == ("A1", "S1")


def test_an_instance_is_found_only_where_it_is(connection: Connection) -> None:
    one = clean()
    index(connection, one, frames=3)
    found = find_instance(connection, one.uid, study_uid=one.study_uid, series_uid=one.series_uid)
    assert (found.patient, found.frames, found.header["00080018"]["Value"]) == ("PATIENT1", 3, [one.uid])
    for place in ({"study_uid": "2.25.9"}, {"series_uid": "2.25.9"}):
        with pytest.raises(NotFound):
            find_instance(connection, one.uid, **place)
    with pytest.raises(NotFound):
        find_instance(connection, "2.25.9")


def test_the_instances_of_a_study_come_by_series_and_number(connection: Connection) -> None:
    for number, of_series in ((10, 1), (9, 1), (1, 2), (2, 1)):
        index(connection, clean(number, series=of_series))
    uids = [found.uid for found in instances_of(connection, clean().study_uid)]
    assert uids == [clean(number, series=s).uid for number, s in ((2, 1), (9, 1), (10, 1), (1, 2))]
    assert len(instances_of(connection, clean().study_uid, clean().series_uid)) == 3
    with pytest.raises(NotFound):
        instances_of(connection, clean(study=2).study_uid)


def test_the_content_of_every_version_is_needed(connection: Connection) -> None:
    index(connection, clean(), content="a" * 64)
    index(connection, clean(version=SECOND), content="b" * 64)
    assert contents(connection) == {"a" * 64, "b" * 64}
    assert [is_needed(connection, sign * 64) for sign in "abc"] == [True, True, False]


def test_values_that_no_column_can_hold_are_kept_in_the_header_alone(connection: Connection) -> None:
    huge = {"vr": "IS", "Value": [10**30]}
    series_header, own = {"00200011": huge}, {"00200013": {"vr": "IS", "Value": ["x"]}}
    index(connection, clean(), study={"00200010": text("SH", "\ud800" + "x" * 99)}, series=series_header, header=own)
    [study], [one], [instance] = rows(connection, studies), rows(connection, series), rows(connection, instances)
    assert (one["series_number"], instance["instance_number"]) == (None, None)
    assert one["header"]["00200011"]["Value"] == [1e30]
    assert instance["header"]["00200013"] == own["00200013"]
    assert study["study_id"] == "?" + "x" * 99
    assert connection.execute(select(func.count()).select_from(instances)).scalar_one() == 1
