"""What a verification looks for: the identifiers of an original, and each way to write them.

Collected by tables of its own, not by those that the cleaning goes by (`words.identifiers`). Only the lists of ordinary
words are shared: they are data, and say which words identify nobody.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.valuerep import PersonName

from carina.deid.words.texts import is_ordinary
from carina.deid.words.vocabulary import Kind as Listed
from carina.deid.words.vocabulary import kind_of


class Kind(StrEnum):
    """What a needle is; the word stands in reports."""

    NAME = "a name"
    IDENTIFIER = "an identifier"
    PLACE = "an institution or address"
    DEVICE = "a device's identifier"
    DATE = "a date"
    UID = "a UID"
    AGE = "an age above 89"
    NEVER = "an attribute that no profile keeps"


class Needle(NamedTuple):
    """One thing that must not be left, as the original has it; identifying."""

    kind: Kind
    text: str


_OF: dict[Kind, str] = {
    Kind.IDENTIFIER: """
        AccessionNumber StudyID PatientID OtherPatientIDs MedicalRecordLocator PatientTelephoneNumbers
        PatientTelecomInformation InsurancePlanIdentification AdmissionID ServiceEpisodeID RequestedProcedureID
        ScheduledProcedureStepID PerformedProcedureStepID PlacerOrderNumberImagingServiceRequest
        FillerOrderNumberImagingServiceRequest PlacerOrderNumberProcedure FillerOrderNumberProcedure
        OrderCallbackPhoneNumber OrderCallbackTelecomInformation PersonTelephoneNumbers PersonTelecomInformation
        ReferringPhysicianTelephoneNumbers SpecimenIdentifier ContainerIdentifier ClinicalTrialSubjectID
        ClinicalTrialSubjectReadingID""",
    Kind.PLACE: """
        IssuerOfPatientID IssuerOfAdmissionID IssuerOfServiceEpisodeID InstitutionName InstitutionAddress
        InstitutionalDepartmentName PatientAddress PersonAddress ReferringPhysicianAddress PerformedLocation
        ScheduledProcedureStepLocation RequestedProcedureLocation ScheduledStudyLocation CurrentPatientLocation
        PatientInstitutionResidence RequestingService ResponsibleOrganization VerifyingOrganization ModifyingSystem
        ClinicalTrialSiteName""",
    Kind.DEVICE: "DeviceSerialNumber StationName PerformedStationName ScheduledStationName DetectorID GantryID",
}
_KINDS = {
    tag: kind
    for kind, keywords in _OF.items()
    for keyword in keywords.split()
    if (tag := tag_for_keyword(keyword)) is not None
}

_IN_CODES = """
PatientInsurancePlanCodeSequence InstitutionCodeSequence PersonIdentificationCodeSequence
ReferringPhysicianIdentificationSequence PerformingPhysicianIdentificationSequence OperatorIdentificationSequence
PhysiciansOfRecordIdentificationSequence PhysiciansReadingStudyIdentificationSequence
RequestingPhysicianIdentificationSequence
"""
_NAMING = frozenset(tag for keyword in _IN_CODES.split() if (tag := tag_for_keyword(keyword)) is not None)
"""Sequences whose coded entries name persons and places."""
_CODE_TEXTS = frozenset((0x00080100, 0x00080104, 0x00080119))
_BY_VR = frozenset(("PN", "DA", "DT"))
_DATE = re.compile(r"\s*(\d{4})\.?(\d\d)\.?(\d\d)", re.ASCII)
_NOBODYS = """
removed unknown unspecified anonymous anonymized anonymised anonym pseudonym none null patient test name here
dr md mr mrs ms prof phd sir herr frau sr jr ii iii
"""
_NAMED_NOBODY = frozenset(_NOBODYS.split())
"""Stand where a name or an identifier would, or beside one: they are nobody's."""
_SHORTEST_PIECE = 5  # of an identifier's parts; shorter ones are many things


def needles_in(element: DataElement, naming: bool = False) -> Iterator[Needle]:
    """The needles of one element of an original, and of what it holds.

    naming   whether it stands in a sequence whose coded entries name persons or places
    """
    tag, vr = int(element.tag), _vr(element)
    if vr == "SQ":
        for part in _inside(element):
            yield from needles_in(part, naming or tag in _NAMING)
        return
    kind = Kind.PLACE if naming and tag in _CODE_TEXTS else _KINDS.get(tag)
    for text in texts_of(element.value) if kind or vr in _BY_VR else ():
        if vr == "PN":
            yield from (Needle(Kind.NAME, part.strip()) for part in re.split(r"[\^=]", text) if part.strip())
        elif vr in ("DA", "DT"):
            found = _DATE.match(text)
            yield from [Needle(Kind.DATE, "".join(found.groups()))] if found else []
        elif kind is not None:
            yield Needle(kind, text)


def _inside(element: DataElement) -> Iterator[DataElement]:
    """The elements of all items of a sequence; of one that came as bytes, none: the engine removes it."""
    if not isinstance(element.value, bytes):
        for item in element.value or ():
            yield from item


