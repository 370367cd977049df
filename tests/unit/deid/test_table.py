"""Each row of PS3.15 Table E.1-1 is carried out, at the root and inside a sequence."""

from __future__ import annotations

from functools import cache

import pytest
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.deid.engine.header import clean_header
from carina.deid.profile import MODIFIED_DATES
from carina.deid.pseudonyms import ProjectKeys
from carina.deid.rules import table
from carina.deid.rules.rule import Subject
from carina.deid.rules.steps import FIRST_TAG
from carina.deid.rules.table import Row
from carina.model.ids import ProjectId

SUBJECT = Subject(ProjectKeys.of(b"k" * 32, ProjectId("lung")), "PSEUDONYM", -100, frozenset())
VALUES: dict[str, object] = {
    "DA": "20240311",
    "DT": "20240311101500.5+0100",
    "TM": "101500",
    "UI": "1.2.3.4.5",
    "AS": "064Y",
    "AE": "PLANTED",
    "CS": "PLANTED",
    "PN": "Planted^Text",
    "DS": "47.11",
    "IS": "4711",
    "US": 4711,
    "OB": b"planted!",
    "UN": b"planted!",
    "UR": "planted:text",
}
MOVED: dict[str, object] = {"DA": "20231202", "DT": "20231202101500.5+0100", "TM": "101500"}
FOR_SEQUENCES = 0x00081115  # Referenced Series Sequence, which the table does not list


def tags_of(row: Row) -> list[int]:
    """The tags that a row speaks of: one, or a few of a repeating group."""
    if row.tag == "PRIVATE":
        return [0x00111001]
    if "x" in row.tag:
        return [int(row.tag.replace("xx", group, 1).replace("xxxx", "3000"), 16) for group in ("00", "1E")]
    return [int(row.tag, 16)]


def planted(tag: int) -> DataElement:
    vr = dictionary_VR(tag).split(" or ")[0] if dictionary_has_tag(tag) else "LO"
    if vr == "SQ":
        item = Dataset()
        item.PatientComments = "planted text"
        item.ReferencedSOPInstanceUID = "1.2.3.4.5"
        return DataElement(tag, "SQ", Sequence([item]))
    return DataElement(tag, vr, VALUES.get(vr, "planted text"))


@cache
def cleaned(options: tuple[str, ...], nested: bool) -> Dataset:
    dataset = Dataset()
    for row in table.ROWS:
        for tag in tags_of(row):
            dataset[tag] = planted(tag)
    if nested:
        outer = Dataset()
        outer[FOR_SEQUENCES] = DataElement(FOR_SEQUENCES, "SQ", Sequence([dataset]))
        return clean_header(outer, SUBJECT, options)[FOR_SEQUENCES].value[0]
    return clean_header(dataset, SUBJECT, options)


def action(clean: Dataset, tag: int) -> str:
    """What became of the planted element: X, Z, U, moved, kept, or D for any other value."""
    if tag not in clean:
        return "X"
    element = clean[tag]
    if element.VR == "SQ" and element.value:
        item = element.value[0]
        assert "PatientComments" not in item
        return "U*" if str(item.get("ReferencedSOPInstanceUID", "")).startswith("2.25.") else "D"
    if element.value in (None, "", b"") or element.is_empty:
        return "Z"
    if element.VR == "UI":
        assert str(element.value).startswith("2.25.")
        return "U"
    if element.value == MOVED.get(element.VR):
        return "moved"
    return "kept" if element.value == planted(tag).value else "D"


@pytest.mark.parametrize("nested", [False, True], ids=["root", "nested"])
@pytest.mark.parametrize("row", table.ROWS, ids=lambda row: f"{row.tag}-{row.basic}")
def test_each_row_is_carried_out_by_the_basic_profile(row: Row, nested: bool) -> None:
    for tag in tags_of(row):
        done = action(cleaned((), nested), tag)
        choices = set(row.basic.split("/"))
        if "D" in choices:
            choices |= {"U", "U*"}  # a dummy UID is a keyed one, a dummy sequence has clean items
        if tag in (0x00100010, 0x00100020, 0x00080050):
            choices |= {"D"}  # Z allows a dummy: here the pseudonym, the keyed accession number
        if tag < FIRST_TAG:
            choices = {"X"}  # no place in a dataset of an image
        assert done in choices, row.name


@pytest.mark.parametrize("row", table.ROWS, ids=lambda row: f"{row.tag}-{row.basic}")
def test_dates_and_times_are_moved_or_kept_where_the_option_says_clean(row: Row) -> None:
    [tag, *_] = tags_of(row)
    vr = dictionary_VR(tag) if dictionary_has_tag(tag) else ""
    clean = cleaned((MODIFIED_DATES,), False)
    if row.options.get(MODIFIED_DATES) == "C" and vr in MOVED:
        assert clean[tag].value == MOVED[vr]
    elif tag != 0x00080201:
        assert action(clean, tag) == action(cleaned((), False), tag)


def test_the_offset_from_utc_stays_with_the_times_that_stay_and_nothing_else_in_its_place() -> None:
    dataset = Dataset()
    dataset.TimezoneOffsetFromUTC = "+0100"
    assert clean_header(dataset, SUBJECT, (MODIFIED_DATES,)).TimezoneOffsetFromUTC == "+0100"
    dataset.TimezoneOffsetFromUTC = "Madrid"
    assert "TimezoneOffsetFromUTC" not in clean_header(dataset, SUBJECT, (MODIFIED_DATES,))


def test_the_table_is_of_a_stated_edition_and_whole() -> None:
    assert table.EDITION == "2026d"
    assert len(table.ROWS) == 657
    assert len({row.tag for row in table.ROWS}) == 657


def test_what_stays_in_the_places_of_the_table_says_nothing_of_what_was_there() -> None:
    for options in ((), (MODIFIED_DATES,)):
        for nested in (False, True):
            text = str(cleaned(options, nested))
            assert "planted" not in text.lower()
            assert "4711" not in text
            assert "1.2.3.4.5" not in text
