"""Each row of PS3.15 Table E.1-1 is carried out under each option, at the root and inside a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.deid.profile import BUILT_IN, FULL_DATES, MODIFIED_DATES, OFFERED
from carina.deid.pseudonyms import ProjectKeys
from carina.deid.rules import contents, table
from carina.deid.rules.compile import rules_of
from carina.deid.rules.iods import Type, type_of
from carina.deid.rules.listed import FIRST_TAG
from carina.deid.rules.rule import Place, Subject
from carina.deid.rules.table import Row
from carina.model.ids import ProjectId

KEYS = ProjectKeys.of(b"k" * 32, ProjectId("lung"))
SUBJECT = Subject(KEYS, "PSEUDONYM", -100, frozenset(("PLANTED",)), frozenset())
CT = "1.2.840.10008.5.1.4.1.1.2"
OPTIONS = tuple({option for row in table.ROWS for option in row.options})
OUTER = 0x00081115  # Referenced Series Sequence, which the table does not list
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
TEXT = "lung Planted"
OF_TAGS: dict[int, object] = {
    0x0016004E: ["1", "2", "3", "4"],
    0x00080201: "+0100",
    0x00100040: "F",
    0x00102203: "ALTERED",
    0x001021A0: "YES",
}
MOVED: dict[str, object] = {"DA": "20231202", "DT": "20231202101500.5+0100", "TM": "101500"}
PSEUDONYMS = (0x00100010, 0x00100020, 0x00080050)


def tags_of(row: Row) -> list[int]:
    """The tags that a row speaks of: one, or a few of a repeating group."""
    if row.tag == "PRIVATE":
        return [0x00111001]
    if "x" in row.tag:
        return [int(row.tag.replace("xx", group, 1).replace("xxxx", "3000"), 16) for group in ("00", "1E")]
    return [int(row.tag, 16)]


def vr_of(tag: int, row: Row) -> str:
    if dictionary_has_tag(tag):
        return dictionary_VR(tag).split(" or ")[0]
    parts = (("Sequence", "SQ"), ("DateTime", "DT"), ("URI", "UR"), ("Category Reference", "UR"))
    return next((vr for part, vr in parts if part in row.name), "LO")


def planted(tag: int, row: Row) -> DataElement:
    vr = vr_of(tag, row)
    if vr == "SQ":
        item = Dataset()
        item.PatientTelephoneNumbers = "planted text"
        item.ReferencedSOPInstanceUID = "1.2.3.4.5"
        return DataElement(tag, "SQ", Sequence([item]))
    if tag in OF_TAGS:
        return DataElement(tag, vr, OF_TAGS[tag])
    if "retain_device_identity" in row.options and vr not in VALUES:
        return DataElement(tag, vr, "SN-12-Q")
    if tag in (0x00102160, 0x00102162):
        return DataElement(tag, vr, "lung")
    return DataElement(tag, vr, VALUES.get(vr, TEXT))


def cleaned(options: tuple[str, ...], place: Place) -> dict[int, DataElement]:
    """What becomes of each row's element, by tag."""
    rules, found = rules_of(options), {}
    for row in table.ROWS:
        for tag in tags_of(row):
            element = planted(tag, row)
            written = rules.rule(tag, element.VR, place).step(element, SUBJECT)
            if written is not None:
                found[tag] = written
    return found


def action(element: DataElement | None, tag: int, row: Row) -> str:
    """What became of the planted element: X, Z, U, C (cleaned or moved), K, or D for any other value."""
    if element is None:
        return "X"
    before = planted(tag, row)
    if element.VR == "SQ":
        return "Z" if not element.value else "items" if "ReferencedSOPInstanceUID" in element.value[0] else "D"
    if element.is_empty:
        return "Z"
    if element.VR == "UI" and element.value != before.value:
        assert str(element.value).startswith("2.25.")
        return "U"
    if element.value == before.value:
        return "K"
    return "C" if element.value in (MOVED.get(element.VR), "lung") else "D"