def uids_in(element: DataElement) -> Iterator[str]:
    """The UIDs of one element of an original, and of what it holds."""
    if element.VR == "SQ":
        for part in _inside(element):
            yield from uids_in(part)
    elif element.VR == "UI":
        yield from (text.strip() for text in texts_of(element.value) if text.strip())


def _vr(element: DataElement) -> str:
    """The VR; of an element whose sender did not know it, that of the data dictionary."""
    tag = int(element.tag)
    return dictionary_VR(tag) if element.VR == "UN" and dictionary_has_tag(tag) else str(element.VR)


def texts_of(value: object) -> Iterator[str]:
    """Each value as a text, also as it would be if its bytes were in another character set than they say."""
    many: Iterable[object] = [value]
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | PersonName):
        many = value
    for part in many:
        raw = part if isinstance(part, bytes) else getattr(part, "original_string", b"")
        if isinstance(raw, bytes) and raw:
            yield from {raw.decode(name, "ignore").replace("\0", " ").strip() for name in ("utf-8", "latin-1")}
        if part is None or isinstance(part, bytes):
            continue
        text = str(part).replace("\0", " ").strip()
        if text:
            yield text
            yield from _otherwise_read(text)


def _otherwise_read(text: str) -> Iterator[str]:
    """What UTF-8 that was read as Latin-1 was meant to be."""
    if not text.isascii():
        try:
            yield text.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return


# --- from a needle to what is looked for ----------------------------------------------------------------------------


def words_of(needle: Needle) -> set[str]:
    """The parts of a needle that identify, folded: see `folded`."""
    whole = folded(needle.text)
    pieces = re.findall(r"[^\W_]+", whole)
    squeezed = "".join(pieces)
    if squeezed in _NAMED_NOBODY or not squeezed:
        return set()
    if needle.kind is Kind.DATE:
        year, month, day = squeezed[:4], squeezed[4:6], squeezed[6:]
        return {year + month + day, day + month + year, month + day + year}
    if needle.kind is Kind.NAME:
        spelt = re.findall(r"[^\W_]+", folded(needle.text.lower().translate(_SPELT_OUT)))
        return {word for word in (*pieces, *spelt) if _names_somebody(word)}
    found = {squeezed} if needle.kind in (Kind.IDENTIFIER, Kind.DEVICE) or len(pieces) == 1 else set()
    digits = "".join(sign for sign in squeezed if sign.isdecimal())
    if needle.kind is Kind.IDENTIFIER and len(digits) >= _SHORTEST_PIECE:
        found |= {digits, digits.lstrip("0")}
    found |= {whole} if needle.kind is Kind.IDENTIFIER and len(pieces) > 1 else set()
    found |= {word for word in pieces if len(word) >= (4 if needle.kind is Kind.PLACE else _SHORTEST_PIECE)}
    found -= _NAMED_NOBODY
    if needle.kind is Kind.PLACE:
        return {word for word in found if kind_of(word.upper()) is None and not (word.isdecimal() and len(word) < 5)}
    return {word for word in found if not is_ordinary(word.upper()) and kind_of(word.upper()) is None}


def _names_somebody(word: str) -> bool:
    """Whether a part of a name is more than an initial, a title, a particle, or a word of technique and anatomy."""
    if len(word) < (2 if word.isascii() else 1) or word in _NAMED_NOBODY:
        return False
    return not is_ordinary(word.upper()) and kind_of(word.upper()) is not Listed.BINDING


_LETTERS = str.maketrans(dict(zip("ßøæœłđðþı", ("ss", "o", "ae", "oe", "l", "d", "d", "th", "i"), strict=True)))
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})


def folded(text: str) -> str:
    """A text in lower case, without accents."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", text).lower().translate(_LETTERS))
    return "".join(sign for sign in plain if not unicodedata.combining(sign)).lower()


_ENCODINGS = (
    "utf-8", "utf-16-le", "utf-16-be", "gb18030", "shift_jis", "euc_jp", "euc_kr", "big5", "koi8_r", "tis_620",
    *(f"iso8859_{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)), *(f"cp125{page}" for page in range(8)),
    "iso2022_jp_2", "iso2022_kr",
)  # fmt: skip
_ESCAPES = re.compile(rb"\x1b(\$[()]?[@-C]|[().-][@-Z])|\x0e|\x0f|\x1b\$\)C")


@cache
def _encodings(ascii_only: bool) -> tuple[str, ...]:
    return ("utf-8", "utf-16-le", "utf-16-be") if ascii_only else _ENCODINGS


def patterns_of(text: str) -> set[bytes]:
    """The bytes of a text in each encoding, as written and in capitals; ASCII letters in lower case, see `bytes.lower`.

    Code extensions (ISO 2022) stand without the escape sequences around them.
    """
    found = set()
    for spelling in {text, text.lower(), text.upper(), text.title()}:
        for name in _encodings(spelling.isascii()):
            try:
                data = spelling.encode(name)
            except UnicodeError:
                continue
            found.add((_ESCAPES.sub(b"", data) if name.startswith("iso2022") else data).lower())
    if not text.isascii():
        found |= {data.decode("latin-1").encode() for data in tuple(found) if not data.isascii()}  # read as Latin-1
    return {data for data in found if len(data) >= 4}
