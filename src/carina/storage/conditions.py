"""What SQL can say of a search's matches: as shapes without values, so that searches of one shape are one statement."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement, LargeBinary, Text, and_, bindparam, cast, exists, false, func, or_, select

from carina.dicom.levels import BELONGS, COMPUTED, Level
from carina.dicom.query import NUMBERS, Match
from carina.storage.members import Members, series_within
from carina.storage.schema import instances, series, studies

How: TypeAlias = Literal["in", "equal", "never", "low", "high", "both", "starts", "has", "says"]
"""One of a list, this one, nothing at all; not before, not after, between; a text that begins so; has a modality; the
header holds this piece of text somewhere, whatever the case."""


@dataclass(frozen=True)
class Shape:
    """A condition on the attribute `tag`, whose values are bound by names with `number`."""

    number: int
    tag: str
    how: How


@dataclass(frozen=True)
class Term:
    """A condition with its values by name; `decides`: it says all that the match says."""

    shape: Shape
    values: tuple[tuple[str, Any], ...]
    decides: bool


def term_of(number: int, match: Match, level: Level, within: Members | None) -> Term | None:
    """What SQL can say of a match in a search at this level, or None. `number` is its place in the query."""
    if match.tag == _MODALITIES and match.kind == "one-of":
        return _term(number, match, "has", list(match.values))
    if match.tag not in _COLUMNS[level] or (within is not None and match.tag in _OF_ANY):
        return _says(number, match, level, within)
    if match.kind == "range" and match.tag == _STUDY_DATE:
        return _between(number, match)
    if match.kind == "like":
        return _begins(number, match)
    return _one_of(number, match) if match.kind == "one-of" else None


def _one_of(number: int, match: Match) -> Term:
    if match.tag not in _NUMBERS:
        one = len(match.values) == 1
        return _term(number, match, "equal", match.values[0]) if one else _term(number, match, "in", [*match.values])
    wanted = float(match.values[0])
    possible = wanted.is_integer() and -(2**31) <= wanted < 2**31  # PS3.5 table 6.2-1; PostgreSQL has no others there
    return _term(number, match, "equal", int(wanted)) if possible else _term(number, match, "never", None)


def _term(number: int, match: Match, how: How, value: object) -> Term:
    return Term(Shape(number, match.tag, how), ((f"v{number}", value),), True)


def _between(number: int, match: Match) -> Term:
    low, high = match.values
    how: How = "both" if low and high else "low" if low else "high"
    return Term(Shape(number, match.tag, how), ((f"v{number}low", low), (f"v{number}high", high)), True)


def _says(number: int, match: Match, level: Level, within: Members | None) -> Term | None:
    """The longest piece that any value must hold, as JSON has it; what it is a piece of, SQL does not look at."""
    if within is not None or match.tag.split(".")[0] not in _HEADERS[level] or match.vr in NUMBERS:
        return None
    if match.kind != "like" and (match.kind != "one-of" or len(match.values) > 1):
        return None
    pieces = re.split(r"[*?^]", match.values[0]) if match.kind == "like" or match.vr == "PN" else match.values
    longest = max(pieces, key=len)
    if not re.fullmatch(r"[ !#-\[\]-~]+", longest):  # in JSON itself, and in ASCII
        return None
    shape = Shape(number, match.tag.split(".")[0], "says")
    return Term(shape, ((f"v{number}", longest.lower()),), decides=False)


def _begins(number: int, match: Match) -> Term | None:
    """The part before the first mark: texts by code points from it on, and before the next of its length."""
    begins, _, rest = match.values[0].partition("*")
    if not begins or "?" in begins:
        return None
    sides = ((f"v{number}low", begins), (f"v{number}high", begins + chr(0x10FFFF)))
    return Term(Shape(number, match.tag, "starts"), sides, not rest)


def condition(shape: Shape, level: Level, within: Members | None, postgresql: bool) -> ColumnElement[bool]:
    """The shape in SQL, for a search at this level."""
    name = f"v{shape.number}"
    if shape.how == "has":
        return _has_modality(bindparam(name, expanding=True), within)
    if shape.how == "says":
        return _header_says(_HEADERS[level][shape.tag], bindparam(name), postgresql)
    column = _COLUMNS[level][shape.tag]
    low: ColumnElement[Any] = bindparam(f"{name}low")
    high: ColumnElement[Any] = bindparam(f"{name}high")
    conditions: dict[How, ColumnElement[bool]] = {
        "in": column.in_(bindparam(name, expanding=True)),
        "equal": column == bindparam(name),
        "never": false(),
        "low": column >= low,
        "high": column <= high,
        "both": and_(column >= low, column <= high),
        # on PostgreSQL the order of texts is the locale's
        "starts": func.starts_with(column, low) if postgresql else and_(column >= low, column < high),
    }
    return conditions[shape.how]


def _has_modality(values: Any, within: Members | None) -> ColumnElement[bool]:
    of_study = _other.c.study_uid == studies.c.study_uid
    having = select(_other.c.modality).where(of_study, _other.c.modality.in_(values))
    if within is not None:
        having = having.where(series_within(within, _other))
    return exists(having.correlate(studies))


def _header_says(header: ColumnElement[Any], piece: Any, postgresql: bool) -> ColumnElement[bool]:
    """True also of headers with letters beyond ASCII, or escaped ones: which of those are alike, SQL does not know."""
    text = cast(header, Text)
    place = func.strpos if postgresql else func.instr
    beyond = func.length(text) != (func.octet_length(text) if postgresql else func.length(cast(header, LargeBinary)))
    return or_(place(func.lower(text), piece) > 0, beyond, place(text, "\\u") > 0)


_other = series.alias("other")
_MODALITIES = "00080061"
_STUDY_DATE = "00080020"  # of eight digits always, so that texts compare as dates
_NUMBERS = frozenset(("00200011", "00200013"))
_OF_ANY = frozenset((_STUDY_DATE, "00080050", "00200010", "00200011"))  # their columns hold what any instance said
_OF_STUDY: dict[str, ColumnElement[Any]] = {
    _STUDY_DATE: studies.c.study_date,
    "00080050": studies.c.accession_number,
    "00100020": studies.c.patient,  # Patient ID: `deid` writes the pseudonym
    "0020000D": studies.c.study_uid,
    "00200010": studies.c.study_id,
}
_OF_SERIES: dict[str, ColumnElement[Any]] = {
    **_OF_STUDY,
    "0020000D": series.c.study_uid,
    "00080060": series.c.modality,
    "0020000E": series.c.series_uid,
    "00200011": series.c.series_number,
}
_OF_INSTANCE: dict[str, ColumnElement[Any]] = {
    **_OF_SERIES,
    "0020000D": instances.c.study_uid,
    "0020000E": instances.c.series_uid,
    "00080016": instances.c.sop_class_uid,
    "00080018": instances.c.uid,
    "00200013": instances.c.instance_number,
}
_COLUMNS: dict[Level, dict[str, ColumnElement[Any]]] = {
    "study": _OF_STUDY,
    "series": _OF_SERIES,
    "instance": _OF_INSTANCE,
}
"""UIDs of the level's own table where it has them, so that its index gives the order too."""
_HEADERS: dict[Level, dict[str, ColumnElement[Any]]] = {
    "study": dict.fromkeys(BELONGS["study"].keys() - COMPUTED, studies.c.header),
    "series": {
        **dict.fromkeys(BELONGS["study"].keys() - BELONGS["series"].keys() - COMPUTED, studies.c.header),
        **dict.fromkeys(BELONGS["series"].keys() - BELONGS["study"].keys() - COMPUTED, series.c.header),
    },
    "instance": {},
}
"""Where an attribute is kept that is in no column, and nowhere else."""
