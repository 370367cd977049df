"""Values that hide a person in what looks like technique: terms, numbers, codes, UIDs, labels, lookup tables."""

from __future__ import annotations

import math
import struct
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.support import ct, part10

from carina.deid.engine.rewrite import deidentify
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys
from carina.deid.words.codes import is_concept
from carina.deid.words.numbers import is_text, kept_number
from carina.deid.words.texts import is_code_string, is_technical, names, spellings
from carina.model.ids import ProjectId
from carina.model.instance import RawInstance

LUNG = ProjectId("lung")
KEYS = ProjectKeys.of(b"k" * 32, LUNG)
BASIC = load_profile("basic")


def clean(data: bytes) -> bytes:
    return deidentify(RawInstance(data), BASIC, KEYS, project=LUNG).data


def header(data: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(clean(data)))


def slice_with(*elements: DataElement, **keywords: Any) -> bytes:
    dataset = pydicom.dcmread(BytesIO(ct(elements=keywords)))
    for element in elements:
        dataset[element.tag] = element
    return part10(dataset)


def coded(code: str, scheme: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, scheme, "Garcia Maria"
    return Sequence([item])


# --- terms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "secret"),
    [
        ({"BodyPartExamined": "GARCIAMARIA"}, "GARCIA"),
        ({"BodyPartExamined": "DOB 19600102"}, "19600102"),
        ({"BodyPartExamined": "MRN12345678", "PatientID": "12-345-678"}, "12345678"),
        ({"BodyPartExamined": "MUELLER JUERGEN", "PatientName": "Müller^Jürgen"}, "MUELLER"),
        ({"ScanOptions": "YAMADA TAROU", "PatientName": "=山田^太郎"}, "YAMADA"),
        ({"ScanOptions": ["HELICAL MODE", "IVANOV"], "PatientName": "Иванов^Пётр"}, "IVANOV"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "TEL 0612345678"]}, "0612345678"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "JANSEN"]}, "JANSEN"),
        ({"Modality": "JANSEN PIET"}, "JANSEN"),
        ({"BodyPartExamined": "JANSEN", "StudyDescription": "CT Jansen"}, "JANSEN"),
        ({"BodyPartExamined": "G A R C I A"}, "G A R"),
        ({"FilterMaterial": "KIM1", "PatientName": "Kim^Lee"}, "KIM1"),
        ({"ConvolutionKernel": "SHARP", "PatientComments": "Mrs Sharp called"}, "SHARP"),
    ],
)
def test_a_code_string_that_is_no_known_term_does_not_stay(changes: dict[str, Any], secret: str) -> None:
    assert secret.encode() not in clean(ct(elements=changes))


def test_a_name_in_an_undeclared_character_set_does_not_pass_as_a_body_part() -> None:
    plain = ct(elements={"BodyPartExamined": "GARCIA"})
    for name in (b"Garc\xc3\xada^Mari", b"Garc\xeda^Maria"):
        for charset in (b"ISO_IR 6  ", b"ISO_IR 192"):
            data = plain.replace(b"Garcia^Maria", name).replace(b"ISO_IR 192", charset)
            assert b"GARCIA" not in clean(data)


def test_terms_that_scanners_write_stay_and_each_unknown_one_is_replaced_alone() -> None:
    stay = {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
        "ScanOptions": ["HELICAL MODE", "PFF", "FAT_SAT"],
        "SequenceVariant": ["SK", "SP", "MP", "OSP"],
        "PatientOrientation": ["L", "PH"],
        "RotationDirection": "CW",
        "BodyPartExamined": "ABDOMENPELVIS",
        "ExposureModulationType": "NONE",
        "PatientPosition": "FFDL",
    }
    dataset = header(ct(elements={**stay, "SequenceVariant": ["SK", "SP", "MP"]}))
    for keyword in stay.keys() - {"SequenceVariant"}:
        assert dataset[keyword].value == stay[keyword]
    dataset = header(ct(elements={"ImageType": ["ORIGINAL", "PRIMARY", "JANSEN", "ND"], "ScanOptions": ["FS", "PIET"]}))
    assert dataset.ImageType == ["ORIGINAL", "PRIMARY", "OTHER", "ND"]
    assert dataset.ScanOptions == "FS"
    assert header(ct(elements={"Modality": "JANSEN"})).Modality == "OT"


def test_names_are_found_in_each_spelling_and_inside_longer_words() -> None:
    own = frozenset(spellings("Müller^Jürgen") | spellings("Garcia") | {"LI", "12345678"})
    assert {"MULLER", "MUELLER", "JURGEN", "JUERGEN"} <= own
    for text in ("MUELLER", "xmuellerx", "GAR1CIA2", "GAR_CIA", "LI2", "1234-5678"):
        assert names(text, own)
    for text in ("LIVER", "HELICAL", "GAR", "1234"):
        assert not names(text, own)
    assert "GARCÍA" not in spellings("GarcÃ\xada")
    assert "GARCIA" in spellings("GarcÃ\xada")


