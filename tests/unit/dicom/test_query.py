from __future__ import annotations

from typing import Any

import pytest

from carina.dicom.levels import tag_of
from carina.dicom.matching import matches
from carina.dicom.query import MAX_RESULTS, Match, Query, parse_query
from carina.errors import InvalidQuery

HEADER: dict[str, dict[str, Any]] = {
    "00080020": {"vr": "DA", "Value": ["20240311"]},
    "00080030": {"vr": "TM", "Value": ["101559.5"]},
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00080061": {"vr": "CS", "Value": ["CT", "PT"]},
    "00081030": {"vr": "LO", "Value": ["Chest [low_dose] 100%"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "P0001^Anna", "Ideographic": "山田"}]},
    "00100020": {"vr": "LO", "Value": ["P0001"]},
    "0020000D": {"vr": "UI", "Value": ["2.25.1"]},
    "00200011": {"vr": "IS", "Value": [3]},
    "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["STEP7"]}}]},
    "00080050": {"vr": "SH"},
}


def fits(name: str, value: str, level: Any = "series") -> bool:
    query = parse_query([(name, value)], level)
    assert query.matches, f"{name} is not matched"
    return matches(HEADER, query)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Modality", "CT", True),
        ("00080060", "CT", True),
        ("Modality", "MR", False),
        ("Modality", "ct", False),
        ("Modality", "MR\\CT", True),
        ("ModalitiesInStudy", "PT", True),
        ("ModalitiesInStudy", "US", False),
        ("PatientID", "P*", True),
        ("PatientID", "P000?", True),
        ("PatientID", "P00?", False),
        ("PatientName", "p0001*", True),
        ("PatientName", "P0001^Anna", True),
        ("PatientName", "p0001^anna^", True),
        ("PatientName", "山田", True),
        ("PatientName", "Anna", False),
        ("StudyDescription", "Chest [[]*", False),
        ("StudyDescription", "chest*", False),
        ("StudyDescription", "*[low_dose]*", True),
        ("StudyDescription", "*[xyz]*", False),
        ("StudyDate", "20240311", True),
        ("StudyDate", "20240312", False),
        ("StudyDate", "20240101-20241231", True),
        ("StudyDate", "-20240311", True),
        ("StudyDate", "20240312-", False),
        ("StudyTime", "1015-1015", True),
        ("StudyTime", "1015", True),
        ("StudyTime", "10:16-", False),
        ("SeriesNumber", "3", True),
        ("SeriesNumber", "3.0", True),
        ("SeriesNumber", "4", False),
        ("StudyInstanceUID", "2.25.2,2.25.1", True),
        ("StudyInstanceUID", "2.25.2\\2.25.3", False),
        ("RequestAttributesSequence.ScheduledProcedureStepID", "STEP7", True),
        ("00400275.00400009", "STEP8", False),
        ("AccessionNumber", "A", False),
    ],
)
def test_a_value_is_matched_as_the_standard_says(name: str, value: str, expected: bool) -> None:
    assert fits(name, value) is expected


def test_an_empty_value_and_a_star_match_all_and_ask_for_the_attribute() -> None:
    query = parse_query([("AccessionNumber", ""), ("PatientName", "*")], "study")
    assert query == Query("study", include=frozenset({"00080050", "00100010"}))


@pytest.mark.parametrize("name", ["StudyDescription", "PatientName", "StudyDate", "StudyInstanceUID"])
def test_a_value_of_blanks_is_an_empty_one(name: str) -> None:
    """PS3.5 section 6.2: blanks that pad a value mean nothing; DIMSE pads each to an even length."""
    query = parse_query([(name, "  ")], "study")
    assert query.matches == () and query.include == {tag_of(name)}


def test_paging_and_fields_are_read() -> None:
    query = parse_query(
        [("limit", "5"), ("offset", "10"), ("includefield", "StudyDescription,00100040"), ("includefield", "all")],
        "study",
    )
    assert (query.limit, query.offset, query.include_all) == (5, 10, True)
    assert query.include == {"00081030", "00100040"}
    assert parse_query([], "study").limit == MAX_RESULTS
    assert parse_query([("limit", "999999999")], "study").limit == MAX_RESULTS


def test_what_is_asked_for_is_also_shown() -> None:
    query = parse_query([("StudyDescription", "x")], "study")
    assert query.matches == (Match("00081030", "LO", "one-of", ("x",)),)
    assert query.include == {"00081030"}


def test_attributes_of_lower_levels_and_fuzzy_matching_are_told_to_be_unsupported() -> None:
    query = parse_query([("SeriesNumber", "1"), ("EchoTime", "5"), ("fuzzymatching", "true")], "study")
    assert query.unsupported == ("SeriesNumber", "EchoTime", "fuzzymatching")
    assert query.matches == ()
    assert parse_query([("fuzzymatching", "false")], "study").unsupported == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NoSuchThing", "1"),
        ("limit", "-1"),
        ("limit", "many"),
        ("offset", "1.5"),
        ("includefield", "NoSuchThing"),
        ("StudyDate", "2024-03-11"),
        ("StudyDate", "yesterday"),
        ("StudyDate", "-"),
        ("SeriesNumber", "one"),
        ("StudyDescription", " \\ "),
        ("PatientName", "\\"),
        ("StudyInstanceUID", "1.2;drop"),
        ("fuzzymatching", "perhaps"),
        ("RequestAttributesSequence", "x"),
        ("00400275.99990010", "x"),
        ("PatientID", "x" * 20_000),
    ],
)
def test_what_has_no_meaning_is_refused_and_not_quoted(name: str, value: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        parse_query([(name, value)], "series")
    assert "yesterday" not in caught.value.message
    assert "drop" not in caught.value.message
