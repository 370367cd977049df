"""The words in a header that identify this person, their doctors, hospital and orders: no kept value may hold them.

They are found element by element (`identifying_words`), so that what an engine has seen once it need not read again;
`own_of` makes of all of them the set that `texts.names` and `cleaning.cleaned` look for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from carina.deid.words.cleaning import unknown_words
from carina.deid.words.texts import ALSO_ORDINARY, is_ordinary, pieces, spellings
from carina.deid.words.vocabulary import kind_of

_PATIENTS = 0x0010  # the group of the patient's own attributes
_SHORTEST = 3
_SHORTEST_NAME = 2  # Li, Wu
_SHORTEST_NUMBER = 4  # digits of a part of an identifier; the whole of one counts from three
_SHORTEST_TYPED = 4  # a word, or the digits, in a text that somebody typed
_NONE: frozenset[str] = frozenset()
_LISTED_TITLES = "DR MR MS MRS MISS PROF PROFESSOR MD PHD MSC BSC RN JR SR II III IV HERR FRAU DIPL MED"
_TITLES = frozenset(_LISTED_TITLES.split())
_LISTED_NOBODYS = "NAME HERE UNKNOWN UNSPECIFIED ANONYMOUS ANONYMIZED ANONYMISED REMOVED NONE NULL TEST"
_NOBODYS = frozenset(_LISTED_NOBODYS.split())
"""Stand where a name or an identifier would: they are nobody's."""

_IDENTIFIERS = """
AccessionNumber AdmissionID CurrentPatientLocation DetectorID DeviceSerialNumber
FillerOrderNumberImagingServiceRequest GantryID InsurancePlanIdentification IssuerOfAdmissionID IssuerOfPatientID
IssuerOfServiceEpisodeID MedicalRecordLocator OrderCallbackPhoneNumber OtherPatientIDs PatientAddress PatientID
PatientInstitutionResidence PatientTelecomInformation PatientTelephoneNumbers PerformedProcedureStepID
PersonAddress PersonTelecomInformation PersonTelephoneNumbers PlacerOrderNumberImagingServiceRequest PlateID CassetteID
ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers RequestedProcedureID
ScheduledProcedureStepID ServiceEpisodeID StudyID XRaySourceID ContainerIdentifier SpecimenIdentifier
ClinicalTrialSubjectID ClinicalTrialSubjectReadingID ClinicalTrialSiteID UniversalEntityID LocalNamespaceEntityID
BarcodeValue SourceSerialNumber TreatmentMachineName RetrieveURL
"""
_PLACES = """
InstitutionName InstitutionAddress InstitutionalDepartmentName StationName StationAETitle PerformedStationName
PerformedStationAETitle ScheduledStationName ScheduledStationAETitle PerformedLocation ScheduledProcedureStepLocation
RequestingService ResponsibleOrganization VerifyingOrganization ModifyingSystem
RegionOfResidence ServiceEpisodeDescription ClinicalTrialSiteName ClinicalTrialSponsorName SourceOfPreviousValues
RequestedProcedureLocation ScheduledStudyLocation ScheduledStudyLocationAETitle
DischargeDiagnosisDescription RouteOfAdmissions
"""
_TYPED_KEYWORDS = """
StudyDescription AdmittingDiagnosesDescription Occupation AdditionalPatientHistory PatientComments ImageComments
StudyComments RequestedProcedureDescription ReasonForTheRequestedProcedure RequestedProcedureComments
ImagingServiceRequestComments MilitaryRank PatientState VisitComments SpecialNeeds
"""
_NAMING_SEQUENCES = """
PersonIdentificationCodeSequence InstitutionCodeSequence PatientInsurancePlanCodeSequence
InstitutionalDepartmentTypeCodeSequence ReferringPhysicianIdentificationSequence OperatorIdentificationSequence
PhysiciansOfRecordIdentificationSequence PerformingPhysicianIdentificationSequence
PhysiciansReadingStudyIdentificationSequence RequestingPhysicianIdentificationSequence
VerifyingObserverIdentificationCodeSequence HumanPerformerCodeSequence IssuerOfPatientIDQualifiersSequence
ContentCreatorIdentificationCodeSequence ConsultingPhysicianIdentificationSequence
"""
_BIRTH_DATES = frozenset((0x00100030, 0x00100033, 0x00100034))
_STUDY_DATES = frozenset((0x00080020, 0x00080021, 0x00080022, 0x00080023))
_CODE_TEXTS = frozenset((0x00080100, 0x00080104, 0x00080119))
_LONG_NUMBER = re.compile(r"\d{5,}", re.ASCII)
_DATE = re.compile(r"(\d\d)(\d\d)(\d\d)(\d\d)", re.ASCII)


def may_identify(tag: int, vr: str) -> bool:
    """Whether an element of this tag and VR could hold words that identify; False means it surely does not."""
    return vr in ("PN", "SQ") or tag in _WORDS_OF or (vr == "UN" and _listed_vr(tag) in ("PN", "SQ"))


def identifying_words(element: DataElement) -> frozenset[str]:
    """Words as capitals, and numbers, from one element: a name, an identifier, a date, a comment, or a sequence.

    They are not sifted yet: `own_of` leaves out words of technique and anatomy.
    """
    if not may_identify(int(element.tag), str(element.VR)):
        return _NONE
    return frozenset(_words_in(element, naming=False)) - _NOBODYS


@lru_cache(maxsize=256)
def own_of(words: frozenset[str]) -> frozenset[str]:
    """What to look for, of the words that a whole instance's elements gave, with numbers also without leading zeros.

    Words of technique and anatomy are left out, so that a phantom called HEAD keeps its body part.
    """
    found = {word for word in words if not is_ordinary(word)}
    return frozenset(found | {word.lstrip("0") for word in found if len(word.lstrip("0")) >= _SHORTEST})


