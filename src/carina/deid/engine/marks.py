"""What a clean instance says of its own de-identification, PS3.15 section E.1.1 and PS3.3 sections C.7.1.1, C.7.6.1.

Each mark says only what was truly done: an option of the profile that did not touch the instance is not named.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.deid.engine.faces import faces_of
from carina.deid.pixels.findings import Findings
from carina.deid.profile import FULL_DATES, MODIFIED_DATES, PIXEL_DATA, VISUAL_FEATURES
from carina.deid.rules import table
from carina.deid.words import codes

ENGINE = "2"
"""Changes with any change of code, words or codes that changes what comes out."""


MARKED = (0x00280301, 0x00280302)
"""Burned In Annotation and Recognizable Visual Features: what the sender says of them is not believed."""

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


@dataclass(frozen=True)
class Marks:
    """What is to be said.

    looked_at   whether the pixels were searched for text, and what was found is gone
    faces       Recognizable Visual Features (0028,0302): "YES", "NO", or "" where nobody knows
    """

    options: tuple[str, ...]
    looked_at: bool = False
    faces: str = ""


def marks_of(dataset: Dataset, options: tuple[str, ...], findings: Findings | None) -> Marks:
    """The marks of an instance that may pass, by its header as it came."""
    looked_at = findings is not None and PIXEL_DATA in options
    return Marks(options, looked_at, faces_of(dataset))


def put_marks(clean: Dataset, pseudonym: str, marks: Marks) -> None:
    """Write the person's pseudonym and the marks into a clean header."""
    clean.PatientName = clean.PatientID = pseudonym
    clean.setdefault("Modality", "OT")
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = [f"Carina engine {ENGINE}", f"PS3.15 {table.EDITION} Basic Profile"]
    clean.DeidentificationMethodCodeSequence = Sequence(
        [codes.coded(code, "DCM", meaning) for code, meaning in methods(marks)]
    )
    clean.LongitudinalTemporalInformationModified = _dates(marks.options)
    for tag in MARKED:
        clean.pop(tag, None)
    if marks.looked_at:
        clean.BurnedInAnnotation = "NO"
    if marks.faces:
        clean.RecognizableVisualFeatures = marks.faces


def methods(marks: Marks) -> list[tuple[str, str]]:
    """Code and meaning of what was done, in the order of the codes."""
    found = [_BASIC, *(_CODES[option] for option in set(marks.options) & set(_CODES))]
    if marks.looked_at:
        found.append(_PIXELS)
    if VISUAL_FEATURES in marks.options and marks.faces == "NO":
        found.append(_FACES)
    return sorted(found)


def _dates(options: tuple[str, ...]) -> str:
    if FULL_DATES in options:
        return "UNMODIFIED"
    return "MODIFIED" if MODIFIED_DATES in options else "REMOVED"
