"""What stays of a typed text, and which words of a header identify."""

from __future__ import annotations

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.deid.words import codes
from carina.deid.words.cleaning import cleaned
from carina.deid.words.identifiers import identifying_words, may_identify, own_identifiers, own_of
from carina.deid.words.vocabulary import Kind, kind_of


def own(name: str = "Garcia^Maria", identifier: str = "MR12345678Z") -> frozenset[str]:
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID = name, identifier
    return own_identifiers(dataset)


OWN = own()


# --- what stays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "AX LUNG 1.25mm", "Lung_L", "LIVER B-MODE", "T2 TSE SAG", "GTV primary", "CT chest w/o contrast", "PET WB AC",
        "AX DWI b1000", "DWI b 0 400 800", "CHEST PA", "Hodgkin's disease", "Morbus Crohn", "Gleason 7", "Follow-up",
        "Iohexol 300", "4 mm nodule in the right upper lobe.", "512x512", "PTV7000", "SpinalCord", "ABDOMEN^ROUTINE",
        "DWI b=0,50,400,800", "BrainStem_PRV03", "C-spine", "BI-RADS 4", "CHEST/ABD/PEL", "T1 1024",
        "(pre / post) contrast", "Brown fat", "white matter", "Schädel nativ", "Foie avec contraste",
        "Hígado sin contraste", "Fegato con contrasto", "Lever met contrast", "Wątroba z kontrastem",
        "Fígado sem contraste", "L5/S1", "2.5 mm", "300", "T1 MPRAGE 3D", "kidney stone 4 mm (left)",
    ],
)  # fmt: skip
def test_technical_words_stay_as_they_were_written(text: str) -> None:
    assert cleaned(text, OWN) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("HODGKIN LYMPHOMA STAGING GARCIA MR12345678Z", "HODGKIN LYMPHOMA STAGING"),
        ("AX LUNG 1.25mm Garcia 17.03.2019", "AX LUNG 1.25mm"),
        ("Thorax Routine per Abernathyle", "Thorax Routine"),
        ("Pt Maria Garcia (tel +49 171 1234567) seen 2019-03-17; 4 mm nodule RUL", "4 mm nodule RUL"),
        ("CT of chest MR12345678Z", "CT of chest"),
        ("LUNG for García", "LUNG"),
        ("lung (Smithsonova) right", "lung right"),
        ("Lung_Smithsonova_L", "Lung_L"),
        ("Dr. Brown: chest", "chest"),
        ("chest per Brown", "chest"),
        ("Brown Smithsonova chest", "chest"),
        ("chest J. Smithsonova", "chest"),
        ("Smithsonova's liver", "liver"),
        ("chest\nSmithsonova\nliver", "chest\nliver"),
        ("Signed: White", "Signed"),
        ("chest, IBAN GB29 NWBK 6016 1331 9268 19", "chest"),
        ("chest 00:1B:44:11:3A:B7 fe80::1", "chest"),
        ("chest w/o contrast on 3 Feb", "chest w/o contrast"),
        ("chest, DOB 03/61", "chest"),
        ("chest, age 93", "chest"),
        ("chest 93 M", "chest"),
    ],
)
def test_names_and_numbers_go_and_the_rest_stays(text: str, left: str) -> None:
    assert cleaned(text, OWN) == left


@pytest.mark.parametrize(
    "secret",
    [
        "2019-03-17", "17.03.2019", "17/03/2019", "3/17/19", "20190317", "17-MAR-2019", "17 March 2019",
        "March 17, 2019", "17. März 2019", "17 marzo 2019", "17 mars 2019", "17 maart 2019", "17 marca 2019",
        "17 de março de 2019", "Mar-2019", "17.3.", "2019", "+49 171 1234567", "(555) 123-4567", "06 12 34 56 78",
        "987-65-4321", "a.b@example.org",
        "https://pacs.example/wado?x=1", "pacs.klinikum.de", "10.0.12.34", "1.2.840.113619.2.5.1762583153.215519",
        "12345", "1 2 3 4 5 6 7 8", "Smithsonova", "Παπαδοπουλίδης", "山田", "Иванов", "95 y/o", "094Y", "A1960B",
        "G A R C I A", "GAR CIA", "Garcia1", "GARCÍA", "GarcÃ\xada", "Maria-Garcia", "12345678", "MR 12345678 Z",
    ],
)  # fmt: skip
def test_what_identifies_goes_wherever_it_stands(secret: str) -> None:
    assert cleaned(secret, OWN) == ""
    assert cleaned(f"chest {secret}", OWN) == "chest"
    assert cleaned(f"{secret} liver", OWN) == "liver"
    assert cleaned(f"lung, {secret}, right", OWN) == "lung right"


def test_names_of_two_letters_go_as_whole_words_and_stay_inside_others() -> None:
    li = own("Li^Wu")
    assert cleaned("LIVER LI", li) == "LIVER"
    assert cleaned("wu liver LiWu", li) == "liver"


def test_a_word_of_the_vocabulary_goes_when_it_is_the_persons_own_name() -> None:
    assert cleaned("HODGKIN LYMPHOMA", own("Hodgkin^Ann")) == "LYMPHOMA"
    assert cleaned("HODGKIN LYMPHOMA", own("Parkinsonova^Hodgkinia")) == "HODGKIN LYMPHOMA"
    assert cleaned("Brown fat", own("Brown^Ann")) == "fat"
    assert cleaned("HEAD", own("Head^Phantom")) == "HEAD"


