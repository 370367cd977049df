"""A search for studies, series or instances, PS3.18 section 8.3.4, and what it means (PS3.4 section C.2.2.2)."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any as Json
from typing import Literal

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword

from carina.dicom.json import values_of
from carina.dicom.levels import BELONGS, LEVELS, Level
from carina.errors import InvalidQuery

MAX_RESULTS = 10_000
_MAX_PAIRS = 200
_MAX_VALUE = 16_000  # characters; some hundred UIDs in a list
_RANGED = frozenset(("DA", "TM", "DT"))
_NUMBERS = frozenset(("IS", "DS", "US", "SS", "UL", "SL", "FD", "FL"))
_UNMATCHED = frozenset(("SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN"))
_DIGITS = {"DA": re.compile(r"\d{8}"), "TM": re.compile(r"\d{2,6}(\.\d{1,6})?"), "DT": re.compile(r"\d{4,14}(\.\d+)?")}
_HINT = "See docs/conformance.md for the attributes and forms that a search takes."


@dataclass(frozen=True)
class Match:
    """What one attribute must be. `tag` as in DICOM JSON, with a dot between a sequence's and its item's.

    one-of    the attribute has one of `values`
    like      it has the form `values[0]`, with `*` and `?`
    range     it lies in values[0] … values[1], "" leaving that side open; dates, times
    """

    tag: str
    vr: str
    kind: Literal["one-of", "like", "range"]
    values: tuple[str, ...]


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


def parse_query(pairs: Iterable[tuple[str, str]], level: Level) -> Query:
    """The search that an address's pairs ask for.

    Attributes of the level and of those above can be matched, by keyword or tag. Others, and `fuzzymatching=true`, come
    back as `unsupported`. Raises `InvalidQuery` for an unknown name or a value that has not the form it needs.
    """
    known = {tag for above in LEVELS[: LEVELS.index(level) + 1] for tag in BELONGS[above]}
    options: dict[str, str] = {}
    matches: list[Match] = []
    include: set[str] = set()
    unsupported: list[str] = []
    for number, (name, value) in enumerate(pairs):
        if number >= _MAX_PAIRS or len(value) > _MAX_VALUE:
            raise InvalidQuery("The search is too long.", _HINT)
        if name in ("limit", "offset", "fuzzymatching"):
            options[name] = value
        elif name == "includefield":
            include.update(_fields(value))
        else:
            tag = _tag_path(name)
            if tag.split(".")[0] not in known:
                unsupported.append(name)
            elif value in ("", "*"):
                include.add(tag.split(".")[0])
            else:
                matches.append(_match(tag, value))
    if options.get("fuzzymatching", "false") not in ("true", "false"):
        raise InvalidQuery("'fuzzymatching' is neither true nor false.", _HINT)
    if options.get("fuzzymatching") == "true":
        unsupported.append("fuzzymatching")
    include_all = "all" in include
    return Query(
        level=level,
        matches=tuple(matches),
        include=frozenset(include - {"all"} | {match.tag.split(".")[0] for match in matches}),
        include_all=include_all,
        limit=min(_number(options, "limit", MAX_RESULTS), MAX_RESULTS),
        offset=_number(options, "offset", 0),
        unsupported=tuple(unsupported),
    )


def _number(options: dict[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not text.isdecimal() or len(text) > 9:
        raise InvalidQuery(f"'{name}' is no whole number.", _HINT)
    return int(text)


def _fields(value: str) -> set[str]:
    """Tags of an `includefield`, names divided by commas; the word "all" stays."""
    return {"all" if field == "all" else _tag_path(field).split(".")[0] for field in value.split(",") if field}


def _tag_path(name: str) -> str:
    """`00100010` or `PatientName`, or several with dots between; `InvalidQuery` for what is neither."""
    return ".".join(_tag(part) for part in name.split("."))


def _tag(name: str) -> str:
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        return name.upper()
    tag = tag_for_keyword(name)
    if tag is None:
        raise InvalidQuery("A parameter of the search is no DICOM keyword or tag.", _HINT)
    return f"{tag:08X}"


def _match(tag: str, value: str) -> Match:
    last = int(tag.rsplit(".", maxsplit=1)[-1], 16)
    vr = dictionary_VR(last)[:2] if dictionary_has_tag(last) else "UN"
    if vr in _UNMATCHED:
        raise InvalidQuery("An attribute of the search has no value that can be matched.", _HINT)
    if vr == "UI":
        values = tuple(part for part in re.split(r"[,\\]", value) if part)
        if not all(re.fullmatch(r"[0-9.]{1,64}", part) for part in values):
            raise InvalidQuery("A UID of the search has other signs than digits and dots.", _HINT)
        return Match(tag, vr, "one-of", values)
    if vr in _RANGED:
        return _range(tag, vr, value)
    if vr in _NUMBERS:
        if not re.fullmatch(r"[+-]?\d{1,12}(\.\d{1,12})?", value.strip()):
            raise InvalidQuery(f"'{keyword_for_tag(last)}' needs a number.", _HINT)
        return Match(tag, vr, "one-of", (value.strip(),))
    if "*" in value or "?" in value:
        return Match(tag, vr, "like", (value.strip(),))
    return Match(tag, vr, "one-of", tuple(part.strip() for part in value.split("\\") if part.strip()))


def _range(tag: str, vr: str, value: str) -> Match:
    low, dash, high = (part.strip().replace(":", "") for part in value.partition("-"))
    sides = (low, high) if dash else (low, low)
    if not any(sides) or not all(_DIGITS[vr].fullmatch(side) for side in sides if side):
        raise InvalidQuery(
            f"'{keyword_for_tag(int(tag.rsplit('.', maxsplit=1)[-1], 16))}' has not the form of a date or time.",
            "Write a date as 20260131, a range as 20260101-20260131, 20260101- or -20260131.",
        )
    return Match(tag, vr, "range", sides)


def matches(header: dict[str, Json], query: Query) -> bool:
    """Whether a header of DICOM JSON, with the attributes of the levels above, is what the query asks for."""
    return all(fits(header, match) for match in query.matches)


def fits(header: dict[str, Json], match: Match) -> bool:
    """Whether the header's attribute is what `match` says; an attribute that is absent or empty never is."""
    return any(_value_fits(value, match) for value in _values(header, match.tag.split(".")))


