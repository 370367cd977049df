"""Searches for studies, series and instances (QIDO-RS, PS3.18 section 10.6) in the index.

What columns can decide exactly is decided in SQL (`conditions`), and then the paging is too; a statement is made once
for each shape of a search. The rest is decided on the headers, row by row, by `dicom.matching`.

A search within a dataset sees nothing but its members: what is not one is neither found nor counted, nor does it decide
on what is. What the archive keeps of a study or series comes from any of its instances, so there the header of the
first member stands for both, and an instance's own for itself; only the order of studies is the archive's.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, FromClause, Select, Text, bindparam, cast, select

from carina.dicom.levels import BELONGS, COMPUTED, LEVELS, Level
from carina.dicom.matching import test_of
from carina.dicom.query import Match, Query
from carina.model.ids import PatientKey, ProjectId, Uid
from carina.storage.conditions import Shape, condition, term_of
from carina.storage.database import from_text
from carina.storage.members import (
    SHORT_HEADER,
    Members,
    SeriesSize,
    first_headers,
    instances_within,
    series_within,
    sizes,
    studies_within,
)
from carina.storage.patience import Deadline, at_most
from carina.storage.schema import instances, series, studies

AT_ONCE = 500  # rows that are read together
WHOLE_AT_ONCE = 50  # where each has an instance's whole header
PATIENCE = 5.0  # s that a search may take

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """One answer. `header`: DICOM JSON of its level and those above, with what the archive has worked out."""

    project: ProjectId
    patient: PatientKey
    study_uid: Uid
    series_uid: Uid | None
    uid: Uid | None
    header: dict[str, Any]

    @property
    def ids(self) -> tuple[ProjectId, PatientKey, Uid, Uid | None, Uid | None]:
        """Whose it is, and the UIDs of its level and those above."""
        return self.project, self.patient, self.study_uid, self.series_uid, self.uid


def search(
    connection: Connection,
    query: Query,
    projects: Collection[ProjectId] | None = None,
    *,
    within: Members | None = None,
) -> list[Found]:
    """What `scan` finds, all at once, and the attributes of each in the order of their tags."""
    found = scan(connection, query, projects, within=within)
    return [Found(*one.ids, dict(sorted(one.header.items()))) for one in found]


def scan(
    connection: Connection,
    query: Query,
    projects: Collection[ProjectId] | None = None,
    *,
    within: Members | None = None,
    tags: Collection[str] | None = None,
    patience: float = PATIENCE,
) -> Generator[Found, None, None]:
    """What the query asks for, in an order that stays, from `offset` on and at most `limit`, one by one.

    projects   only of these
    within     only these, as if the archive held nothing else
    tags       what of the headers is needed, which may then hold less than all; None: all of them
    patience   seconds; a search that takes longer raises `Busy`

    Of an instance the header is the short one, what `BELONGS` lists for all levels, unless the query wants or matches
    more.
    """
    terms = [term_of(number, match, query.level, within) for number, match in enumerate(query.matches)]
    undecided = [match for match, term in zip(query.matches, terms, strict=True) if term is None or not term.decides]
    values = {name: value for term in terms if term is not None for name, value in term.values}
    shapes = tuple(term.shape for term in terms if term is not None)
    parts = _Parts(query.level, _needs_whole(query), _needs_above(query, undecided, tags, within))
    if not undecided:
        values |= {"rows": query.limit, "past": query.offset}
    wanted = _statement(connection, parts, shapes, projects, within, paged=not undecided)
    with at_most(connection, patience) as deadline:
        rows = (
            Found(row["project"], row["patient"], row["study_uid"], row.get("series_uid"), row.get("uid"), _header(row))
            for row in _stream(connection, wanted, values, parts, within=within, deadline=deadline)
        )
        if undecided:
            fits = test_of(undecided)
            yield from islice((one for one in rows if fits(one.header)), query.offset, query.offset + query.limit)
        else:
            yield from rows


@dataclass(frozen=True)
class _Parts:
    """What is read of each row.

    whole   of an instance the whole header, else the short one
    above   what the levels above say, and how much they hold, beside their UIDs
    """

    level: Level
    whole: bool
    above: bool


_LISTED = frozenset(tag for level in LEVELS for tag in BELONGS[level])
_OWN = {level: frozenset(BELONGS[level]) | {"0020000D", "0020000E"} for level in LEVELS}


def _needs_whole(query: Query) -> bool:
    """Whether the short header of an instance does not do."""
    if query.level != "instance":
        return False
    asked = query.include | {match.tag.split(".")[0] for match in query.matches}
    return query.include_all or not asked <= _LISTED


def _needs_above(query: Query, undecided: list[Match], tags: Collection[str] | None, within: Members | None) -> bool:
    if tags is None or within is not None:
        return True
    needed = {*tags, *(match.tag.split(".")[0] for match in undecided), *(match.second for match in undecided)} - {""}
    return bool(needed & _LISTED - _OWN[query.level])


def _statement(
    connection: Connection,
    parts: _Parts,
    shapes: tuple[Shape, ...],
    projects: Collection[ProjectId] | None,
    within: Members | None,
    *,
    paged: bool,
) -> Select[Any]:
    postgresql = connection.dialect.name == "postgresql"
    if projects is None and within is None:
        return _of_archive(parts, shapes, paged, postgresql)
    wanted = _rows(parts, within).where(*(condition(shape, parts.level, within, postgresql) for shape in shapes))
    if projects is not None:
        wanted = wanted.where(studies.c.project.in_(list(projects)))
    if within is not None:
        wanted = wanted.where(_is_within(within, parts.level))
    return _paged(wanted) if paged else wanted


@lru_cache(256)
def _of_archive(parts: _Parts, shapes: tuple[Shape, ...], paged: bool, postgresql: bool) -> Select[Any]:
    wanted = _rows(parts, None).where(*(condition(shape, parts.level, None, postgresql) for shape in shapes))
    return _paged(wanted) if paged else wanted


def _paged(wanted: Select[Any]) -> Select[Any]:
    return wanted.limit(bindparam("rows")).offset(bindparam("past"))


def _rows(parts: _Parts, within: Members | None) -> Select[Any]:
    """By UIDs alone, which no two projects share: SQLite would else take an index on the project, which many rows have
    in common. Within a dataset without what is kept of the whole study and series."""
    of_study = studies.c.study_uid == series.c.study_uid
    of_series = series.c.series_uid == instances.c.series_uid
    source: FromClause
    order: list[ColumnElement[Any]]
    above = _OF_STUDY if parts.above else []
    match parts.level:
        case "study":
            columns, source, order = _STUDY + _OF_STUDY, studies, [studies.c.study_date, studies.c.study_uid]
        case "series":
            columns, source = _STUDY + above + _SERIES + _OF_SERIES, series.join(studies, of_study)
            order = [series.c.study_uid, series.c.series_number, series.c.series_uid]
        case "instance":
            above = above and [*above, *_OF_SERIES]
            columns = [*_STUDY, *above, *_SERIES, *_INSTANCE, _WHOLE if parts.whole else _SHORT]
            source = instances.join(series, of_series).join(studies, of_study)
            order = [instances.c.study_uid, instances.c.series_uid, instances.c.instance_number, instances.c.uid]
    if within is not None:
        columns = [column for column in columns if column.key not in _OF_ALL]
    return select(*columns).select_from(source).order_by(*order)


def _json(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """As text: rows that follow each other often say the same of their study, which is then read once."""
    return cast(column, Text)


_STUDY: list[ColumnElement[Any]] = [studies.c.project, studies.c.patient, studies.c.study_uid]
_OF_STUDY: list[ColumnElement[Any]] = [
    _json(studies.c.modalities).label("modalities"),
    studies.c.series_count,
    studies.c.instance_count.label("study_instances"),
    _json(studies.c.header).label("study_header"),
]
_SERIES: list[ColumnElement[Any]] = [series.c.series_uid]
_OF_SERIES: list[ColumnElement[Any]] = [
    series.c.instance_count.label("series_instances"),
    _json(series.c.header).label("series_header"),
]
_INSTANCE: list[ColumnElement[Any]] = [instances.c.uid, instances.c.transfer_syntax_uid]
_WHOLE = _json(instances.c.header).label("instance_header")
_SHORT = SHORT_HEADER.label("instance_header")
_OF_ALL = frozenset(column.key for column in (*_OF_STUDY, *_OF_SERIES))
"""Columns that members and others have made together."""
_IN_JSON = ("modalities", "study_header", "series_header", "instance_header")


def _header(row: Row) -> dict[str, Any]:
    """What is known of a row, as DICOM JSON."""
    header = {
        **row.get("instance_header", {}),
        **row.get("series_header", {}),
        **row.get("study_header", {}),
        "0020000D": {"vr": "UI", "Value": [row["study_uid"]]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},  # Instance Availability
    }
    if "study_header" in row:
        header["00080061"] = {"vr": "CS", "Value": row["modalities"]}  # Modalities in Study
        header["00201206"] = {"vr": "IS", "Value": [row["series_count"]]}  # Number of Study Related Series
        header["00201208"] = {"vr": "IS", "Value": [row["study_instances"]]}  # Number of Study Related Instances
    if "series_uid" in row:
        header["0020000E"] = {"vr": "UI", "Value": [row["series_uid"]]}
    if "series_uid" in row and "series_header" in row:
        header["00201209"] = {"vr": "IS", "Value": [row["series_instances"]]}  # Number of Series Related Instances
    if "uid" in row:
        header["00083002"] = {"vr": "UI", "Value": [row["transfer_syntax_uid"]]}  # Available Transfer Syntax UID
    return header


def _stream(
    connection: Connection,
    wanted: Select[Any],
    values: dict[str, Any],
    parts: _Parts,
    *,
    within: Members | None,
    deadline: Deadline,
) -> Iterator[Row]:
    at_once = WHOLE_AT_ONCE if parts.whole else AT_ONCE
    result = connection.execute(wanted, values, execution_options={"yield_per": at_once})
    names = tuple(result.keys())
    read = [(name, _Reader()) for name in _IN_JSON if name in names]
    known: dict[str, list[SeriesSize]] = {}
    with closing(result):  # whoever stops reading leaves no cursor open
        for part in result.partitions():
            deadline.keep()
            rows = [dict(zip(names, row, strict=True)) for row in part]
            for row in rows:
                for name, reader in read:
                    row[name] = reader.read(row[name])
            yield from rows if within is None else _of_members(connection, within, rows, known)


class _Reader:
    """Reads a column of JSON; a text that comes again at once is not read again, so nobody may change what is read."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._value: Any = None

    def read(self, text: str) -> Any:
        """The value."""
        if text != self._text:
            self._text, self._value = text, from_text(text)
        return self._value


