"""Coded entries (PS3.3 section 8): a standard code with its standard meaning, or the code for "unknown".

A meaning is a text that anyone may have typed, and a local code may name a hospital's own things, so both are replaced:
the meaning by the one in pydicom's copy of PS3.16's concepts, or, where that copy lacks it, by what Clean Descriptors
leaves of it, or by the code itself; a code
that is not known to be one of its scheme by (261665006, SCT, "Unknown").
"""

from __future__ import annotations

import re
from functools import cache
from typing import cast

from pydicom.dataset import Dataset

from carina.deid.words.cleaning import cleaned
from carina.deid.words.texts import names

LISTED = frozenset(("DCM", "SCT", "SRT", "SNM3", "UCUM", "LN", "FMA", "NCIt", "UMLS", "RADLEX", "IBSI", "NEU"))
"""Schemes of PS3.16 section 8 whose codes are public, and of which pydicom's copy has a list."""

_CHAPTERS: dict[str, re.Pattern[str]] = {
    "ICDO3": re.compile(r"C\d\d\.\d|[89]\d{3}/[0-9]", re.ASCII),
    "I10": re.compile(r"[A-TV-Z]\d\d(\.\d)?", re.ASCII),
}
"""Schemes of which no list is at hand, with the form of their codes: too short to hold anything else."""

UNKNOWN = ("261665006", "SCT", "Unknown")
VALUE, DESIGNATOR, VERSION, MEANING = 0x00080100, 0x00080102, 0x00080103, 0x00080104
LONG_VALUE, URN_VALUE, EXTENDED_MEANING = 0x00080119, 0x00080120, 0x00080108
PARTS = frozenset((VALUE, DESIGNATOR, VERSION, MEANING, LONG_VALUE, URN_VALUE, EXTENDED_MEANING, 0x00080101))
"""The attributes of a coded entry, which only this module writes."""

_VERSION = re.compile(r"\d{1,2}(\.\d)?|20[0-3]\d(0[1-9]|1[0-2])?(0[1-9]|[12]\d|3[01])?", re.ASCII)


def put_code(clean: Dataset, item: Dataset, own: frozenset[str], *, cleaning: bool = False) -> None:
    """Write into `clean` the coded entry that `item` is, if it is one; `own` are words that no code may hold.

    cleaning   Clean Descriptors: a public code without a meaning of the standard keeps what may stay of its own
    """
    if not any(tag in item for tag in (VALUE, LONG_VALUE, URN_VALUE)):
        return
    code, scheme = _text(item, VALUE), _text(item, DESIGNATOR)
    if not _is_public(code, scheme) or names(code, own):
        code, scheme, meaning = UNKNOWN
    else:
        meaning = (
            _meanings().get((scheme, code)) or (cleaned(_text(item, MEANING), own)[:64] if cleaning else "") or code
        )
        version = _text(item, VERSION)
        if _VERSION.fullmatch(version) and not names(version, own):
            clean.CodingSchemeVersion = version
    clean.CodeValue, clean.CodingSchemeDesignator, clean.CodeMeaning = code, scheme, meaning


def _is_public(code: str, scheme: str) -> bool:
    """Whether a code is one of its scheme: listed, or with the check digit that the scheme's codes have."""
    if scheme in _CHAPTERS:
        return _CHAPTERS[scheme].fullmatch(code) is not None
    if scheme not in LISTED:
        return False
    if (scheme, code) in _meanings():
        return True
    if scheme == "UCUM":
        return _UNITS.fullmatch(code) is not None
    return scheme == "SCT" and is_concept(code)


_UNIT = (
    r"([mcdunkMG]?(m|s|g|L|l|Hz|T|Bq|Gy|Sv|V|A|W|J|N|Pa|mol|U)|mm\[Hg\]|min|h|d|a|wk|mo|%|1|10\*-?\d|[kM]?eV|deg|rad|Cel|"
    r"K|B|dB|\[hnsf'U\]|\[ppm\]|\[arb'U\]|\{(counts|ratio|SUVbw|SUVlbm|SUVbsa|SUVibw|pixels|score|no units|count)\})"
)
_UNITS = re.compile(rf"{_UNIT}-?\d?([./]{_UNIT}-?\d?){{0,4}}|\{{SUV\w{{2,3}}\}}g/ml", re.ASCII)
"""Units of images, and their products."""

_CONCEPT = re.compile(r"[1-9]\d{2,14}[01]0\d", re.ASCII)
_PERMUTED = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def is_concept(code: str) -> bool:
    """Whether digits are an identifier of a SNOMED CT concept: its partition is 00 or 10, its last digit Verhoeff's."""
    if _CONCEPT.fullmatch(code) is None:
        return False
    check = 0
    for place, digit in enumerate(reversed(code)):
        permuted = int(digit)
        for _ in range(place % 8):
            permuted = _PERMUTED[1][permuted]
        check = _product(check, permuted)
    return check == 0


def _product(first: int, second: int) -> int:
    """In the dihedral group of order ten."""
    if first < 5:
        return (first + second) % 5 if second < 5 else (first + second - 5) % 5 + 5
    return (first - 5 - second) % 5 + 5 if second < 5 else (first - second) % 5


def coded(code: str, scheme: str, meaning: str) -> Dataset:
    """A coded entry."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, scheme, meaning
    return item


def _text(item: Dataset, tag: int) -> str:
    value = item[tag].value if tag in item else None
    return value.strip(" \0") if isinstance(value, str) else ""


@cache
def _meanings() -> dict[tuple[str, str], str]:
    """(scheme, code) → meaning, at most the 64 characters of VR LO; SRT codes by their SNOMED CT equivalents."""
    from pydicom.sr import _concepts_dict, _snomed_dict

    concepts = cast(dict[str, dict[str, dict[str, tuple[str, list[int]]]]], _concepts_dict.concepts)
    ranked = sorted(
        (not groups, len(meaning), meaning[:64], scheme, code)  # first the words of a context group, then the shortest
        for scheme, keywords in concepts.items()
        for codes in keywords.values()
        for code, (meaning, groups) in codes.items()
        if meaning.isascii() and "\\" not in meaning
    )
    found: dict[tuple[str, str], str] = {}
    for _, _, meaning, scheme, code in ranked:
        found.setdefault((scheme, code), meaning)
    for old, code in _snomed_dict.mapping["SRT"].items():
        if ("SCT", code) in found:
            found["SRT", old] = found["SNM3", old] = found["SCT", code]
    return found
