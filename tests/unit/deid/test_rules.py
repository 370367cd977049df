"""The rules, one by one: types in the IOD, devices, dates, ages, private elements, and where the data come from."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import runpy
from pathlib import Path
from types import ModuleType

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.deid.engine.header import Header
from carina.deid.profile import BUILT_IN, FULL_DATES, MODIFIED_DATES, SAFE_PRIVATE, UIDS
from carina.deid.pseudonyms import ProjectKeys
from carina.deid.rules import private, table
from carina.deid.rules.colours import srgb
from carina.deid.rules.compile import rules_of
from carina.deid.rules.iods import Type, type_of
from carina.deid.rules.listed import by_type
from carina.deid.rules.rule import Action, Place, Subject
from carina.dicom.quiet import quiet
from carina.model.ids import ProjectId

KEYS = ProjectKeys.of(b"k" * 32, ProjectId("lung"))
OWN = frozenset(("BRZEZICKA", "HEDWIGSBURG", "MR53464097", "53464097"))
SUBJECT = Subject(KEYS, "PSEUDONYM", -100, OWN, OWN)
RESEARCH = BUILT_IN["research"].options
CT = Place("1.2.840.10008.5.1.4.1.1.2")
ENHANCED_CT = Place("1.2.840.10008.5.1.4.1.1.2.1")
SCRIPTS = Path(__file__).parents[3] / "scripts"


def done(element: DataElement, options: tuple[str, ...] = RESEARCH, place: Place = CT) -> DataElement | None:
    """What the rule of this element gives for it."""
    return rules_of(options).rule(int(element.tag), element.VR, place).step(element, SUBJECT)


def text_of(tag: int, vr: str, value: object, options: tuple[str, ...] = RESEARCH, place: Place = CT) -> object:
    with quiet():
        written = done(DataElement(tag, vr, value), options, place)
        return None if written is None else written.value


def private_value(creator: str, tag: int, vr: str, value: object, options: tuple[str, ...] = RESEARCH) -> object:
    with quiet():
        written = rules_of(options).private(creator, tag, vr).step(DataElement(tag, vr, value), SUBJECT)
        return None if written is None else written.value


# --- types ----------------------------------------------------------------------------------------------------------


def test_the_type_of_an_attribute_is_that_of_its_place_in_the_iod() -> None:
    assert type_of(0x00100010, CT) is Type.PRESENT
    assert type_of(0x00280010, CT) is Type.VALUE
    assert type_of(0x00081030, CT) is Type.OPTIONAL
    assert type_of(0x00181000, CT) is Type.OPTIONAL
    assert type_of(0x00181000, ENHANCED_CT) is Type.VALUE
    assert type_of(0x00620005, Place("1.2.840.10008.5.1.4.1.1.66.4", (0x00620002,))) is Type.VALUE
    assert type_of(0x00080100, CT.inside(0x00081032)) is Type.VALUE
    assert type_of(0x00100010, Place("1.2.3")) is None
    assert type_of(0x00100010, CT.inside(0x00091001)) is None


def test_content_may_be_nested_to_any_depth() -> None:
    deep = Place("1.2.840.10008.5.1.4.1.1.88.22", (0x0040A730,) * 30)
    assert type_of(0x0040A040, deep) is Type.VALUE


@pytest.mark.parametrize(
    ("choice", "by"),
    [("X/Z", "ZDZX"), ("X/D", "DDZX"), ("Z/D", "DDZZ"), ("X/Z/D", "DDZX")],
)
def test_a_choice_is_made_by_the_type(choice: str, by: str) -> None:
    kinds = (None, Type.VALUE, Type.PRESENT, Type.OPTIONAL)
    assert [by_type(choice, kind) for kind in kinds] == [Action(code) for code in by]


def test_an_attribute_that_must_be_there_is_not_removed() -> None:
    assert text_of(0x00181030, "LO", "for Brzezicka 53464097") is None  # Protocol Name, type 3
    name = DataElement(0x00700084, "PN", "Brzezicka^W")  # Content Creator's Name, type 2 in a segmentation
    segmentation = Place("1.2.840.10008.5.1.4.1.1.66.4")
    written = done(name, RESEARCH, segmentation)
    assert written is not None
    assert written.is_empty
    assert text_of(0x00620005, "LO", "Brzezicka", RESEARCH, segmentation.inside(0x00620002)) == "REMOVED"
    assert rules_of(()).rule(0x00620005, "LO", segmentation.inside(0x00620002)).action is Action.KEEP
    assert text_of(0x00080080, "LO", "Klinikum") is None
    assert "type 3" in rules_of(RESEARCH).rule(0x00080080, "LO", CT).reason


def test_what_says_another_vr_than_the_dictionary_does_not_stay() -> None:
    assert text_of(0x00280010, "LO", "Brzezicka") is None
    assert rules_of(RESEARCH).rule(0x00081030, "UN", CT).action is Action.REMOVE
    assert rules_of(RESEARCH).rule(0x00181000, "UN", CT).action is Action.REMOVE


def test_rules_are_the_same_objects_when_asked_again() -> None:
    assert rules_of(RESEARCH).rule(0x00100010, "PN", CT) is rules_of(RESEARCH[::-1]).rule(0x00100010, "PN", CT)


# --- removed whatever the options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "vr"),
    [
        (0xFFFAFFFA, "SQ"),
        (0x04000561, "SQ"),
        (0x04000500, "SQ"),
        (0x4FFE0001, "SQ"),
        (0xFFFCFFFC, "OB"),
        (0x60023000, "OW"),
        (0x60020010, "US"),
        (0x601E4000, "LT"),
        (0x50000005, "US"),
        (0x00081190, "UR"),
        (0x00080000, "UL"),
        (0x00020016, "AE"),
        (0x00991001, "LO"),
    ],
)
def test_signatures_overlays_curves_and_addresses_always_go(tag: int, vr: str) -> None:
    for options in ((), RESEARCH, (*RESEARCH, UIDS, FULL_DATES)):
        rule = rules_of(options).rule(tag, vr, CT)
        assert rule.action is Action.REMOVE
        assert rule.step(DataElement(tag, vr, [] if vr == "SQ" else None), SUBJECT) is None


# --- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "tag", "before", "after"),
    [
        ("DA", 0x00080020, "20240311", "20231202"),
        ("DA", 0x00080020, "20240229", "20231121"),
        ("DA", 0x00080020, "2024.03.11", "20231202"),
        ("DT", 0x0008002A, "20240311101500.5+0100", "20231202101500.5+0100"),
        ("DT", 0x00181078, "20240311101500", "20231202101500"),
        ("DT", 0x0008002A, "2024", "2024"),
        ("TM", 0x00080030, "101500.25", "101500.25"),
        ("DA", 0x00404011, "20240311", "20231202"),
    ],
)
def test_dates_move_by_the_persons_days(vr: str, tag: int, before: str, after: str) -> None:
    for place in (CT, CT.inside(0x00540016), Place()):
        if vr != "DA" or tag != 0x00404011:
            assert text_of(tag, vr, before, (MODIFIED_DATES,), place) == after


@pytest.mark.parametrize("before", ["19000101", "99991231", "19700101", "00010101", "11111111", "202403", "20240230"])
def test_stand_ins_and_broken_dates_do_not_move_and_do_not_stay(before: str) -> None:
    assert text_of(0x00080022, "DA", before, (MODIFIED_DATES,)) in (None, "")


def test_dates_of_the_device_move_where_dates_move_and_stay_where_the_option_alone_keeps_them() -> None:
    assert text_of(0x00181200, "DA", "20240311") == "20231202"
    assert text_of(0x00181200, "DA", "20240311", ("retain_device_identity",)) == "20240311"
    assert text_of(0x00181200, "DA", "20240311", ()) is None


def test_full_dates_stay_for_sources_that_moved_them_before() -> None:
    options = (*RESEARCH, FULL_DATES, UIDS)
    assert text_of(0x00080020, "DA", "20240311", options) == "20240311"
    assert text_of(0x00404011, "DT", "20240311", options) == "20240311"
    assert text_of(0x0020000D, "UI", "2.25.7", options) == "2.25.7"
    assert str(text_of(0x0020000D, "UI", "2.25.07.Brzezicka", options)).startswith("2.25.")


# --- the person -------------------------------------------------------------------------------------------------------


AGES = "058Y=058Y 089Y=089Y 090Y=090Y 094Y=090Y 999M=999M 012W=012W 58Y=058Y 900D=900D Mrs_Li="


@pytest.mark.parametrize(("before", "after"), [pair.split("=") for pair in AGES.split()])
def test_ages_over_89_are_told_as_90(before: str, after: str) -> None:
    assert text_of(0x00101010, "AS", before) == (after or None)


def test_patient_characteristics_stay_where_they_are_what_they_say() -> None:
    assert text_of(0x00100040, "CS", "F") == "F"
    assert text_of(0x00100040, "CS", "BRZEZICKA") in (None, "")
    assert text_of(0x00100040, "CS", "F", (MODIFIED_DATES,)) in (None, "")
    assert text_of(0x00101030, "DS", "68.5") == 68.5
    assert text_of(0x00102160, "SH", "Caucasian") == "Caucasian"
    assert text_of(0x00102160, "SH", "born in 1961") is None


# --- devices and institutions -----------------------------------------------------------------------------------------


def test_a_device_number_stays_and_a_name_in_its_place_becomes_a_keyed_number() -> None:
    assert text_of(0x00181000, "LO", "SN-88213-Q") == "SN-88213-Q"
    assert text_of(0x00081010, "SH", "CT07") == "CT07"
    for value in ("HEDWIGCT07", "MR53464097", "Brzezicka 1", "a@b.org"):
        keyed = str(text_of(0x00081010, "SH", value))
        assert keyed.startswith("D")
        assert len(keyed) == 16
        assert keyed == text_of(0x00181000, "LO", value)


def test_a_device_number_is_no_word_of_the_persons() -> None:
    subject = Subject(KEYS, "PSEUDONYM", -100, OWN | {"88213", "SN88213Q"})
    element = DataElement(0x00181000, "LO", "SN-88213-Q")
    written = rules_of(RESEARCH).rule(0x00181000, "LO", CT).step(element, subject)
    assert written is not None
    assert written.value == "SN-88213-Q"


def test_a_product_keeps_its_name_unless_it_is_akin_to_the_persons() -> None:
    assert text_of(0x00081090, "LO", "Scanmaster 9") == "Scanmaster 9"
    assert text_of(0x00081090, "LO", "https://github.com/fedorov/dcmqi.git") == "https://github.com/fedorov/dcmqi.git"
    assert text_of(0x00081090, "LO", "https://pacs.example/ct") != "https://pacs.example/ct"
    assert text_of(0x00081090, "LO", "HEDWIG CT 64") != "HEDWIG CT 64"
    assert text_of(0x00181020, "LO", ["VB30.2", "Brzezicka"]) != ["VB30.2", "Brzezicka"]
    assert text_of(0x00081090, "LO", "Scanmaster 9", (MODIFIED_DATES,)) is None


def test_a_maker_keeps_its_name_and_a_hospital_in_its_place_does_not() -> None:
    assert text_of(0x00080070, "LO", "Manufacturer name here") == "Manufacturer name here"
    assert text_of(0x00080070, "LO", "Universitätsklinikum Hintertupf") == "OTHER"
    assert text_of(0x00080070, "LO", "Παπανδρέουλης") == "OTHER"
    assert text_of(0x00080070, "LO", "GE Hospital Hintertupf") == "GE"
    assert text_of(0x00181020, "LO", "Klinikum Hintertupf 7") != "Klinikum Hintertupf 7"


def test_a_private_element_may_have_a_vr_like_that_of_the_list() -> None:
    rules = rules_of((SAFE_PRIVATE,))
    assert rules.private("GEMS_PARM_01", 0x00431027, "SH").action is Action.KEEP
    assert rules.private("GEMS_PARM_01", 0x00431027, "UT").action is Action.REMOVE


def test_the_institution_stays_under_its_option_only_and_without_persons() -> None:
    options = ("retain_institution_identity",)
    subject = Subject(KEYS, "PSEUDONYM", -100, OWN, frozenset(("BRZEZICKA",)))
    rule = rules_of(options).rule(0x00080080, "LO", CT)
    kept = rule.step(DataElement(0x00080080, "LO", "St Hedwigsburg"), subject)
    assert kept is not None
    assert kept.value == "St Hedwigsburg"
    assert rule.step(DataElement(0x00080080, "LO", "Praxis Brzezicka"), subject) is None
    assert 0x00080080 in rules_of(options).retained
    assert rules_of((MODIFIED_DATES,)).retained == frozenset()


# --- texts and codes --------------------------------------------------------------------------------------------------


def test_descriptions_keep_what_names_nobody() -> None:
    assert text_of(0x0008103E, "LO", "AX LUNG 1.25mm Brzezicka") == "AX LUNG 1.25mm"
    assert text_of(0x0008103E, "LO", "AX LUNG", (MODIFIED_DATES,)) is None
    assert text_of(0x00281055, "LO", "LUNG for Brzezicka") in (None, "LUNG")
    assert text_of(0x00700006, "ST", "lung Brzezicka", ("clean_graphics",)) == "lung"


def test_defined_terms_stay_and_other_words_do_not() -> None:
    assert text_of(0x30060042, "CS", "CLOSED_PLANAR") == "CLOSED_PLANAR"
    assert text_of(0x00201040, "LO", "SLIDE_CORNER") == "SLIDE_CORNER"
    assert text_of(0x30060042, "CS", "BRZEZICKA") is None


def test_a_plain_colour_profile_stands_for_a_scanners_own_where_one_must_be() -> None:
    slide = Place("1.2.840.10008.5.1.4.1.1.77.1.6", (0x00480105,))
    profile = text_of(0x00282000, "OB", b"of the scanner in Hedwigsburg ", RESEARCH, slide)
    assert isinstance(profile, bytes)
    assert profile == srgb()
    assert int.from_bytes(profile[:4], "big") == len(profile)
    assert profile[36:40] == b"acsp"
    assert text_of(0x00282000, "OB", b"of the scanner in Hedwigsburg ") is None


def test_references_to_images_stay_with_new_uids() -> None:
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3.4.5"
    dataset = Dataset()
    dataset.ReferencedImageSequence = Sequence([item])
    clean = Header(rules_of(RESEARCH), SUBJECT).clean(dataset, CT)
    assert str(clean.ReferencedImageSequence[0].ReferencedSOPInstanceUID).startswith("2.25.")


# --- private elements -------------------------------------------------------------------------------------------------


def test_a_safe_private_element_stays_only_under_its_option() -> None:
    assert private_value("SIEMENS MR HEADER", 0x0019100C, "IS", "1000") == 1000
    assert private_value("SIEMENS MR HEADER", 0x0019AB0C, "IS", "1000") == 1000  # whatever its block
    assert private_value("Philips Imaging DD 001", 0x20011003, "FL", 800.0) == 800.0
    assert private_value("SIEMENS MR HEADER", 0x0019100C, "IS", "1000", (MODIFIED_DATES,)) is None
    assert private_value("ACME MED 1.1", 0x0019100C, "IS", "1000") is None
    assert private_value("SIEMENS MR HEADER", 0x0021100C, "IS", "1000") is None
    assert private_value("SIEMENS MR HEADER", 0x0019100C, "LO", "Brzezicka") is None


def test_a_safe_private_element_without_vr_is_read_by_the_listed_one() -> None:
    assert private_value("SIEMENS MR HEADER", 0x0019100C, "UN", b"1000") == 1000
    assert private_value("SIEMENS MR HEADER", 0x0019100C, "UN", b"Brzezicka ") is None
    assert private_value("Philips Imaging DD 001", 0x20011003, "UN", b"\0\0\x48\x44") == 800.0
    assert private_value("Philips Imaging DD 001", 0x20011003, "UN", b"abc") is None


def test_values_of_safe_private_elements_are_checked() -> None:
    entry = next(item for item in private.entries() if item.vr == "SL")
    tag = entry.group << 16 | 0x1000 | entry.low
    assert private_value(entry.creator, tag, "SL", 20240311) is None  # a day
    assert private_value(entry.creator, tag, "SL", 1_710_151_200) is None  # seconds since 1970
    assert private_value(entry.creator, tag, "SL", [1, 2, 3]) == [1, 2, 3]
    assert private_value(entry.creator, tag, "SL", [int.from_bytes(b"Brze", "little")] * 2) is None
    assert private_value(entry.creator, tag, "SL", 53464097) is None
    short = next(item for item in private.entries() if item.vr == "SH")
    tag = short.group << 16 | 0x1000 | short.low
    assert private_value(short.creator, tag, "SH", "Brzezicka") is None
    assert private_value(short.creator, tag, "SH", "Unlisted^Name") is None
    assert private_value(short.creator, tag, "SH", "HEAD") == "HEAD"


def test_private_dates_move_and_private_uids_are_mapped() -> None:
    day = next(item for item in private.entries() if item.vr == "DT")
    tag = day.group << 16 | 0x1000 | day.low
    assert private_value(day.creator, tag, "DT", "20240311101500") == "20231202101500"
    assert private_value(day.creator, tag, "DT", "20240311", (SAFE_PRIVATE,)) is None
    uid = next(item for item in private.entries() if item.vr == "UI")
    tag = uid.group << 16 | 0x1000 | uid.low
    assert str(private_value(uid.creator, tag, "UI", "1.2.3.4")).startswith("2.25.")


def test_the_safe_list_holds_only_what_can_be_checked() -> None:
    found = list(private.entries())
    assert len(found) > 1500
    assert {item.vr for item in found}.isdisjoint(("OB", "OW", "UN", "PN", "SQ", "LT", "ST", "UT", ""))
    assert {item.source for item in found} == {"E.3.10-1", "TCIA"}
    assert len({(item.creator, item.group, item.low) for item in found}) == len(found)


# --- where the data come from -----------------------------------------------------------------------------------------


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row_of(*cells: str) -> str:
    return "<tr>" + "".join(f"<td><para>{cell}</para></td>" for cell in cells) + "</tr>"


def table_of(name: str, heads: list[str], rows: list[str]) -> str:
    head = "".join(f"<th><para>{text}</para></th>" for text in heads)
    return f'<table xml:id="{name}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def part15(rows: list[str]) -> str:
    """A small PS3.15 in the form that NEMA publishes."""
    options = "Rtn. UIDs|Rtn. Dev. Id.|Rtn. Inst. Id.|Rtn. Pat. Chars.|Rtn. Long. Full Dates|Rtn. Long. Modif. Dates|"
    heads = [f"{text} Opt." for text in (options + "Clean Desc.").split("|")]
    first = ["Attribute Name", "Tag", "Retd. (from PS3.6)", "In Std. Comp. IOD (from PS3.3)", "Basic Prof."]
    attributes = [*first, "Rtn. Safe Priv. Opt.", *heads, "Clean Struct. Cont. Opt.", "Clean Graph. Opt."]
    items = ["Code Meaning", "Code Value", "Coding Scheme Designator", "Value Type", "Retd.", "In Std. TID"]
    item = row_of("Person Observer Name", "121008", "DCM", "PNAME", "N", "Y", "D", *[""] * 7)
    return (
        '<book xmlns="http://docbook.org/ns/docbook"><title>PS3.15</title>'
        "<subtitle>DICOM PS3.15 2027a - Security and System Management Profiles</subtitle>"
        + table_of("table_E.1-1a", ["Action"], [row_of("D")])
        + table_of("table_E.1-1", attributes, rows)
        + table_of("table_E.3.4-1", [*items, "Basic Prof.", *heads], [item])
        + "</book>"
    )


PATIENT = ("Patient\u200b's <emphasis>Name</emphasis>", "(0010,0010)", "N", "Y", "Z")
ROWS = [
    row_of(*PATIENT, *[""] * 10),
    row_of("Study Date", "(0008,0020)", "N", "Y", "Z", *[""] * 5, "K", "C", *[""] * 3),
    row_of("Overlay Data", "(60xx,3000)", "N", "Y", "X", *[""] * 9, "C"),
    row_of("Private Attributes", "(gggg,eeee) where gggg is odd", "N", "N", "X", "C", *[""] * 9),
]


def test_the_script_reads_the_table_from_the_standard_itself(tmp_path: Path) -> None:
    document = tmp_path / "part15.xml"
    document.write_text(part15(ROWS), encoding="utf-8")
    content = script("make_deid_table").of_standard(document)
    assert content["edition"] == "2027a"
    assert len(content["standard_sha256"]) == 64
    assert content["rows"] == [
        ["00080020", "Study Date", "Z", {FULL_DATES: "K", MODIFIED_DATES: "C"}],
        ["00100010", "Patient's Name", "Z", {}],
        ["60xx3000", "Overlay Data", "X", {"clean_graphics": "C"}],
        ["PRIVATE", "Private Attributes", "X", {"retain_safe_private": "C"}],
    ]
    assert content["content_items"] == [["121008", "DCM", "Person Observer Name", "PNAME", "D", {}]]


@pytest.mark.parametrize(
    "rows",
    [
        [row_of(*PATIENT[:4], "Q", *[""] * 10)],
        [row_of(*PATIENT, *[""] * 9)],
        [row_of("Name", "nowhere", "N", "Y", "Z", *[""] * 10)],
    ],
    ids=["an unknown action", "a missing cell", "no tag"],
)
def test_the_script_stops_at_what_it_does_not_know(tmp_path: Path, rows: list[str]) -> None:
    document = tmp_path / "part15.xml"
    document.write_text(part15(rows), encoding="utf-8")
    with pytest.raises(ValueError, match=r"row|tag|action"):
        script("make_deid_table").of_standard(document)


def test_the_table_written_again_is_the_same() -> None:
    maker = script("make_deid_table")
    content = json.loads(maker.TARGET.read_text(encoding="utf-8"))
    assert maker.as_text(content) == maker.TARGET.read_text(encoding="utf-8")


LISTS = {
    "D_TAGS": "D",
    "Z_TAGS": "Z",
    "X_TAGS": "X",
    "U_TAGS": "U",
    "Z_D_TAGS": "Z/D",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}
ALLOWED = {
    "3004007F": "in 2026d, not yet in their 2026c",
    "PRIVATE": "they remove private elements by other code",
    "50xxxxxx": "they write it with a mask",
    "60xx3000": "they write it with a mask",
    "60xx4000": "they write it with a mask",
}


def test_a_second_package_has_the_same_actions() -> None:
    files = importlib.metadata.files("dicom-anonymizer") or []
    [path] = [file.locate() for file in files if file.name == "dicomfields_2026c.py"]
    lists = runpy.run_path(str(path))
    theirs = {
        "".join(f"{part:04X}" for part in tag): LISTS[name] for name in LISTS for tag in lists[name] if len(tag) == 2
    }
    ours = {row.tag: row.basic for row in table.ROWS}
    assert {tag for tag in ours.keys() | theirs.keys() if ours.get(tag) != theirs.get(tag)} == set(ALLOWED)