# --- technical texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "G A R C I A", "02.01.60", "2.1.60", "60:01:02", "02_01_60", "0601.2345.678", "06 12 34 56 78", "LEE60", "Kim1",
        "GAR1CIA2", "MRN_1234_5678", "B. Lee 60", "A1960B", "1725",
    ],
)  # fmt: skip
def test_a_technical_text_with_a_date_a_number_or_a_name_does_not_stay(text: str) -> None:
    assert not is_technical(text)
    elements = dict.fromkeys(("ManufacturerModelName", "SoftwareVersions", "ConvolutionKernel"), text)
    assert text.encode() not in clean(ct(elements=elements))


@pytest.mark.parametrize(
    "text",
    [
        "B30f", "iCT 256", "LightSpeed VCT", "syngo CT VA48A", "syngo CT 2011A", "V6.00ER008", "5.6.1.2", "4.1",
        "revo_ct_22bc.50", "MR Software release:DV26.0_R01_1725.a", "Biograph128_mCT", "PSF+TOF 2i21s", "*epfid2d1_64",
        "RGB(102, 198, 85)", "Lesion 1",
    ],
)  # fmt: skip
def test_models_versions_and_kernels_stay(text: str) -> None:
    assert is_technical(text)


def test_a_code_string_has_few_digits() -> None:
    assert is_code_string("ISO_IR 192")
    assert not is_code_string("T1 T2 T3 T4 T5")
    assert not is_code_string("1960")


# --- numbers --------------------------------------------------------------------------------------------------------


def test_numbers_that_are_the_persons_own_do_not_stay() -> None:
    elements = {"PatientID": "12345678", "SeriesNumber": 12345678, "AcquisitionNumber": "12345678", "KVP": "12345678"}
    assert b"12345678" not in clean(ct(elements=elements))
    for day in ("19600102", "02011960", "600102", "1960.0102", "+19600102"):
        assert header(ct(elements={"KVP": day})).get("KVP") is None  # type 2: there, and empty
    assert header(ct(elements={"PatientID": "120", "KVP": "120"})).KVP == 120


@pytest.mark.parametrize("text", ["1_9_6_0_0_1", "infinity", "nan", "1e19600102", "1e400"])
def test_a_decimal_string_of_another_form_does_not_stay(text: str) -> None:
    encoded = text.encode() + b" " * (len(text.encode()) % 2)
    data = slice_with(KVP="7777")
    changed = data.replace(b"DS\x04\x007777", b"DS" + struct.pack("<H", len(encoded)) + encoded)
    assert changed != data
    assert text.encode() not in clean(changed)


def test_texts_in_the_bytes_of_numbers_do_not_stay() -> None:
    text = b"GARCIA MARIA DOB"
    for tag, vr, form in (
        (0x00181310, "US", "<8H"),
        (0x00209157, "UL", "<4I"),
        (0x00189087, "FD", "<2d"),
        (0x00280009, "AT", "<4I"),
        (0x00660016, "FL", "<4f"),
    ):
        assert kept_number(DataElement(tag, vr, list(struct.unpack(form, text))), frozenset()) is None
    assert kept_number(DataElement(0x00189087, "FD", struct.unpack("<d", b"GARCIA M")[0]), frozenset()) is None
    assert b"GARCIA M" not in clean(slice_with(DataElement(0x00189087, "FD", struct.unpack("<d", b"GARCIA M")[0])))
    assert kept_number(DataElement(0x00280106, "US or SS", b"GARCIA"), frozenset()) is None


def test_ordinary_numbers_stay_as_they_were_written() -> None:
    for tag, vr, value in (
        (0x00181310, "US", [0, 256, 256, 0]),
        (0x00200032, "DS", ["-124.51953125", "-249.0", "+1.5e2"]),
        (0x00209157, "UL", [1, 17]),
        (0x00189073, "FD", 16.125),
        (0x00189352, "FL", [0.79, 0.833, 0.872]),
        (0x00200013, "IS", "17"),
        (0x00280106, "US or SS", b"\x00\x01"),
    ):
        element = DataElement(tag, vr, value)
        kept = kept_number(element, frozenset())
        assert kept is not None
        assert kept == element


