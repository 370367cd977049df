"""What identifies is found in a file's bytes, however it is written; what only looks like it is let be."""

from __future__ import annotations

import struct

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from carina.deid.engine.encode import encoded
from carina.deid.engine.needles import Kind, Needle
from carina.deid.engine.verify import Sought, check_element, reread, sought, sought_in, sought_in_all
from carina.deid.pseudonyms import ProjectKeys, new_uid
from carina.dicom.quiet import quiet
from carina.model.ids import ProjectId

KEYS = ProjectKeys.of(b"k" * 32, ProjectId("lung"))
PSEUDONYM = "PABCDEFGHIJ234567"
DAYS = -100


def person(name: str = "Brzezicka^Wiesława", identifier: str = "MRN-4471-23", **elements: object) -> Sought:
    """What is sought for a person of this name and identifier, and of these other elements."""
    original = Dataset()
    original.PatientName, original.PatientID = name, identifier
    for keyword, value in elements.items():
        setattr(original, keyword, value)
    return search_for(original)


def search_for(original: Dataset, options: tuple[str, ...] = ()) -> Sought:
    return sought(sought_in_all(original), options, frozenset({PSEUDONYM}), DAYS)


def left(element: tuple[int, str, object], wanted: Sought) -> str | None:
    tag, vr, value = element
    return check_element(tag, vr, value if isinstance(value, bytes) else str(value).encode(), wanted)


