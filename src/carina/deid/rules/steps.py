"""What becomes of one element: small functions, and the choice among them for each tag.

A step takes an element and its `Subject` and gives the element that is written, or None. The table of PS3.15 decides
first (`compiled`), then the data dictionary (`unlisted`): what neither knows is removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, partial

from pydicom._uid_dict import UID_dictionary
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue

from carina.deid.profile import MODIFIED_DATES
from carina.deid.pseudonyms import accession_number, new_uid, shift_date, shift_date_time
from carina.deid.rules import table
from carina.deid.rules.rule import Step, Subject
from carina.deid.words import codes, numbers, terms, texts
from carina.deid.words.texts import Otherwise
from carina.deid.words.values import DUMMIES, agrees, dictionary_vr
from carina.dicom.kinds import CLEANED, PIXELS_TO_CHECK
from carina.dicom.makers import maker


def remove(element: DataElement, subject: Subject) -> None:
    """X."""


def empty(element: DataElement, subject: Subject) -> DataElement:
    """Z: zero length."""
    vr = dictionary_vr(element.tag) or element.VR
    return DataElement(element.tag, vr, [] if vr == "SQ" else None)


def dummy(element: DataElement, subject: Subject) -> DataElement | None:
    """D: a value that is valid for the VR and says nothing."""
    vr = (dictionary_vr(element.tag) or element.VR).split(" or ")[0]
    if vr == "UI":
        return pseudonymous_uid(element, subject)
    return DataElement(element.tag, vr, DUMMIES[vr]) if vr in DUMMIES else None


def keep(element: DataElement, subject: Subject) -> DataElement:
    """As it is; `rewrite` cleans the items of a sequence."""
    return element


def keep_items(element: DataElement, subject: Subject) -> DataElement | None:
    """U* and D for a sequence: its items, cleaned. Whatever is no sequence here is removed."""
    return element if element.VR == "SQ" else None


def unknown_code(element: DataElement, subject: Subject) -> DataElement:
    """D for a sequence of coded entries: one entry that says "unknown"."""
    return DataElement(element.tag, "SQ", [codes.coded(*codes.UNKNOWN)])


def pseudonym(element: DataElement, subject: Subject) -> DataElement:
    """Patient's Name and Patient ID."""
    return DataElement(element.tag, dictionary_vr(element.tag) or element.VR, subject.pseudonym)


def accession(element: DataElement, subject: Subject) -> DataElement:
    """Z for Accession Number: a keyed value, so that the studies of one order stay together."""
    text = str(element.value or "").strip()
    return DataElement(element.tag, "SH", accession_number(subject.keys, text) if text else "")


_STAYING = frozenset(
    uid
    for uid, (_, kind, *_) in UID_dictionary.items()
    if kind in ("Well-known frame of reference", "Well-known SOP Instance", "Synchronization Frame of Reference")
)
_IDENTITY = (0x00080018, 0x0020000D, 0x0020000E)
_SOP_CLASSES = frozenset(CLEANED) | frozenset(PIXELS_TO_CHECK)
_CONTEXT_GROUP = re.compile(r"1\.2\.840\.10008\.6\.1\.[1-9]\d{0,3}", re.ASCII)
_CODING_SCHEMES = frozenset(uid for uid, (_, kind, *_) in UID_dictionary.items() if "Coding Scheme" in kind)


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


def _is_of_the_standard(uid: str) -> bool:
    """Whether PS3.6 annex A lists this UID, as pydicom or `kinds` knows it, or it has the form of a context group's."""
    return uid in UID_dictionary or uid in _SOP_CLASSES or _CONTEXT_GROUP.fullmatch(uid) is not None


def _each_uid(element: DataElement, change: Callable[[str], str]) -> DataElement:
    return DataElement(element.tag, "UI", [change(uid) if uid else "" for uid in values_of(element)])


