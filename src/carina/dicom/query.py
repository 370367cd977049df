"""A search for studies, series or instances, PS3.18 section 8.3.4, and what it means (PS3.4 section C.2.2.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag, tag_for_keyword

from carina.dicom.levels import BELONGS, LEVELS, Level, tag_of
from carina.errors import InvalidQuery

MAX_RESULTS = 10_000
_MAX_PAIRS = 200
_MAX_VALUE = 16_000  # characters; some hundred UIDs in a list
_MAX_PATTERN = 1024  # characters with `*` or `?` among them
_OPTIONS = ("limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_RANGED = frozenset(("DA", "TM", "DT"))
NUMBERS = frozenset(("IS", "DS", "US", "SS", "UL", "SL", "FD", "FL"))
_IN_LISTS = frozenset(("AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"))  # PS3.4 section C.2.2.2.8
_UNMATCHED = frozenset(("SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN"))
_DIGITS = {
    "DA": re.compile(r"[0-9]{8}"),
    "TM": re.compile(r"[0-9]{2,6}(\.[0-9]{1,6})?"),
    "DT": re.compile(r"[0-9]{4,14}(\.[0-9]{1,6})?"),
}
_NOTHING = '""'  # an empty value, where `emptyvaluematching` is true: PS3.4 section C.2.2.2.7
_TIMEZONE = "00080201"
_HINT = "See docs/conformance.md for the attributes and forms that a search takes."


@dataclass(frozen=True)
class Match:
    """What one attribute must be. `tag` as in DICOM JSON, with a dot between a sequence's and its item's.

    one-of    the attribute has one of `values`
    all-of    among its values are all of `values`
    like      it has the form `values[0]`, with `*` and `?`
    range     it lies in values[0] … values[1], "" leaving that side open; dates, times
    moment    as range, but of the attribute, a date, and of the time `second` written behind it
    empty     it is absent, or has no value
    """

    tag: str
    vr: str
    kind: Literal["one-of", "all-of", "like", "range", "moment", "empty"]
    values: tuple[str, ...]
    second: str = ""


@dataclass(frozen=True)
class Query:
    """A search at one level.

    include      tags wanted beside the usual ones
    include_all  whether every attribute of the level is wanted
    unsupported  parameters that have no meaning here, as the caller wrote their names
    """

    level: Level
    matches: tuple[Match, ...] = ()
    include: frozenset[str] = frozenset()
    include_all: bool = False
    limit: int = MAX_RESULTS
    offset: int = 0
    unsupported: tuple[str, ...] = ()


def parse_query(pairs: Iterable[tuple[str, str]], level: Level, *, moments: bool = False) -> Query:
    """The search that an address's pairs ask for.

    moments   whether ranges of a date and of its time, both open to the same side or to none, are one range of moments

    Attributes of the level and of those above can be matched, by keyword or tag. Others, the request's time zone, and
    `fuzzymatching=true`, come back as `unsupported`. Raises `InvalidQuery` for an unknown name, one that comes twice
    (UIDs may), or a value that has not the form it needs.
    """
    known = _KNOWN[level]
    options: dict[str, str] = {}
    asked: dict[str, str] = {}
    include: set[str] = set()
    unsupported: list[str] = []
    for number, (name, value) in enumerate(pairs):
        if number >= _MAX_PAIRS or len(value) > _MAX_VALUE:
            raise InvalidQuery("The search is too long.", _HINT)
        if name in _OPTIONS:
            options[name] = value
        elif name == "includefield":
            include.update(_fields(value))
        else:
            tag = _tag_path(name)
            first = tag.split(".")[0]
            if first not in known or (first == _TIMEZONE and value):
                unsupported.append(name)
            elif value.strip() in ("", "*"):
                include.add(first)
            else:
                asked[tag] = value if tag not in asked else _both(tag, asked[tag], value)
    empty, several = (_is_true(options, name) for name in ("emptyvaluematching", "multiplevaluematching"))
    if _is_true(options, "fuzzymatching"):
        unsupported.append("fuzzymatching")
    matches = [_match(tag, value, empty=empty, several=several) for tag, value in asked.items()]
    return Query(
        level=level,
        matches=tuple(_with_moments(matches) if moments else matches),
        include=frozenset(include - {"all"} | {match.tag.split(".")[0] for match in matches}),
        include_all="all" in include,
        limit=min(_number(options, "limit", MAX_RESULTS), MAX_RESULTS),
        offset=_number(options, "offset", 0),
        unsupported=tuple(unsupported),
    )


_KNOWN: dict[Level, frozenset[str]] = {
    level: frozenset(tag for above in LEVELS[: place + 1] for tag in BELONGS[above])
    for place, level in enumerate(LEVELS)
}


def _both(tag: str, first: str, second: str) -> str:
    """UIDs of an attribute that comes twice are one list; of all else PS3.18 has no meaning for that."""
    if _vr(tag) != "UI":
        raise InvalidQuery("An attribute comes twice in the search.", "Name each once; UIDs may be a list.")
    return f"{first},{second}"


def _is_true(options: dict[str, str], name: str) -> bool:
    text = options.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidQuery(f"'{name}' is neither true nor false.", _HINT)
    return text == "true"


def _number(options: dict[str, str], name: str, default: int) -> int:
    text = options.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise InvalidQuery(f"'{name}' is no whole number.", _HINT)
    return int(text)


def _fields(value: str) -> set[str]:
    """Tags of an `includefield`, names divided by commas; the word "all" stays."""
    return {"all" if field == "all" else _tag_path(field).split(".")[0] for field in value.split(",") if field}


def _tag_path(name: str) -> str:
    """`00100010` or `PatientName`, or several with dots between; `InvalidQuery` for what is neither."""
    return ".".join(_tag(part) for part in name.split(".")) if "." in name else _tag(name)


def _tag(name: str) -> str:
    tag = _tag_or_none(name) if len(name) <= _LONGEST_NAME else None
    if tag is None:
        raise InvalidQuery("A parameter of the search is no DICOM keyword or tag.", _HINT)
    return tag


_LONGEST_NAME = 100  # letters; the longest keyword of PS3.6 has 60 or so


@lru_cache(4096)
def _tag_or_none(name: str) -> str | None:
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        return name.upper()
    tag = tag_for_keyword(name)
    return None if tag is None else f"{tag:08X}"


def _vr(tag: str) -> str:
    last = int(tag[-8:], 16)
    return dictionary_VR(last)[:2] if dictionary_has_tag(last) else "UN"


def _match(tag: str, value: str, *, empty: bool, several: bool) -> Match:
    vr = _vr(tag)
    if vr in _UNMATCHED:
        raise InvalidQuery("An attribute of the search has no value that can be matched.", _HINT)
    if empty and value == _NOTHING:
        return Match(tag, vr, "empty", ())
    if vr == "UI":
        return Match(tag, vr, "one-of", _uids(value))
    if vr in _RANGED:
        return _range(tag, vr, value)
    if vr in NUMBERS:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}(\.[0-9]{1,12})?", value.strip()):
            raise InvalidQuery(f"'{_keyword(tag)}' needs a number.", _HINT)
        return Match(tag, vr, "one-of", (value.strip(),))
    return _text(tag, vr, value, several=several)


def _uids(value: str) -> tuple[str, ...]:
    values = tuple(part for part in re.split(r"[,\\]", value) if part)
    if not values or not all(re.fullmatch(r"[0-9.]{1,64}", part) for part in values):
        raise InvalidQuery("A UID of the search has other signs than digits and dots.", _HINT)
    return values


def _text(tag: str, vr: str, value: str, *, several: bool) -> Match:
    values = tuple(part.strip() for part in value.split("\\") if part.strip())
    if not values:
        raise InvalidQuery("An attribute of the search has separators only, and no value.", _HINT)
    wild = "*" in value or "?" in value
    if several and len(values) > 1 and vr in _IN_LISTS and dictionary_VM(int(tag[-8:], 16)) != "1":
        if wild:
            raise InvalidQuery("A list of values has no '*' or '?'.", _HINT)
        return Match(tag, vr, "all-of", values)
    if not wild:
        return Match(tag, vr, "one-of", values)
    if len(value) > _MAX_PATTERN:
        raise InvalidQuery("A text with '*' or '?' is too long.", _HINT)
    return Match(tag, vr, "like", (re.sub(r"\*+", "*", value.strip()),))


def _keyword(tag: str) -> str:
    return keyword_for_tag(int(tag[-8:], 16))


def _range(tag: str, vr: str, value: str) -> Match:
    low, dash, high = (part.strip().replace(":", "") for part in value.partition("-"))
    sides = (low, high) if dash else (low, low)
    if not any(sides) or not all(_DIGITS[vr].fullmatch(side) for side in sides if side):
        raise InvalidQuery(
            f"'{_keyword(tag)}' has not the form of a date or time.",
            "Write a date as 20260131, a range as 20260101-20260131, 20260101- or -20260131.",
        )
    return Match(tag, vr, "range", sides)


_PAIRS = {
    tag_of(f"{name}Date"): tag_of(f"{name}Time")
    for name in ("Study", "Series", "Acquisition", "Content", "PerformedProcedureStepStart")
}
"""Dates and the times of the same moments."""


def _with_moments(matches: list[Match]) -> list[Match]:
    """Ranges of date and time that have the same form as one, PS3.4 section C.2.2.2.5.4. The date's stays as well: it
    says less, and can be looked up."""
    made = list(matches)
    by_tag = {match.tag: match for match in matches if match.kind == "range" and _is_span(match)}
    for date, time in _PAIRS.items():
        first, second = by_tag.get(date), by_tag.get(time)
        if first is None or second is None or _open_sides(first) != _open_sides(second):
            continue
        ends = tuple(day + clock for day, clock in zip(first.values, second.values, strict=True))
        made.remove(second)
        made.append(Match(date, "DT", "moment", ends, time))
    return made


def _is_span(match: Match) -> bool:
    return match.values[0] != match.values[1]


def _open_sides(match: Match) -> tuple[bool, bool]:
    return match.values[0] == "", match.values[1] == ""
