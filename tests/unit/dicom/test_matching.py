from __future__ import annotations

import fnmatch
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carina.dicom.levels import Level
from carina.dicom.matching import in_range, matches, wildcard
from carina.dicom.query import Match, parse_query
from carina.errors import InvalidQuery

HEADER: dict[str, dict[str, Any]] = {
    "00080020": {"vr": "DA", "Value": ["20240311"]},
    "00080030": {"vr": "TM", "Value": ["101559.5"]},
    "00080050": {"vr": "SH"},
    "00080061": {"vr": "CS", "Value": ["CT", "PT"]},
    "00081030": {"vr": "LO", "Value": ['""']},
    "0020000D": {"vr": "UI", "Value": ["2.25.1"]},
}


def fits(*pairs: tuple[str, str], level: Level = "study") -> bool:
    return matches(HEADER, parse_query(pairs, level, moments=True))


@given(text=st.text(alphabet="ab.[", max_size=12), pattern=st.text(alphabet="ab.[*?", max_size=8))
def test_a_pattern_fits_as_the_library_says_that_takes_longer(text: str, pattern: str) -> None:
    model = re.compile(fnmatch.translate(pattern.replace("[", "[[]")), re.DOTALL)
    assert wildcard(pattern)(text) is (model.fullmatch(text) is not None)


def test_many_stars_take_no_longer_than_the_text_is_long() -> None:
    begun = time.process_time()
    assert not wildcard("*a" * 500 + "*b")("a" * 100_000)
    assert wildcard("*a?" * 300 + "*")("ab" * 50_000)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("AccessionNumber", '""'), ("emptyvaluematching", "true")], True),
        ([("StudyDate", '""'), ("emptyvaluematching", "true")], False),
        ([("PatientID", '""'), ("emptyvaluematching", "true")], True),
        ([("StudyDescription", '""')], True),  # two quotation marks are a text like others where nobody asks
        ([("AccessionNumber", '""')], False),
        ([("ModalitiesInStudy", "CT\\PT"), ("multiplevaluematching", "true")], True),
        ([("ModalitiesInStudy", "CT\\MR"), ("multiplevaluematching", "true")], False),
        ([("ModalitiesInStudy", "CT\\MR")], True),
        ([("ModalitiesInStudy", "CT\\MR"), ("multiplevaluematching", "false")], True),
    ],
)
def test_nothing_and_several_values_are_matched_where_that_is_asked_for(
    pairs: list[tuple[str, str]], expected: bool
) -> None:
    assert fits(*pairs) is expected


@pytest.mark.parametrize(
    ("dates", "times", "expected"),
    [
        ("20240310-20240312", "1800-0900", True),  # from the 10th at 18 h to the 12th at 9 h
        ("20240310-20240311", "1800-0900", False),
        ("20240311-", "1015-", True),
        ("20240311-", "1016-", False),
        ("-20240311", "-1015", True),
        ("-20240311", "-1014", False),
        ("20240311", "0900-1100", True),
        ("20240310-20240312", "0900-", True),  # not of one form: each for itself
        ("20240310-20240312", "1100-", False),
    ],
)
def test_ranges_of_a_date_and_its_time_are_one(dates: str, times: str, expected: bool) -> None:
    assert fits(("StudyDate", dates), ("StudyTime", times)) is expected


def test_ranges_of_date_and_time_are_two_where_that_was_not_agreed() -> None:
    query = parse_query([("StudyDate", "20240310-20240312"), ("StudyTime", "0900-1000")], "study")
    assert [match.kind for match in query.matches] == ["range", "range"]


def test_a_value_that_says_less_than_the_end_of_a_range_is_its_beginning() -> None:
    assert in_range("10", "1000", "") and not in_range("10", "1001", "")
    assert in_range("10", "", "1000") and in_range("101559.5", "1015", "1015")


def test_uids_of_a_name_that_comes_twice_are_one_list_and_other_names_come_once() -> None:
    query = parse_query([("StudyInstanceUID", "1.2"), ("0020000D", "1.3,1.4")], "study")
    assert query.matches == (Match("0020000D", "UI", "one-of", ("1.2", "1.3", "1.4")),)
    with pytest.raises(InvalidQuery):
        parse_query([("PatientID", "A"), ("00100020", "B")], "study")


@pytest.mark.parametrize(
    "pair",
    [
        ("emptyvaluematching", "yes"),
        ("multiplevaluematching", "1"),
        ("StudyDescription", "*" + "a" * 1024),
        ("StudyInstanceUID", ","),
        ("StudyDate", "٢٠٢٤٠٣١١"),
        ("limit", "٣"),
        ("SeriesNumber", "٣"),
        ("x" * 200, "1"),
    ],
)
def test_what_has_no_form_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(InvalidQuery):
        parse_query([pair], "series")


def test_a_list_of_values_has_no_wildcards() -> None:
    with pytest.raises(InvalidQuery):
        fits(("ModalitiesInStudy", "C*\\PT"), ("multiplevaluematching", "true"))


def test_the_time_zone_of_a_request_is_not_applied_and_that_is_told() -> None:
    query = parse_query([("TimezoneOffsetFromUTC", "+0100")], "study")
    assert (query.matches, query.unsupported) == ((), ("TimezoneOffsetFromUTC",))
    assert parse_query([("TimezoneOffsetFromUTC", "")], "study").include == {"00080201"}


def test_private_and_nested_attributes_can_be_included() -> None:
    query = parse_query(
        [("includefield", "00091001,RequestAttributesSequence.ScheduledProcedureStepID"), ("includefield", "EchoTime")],
        "instance",
    )
    assert query.include == {"00091001", "00400275", "00180081"}