def basic(row: Row, tag: int, place: Place) -> set[str]:
    """What the Basic Profile allows for a row, by the attribute's type in the IOD."""
    kind, choices = type_of(tag, place), row.basic.split("/")
    if tag < FIRST_TAG:
        return {"X"}  # no place in a dataset of an image
    if tag in PSEUDONYMS:
        return {"D"}  # Z allows a dummy: here the pseudonym, the keyed accession number
    if "U*" in choices:
        return {"items"}
    if vr_of(tag, row) == "UI":
        return {"U"} if kind is Type.VALUE or row.basic in ("U", "D") else set(choices)
    if len(choices) == 1:
        wanted = {"D"} if kind is Type.VALUE and vr_of(tag, row) != "SQ" else set(choices)
    else:
        by_type = {None: choices[-1], Type.VALUE: "D", Type.PRESENT: "Z", Type.OPTIONAL: choices[0]}
        wanted = {by_type[kind]}
    return wanted | {"items"} if vr_of(tag, row) == "SQ" and "D" in wanted else wanted


def expected(row: Row, tag: int, option: str | None, place: Place) -> set[str]:
    """What one option asks for a row: K where the value may stay as it is, C where it is to be cleaned."""
    code, vr = row.options.get(option or ""), vr_of(tag, row)
    if "x" in row.tag or row.tag == "PRIVATE":
        return {"X"}  # curves and overlays go under each option, private elements need the safe list
    if tag == 0x00700006 and option == "clean_graphics":
        return {"C"}
    if code is None or tag < FIRST_TAG or vr in ("OB", "UN", "UR"):
        return basic(row, tag, place)
    if vr == "SQ":
        return {"items"}
    if vr in ("AE", "CS") and code == "C":
        return basic(row, tag, place)  # PLANTED is no term, and is the person's
    if option == "retain_device_identity" and vr == "CS":
        return {"D"}
    if option == MODIFIED_DATES:
        return {"C", "K"} if vr in ("TM", "SH") else {"C"}
    if option == "retain_patient_characteristics" and code == "C":
        return {"C"}
    return {code}


def faults(place: Place) -> Iterator[str]:
    for option in (None, *OPTIONS):
        clean = cleaned((option,) if option else (), place)
        for row in table.ROWS:
            for tag in tags_of(row):
                done, wanted = action(clean.get(tag), tag, row), expected(row, tag, option, place)
                if done not in wanted:
                    yield f"{row.tag} {row.name}, {option}: {done}, not {wanted}"


@pytest.mark.parametrize(
    "place",
    [Place(), Place("", (OUTER,)), Place(CT), Place(CT, (OUTER,))],
    ids=["root", "nested", "root of a CT", "nested in a CT"],
)
def test_each_row_is_carried_out_under_each_option(place: Place) -> None:
    assert list(faults(place)) == []


def test_the_ten_columns_are_all_tested() -> None:
    offered = {option for option in OFFERED if not option.startswith("clean_pixel") and "visual" not in option}
    assert set(OPTIONS) == offered | {FULL_DATES}
    assert len(OPTIONS) == 10


def test_every_rule_of_a_row_says_why() -> None:
    for options in ((), OPTIONS, BUILT_IN["research"].options):
        rules = rules_of(options)
        for row in table.ROWS:
            assert all(rules.rule(tag, vr_of(tag, row), Place(CT)).reason for tag in tags_of(row))


@cache
def research() -> dict[int, DataElement]:
    return cleaned(BUILT_IN["research"].options, Place(CT))


def test_what_the_built_in_profiles_leave_in_the_places_of_the_table_says_nothing_of_a_person() -> None:
    for clean in (research(), cleaned(BUILT_IN["basic"].options, Place(CT)), cleaned((), Place())):
        text = " ".join(str(element.value) for element in clean.values() if element.VR != "SQ").lower()
        assert "planted" not in text
        assert "20240311" not in text


def test_dates_of_the_device_move_like_all_others() -> None:
    assert research()[0x00181200].value == MOVED["DA"]


def test_the_table_is_of_a_stated_edition_and_whole() -> None:
    assert table.EDITION == "2026d"
    assert len(table.ROWS) == 657
    assert len({row.tag for row in table.ROWS}) == 657


def test_the_content_items_are_whole_and_found_by_their_code() -> None:
    assert len(contents.ITEMS) == 214
    for item in contents.ITEMS:
        assert contents.item_of(item.code, item.scheme, item.value_type) == item
        assert item.basic in ("X", "D", "X/D")
        assert set(item.options.values()) <= {"K", "C"}
        assert set(item.options) <= set(OPTIONS)
    assert contents.item_of("121022", "99LOCAL", "TEXT") is None
