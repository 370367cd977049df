"""What becomes of one element: small functions that take it and its `Subject`, and give what is written, or None.

`listed` and `unlisted` choose among them for each attribute. A step that takes `otherwise` does that where the value
may not stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pydicom._uid_dict import UID_dictionary
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue

from carina.deid.pseudonyms import accession_number, new_uid, shift_date, shift_date_time
from carina.deid.rules.colours import srgb
from carina.deid.rules.rule import Step, Subject
from carina.deid.words import codes, numbers, terms, texts
from carina.deid.words.cleaning import cleaned
from carina.deid.words.values import DUMMIES, dictionary_vr
from carina.dicom.kinds import CLEANED, PIXELS_TO_CHECK
from carina.dicom.makers import maker


def remove(element: DataElement, subject: Subject) -> None:
    """X."""


def empty(element: DataElement, subject: Subject) -> DataElement:
    """Z: zero length."""
    vr = vr_of(element)
    return DataElement(element.tag, vr, [] if vr == "SQ" else None)


def dummy(element: DataElement, subject: Subject) -> DataElement | None:
    """D: a value that is valid for the VR and says nothing."""
    vr = vr_of(element)
    if vr == "UI":
        return pseudonymous_uid(element, subject)
    if element.tag == 0x00080201:  # Timezone Offset From UTC, a text with a form of its own
        return DataElement(element.tag, vr, "+0000")
    return DataElement(element.tag, vr, DUMMIES[vr]) if vr in DUMMIES else None


def keep(element: DataElement, subject: Subject) -> DataElement:
    """As it is; the items of a sequence are cleaned by their own rules."""
    return element


def colour_profile(element: DataElement, subject: Subject) -> DataElement:
    """D for ICC Profile: plain sRGB."""
    return DataElement(element.tag, "OB", srgb())


def keep_items(element: DataElement, subject: Subject) -> DataElement | None:
    """U*, C, K and D for a sequence: its items, cleaned. Whatever is no sequence here is removed."""
    return element if element.VR == "SQ" else None


def unknown_code(element: DataElement, subject: Subject) -> DataElement:
    """D for a sequence of coded entries: one entry that says "unknown"."""
    return DataElement(element.tag, "SQ", [codes.coded(*codes.UNKNOWN)])


def pseudonym(element: DataElement, subject: Subject) -> DataElement:
    """Patient's Name and Patient ID."""
    return DataElement(element.tag, vr_of(element), subject.pseudonym)


def accession(element: DataElement, subject: Subject) -> DataElement:
    """Z for Accession Number: a keyed value, so that the studies of one order stay together."""
    text = str(element.value or "").strip()
    return DataElement(element.tag, "SH", accession_number(subject.keys, text) if text else "")


# --- UIDs -----------------------------------------------------------------------------------------------------------

_STAYING = frozenset(
    uid
    for uid, (_, kind, *_) in UID_dictionary.items()
    if kind in ("Well-known frame of reference", "Well-known SOP Instance", "Synchronization Frame of Reference")
)
_IDENTITY = (0x00080018, 0x0020000D, 0x0020000E)
_SOP_CLASSES = frozenset(CLEANED) | frozenset(PIXELS_TO_CHECK)
_CONTEXT_GROUP = re.compile(r"1\.2\.840\.10008\.6\.1\.[1-9]\d{0,3}", re.ASCII)
_CODING_SCHEMES = frozenset(uid for uid, (_, kind, *_) in UID_dictionary.items() if "Coding Scheme" in kind)
_UID = re.compile(r"(?=.{1,64}\Z)[0-2](\.(0|[1-9]\d*))+", re.ASCII)


def pseudonymous_uid(element: DataElement, subject: Subject) -> DataElement:
    """U: each UID by its keyed replacement; what the standard itself has named (an atlas, a palette) keeps its UID.

    The instance's own, its series' and its study's are always replaced, so that no two projects share one.
    """
    stays = frozenset() if element.tag in _IDENTITY else _STAYING
    return _each_uid(element, lambda uid: uid if uid in stays else new_uid(subject.keys, uid))


def class_uid(element: DataElement, subject: Subject) -> DataElement:
    """A UID not in the table: those of the standard (SOP classes, context groups) stay, all others are replaced."""
    stays = _CODING_SCHEMES.__contains__ if element.tag == 0x0008010C else _is_of_the_standard
    return _each_uid(element, lambda uid: uid if stays(uid) else new_uid(subject.keys, uid))


def kept_uid(element: DataElement, subject: Subject) -> DataElement:
    """K: what is a UID stays (PS3.5 section 9.1); what is none is replaced as one."""
    return _each_uid(element, lambda uid: uid if _UID.fullmatch(uid) else new_uid(subject.keys, uid))


def _is_of_the_standard(uid: str) -> bool:
    """Whether PS3.6 annex A lists this UID, as pydicom or `kinds` knows it, or it has the form of a context group's."""
    return uid in UID_dictionary or uid in _SOP_CLASSES or _CONTEXT_GROUP.fullmatch(uid) is not None


def _each_uid(element: DataElement, change: Callable[[str], str]) -> DataElement:
    return DataElement(element.tag, "UI", [change(uid) if uid else "" for uid in values_of(element)])


# --- dates and times ------------------------------------------------------------------------------------------------

_TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 1901, 2199
_NEVER = ("19700101", "1970.01.01")
"""Stand-ins for "no date" (1900, 9999, the computers' first day): moved, they would tell by how much."""