def _values(header: dict[str, Json], path: list[str]) -> Iterable[Json]:
    if len(path) == 1:
        yield from values_of(header, path[0])
    else:
        for item in (header.get(path[0]) or {}).get("Value") or ():
            if isinstance(item, dict):
                yield from _values(item, path[1:])


def _value_fits(value: Json, match: Match) -> bool:
    if match.kind == "range":
        return _in_range(str(value).strip(), *match.values)
    if match.vr in _NUMBERS:
        return isinstance(value, int | float) and float(value) == float(match.values[0])
    texts = [text.strip() for text in str(value).split("=")] if match.vr == "PN" else [str(value).strip()]
    wanted = match.values
    if match.vr == "PN":  # without regard to case, PS3.4 section C.2.2.2.1.1
        texts, wanted = [text.casefold() for text in texts], tuple(text.casefold() for text in wanted)
    if match.kind == "like":
        pattern = wildcard(wanted[0])
        return any(pattern.fullmatch(text) for text in texts)
    if match.vr == "PN":
        return any(text.rstrip("^") == want.rstrip("^") for text in texts for want in wanted)
    return any(text in wanted for text in texts)


def _in_range(text: str, low: str, high: str) -> bool:
    """Both ends count, and an end that is less precise stands for all it may mean: `1030` ends after 10:30:59."""
    return (not low or text[: len(low)] >= low) and (not high or text[: len(high)] <= high)


def wildcard(text: str) -> re.Pattern[str]:
    """`*` for any text, `?` for one letter; all else is itself."""
    return re.compile(fnmatch.translate(text.replace("[", "[[]")))
