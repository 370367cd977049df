from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event
from tests.stored import BREAST, LUNG, clean, index, records

from carina.dicom.levels import Level
from carina.dicom.query import parse_query
from carina.storage.search import Found, search


def element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """Three studies in `lung`, one in `breast`."""
    with records(tmp_path_factory.mktemp("search")) as engine:
        with engine.begin() as connection:
            for number in (1, 2, 11):
                index(
                    connection,
                    clean(number, study_date="20200101"),
                    study={"00080050": element("SH", "ACC_1"), "00081030": element("LO", "CT Chest")},
                    series={"0008103E": element("LO", "thin")},
                )
            index(connection, clean(1, series=2, modality="SEG", study_date="20200101"))
            index(connection, clean(1, study=2, modality="MR", patient="P2", study_date="20210630"))
            index(
                connection,
                clean(1, study=3, patient="P2"),
                study={"00080050": element("SH", "accx1"), "00081030": element("LO", "ct pelvis")},
            )
            index(connection, clean(1, project=BREAST, modality="MG", study_date="20220101"))
        with engine.connect() as connection:
            yield connection


def find(connection: Connection, level: Level = "study", **pairs: str) -> list[Found]:
    return search(connection, parse_query(pairs.items(), level))


def studies_of(found: list[Found]) -> list[tuple[str, int]]:
    return sorted((one.project, int(one.study_uid.split(".")[3])) for one in found)


def test_without_terms_everything_is_found_once_at_its_level(connection: Connection) -> None:
    numbers = [len(find(connection, level)) for level in ("study", "series", "instance")]  # type: ignore[arg-type]
    assert numbers == [4, 5, 7]


@pytest.mark.parametrize(
    ("pairs", "studies"),
    [
        ({"PatientID": "P2"}, [2, 3]),
        ({"PatientID": "P*"}, [1, 2, 3]),
        ({"PatientID": "p2"}, []),
        ({"StudyDate": "20200101"}, [1]),
        ({"StudyDate": "20200101-20210630"}, [1, 2]),
        ({"StudyDate": "20200102-"}, [2]),
        ({"StudyDate": "-20200102"}, [1]),
        ({"AccessionNumber": "ACC_1"}, [1]),
        ({"AccessionNumber": "ACC?1"}, [1]),
        ({"AccessionNumber": "acc_1"}, []),
        ({"AccessionNumber": "acc?1"}, [3]),
        ({"AccessionNumber": "*_1"}, [1]),
        ({"AccessionNumber": "*%*"}, []),
        ({"ModalitiesInStudy": "SEG"}, [1]),
        ({"ModalitiesInStudy": "MR\\SEG"}, [1, 2]),
        ({"ModalitiesInStudy": "S*"}, [1]),
        ({"StudyDescription": "CT*"}, [1]),
        ({"StudyDescription": "*pelvis"}, [3]),
        ({"StudyDescription": "CT Chest", "PatientID": "P2"}, []),
        ({"NumberOfStudyRelatedInstances": "4"}, [1]),
    ],
)
def test_studies_are_matched(connection: Connection, pairs: dict[str, str], studies: list[int]) -> None:
    found = [(project, number) for project, number in studies_of(find(connection, **pairs)) if project == LUNG]
    assert found == [(LUNG, number) for number in studies]


@pytest.mark.parametrize(
    ("level", "pairs", "number"),
    [
        ("series", {"Modality": "CT"}, 2),
        ("series", {"SeriesNumber": "2"}, 1),
        ("series", {"SeriesNumber": "2.5"}, 0),
        ("series", {"SeriesNumber": "2147483648"}, 0),
        ("instance", {"InstanceNumber": "-999999999999"}, 0),
        ("series", {"SeriesDescription": "th*"}, 1),
        ("series", {"ModalitiesInStudy": "SEG"}, 2),
        ("series", {"StudyDate": "20200101-", "Modality": "SEG"}, 1),
        ("instance", {"InstanceNumber": "11"}, 1),
        ("instance", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, 7),
        ("instance", {"SOPClassUID": "1.2"}, 0),
        ("instance", {"PatientID": "P2", "Modality": "MR"}, 1),
        ("instance", {"SOPInstanceUID": f"{clean(1).uid},{clean(2).uid}"}, 2),
        ("instance", {"StudyInstanceUID": clean().study_uid, "SeriesInstanceUID": clean().series_uid}, 3),
    ],
)
def test_series_and_instances_are_matched(
    connection: Connection, level: Level, pairs: dict[str, str], number: int
) -> None:
    assert len(find(connection, level, **pairs)) == number


def test_an_answer_holds_what_the_archive_works_out(connection: Connection) -> None:
    [study] = find(connection, AccessionNumber="ACC_1")
    assert study.header["00080061"] == element("CS", "CT", "SEG")
    assert study.header["00201206"] == element("IS", 2)
    assert study.header["00201208"] == element("IS", 4)
    assert study.header["00080056"] == element("CS", "ONLINE")
    assert (study.patient, study.series_uid, study.uid) == ("PATIENT1", None, None)
    assert list(study.header) == sorted(study.header)
    series = find(connection, "series", AccessionNumber="ACC_1")
    assert [one.header["00201209"]["Value"] for one in series] == [[3], [1]]
    instance = find(connection, "instance", AccessionNumber="ACC_1")[0]
    assert instance.header["00083002"] == element("UI", "1.2.840.10008.1.2.1")
    assert instance.header["0008103E"] == element("LO", "thin")


def test_only_the_given_projects_are_searched(connection: Connection) -> None:
    everything = parse_query([], "study")
    assert {found.project for found in search(connection, everything, [BREAST])} == {BREAST}
    assert search(connection, everything, []) == []


@pytest.mark.parametrize("level", ["study", "series", "instance"])
@pytest.mark.parametrize("pairs", [{"ModalitiesInStudy": "CT"}, {"StudyInstanceUID": "1.2"}])
def test_no_search_reads_a_whole_project_for_each_row(
    connection: Connection, level: Level, pairs: dict[str, str]
) -> None:
    said: list[tuple[str, Any]] = []
    note = lambda _connection, _cursor, statement, parameters, *_: said.append((statement, parameters))  # noqa: E731
    event.listen(connection, "before_cursor_execute", note)
    find(connection, level, **pairs)
    event.remove(connection, "before_cursor_execute", note)
    [(statement, parameters)] = said
    plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert plan
    assert not [step for step in plan if "project=?" in step], plan


def test_instances_come_in_the_order_of_their_numbers(connection: Connection) -> None:
    found = find(connection, "instance", SeriesInstanceUID=clean().series_uid)
    assert [one.uid for one in found] == [clean(number).uid for number in (1, 2, 11)]


@settings(deadline=None, max_examples=40)
@given(offset=st.integers(0, 9), limit=st.integers(0, 9), described=st.booleans())
def test_pages_are_slices_of_the_whole(connection: Connection, offset: int, limit: int, described: bool) -> None:
    pairs = [("StudyDescription", "?T *")] if described else []
    whole = search(connection, parse_query(pairs, "instance"))
    page = search(connection, parse_query([*pairs, ("offset", str(offset)), ("limit", str(limit))], "instance"))
    assert page == whole[offset : offset + limit]