def moved_date(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """C for VR DA or DT: moved by the person's days; `otherwise` where a value is no date, or a stand-in for none."""
    vr = vr_of(element)
    shift = shift_date if vr == "DA" else shift_date_time
    moved = [_moved(shift, text, subject.days) if text else "" for text in values_of(element)]
    if None in moved:
        return otherwise(element, subject)
    return DataElement(element.tag, vr, moved)


def _moved(shift: Callable[[str, int], str | None], text: str, days: int) -> str | None:
    year = text[:4]
    if not (year.isascii() and year.isdecimal()) or not _FIRST_YEAR <= int(year) <= _LAST_YEAR:
        return None
    return None if text.startswith(_NEVER) else shift(text, days)


def kept_date(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """K for VR DA or DT: what is a date stays."""
    shift = shift_date if vr_of(element) == "DA" else shift_date_time
    found = values_of(element)
    if any(text and shift(text, 0) is None for text in found):
        return otherwise(element, subject)
    return DataElement(element.tag, vr_of(element), found)


def time(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """A time of day of VR TM."""
    return _fitting(_TIME, otherwise, element, subject)


def offset(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """Timezone Offset From UTC: without it the times that stay mean nothing."""
    return _fitting(_OFFSET, otherwise, element, subject)


def _fitting(pattern: re.Pattern[str], otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """The value, blanks around it aside, if it has this form."""
    found = values_of(element)
    if all(pattern.fullmatch(text) for text in found if text):
        return DataElement(element.tag, vr_of(element), found)
    return otherwise(element, subject)


# --- terms and numbers ----------------------------------------------------------------------------------------------


def code_string(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """VR CS: the values that are known terms of the attribute and hold no word of this person's."""
    kept = terms.kept_terms(element.tag, values_of(element), subject.own)
    return otherwise(element, subject) if kept is None else kept


def one_of(listed: frozenset[str], otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """The value if it is one of an attribute's defined terms."""
    found = values_of(element)
    if listed.issuperset(text for text in found if text):
        return DataElement(element.tag, vr_of(element), found)
    return otherwise(element, subject)


def number(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """A number that hides nothing, see `numbers`."""
    kept = numbers.kept_number(element, subject.own)
    return otherwise(element, subject) if kept is None else kept


def measured(element: DataElement, subject: Subject) -> DataElement | None:
    """Samples, points or indices in bytes, which are no text."""
    value = element.value
    if not isinstance(value, bytes) or numbers.is_text(value):
        return None
    return None if len(value) < _FEW_BYTES and texts.names(value.decode("latin-1"), subject.own) else element


_FEW_BYTES = 1 << 10  # in more, a word may stand by chance
_AGE = re.compile(r"(\d{1,3})([DWMY])", re.ASCII)
_PER_YEAR = {"D": 365.25, "W": 52.1775, "M": 12, "Y": 1}
OLDEST = 89
"""Years; so few people are older that their age points at them."""


def age(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """VR AS: an age, `090Y` for all that are over 89 years, in whatever unit."""
    found = [_AGE.fullmatch(text) for text in values_of(element) if text]
    if None in found:
        return otherwise(element, subject)
    return DataElement(element.tag, "AS", [_told_age(int(part[1]), part[2]) for part in found if part])


def _told_age(count: int, unit: str) -> str:
    return "090Y" if count / _PER_YEAR[unit] >= OLDEST + 1 else f"{count:03}{unit}"


# --- texts ----------------------------------------------------------------------------------------------------------


def by_maker(element: DataElement, subject: Subject) -> DataElement:
    """Manufacturer in the one spelling that `dicom.makers` has for it."""
    return DataElement(element.tag, "LO", maker(" ".join(values_of(element))))


def technical(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """A text of `texts.TECHNICAL`: stays if it speaks of technique only and holds no word of this person's."""
    found = values_of(element)
    if all(
        (texts.is_technical(text) or terms.is_standard(text)) and not texts.names_in_free_text(text, subject.own)
        for text in found
    ):
        return DataElement(element.tag, vr_of(element), found)
    return otherwise(element, subject)


def described(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """C of Clean Descriptors: each value without what may identify, see `cleaning`; `otherwise` where nothing stays."""
    vr = vr_of(element)
    found = [
        _fitted(cleaned(text, subject.own), text, _LONGEST.get(vr, 0)) if text else "" for text in values_of(element)
    ]
    if not any(found):
        return otherwise(element, subject)
    return DataElement(element.tag, vr, found)


_LONGEST = {"LO": 64, "SH": 16}
"""Characters, PS3.5 section 6.2."""


def _fitted(text: str, original: str, longest: int) -> str:
    """A text that was cleaned, as long as its VR may be; one that is as it came stays, however long."""
    return text if not longest or len(text) <= longest or text == original else text[:longest].rsplit(" ", 1)[0]


def values_of(element: DataElement) -> list[str]:
    """The element's values as texts, without blanks around them."""
    value = element.value
    if value is None:
        return []
    many = value if isinstance(value, MultiValue | list | tuple) else [value]
    texts_of = (item.decode("latin-1") if isinstance(item, bytes) else str(item) for item in many)
    return [text.strip(" \0") for text in texts_of]


def vr_of(element: DataElement) -> str:
    """The VR that the data dictionary gives the tag, the first of several; the element's own where it lists none."""
    return (dictionary_vr(element.tag) or str(element.VR)).split(" or ")[0]