def own_identifiers(dataset: Dataset) -> frozenset[str]:
    """The words that no kept value of this dataset may hold."""
    return own_of(_NONE.union(*(identifying_words(element) for element in dataset)))


def _words_in(element: DataElement, naming: bool) -> Iterator[str]:
    """`naming`: whether the element stands in a sequence whose codes name persons or places."""
    tag = int(element.tag)
    if element.VR == "SQ":
        inside = naming or tag in _SEQUENCES
        for item in element.value or ():
            for part in item:
                yield from _words_in(part, inside)
        return
    words_of = _words_of_name if element.VR == "PN" or _listed_vr(tag) == "PN" else _WORDS_OF.get(tag)
    if words_of is None and naming and tag in _CODE_TEXTS:
        words_of = _words_of_place
    if words_of is not None:
        for text in _texts(element.value):
            yield from words_of(text)
            if words_of is _words_of_name and tag >> 16 == _PATIENTS:
                yield from _ordinary_names(text)


def _words_of_name(text: str) -> Iterator[str]:
    """Each part of each group, and short parts joined in both orders."""
    for group in text.split("="):
        parts = [
            word
            for word in pieces(group)
            if word not in _TITLES and len(word) >= (_SHORTEST_NAME if word.isalpha() else _SHORTEST)
        ]
        yield from parts
        if len(parts) > 1 and min(map(len, parts)) <= _SHORTEST:
            yield parts[0] + parts[1]
            yield parts[1] + parts[0]
        for component in group.split("^"):
            yield from (word for word in spellings(component) if len(word) > _SHORTEST and word not in _TITLES)


def _ordinary_names(text: str) -> Iterator[str]:
    """Parts of a patient's name that are ordinary words, marked; none where all are, as in the name of a phantom."""
    parts = [word for word in pieces(text) if word not in _TITLES and len(word) >= _SHORTEST_NAME]
    if any(kind_of(word) is None and word not in _NOBODYS and not any(map(str.isdecimal, word)) for word in parts):
        yield from (word + ALSO_ORDINARY for word in parts if len(word) >= _SHORTEST_TYPED and is_ordinary(word))


def _words_of_identifier(text: str) -> Iterator[str]:
    """Its parts and the whole; parts of digits only from four on: 171 says nothing, +49 171 1234567 does."""
    for word in spellings(text):
        if len(word) >= (_SHORTEST_NUMBER if word.isdecimal() else _SHORTEST):
            yield word
    whole = "".join(pieces(text))
    if len(whole) >= _SHORTEST:
        yield whole
    yield from _LONG_NUMBER.findall(whole)


def _words_of_place(text: str) -> Iterator[str]:
    """As of an identifier, without what any hospital is called."""
    whole = "".join(pieces(text))
    short = (whole,) if len(whole) == _SHORTEST_NAME else ()  # a ward's A4, as a whole
    return (word for word in (*_words_of_identifier(text), *short) if kind_of(word) is None)


def _words_of_typed(text: str) -> Iterator[str]:
    """Words that no list knows, of letters only, or digits only: what has both is more often a sequence or a kernel."""
    unknown = unknown_words(text)
    for word in spellings(text) & (unknown.union(*map(spellings, unknown)) | frozenset(re.findall(r"[0-9]+", text))):
        if (word.isalpha() and len(word) >= _SHORTEST_TYPED) or (word.isdecimal() and len(word) > _SHORTEST_TYPED):
            yield word


def _texts(value: object) -> Iterator[str]:
    """Each value as a text, in every way that its bytes may have been meant."""
    if value is None:
        return
    many: Iterable[object] = (
        [value] if isinstance(value, str | bytes | PersonName) or not isinstance(value, Iterable) else value
    )
    for part in many:
        if isinstance(part, bytes):
            yield part.decode("latin-1")
            yield part.decode("utf-8", "ignore")
            continue
        yield str(part)
        original = getattr(part, "original_string", None)
        if isinstance(original, bytes) and not original.isascii():
            yield original.decode("latin-1")
            yield original.decode("utf-8", "ignore")


def _birth_dates(text: str) -> Iterator[str]:
    """The ways to write a day in digits only."""
    found = _DATE.fullmatch(text.strip(" \0").replace(".", ""))
    if found is not None:
        century, year, month, day = found.groups()
        for whole in (century + year, year):
            yield from (whole + month + day, day + month + whole, month + day + whole)


def _study_dates(text: str) -> Iterator[str]:
    """With the year in four digits only: six digits may be a position in a volume."""
    return (day for day in _birth_dates(text) if len(day) == len("YYYYMMDD"))


@lru_cache(maxsize=4096)
def _listed_vr(tag: int) -> str:
    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def _tags(keywords: str) -> frozenset[int]:
    found = {keyword: tag_for_keyword(keyword) for keyword in keywords.split()}
    return frozenset(tag for tag in found.values() if tag is not None)


_SEQUENCES = _tags(_NAMING_SEQUENCES)
_WORDS_OF: dict[int, Callable[[str], Iterator[str]]] = {
    **dict.fromkeys(_tags(_IDENTIFIERS), _words_of_identifier),
    **dict.fromkeys(_tags(_PLACES), _words_of_place),
    **dict.fromkeys(_tags(_TYPED_KEYWORDS), _words_of_typed),
    **dict.fromkeys(_BIRTH_DATES, _birth_dates),
    **dict.fromkeys(_STUDY_DATES, _study_dates),
}
