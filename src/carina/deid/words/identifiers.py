"""The words in a header that identify this person, their doctors, hospital and orders: no kept value may hold them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from carina.deid.words.texts import is_ordinary, pieces, spellings

_SHORTEST = 3
_SHORTEST_NAME = 2  # Li, Wu
_SHORTEST_TYPED = 4  # a word, or the digits, in a text that somebody typed
_NAMING = frozenset(
    (
        0x00080050,  # Accession Number
        0x00080080,  # Institution Name
        0x00080081,  # Institution Address
        0x00081010,  # Station Name
        0x00081040,  # Institutional Department Name
        0x00100020,  # Patient ID
        0x00100021,  # Issuer of Patient ID
        0x00101000,  # Other Patient IDs
        0x00101040,  # Patient's Address
        0x00101090,  # Medical Record Locator
        0x00102154,  # Patient's Telephone Numbers
        0x00181000,  # Device Serial Number
        0x00200010,  # Study ID
        0x00380010,  # Admission ID
        0x00380300,  # Current Patient Location
        0x00402016,  # Placer Order Number
        0x00402017,  # Filler Order Number
    )
)
_TYPED = frozenset(
    (
        0x00081030,  # Study Description
        0x00081080,  # Admitting Diagnoses Description
        0x00102180,  # Occupation
        0x001021B0,  # Additional Patient History
        0x00104000,  # Patient Comments
        0x00204000,  # Image Comments
        0x00324000,  # Study Comments
        0x00321060,  # Requested Procedure Description
        0x00401002,  # Reason for the Requested Procedure
        0x00401400,  # Requested Procedure Comments
        0x00402400,  # Imaging Service Request Comments
    )
)
_BIRTH_DATES = frozenset((0x00100030, 0x00100033, 0x00100034))
_DATE = re.compile(r"(\d\d)(\d\d)(\d\d)(\d\d)", re.ASCII)


def own_identifiers(dataset: Dataset) -> frozenset[str]:
    """Words as capitals, and numbers, from names, identifiers, birth dates and comments at the root and in sequences.

    Words of technique and anatomy are left out, so that a phantom called HEAD keeps its body part.
    """
    found = {word for word in _words(dataset) if not is_ordinary(word)}
    return frozenset(found | {word.lstrip("0") for word in found if len(word.lstrip("0")) >= _SHORTEST})


def _words(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _words(item)
            continue
        words_of = _words_of_name if element.VR == "PN" else _WORDS_OF.get(int(element.tag))
        if words_of is not None:
            for text in _texts(element.value):
                yield from words_of(text)


def _words_of_name(text: str) -> Iterator[str]:
    return (word for word in spellings(text) if len(word) >= (_SHORTEST_NAME if word.isalpha() else _SHORTEST))


def _words_of_identifier(text: str) -> Iterator[str]:
    return (word for word in {*spellings(text), "".join(pieces(text))} if len(word) >= _SHORTEST)


def _words_of_typed(text: str) -> Iterator[str]:
    """Letters only, or digits only: what has both is more often a sequence or a kernel."""
    for word in spellings(text):
        if (word.isalpha() and len(word) >= _SHORTEST_TYPED) or (word.isdecimal() and len(word) > _SHORTEST_TYPED):
            yield word


def _texts(value: object) -> Iterator[str]:
    for part in [value] if isinstance(value, str | PersonName) else value or ():  # type: ignore[attr-defined]
        yield str(part)


def _dates(text: str) -> Iterator[str]:
    """The ways to write a day in digits only."""
    found = _DATE.fullmatch(text.strip(" \0").replace(".", ""))
    if found is not None:
        century, year, month, day = found.groups()
        for whole in (century + year, year):
            yield from (whole + month + day, day + month + whole, month + day + whole)


_WORDS_OF = {
    **dict.fromkeys(_NAMING, _words_of_identifier),
    **dict.fromkeys(_TYPED, _words_of_typed),
    **dict.fromkeys(_BIRTH_DATES, _dates),
}