def _of_members(
    connection: Connection, within: Members, rows: Sequence[Row], known: dict[str, list[SeriesSize]]
) -> Iterator[Row]:
    """The rows with what members alone say; `known` keeps what studies hold of them."""
    unknown = {row["study_uid"] for row in rows} - known.keys()
    known |= {uid: [] for uid in unknown}
    for size in sizes(connection, within, unknown):
        known[size.study_uid].append(size)
    headers = first_headers(connection, within, _needed(rows, known))
    for row in rows:
        of_study = known[row["study_uid"]]
        yield row | _sums(row, of_study) | _headers(row, of_study, headers)


def _needed(rows: Iterable[Row], known: dict[str, list[SeriesSize]]) -> set[str]:
    """The series whose first members tell of these rows: its own of a series, the study's first; none of instances."""
    above = [row for row in rows if row.get("uid") is None]
    firsts = {_first(known[row["study_uid"]]) for row in above}
    return {uid for uid in firsts | {row.get("series_uid") for row in above} if uid is not None}


def _first(of_study: Iterable[SeriesSize]) -> str | None:
    """Of the series that have members, the first by number."""
    ordered = sorted(of_study, key=lambda size: (size.number is None, size.number or 0, size.series_uid))
    return ordered[0].series_uid if ordered else None