def moved_date(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """VR DA or DT, moved by the person's days; `otherwise` where a value is no date."""
    vr = dictionary_vr(element.tag) or element.VR
    shift = shift_date if vr == "DA" else shift_date_time
    moved = [shift(text, subject.days) if text else "" for text in values_of(element)]
    if None in moved:
        return otherwise(element, subject)
    return DataElement(element.tag, vr, moved)


_TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d", re.ASCII)


def fitting(pattern: re.Pattern[str], otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """The value, blanks around it aside, if it has this form."""
    found = values_of(element)
    if all(pattern.fullmatch(text) for text in found if text):
        return DataElement(element.tag, dictionary_vr(element.tag) or element.VR, found)
    return otherwise(element, subject)


def code_string(element: DataElement, subject: Subject) -> DataElement | None:
    """VR CS: the values that are known terms of the attribute and hold no word of this person's."""
    return terms.kept_terms(element.tag, values_of(element), subject.own)


def number(element: DataElement, subject: Subject) -> DataElement | None:
    """A number that hides nothing, see `numbers`."""
    return numbers.kept_number(element, subject.own)


def by_maker(element: DataElement, subject: Subject) -> DataElement:
    """Manufacturer in the one spelling that `dicom.makers` has for it."""
    return DataElement(element.tag, "LO", maker(" ".join(values_of(element))))


_WITHOUT = {Otherwise.REMOVE: remove, Otherwise.EMPTY: empty, Otherwise.DUMMY: dummy}


def technical(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """A text of `texts.TECHNICAL`: stays if it speaks of technique only and holds no word of this person's."""
    found = values_of(element)
    if all(texts.is_technical(text) and not texts.names(text, subject.own) for text in found):
        return DataElement(element.tag, dictionary_vr(element.tag) or element.VR, found)
    return otherwise(element, subject)


def values_of(element: DataElement) -> list[str]:
    """The element's values as texts, without blanks around them."""
    value = element.value
    if value is None:
        return []
    many = value if isinstance(value, MultiValue | list | tuple) else [value]
    return [str(item).strip(" \0") for item in many]


# --- which step -----------------------------------------------------------------------------------------------------

_BY_BASIC = {
    "X": remove,
    "Z": empty,
    "D": dummy,
    "U": pseudonymous_uid,
    "X/Z": empty,
    "X/D": dummy,
    "Z/D": dummy,
    "X/Z/D": dummy,
    "X/Z/U*": keep_items,
}
"""A choice in the table depends on the attribute's type in each IOD; the last one named is valid for every type."""

_OF_ITS_OWN: dict[int, Step] = {
    0x00080050: accession,
    0x00080080: remove,  # Institution Name: type 3 in every kind that passes, as those below that are removed
    0x00080082: remove,  # Institution Code Sequence
    0x00081010: remove,  # Station Name
    0x00081070: remove,  # Operators' Name
    0x00081072: remove,  # Operator Identification Sequence
    0x00100010: pseudonym,
    0x00100020: pseudonym,
    0x00180010: empty,  # Contrast/Bolus Agent: type 2
    0x00181030: remove,  # Protocol Name
    0x00181400: remove,  # Acquisition Device Processing Description
    0x0018700A: remove,  # Detector ID
    0x00401101: unknown_code,  # Person Identification Code Sequence
}


FIRST_TAG = 0x00080000
"""Below are commands, file meta information and directories, which have no place in a dataset of an image."""


@cache
def compiled(options: tuple[str, ...]) -> Mapping[int, Step]:
    """The step of each tag that the table lists; repeating groups, and groups below 8, are left to `unlisted`."""
    steps: dict[int, Step] = {}
    for row in table.ROWS:
        tag = 0 if row.tag == "PRIVATE" or "x" in row.tag else int(row.tag, 16)
        if tag >= FIRST_TAG:
            steps[tag] = _OF_ITS_OWN.get(tag) or _step(tag, row, options)
    return steps


def _step(tag: int, row: table.Row, options: tuple[str, ...]) -> Step:
    basic = _BY_BASIC[row.basic]
    vr = dictionary_vr(tag)
    if vr == "SQ" and basic is dummy:
        return keep_items  # the dummy of a sequence is the sequence with clean items
    if MODIFIED_DATES in options and row.options.get(MODIFIED_DATES) == "C":
        if vr in ("DA", "DT"):
            return partial(moved_date, basic)
        if vr == "TM":
            return partial(fitting, _TIME, basic)
        if tag == 0x00080201:  # Timezone Offset From UTC: without it the times that stay mean nothing
            return partial(fitting, _OFFSET, basic)
    return basic


@cache
def unlisted(tag: int, vr: str, options: tuple[str, ...]) -> Step:
    """The step of a tag that the table does not list, by its VR; `remove` for whatever is not known to be harmless.

    Binary values are removed here: `codes`, `lookup` and `pixels` put in what they know.
    """
    if tag >> 16 & 1 or tag < FIRST_TAG or tag & 0xFFFF == 0 or tag in codes.PARTS:
        return remove
    if not agrees(vr, tag):
        return _without(tag)
    if tag in texts.TECHNICAL:
        return partial(technical, _without(tag))
    if vr == "SQ":
        return keep
    if vr in numbers.VRS:
        return number
    by_vr: dict[str, Step] = {"CS": code_string, "UI": class_uid}
    if MODIFIED_DATES in options:
        date: Step = partial(moved_date, remove)
        by_vr |= {"DA": date, "DT": date, "TM": partial(fitting, _TIME, remove)}
    return by_vr.get(vr, remove)


def _without(tag: int) -> Step:
    if tag == 0x00080070:
        return by_maker
    return _WITHOUT[texts.TECHNICAL.get(tag, Otherwise.REMOVE)]
