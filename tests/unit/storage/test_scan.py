"""Searches that look at much: what they read, how long they may take, and what SQL may decide."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Connection, event, text, update
from tests.stored import clean, index, records

from carina.dicom.levels import Level
from carina.dicom.query import parse_query
from carina.errors import Busy
from carina.storage.patience import at_most
from carina.storage.schema import instances, studies
from carina.storage.search import Found, scan, search

NAMES = ["Kelvin", "Kelvin", "ſabio", "sabio", "Ångström", 'a"b', "KELVIN", "a\\b"]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A study for each name; the second's header as older versions wrote it, with letters escaped."""
    with records(tmp_path_factory.mktemp("scan")) as engine:
        with engine.begin() as connection:
            for number, name in enumerate(NAMES, 1):
                about = {
                    "00100010": {"vr": "PN", "Value": [{"Alphabetic": name}]},
                    "00081030": {"vr": "LO", "Value": [name]},
                }
                index(connection, clean(1, study=number, study_date="20200101"), study=about)
            escaped = text("UPDATE studies SET header = :header WHERE study_uid = :uid")
            uid = clean(1, study=2).study_uid
            header = next(one.header for one in search(connection, parse_query([], "study")) if one.study_uid == uid)
            connection.execute(escaped, {"header": json.dumps(header), "uid": uid})
        with engine.connect() as connection:
            yield connection


def find(connection: Connection, level: Level = "study", **pairs: str) -> list[Found]:
    return search(connection, parse_query(pairs.items(), level))


def numbers(found: list[Found]) -> list[int]:
    return sorted(int(one.study_uid.rsplit(".", 1)[-1]) for one in found)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ({"PatientName": "kelvin"}, [1, 2, 7]),
        ({"PatientName": "k*n"}, [1, 2, 7]),
        ({"PatientName": "*abio"}, [3, 4]),
        ({"PatientName": "sab*"}, [3, 4]),
        ({"PatientName": "ångström"}, [5]),
        ({"StudyDescription": "KELVIN"}, [7]),
        ({"StudyDescription": "*elvin"}, [1, 2]),
        ({"StudyDescription": 'a"b'}, [6]),
        ({"StudyDescription": '*"*'}, [6]),
        ({"StudyDescription": "?ab*"}, [3, 4]),
    ],
)
@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_no_name_is_lost_by_what_is_looked_for_in_texts_of_headers(
    connection: Connection, level: Level, pairs: dict[str, str], expected: list[int]
) -> None:
    assert numbers(find(connection, level, **pairs)) == expected


def test_rows_that_cannot_fit_are_not_read(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(given: str) -> Any:
        read.append(given)
        return json.loads(given)

    monkeypatch.setattr("carina.storage.search.from_text", noted)
    assert numbers(find(connection, StudyDescription="sab*")) == [4]
    assert sum("0020000D" in one for one in read) < len(NAMES) - 2


def test_a_search_of_the_same_shape_is_not_made_twice(connection: Connection) -> None:
    from carina.storage.search import _of_archive

    before = _of_archive.cache_info()
    for patient in ("A", "B", "C"):
        find(connection, PatientID=patient)
    after = _of_archive.cache_info()
    assert after.misses - before.misses <= 1 and after.hits - before.hits >= 2


@pytest.mark.parametrize(
    ("level", "pairs"),
    [
        ("study", {}),
        ("study", {"StudyDate": "20200101-20201231"}),
        ("study", {"ModalitiesInStudy": "CT"}),
        ("series", {"Modality": "CT"}),
        ("instance", {}),
        ("instance", {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3"}),
    ],
)
def test_pages_are_read_in_the_order_of_an_index(connection: Connection, level: Level, pairs: dict[str, str]) -> None:
    plan = plan_of(connection, level, {**pairs, "limit": "3"})
    assert not [step for step in plan if "TEMP B-TREE" in step], plan


def test_a_patient_is_looked_up(connection: Connection) -> None:
    for pattern in ("P1", "P1*"):
        plan = plan_of(connection, "study", {"PatientID": pattern})
        assert any("ix_studies_patient" in step for step in plan), plan


def plan_of(connection: Connection, level: Level, pairs: dict[str, str]) -> list[str]:
    said: list[tuple[str, Any]] = []
    note = lambda _connection, _cursor, statement, parameters, *_: said.append((statement, parameters))  # noqa: E731
    event.listen(connection, "before_cursor_execute", note)
    find(connection, level, **pairs)
    event.remove(connection, "before_cursor_execute", note)
    [(statement, parameters)] = said
    return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]


def test_only_what_is_wanted_is_read(connection: Connection) -> None:
    query = parse_query([("StudyInstanceUID", clean(1, study=1).study_uid)], "instance")
    [little] = scan(connection, query, tags=["00080018", "00200013", "0020000D", "0020000E"])
    [all_of_it] = scan(connection, query)
    assert "00080061" not in little.header and "00080061" in all_of_it.header
    assert all(all_of_it.header[tag] == element for tag, element in little.header.items())


def test_an_instance_without_a_short_header_is_told_from_its_whole_one(connection: Connection) -> None:
    [with_short] = find(connection, "instance", StudyInstanceUID=clean(1, study=1).study_uid)
    with connection.begin_nested() as undone:
        connection.execute(update(instances).where(instances.c.uid == clean(1, study=1).uid).values(brief={}))
        assert find(connection, "instance", StudyInstanceUID=clean(1, study=1).study_uid) == [with_short]
        undone.rollback()


def test_a_question_that_takes_too_long_is_broken_off_and_the_next_one_is_not(connection: Connection) -> None:
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
    begun = time.monotonic()
    with pytest.raises(Busy, match="too long"), at_most(connection, 0.2):
        connection.execute(endless).scalar()
    assert time.monotonic() - begun < 5
    assert len(find(connection)) == len(NAMES)


def test_a_search_that_takes_too_long_in_python_is_broken_off(connection: Connection) -> None:
    with (
        pytest.raises(Busy, match="too long"),
        closing(scan(connection, parse_query([], "study"), patience=-1)) as found,
    ):
        list(found)
    assert len(find(connection)) == len(NAMES)


def test_an_error_of_the_records_is_not_taken_for_impatience(connection: Connection) -> None:
    with pytest.raises(Exception, match="no such table"), at_most(connection, 5):
        connection.execute(text("SELECT 1 FROM nothing_of_this_name"))
    assert connection.execute(studies.select()).first() is not None