def test_a_wrong_count_of_numbers_does_not_stay() -> None:
    assert kept_number(DataElement(0x00181310, "US", [1] * 8), frozenset()) is None
    assert kept_number(DataElement(0x00200032, "DS", ["1", "2"]), frozenset()) is None
    assert kept_number(DataElement(0x00280106, "US or SS", bytes(4)), frozenset()) is None


def test_the_free_bits_of_a_number_that_is_none_are_cleared() -> None:
    hidden = struct.unpack("<d", b"GARCIA\xf8\x7f")[0]
    assert math.isnan(hidden)
    kept = kept_number(DataElement(0x00409225, "FD", hidden), frozenset())
    assert kept is not None
    assert struct.pack("<d", kept.value) == struct.pack("<d", math.nan)


def test_bytes_are_a_text_when_most_of_them_are_letters() -> None:
    assert is_text(b"GARCIA M")
    assert is_text(b"Lee 60 Kim\0")
    assert not is_text(b"12345678")
    assert not is_text(struct.pack("<d", 16.125))


# --- codes and UIDs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "scheme"),
    [
        ("19600102", "SCT"), ("0612345678", "SCT"), ("1234567", "FMA"), ("Lopez", "UCUM"), ("Gar-cia", "UCUM"),
        ("12345", "NEU"), ("C1234567", "UMLS"), ("123456-7", "LN"), ("RID123456", "RADLEX"), ("600102", "DCM"),
        ("C19600", "NCIt"), ("R-19600", "SRT"), ("1960", "ICDO3"),
    ],
)  # fmt: skip
def test_a_code_that_its_scheme_does_not_have_becomes_unknown(code: str, scheme: str) -> None:
    [item] = header(slice_with(AnatomicRegionSequence=coded(code, scheme))).AnatomicRegionSequence
    assert (item.CodeValue, item.CodeMeaning) == ("261665006", "Unknown")


@pytest.mark.parametrize(
    ("code", "scheme"),
    [("39607008", "SCT"), ("mm2/s", "UCUM"), ("{SUVbw}g/ml", "UCUM"), ("[hnsf'U]", "UCUM"), ("1", "UCUM"),
     ("C34.1", "ICDO3"), ("8140/3", "ICDO3"), ("113076", "DCM"), ("T-28000", "SRT")],
)  # fmt: skip
def test_codes_of_their_scheme_stay(code: str, scheme: str) -> None:
    [item] = header(slice_with(AnatomicRegionSequence=coded(code, scheme))).AnatomicRegionSequence
    assert item.CodeValue == code


def test_a_concept_of_snomed_has_a_check_digit() -> None:
    assert is_concept("74400008")
    assert is_concept("900000000000207008")
    assert not is_concept("74400009")
    assert not is_concept("74040008")
    assert not is_concept("19600102")


def test_a_uid_beneath_the_standards_root_that_the_standard_has_not_given_is_replaced() -> None:
    item = Dataset()
    item.ReferencedSOPClassUID = "1.2.840.10008.196001.2.123456.78"
    item.ReferencedSOPInstanceUID = "1.2.3.19600102"
    out = clean(slice_with(ReferencedImageSequence=Sequence([item])))
    assert b"196001.2.123456" not in out
    for known in ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.6.1.1015"):
        item.ReferencedSOPClassUID = known
        found = header(slice_with(ReferencedImageSequence=Sequence([item])))
        assert found.ReferencedImageSequence[0].ReferencedSOPClassUID == known


# --- lookup tables --------------------------------------------------------------------------------------------------


def test_a_lookup_table_of_the_size_it_says_stays_and_any_other_bytes_do_not() -> None:
    for data, stays in ((bytes(8), True), (b"Peter Pan!", False), (b"Garcia!!", False), (b"DOB Mari", False)):
        table = Dataset()
        table.add_new(0x00283002, "US", [4, 0, 16])
        table.add_new(0x00283006, "OW", data)
        dataset = header(ct(elements={"VOILUTSequence": [table]}))
        assert ("LUTData" in dataset.VOILUTSequence[0]) == stays


def palette(data: bytes) -> list[DataElement]:
    return [DataElement(0x00281101, "US", [len(data), 0, 8]), DataElement(0x00281201, "OW", data)]


def test_a_palette_stays_only_where_the_pixels_need_it() -> None:
    ramp = bytes(range(200, 232))
    grey = header(slice_with(*palette(ramp)))
    assert "RedPaletteColorLookupTableData" not in grey
    assert "RedPaletteColorLookupTableDescriptor" not in grey
    coloured = header(slice_with(*palette(ramp), PixelPresentation="COLOR"))
    assert coloured.RedPaletteColorLookupTableData == ramp
    text = header(slice_with(*palette(b"DOB 1960-01-02  "), PixelPresentation="COLOR"))
    assert "RedPaletteColorLookupTableData" not in text
