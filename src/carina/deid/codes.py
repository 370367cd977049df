"""Coded entries (PS3.3 section 8): a standard code with its standard meaning, or the code for "unknown".

A meaning is a text that anyone may have typed, and a local code may name a hospital's own things, so both are replaced:
the meaning by the one in pydicom's copy of PS3.16's concepts, or by the code itself where that copy lacks it; a code of
a scheme not in `SCHEMES` by (261665006, SCT, "Unknown").
"""

from __future__ import annotations

import re
from functools import cache
from typing import cast

from pydicom.dataset import Dataset

from carina.deid.texts import names

_NUMBER = re.compile(r"\d{5,18}", re.ASCII)
SCHEMES: dict[str, re.Pattern[str]] = {
    "DCM": re.compile(r"\d{6}|[A-Z]{2,16}", re.ASCII),
    "SCT": _NUMBER,
    "SRT": re.compile(r"[A-Z0-9]{1,2}-[0-9A-F]{4,6}", re.ASCII),
    "SNM3": re.compile(r"[A-Z0-9]{1,2}-[0-9A-F]{4,6}", re.ASCII),
    "UCUM": re.compile(r"(?!.*[A-Za-z]{6})[A-Za-z0-9*/.^%'\[\]{}()-]{1,16}", re.ASCII),
    "LN": re.compile(r"\d{1,6}-\d|L[AP]\d{1,7}-\d", re.ASCII),
    "FMA": re.compile(r"\d{1,7}", re.ASCII),
    "NCIt": re.compile(r"C\d{2,6}", re.ASCII),
    "UMLS": re.compile(r"C\d{7}", re.ASCII),
    "RADLEX": re.compile(r"RID\d{1,6}", re.ASCII),
    "ICDO3": re.compile(r"[CT]?\d{2,4}[.-]?\d?(/\d)?", re.ASCII),
    "I10": re.compile(r"[A-Z]\d\d(\.\d{1,2})?", re.ASCII),
    "IBSI": re.compile(r"[A-Z0-9]{3,4}", re.ASCII),
    "NEU": re.compile(r"\d{1,5}", re.ASCII),
}
"""Schemes of PS3.16 section 8 whose codes are public, with the form of their codes."""

UNKNOWN = ("261665006", "SCT", "Unknown")
VALUE, DESIGNATOR, VERSION, MEANING = 0x00080100, 0x00080102, 0x00080103, 0x00080104
LONG_VALUE, URN_VALUE, EXTENDED_MEANING = 0x00080119, 0x00080120, 0x00080108
PARTS = frozenset((VALUE, DESIGNATOR, VERSION, MEANING, LONG_VALUE, URN_VALUE, EXTENDED_MEANING, 0x00080101))
"""The attributes of a coded entry, which only this module writes."""

_VERSION = re.compile(r"[0-9.]{1,12}", re.ASCII)


def put_code(clean: Dataset, item: Dataset, own: frozenset[str]) -> None:
    """Write into `clean` the coded entry that `item` is, if it is one; `own` are words that no code may hold."""
    if not any(tag in item for tag in (VALUE, LONG_VALUE, URN_VALUE)):
        return
    code, scheme = _text(item, VALUE), _text(item, DESIGNATOR)
    if not _is_public(code, scheme) or names(code, own):
        code, scheme, meaning = UNKNOWN
    else:
        meaning = _meanings().get((scheme, code), code)
        version = _text(item, VERSION)
        if _VERSION.fullmatch(version) and not names(version, own):
            clean.CodingSchemeVersion = version
    clean.CodeValue, clean.CodingSchemeDesignator, clean.CodeMeaning = code, scheme, meaning


def _is_public(code: str, scheme: str) -> bool:
    """Whether a code has its scheme's form; a code of letters only might be a name, so it must be a listed one."""
    form = SCHEMES.get(scheme)
    if form is None or form.fullmatch(code) is None:
        return False
    return not code.isalpha() or (scheme, code) in _meanings()


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
