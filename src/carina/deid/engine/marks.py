"""What a clean instance says of its own de-identification, PS3.15 section E.1.1 and PS3.3 sections C.7.1.1, C.7.6.1.

Each mark says only what was truly done. Options whose rules every element of the header has met are named, as PS3.15
section E.1.1 asks for the options used; what is work on one instance's pixels is named only where that work was done.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.deid.engine.faces import faces_of
from carina.deid.facts import text
from carina.deid.pixels.findings import Findings
from carina.deid.profile import FULL_DATES, MODIFIED_DATES, PIXEL_DATA, UIDS, VISUAL_FEATURES
from carina.deid.rules import table
from carina.deid.rules.iods import Type, type_of
from carina.deid.rules.rule import Place
from carina.deid.words import codes
from carina.dicom.parse import PIXELS

ENGINE = "2"
"""Changes with any change of code, words or codes that changes what comes out."""


MARKED = (0x00280301, 0x00280302, 0x00280303)
"""Burned In Annotation, Recognizable Visual Features, Longitudinal Temporal Information Modified: only our own word
of them comes out."""

_BASIC = ("113100", "Basic Application Confidentiality Profile")
_CODES = {
    "clean_graphics": ("113103", "Clean Graphics Option"),
    "clean_structured_content": ("113104", "Clean Structured Content Option"),
    "clean_descriptors": ("113105", "Clean Descriptors Option"),
    FULL_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    MODIFIED_DATES: ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "retain_patient_characteristics": ("113108", "Retain Patient Characteristics Option"),
    "retain_device_identity": ("113109", "Retain Device Identity Option"),
    "retain_uids": ("113110", "Retain UIDs Option"),
    "retain_safe_private": ("113111", "Retain Safe Private Option"),
    "retain_institution_identity": ("113112", "Retain Institution Identity Option"),
}
"""CID 7050 of PS3.16, by option; for pixels and faces see `methods`."""
_PIXELS = ("113101", "Clean Pixel Data Option")
_FACES = ("113102", "Clean Recognizable Visual Features Option")
_MEANINGS = dict((_BASIC, _PIXELS, _FACES, *_CODES.values()))

_CLEANED = frozenset(("113101", "113102", "113103", "113104", "113105"))
"""What was cleaned before stays clean, whatever is done after."""
_ARRIVED = frozenset(_CODES[option][0] for option in (FULL_DATES, MODIFIED_DATES, UIDS))
"""Of a pseudonymised source: whether its dates and UIDs are the original ones was decided before it came."""
_DATES = {"MODIFIED": "113107", "UNMODIFIED": "113106", "REMOVED": ""}
"""What Longitudinal Temporal Information Modified (0028,0303) says, and the option's code."""


@dataclass(frozen=True)
class Marks:
    """What is to be said.

    methods     codes of CID 7050 of PS3.16, in order
    dates       Longitudinal Temporal Information Modified (0028,0303), or "" where nobody knows
    looked_at   whether the pixels were searched for text, and what was found is gone
    faces       Recognizable Visual Features (0028,0302): "YES", "NO", or "" where nobody knows
    plain       whether its sender calls it free of text and its IOD wants the attribute (Enhanced MR and the like):
                what may show text has been looked at, or does not pass
    """

    methods: tuple[str, ...]
    dates: str
    looked_at: bool = False
    faces: str = ""
    plain: bool = False


def marks_of(
    dataset: Dataset, options: tuple[str, ...], findings: Findings | None, *, pseudonymised: bool = False
) -> Marks:
    """The marks of an instance that may pass, by its header as it came.

    pseudonymised   what was done before it came is told too, as its header says it
    """
    has_pixels = any(keyword in dataset for keyword in PIXELS)
    looked_at = findings is not None and PIXEL_DATA in options and has_pixels
    faces = faces_of(dataset)
    done = {_CODES[option][0] for option in options if option in _CODES}
    if looked_at:
        done.add(_PIXELS[0])
    if VISUAL_FEATURES in options and faces == "NO":
        done.add(_FACES[0])
    dates = "MODIFIED" if MODIFIED_DATES in options else "REMOVED"
    if pseudonymised:
        before = _codes_of(dataset)
        dates = _dates_of(dataset)
        done = done - _ARRIVED | before & _CLEANED | before & {_CODES[UIDS][0]} | {_DATES.get(dates, "")} - {""}
        if _FACES[0] in before and faces == "YES":
            faces = ""  # they were removed, and nobody here has looked how well
    place = Place(text(dataset, "SOPClassUID"))
    plain = text(dataset, "BurnedInAnnotation") == "NO" and type_of(MARKED[0], place) is Type.VALUE
    return Marks((_BASIC[0], *sorted(done)), dates, looked_at, faces, plain)


def put_marks(clean: Dataset, pseudonym: str, marks: Marks) -> None:
    """Write the person's pseudonym and the marks into a clean header."""
    clean.PatientName = clean.PatientID = pseudonym
    clean.setdefault("Modality", "OT")
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = [f"Carina engine {ENGINE}", f"PS3.15 {table.EDITION} Basic Profile"]
    clean.DeidentificationMethodCodeSequence = Sequence(
        [codes.coded(code, "DCM", _MEANINGS[code]) for code in marks.methods]
    )
    for tag in MARKED:
        clean.pop(tag, None)
    if marks.dates:
        clean.LongitudinalTemporalInformationModified = marks.dates
    if marks.looked_at or marks.plain:
        clean.BurnedInAnnotation = "NO"
    if marks.faces:
        clean.RecognizableVisualFeatures = marks.faces


def options_in(codes_named: Collection[str]) -> tuple[str, ...]:
    """The options that the codes of a clean instance's methods name, those of its pixels and faces aside."""
    return tuple(sorted(option for option, (code, _) in _CODES.items() if code in codes_named))


def _codes_of(dataset: Dataset) -> set[str]:
    """The codes of the methods by which the instance was de-identified before it came."""
    items = dataset.get("DeidentificationMethodCodeSequence")
    items = items if isinstance(items, Sequence) else ()
    return {text(item, "CodeValue") for item in items if text(item, "CodingSchemeDesignator") == "DCM"}


def _dates_of(dataset: Dataset) -> str:
    """What the instance says of its dates; "" where that is none of the defined terms."""
    said = text(dataset, "LongitudinalTemporalInformationModified").upper()
    return said if said in _DATES else ""