def _headers(row: Row, of_study: Iterable[SeriesSize], headers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What members say of the study and series; an instance's own header says all."""
    if row.get("uid") is not None:
        return {"study_header": {}, "series_header": {}}
    of_first = headers.get(_first(of_study) or "", {})
    return {
        "study_header": _of_level(of_first, "study"),
        "series_header": _of_level(headers.get(row.get("series_uid", ""), {}), "series"),
    }


def _of_level(header: dict[str, Any], level: Level) -> dict[str, Any]:
    return {tag: element for tag, element in header.items() if tag in BELONGS[level] and tag not in COMPUTED}


def _sums(row: Row, of_study: Iterable[SeriesSize]) -> dict[str, Any]:
    """The columns that count, of members only."""
    by_series = {size.series_uid: size for size in of_study}
    own = by_series.get(row.get("series_uid", ""))
    return {
        "modalities": sorted({size.modality for size in by_series.values()}),
        "series_count": len(by_series),
        "study_instances": sum(size.instances for size in by_series.values()),
        "series_instances": 0 if own is None else own.instances,
    }


def _is_within(members: Members, level: Level) -> ColumnElement[bool]:
    match level:
        case "study":
            return studies_within(members)
        case "series":
            return series_within(members)
        case "instance":
            return instances_within(members)
