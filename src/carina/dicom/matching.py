"""Whether an attribute has the value that a search asks for, PS3.4 section C.2.2.2.

What a search asks is turned into functions once, so that thousands of headers can be looked at. No pattern takes longer
than the text's length times its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any as Json
from typing import TypeAlias

from carina.dicom.json import values_of
from carina.dicom.query import NUMBERS, Match, Query

Header: TypeAlias = dict[str, Json]
Test: TypeAlias = Callable[[Header], bool]
"""Of a header in DICOM JSON with the attributes of the levels above."""
_TextTest: TypeAlias = Callable[[str], bool]


def matches(header: Header, query: Query) -> bool:
    """Whether a header, with the attributes of the levels above, is what the query asks for."""
    return test_of(query.matches)(header)


def test_of(wanted: Sequence[Match]) -> Test:
    """All of these matches as one question."""
    tests = [_test(match) for match in wanted]
    return lambda header: all(test(header) for test in tests)


def _test(match: Match) -> Test:
    """An attribute that is absent or empty is none of what is asked for, unless nothing is."""
    path = match.tag.split(".")
    if match.kind == "empty":
        return lambda header: not any(_is_said(value) for value in _values(header, path))
    if match.kind == "moment":
        return _moment(match)
    if match.kind == "all-of":
        singles = [_value_test(match, (value,)) for value in match.values]
        return lambda header: all(any(single(value) for value in _values(header, path)) for single in singles)
    fits = _value_test(match, match.values)
    if len(path) == 1:
        tag = path[0]
        return lambda header: any(fits(value) for value in values_of(header, tag))
    return lambda header: any(fits(value) for value in _values(header, path))


def _values(header: Header, path: list[str]) -> Iterable[Json]:
    if len(path) == 1:
        yield from values_of(header, path[0])
    else:
        for item in (header.get(path[0]) or {}).get("Value") or ():
            if isinstance(item, dict):
                yield from _values(item, path[1:])


def _is_said(value: Json) -> bool:
    return value.strip() != "" if isinstance(value, str) else value is not None


def _value_test(match: Match, wanted: tuple[str, ...]) -> Callable[[Json], bool]:
    if match.kind == "range":
        low, high = wanted
        return lambda value: in_range(str(value).strip(), low, high)
    if match.vr in NUMBERS:
        number = float(wanted[0])
        return lambda value: isinstance(value, int | float) and float(value) == number
    if match.vr == "PN":
        return _name_test(match.kind == "like", wanted)
    if match.kind == "like":
        like = wildcard(wanted[0])
        return lambda value: like(str(value).strip())
    texts = frozenset(wanted)
    return lambda value: str(value).strip() in texts


def _name_test(wild: bool, wanted: tuple[str, ...]) -> Callable[[Json], bool]:
    """Names are compared without regard to case, PS3.4 section C.2.2.2.1.1, and any of a name's groups may fit."""
    test: _TextTest
    if wild:
        test = wildcard(wanted[0].casefold())
    else:
        test = frozenset(text.casefold().rstrip("^") for text in wanted).__contains__

    def fits(value: Json) -> bool:
        groups = (text.strip().casefold() for text in str(value).split("="))
        return any(test(text if wild else text.rstrip("^")) for text in groups)

    return fits


def _moment(match: Match) -> Test:
    """Date and time as one value, PS3.4 section C.2.2.2.5: `match.tag` is the date's, `match.second` the time's."""
    low, high = match.values

    def fits(header: Header) -> bool:
        dates, times = (values_of(header, tag) for tag in (match.tag, match.second))
        date, time = (str(next(iter(values), "")).strip() for values in (dates, times))
        return bool(date) and bool(time) and in_range(date + time, low, high)

    return fits


def in_range(text: str, low: str, high: str) -> bool:
    """Both ends count, and an end that is less precise stands for all it may mean: `1030` ends after 10:30:59.

    A value that is itself less precise is taken as its beginning.
    """
    begins = text if "." in low else text.ljust(len(low), "0")
    return (not low or begins[: len(low)] >= low) and (not high or text[: len(high)] <= high)


def wildcard(text: str) -> _TextTest:
    """`*` for any text, `?` for one letter; all else is itself.

    Piece by piece, each at the first place where it fits, which is right for pieces of fixed length: so `*a*a*a*a*` is
    no more work than `*aaaa*`.
    """
    first, *others = (_piece(piece) for piece in text.split("*"))
    if not others:
        return lambda value: first.fullmatch(value) is not None
    *middle, last = others
    tail = len(text) - text.rfind("*") - 1

    def fits(value: str) -> bool:
        begun = first.match(value)
        if begun is None:
            return False
        place, end = begun.end(), len(value) - tail
        for piece in middle:
            found = piece.search(value, place)
            if found is None:
                return False
            place = found.end()
        return end >= place and last.match(value, end) is not None

    return fits


def _piece(text: str) -> re.Pattern[str]:
    return re.compile("".join("." if letter == "?" else re.escape(letter) for letter in text), re.DOTALL)