def test_every_spelling_of_a_name_goes() -> None:
    for written in ("Müller", "MUELLER", "Muller", "MÃ¼ller", "MU LLER", "mueller's", "Müller-Lüdenscheidt"):
        assert cleaned(f"chest {written}", own("Müller^Jürgen")) == "chest"


@pytest.mark.parametrize(
    "text",
    [
        "chest Smithsonova 12 34 567 89 liver", "a Brown b Young c Smithsonova", "per per per Dr Dr",
        "1-2-3 4-5-6 x 19-03-17", "(((chest Smithsonova)", "12 Smithsonova 345 67 8 chest", "G A chest R C",
        "the of for", "[Smithsonova]]",
        "19 Smithsonova 03 2019 lung", "\0\0 chest\t\x1b$B", "L'abdomen d'Smithsonova",
    ],
)  # fmt: skip
def test_cleaning_what_is_clean_changes_nothing(text: str) -> None:
    once = cleaned(text, OWN)
    assert cleaned(once, OWN) == once
    assert "smithsonova" not in once.lower()


def test_a_long_text_is_cleaned_too() -> None:
    assert cleaned("nodule Smithsonova " * 2000, OWN) == ("nodule " * 2000).strip()


def test_the_vocabulary_says_what_a_word_is() -> None:
    assert kind_of("LUNG") is Kind.PLAIN
    assert kind_of("BROWN") is Kind.NAME
    assert kind_of("OF") is Kind.BINDING
    assert kind_of("SMITH") is None
    assert kind_of("LI") is None


# --- identifiers ----------------------------------------------------------------------------------------------------


def test_words_are_found_in_groups_of_names_identifiers_and_items() -> None:
    inside = Dataset()
    inside.PatientName, inside.AccessionNumber = "Nowakowa^Ewa=山田^太郎", "77123456789"
    element = DataElement(0x04000561, "SQ", Sequence([inside]))
    assert {"NOWAKOWA", "EWA", "77123456789"} <= identifying_words(element)
    assert {"MR12345678Z", "12345678"} <= identifying_words(DataElement(0x00100020, "LO", "MR12345678Z"))
    assert "491711234567" in identifying_words(DataElement(0x00102154, "SH", "+49 171 1234567"))
    assert "171" not in identifying_words(DataElement(0x00102154, "SH", "+49 171 1234567"))
    assert {"LIWU", "WULI", "LI", "WU"} <= identifying_words(DataElement(0x00100010, "PN", "Li^Wu"))
    assert "LUEDTKE" in identifying_words(DataElement(0x00080081, "ST", "Lüdtke-Allee"))
    assert "20190317" in identifying_words(DataElement(0x00080020, "DA", "20190317"))


def test_bytes_under_a_known_tag_are_read_as_text() -> None:
    assert "MR12345678Z" in identifying_words(DataElement(0x00101090, "UN", b"MRL MR12345678Z "))


def test_codes_in_sequences_that_name_persons_or_places_identify() -> None:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "X1", "Planholder Hedwigsburg"
    assert "HEDWIGSBURG" in identifying_words(DataElement(0x00100050, "SQ", Sequence([item])))
    assert not identifying_words(DataElement(0x00081032, "SQ", Sequence([item])))


def test_only_elements_that_may_identify_have_words() -> None:
    for tag, vr, value in ((0x0008103E, "LO", "Nowakowa"), (0x00180015, "CS", "CHEST"), (0x00180060, "DS", "120")):
        assert not may_identify(tag, vr)
        assert not identifying_words(DataElement(tag, vr, value))
    assert may_identify(0x00100010, "UN")
    assert may_identify(0x00991001, "PN")


def test_typed_texts_give_only_words_that_no_list_knows() -> None:
    found = identifying_words(DataElement(0x00081030, "LO", "HODGKIN LYMPHOMA STAGING NOWAKOWA"))
    assert found == {"NOWAKOWA"}
    assert "SHARP" in identifying_words(DataElement(0x00104000, "LT", "Mrs Sharp called"))


def test_ordinary_words_and_leading_zeros_are_sifted() -> None:
    assert own_of(frozenset(("HEAD", "NOWAKOWA", "0012345"))) == {"NOWAKOWA", "0012345", "12345"}


# --- codes ----------------------------------------------------------------------------------------------------------


def test_a_meaning_that_the_standard_lacks_is_cleaned_where_descriptors_are() -> None:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "169069000", "SCT", "Chest of MR12345678Z"
    for cleaning, meaning in ((True, "Chest"), (False, "169069000")):
        clean = Dataset()
        codes.put_code(clean, item, OWN, cleaning=cleaning)
        assert clean.CodeMeaning == meaning


# --- names that are ordinary words, or nobody's ---------------------------------------------------------------------


def test_a_patient_named_like_a_body_part_is_not_named_in_a_description() -> None:
    assert cleaned("CT HEAD STAGING", own("Head^Michaela")) == "CT STAGING"
    assert cleaned("CT HEAD STAGING", own("Head^Phantom")) == "CT HEAD STAGING"


def test_what_stands_for_no_name_is_nobodys() -> None:
    assert identifying_words(DataElement(0x00080080, "LO", "name here")).isdisjoint({"NAME", "HERE"})