def clean_file(syntax: str = ExplicitVRLittleEndian, **elements: object) -> bytes:
    """A clean output with these elements."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID, dataset.StudyInstanceUID = new_uid(KEYS, "1.2.3"), new_uid(KEYS, "1.2")
    dataset.PatientName = dataset.PatientID = PSEUDONYM
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    with quiet():
        return encoded(dataset, syntax)


WIDE = ["Brzezicka", "brzezicka", "BRZEZICKA", "Wiesława", "WIESŁAWA", "wieslawa", "4471-23", "447123"]


@pytest.mark.parametrize("text", WIDE)
@pytest.mark.parametrize("encoding", ["utf-8", "iso8859_2", "cp1250", "utf-16-le", "utf-16-be"])
def test_a_name_or_an_identifier_is_found_in_each_encoding_of_a_text(text: str, encoding: str) -> None:
    value = b"T1 TSE " + text.encode(encoding) + b" 3 mm"
    assert left((0x0008103E, "LO", value), person()) is not None


@pytest.mark.parametrize("vr", ["OB", "OW", "UN", "OF"])
def test_a_name_is_found_anywhere_in_binary_values(vr: str) -> None:
    for text in (b"Brzezicka", "BRZEZICKA".encode("utf-16-le"), "Wiesława".encode("iso8859_2")):
        assert left((0x00091010, vr, b"\x00\x01SV10\xff" + text + bytes(300)), person()) == Kind.NAME


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "iso2022_jp_2"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "shift_jis"),
        ("Wang^XiaoDong=王^小东", "gb18030"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "euc_kr"),
        ("Παπαδοπουλίδης^Ελευθερία", "iso8859_7"),
        ("Люкceмбypг^Роза", "koi8_r"),
        ("Ñunezarroyo^Íñigobert", "latin-1"),
    ],
)
def test_each_group_of_a_name_is_found_in_its_character_sets(name: str, encoding: str) -> None:
    wanted = person(name)
    for group in name.split("="):
        try:
            value = ("AX " + group.replace("^", " ") + " T2").encode(encoding)
        except UnicodeError:
            continue
        assert left((0x00204000, "LT", value), wanted) == Kind.NAME, group


def test_a_name_is_found_without_its_accents_spelt_out_and_garbled() -> None:
    wanted = person("Müller-Lüdenscheidt^Jürgen")
    spelt = ["Muller", "MUELLER", "Luedenscheidt", "Ju\u0308rgen", "Müller".encode().decode("latin-1")]
    assert [text for text in spelt if left((0x0008103E, "LO", text), wanted) is None] == []


def test_a_name_in_a_lying_character_set_is_found_as_it_was_meant() -> None:
    original = Dataset()
    original.SpecificCharacterSet = "ISO_IR 100"
    original[0x00100010] = DataElement(0x00100010, "PN", "Nuñezarroyo^Iñigo".encode())
    wanted = search_for(original)
    assert left((0x00204000, "LT", "seen by NUÑEZARROYO"), wanted) == Kind.NAME


def test_a_name_of_two_letters_is_found_as_a_word_and_not_within_others() -> None:
    wanted = person("Li^Wu")
    assert left((0x0008103E, "LO", b"CHEST LI 5 mm"), wanted) == Kind.NAME
    assert left((0x0008103E, "LO", b"LINEAR FILTER"), wanted) is None


def test_a_name_inside_a_longer_word_of_technique_is_let_be() -> None:
    wanted = person("Tran^Chan")
    assert left((0x0008103E, "LO", b"T2 TRANSVERSE"), wanted) is None
    assert left((0x0008103E, "LO", b"T2 TRAN"), wanted) == Kind.NAME
    assert left((0x0008103E, "LO", b"T2 TRANSVERSE TRANSKY"), wanted) == Kind.NAME


def test_a_patient_called_head_or_1234_does_not_lose_body_part_or_numbers() -> None:
    wanted = person("HEAD^PHANTOM", "1234", StudyID="1024")
    kept: list[tuple[int, str, object]] = [
        (0x00180015, "CS", "HEAD"),
        (0x00280010, "US", struct.pack("<H", 1024)),
        (0x00281052, "DS", "-1024.1234"),
        (0x00200013, "IS", "1234"),
        (0x00080030, "TM", "123412.1234"),
        (0x00080018, "UI", new_uid(KEYS, "1.2.3.1234")),
        (0x00281201, "OW", bytes(range(256))),
        (0x00281201, "OW", struct.pack("<256H", *range(256))),
    ]
    assert [element for element in kept if left(element, wanted)] == []
    assert left((0x0008103E, "LO", b"CT of 1234"), wanted) == Kind.IDENTIFIER


def test_an_identifier_is_found_as_a_number() -> None:
    wanted = person("Doe^Jane", "0047110815")
    for element in (
        (0x00200013, "IS", "47110815"),
        (0x00181151, "DS", "047110815.00"),
        (0x00089999, "UL", struct.pack("<L", 47110815)),
        (0x00189999, "FD", struct.pack("<d", 47110815.0)),
    ):
        assert left(element, wanted) == Kind.IDENTIFIER, element


def test_an_original_date_is_found_and_a_moved_one_is_not() -> None:
    wanted = person(PatientBirthDate="19610317", StudyDate="20190611", SeriesDate="20190303")
    assert left((0x00080020, "DA", "20190611"), wanted) == Kind.DATE
    assert left((0x0008002A, "DT", "20190611081500+0100"), wanted) == Kind.DATE
    for text in ("17.03.1961", "03/17/1961", "1961-03-17", "19610317", "20190611"):
        assert left((0x00081030, "LO", f"born {text}"), wanted) == Kind.DATE
    assert left((0x00080020, "DA", "20190303"), wanted) is None  # 100 days before 11 June: the moved study date


def test_what_the_options_retain_is_not_sought() -> None:
    original = Dataset()
    original.StudyDate, original.InstitutionName, original.DeviceSerialNumber = "20190611", "St Hedwigsburg", "SN88213"
    options = ("retain_device_identity", "retain_institution_identity", "retain_longitudinal_full_dates", "retain_uids")
    kept: list[tuple[int, str, object]] = [
        (0x00080020, "DA", "20190611"),
        (0x00080080, "LO", "St Hedwigsburg"),
        (0x00181000, "LO", "SN88213"),
        (0x0020000D, "UI", "1.2.276.0.7230010.3.1.2"),
    ]
    assert [element for element in kept if left(element, search_for(original))] == kept
    assert [element for element in kept if left(element, search_for(original, options))] == []


def test_a_uid_is_of_the_standard_or_made_by_key() -> None:
    wanted = person()
    for uid in (new_uid(KEYS, "1.2.3"), "1.2.840.10008.1.2.4.90", "1.2.840.10008.5.1.4.1.1.2", ""):
        assert left((0x00080018, "UI", uid), wanted) is None
    for uid in ("1.2.276.0.7230010.3.1.4.17", "2.25.329800735698586629295641978511506172918", "MRN447123"):
        assert left((0x00080018, "UI", uid), wanted) == Kind.UID
    assert left((0x0008103E, "LO", b"copy of 1.2.276.0.7230010.3.1.4.17"), wanted) == Kind.UID
    own = new_uid(KEYS, "1.2.3")
    assert check_element(0x00080018, "UI", own.encode(), wanted, uids=frozenset({own})) == Kind.UID


def test_fixed_words_are_excused_where_they_belong_and_nowhere_else() -> None:
    wanted = person("Unknown^Carina=Philips", "113100", InstitutionName="Basic Removed")
    assert left((0x00120063, "LO", b"Carina engine 2\\PS3.15 2026d Basic Profile"), wanted) is None
    assert left((0x0008103E, "LO", b"Carina engine 2"), wanted) == Kind.NAME
    assert left((0x00080100, "SH", b"113100"), wanted) is None
    assert left((0x00081030, "LO", b"113100"), wanted) == Kind.IDENTIFIER
    assert left((0x00081090, "LO", b"REMOVED"), person("Removedson^Ann")) is None


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_a_file_is_read_again_in_each_encoding(syntax: str) -> None:
    inner = Dataset()
    inner.SeriesDescription = "for Brzezicka"
    outer = Dataset()
    outer.ReferencedImageSequence = Sequence([Dataset(), inner])
    nested = Sequence([outer])
    nested.is_undefined_length = True
    wanted = person()
    assert reread(clean_file(syntax, ReferencedSeriesSequence=Sequence([Dataset()])), wanted) == []
    found = reread(clean_file(syntax, ReferencedSeriesSequence=nested, StudyDescription="MRN-4471-23"), wanted)
    assert [str(leftover) for leftover in found] == [
        "(0008,1030) an identifier",
        "(0008,1115)/(0008,1140)/(0008,103E) a name",
    ]


def test_what_was_found_clean_before_is_still_found_for_another_person() -> None:
    data = clean_file(SeriesDescription="LUNG Brzezicka")
    other = person("Doe^Jane", "555-888-1")
    assert reread(data, other) == [] == reread(data, other)
    assert len(reread(data, person())) == 1 == len(reread(data, person()))


def test_pixel_data_is_not_searched() -> None:
    wanted = person()
    assert reread(clean_file(Rows=1, Columns=10, BitsAllocated=8, PixelData=b"BRZEZICKA "), wanted) == []


def test_preamble_file_meta_and_bytes_outside_elements_are_leftovers() -> None:
    data, wanted = clean_file(), person()
    assert reread(b"II*\0" + data[4:], wanted)
    assert reread(data + b"Brzezicka", wanted)
    assert reread(data[:-3], wanted)
    assert reread(b"", wanted)
    title = struct.pack("<HH2sH", 2, 0x16, b"AE", 4) + b"HEDW"
    assert [str(leftover) for leftover in reread(data[:144] + title + data[144:], wanted)] == [
        "(0002,0016) file meta information"
    ]


def test_needles_come_from_sequences_and_from_attributes_that_say_they_are_unknown() -> None:
    inner = Dataset()
    inner.PersonName = "Haverkampff^Jolan"
    outer = DataElement(0x00081072, "SQ", Sequence([inner]))
    assert Needle(Kind.NAME, "Haverkampff") in sought_in(outer)
    assert Needle(Kind.IDENTIFIER, "MRL 447") in sought_in(DataElement(0x00101090, "UN", b"MRL 447 "))


def test_a_leftover_does_not_tell_what_was_found() -> None:
    found = reread(clean_file(SeriesDescription="LUNG Brzezicka"), person())
    assert "rzez" not in repr(found).lower() and "rzez" not in repr(person()).lower()
