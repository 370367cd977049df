"""Searches for studies, series and instances (QIDO-RS, PS3.18 section 10.6) in the index.

What columns can decide exactly is decided in SQL, and then the paging is too. The rest is decided on the headers, row
by row, by `dicom.query`. A search within a dataset sees nothing but its members: what is not one is neither found nor
counted, nor does it decide on what is. What the archive keeps of a study or series comes from any of its instances, so
there the header of the first member stands for both, and an instance's own for itself; only the order of studies is the
archive's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, FromClause, RowMapping, Select, and_, exists, false, select

from carina.dicom.levels import BELONGS, COMPUTED, Level
from carina.dicom.query import Match, Query, fits
from carina.model.ids import PatientKey, ProjectId, Uid
from carina.storage.members import (
    Members,
    SeriesSize,
    first_headers,
    instances_within,
    series_within,
    sizes,
    studies_within,
)
from carina.storage.schema import instances, series, studies

AT_ONCE = 500  # rows that are read together


Row: TypeAlias = RowMapping | dict[str, Any]


@dataclass(frozen=True)
class Found:
    """One answer. `header`: DICOM JSON of its level and those above, with what the archive has worked out."""

    project: ProjectId
    patient: PatientKey
    study_uid: Uid
    series_uid: Uid | None
    uid: Uid | None
    header: dict[str, Any]


def search(
    connection: Connection,
    query: Query,
    projects: Collection[ProjectId] | None = None,
    *,
    within: Members | None = None,
) -> list[Found]:
    """What the query asks for, in an order that stays, from `offset` on and at most `limit`.

    projects   only of these
    within     only these, as if the archive held nothing else
    """
    wanted = _rows(query.level, within)
    if projects is not None:
        wanted = wanted.where(studies.c.project.in_(list(projects)))
    if within is not None:
        wanted = wanted.where(_is_within(within, query.level))
    undecided = []
    for match in query.matches:
        condition, exact = _condition(match, within)
        if condition is not None:
            wanted = wanted.where(condition)
        if not exact:
            undecided.append(match)
    if not undecided:
        paged = wanted.offset(query.offset).limit(query.limit)
        return [_found(row, query.level) for row in _stream(connection, paged, within)]
    fitting = (row for row in _stream(connection, wanted, within) if _fits(_header(row, query.level), undecided))
    return [_found(row, query.level) for row in islice(fitting, query.offset, query.offset + query.limit)]


def _rows(level: Level, within: Members | None) -> Select[Any]:
    """By UIDs alone, which no two projects share: SQLite would else take an index on the project, which many rows have
    in common. Within a dataset without what is kept of the whole study and series."""
    of_study = studies.c.study_uid == series.c.study_uid
    of_series = series.c.series_uid == instances.c.series_uid
    source: FromClause
    order: list[ColumnElement[Any]]
    match level:
        case "study":
            columns, source, order = _STUDY, studies, [studies.c.study_date, studies.c.study_uid]
        case "series":
            columns, source = _STUDY + _SERIES, studies.join(series, of_study)
            order = [series.c.study_uid, series.c.series_number, series.c.series_uid]
        case "instance":
            columns, source = _STUDY + _SERIES + _INSTANCE, studies.join(series, of_study).join(instances, of_series)
            order = [series.c.study_uid, series.c.series_uid, instances.c.instance_number, instances.c.uid]
    if within is not None:
        columns = [column for column in columns if column.key not in _OF_ALL]
    return select(*columns).select_from(source).order_by(*order)


_STUDY: list[ColumnElement[Any]] = [
    studies.c.project,
    studies.c.patient,
    studies.c.study_uid,
    studies.c.modalities,
    studies.c.series_count,
    studies.c.instance_count.label("study_instances"),
    studies.c.header.label("study_header"),
]
_SERIES: list[ColumnElement[Any]] = [
    series.c.series_uid,
    series.c.instance_count.label("series_instances"),
    series.c.header.label("series_header"),
]
_INSTANCE: list[ColumnElement[Any]] = [
    instances.c.uid,
    instances.c.transfer_syntax_uid,
    instances.c.header.label("instance_header"),
]
_OF_ALL = frozenset(
    ("modalities", "series_count", "study_instances", "study_header", "series_instances", "series_header")
)
"""Columns that members and others have made together."""


def _found(row: Row, level: Level) -> Found:
    ids = (row["project"], row["patient"], row["study_uid"], row.get("series_uid"), row.get("uid"))
    return Found(*ids, dict(sorted(_header(row, level).items())))


def _header(row: Row, level: Level) -> dict[str, Any]:
    header = {
        **row.get("instance_header", {}),
        **row.get("series_header", {}),
        **row["study_header"],
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},  # Instance Availability
        "00080061": {"vr": "CS", "Value": row["modalities"]},  # Modalities in Study
        "00201206": {"vr": "IS", "Value": [row["series_count"]]},  # Number of Study Related Series
        "00201208": {"vr": "IS", "Value": [row["study_instances"]]},  # Number of Study Related Instances
    }
    if level != "study":
        header["00201209"] = {"vr": "IS", "Value": [row["series_instances"]]}  # Number of Series Related Instances
    if level == "instance":
        header["00083002"] = {"vr": "UI", "Value": [row["transfer_syntax_uid"]]}  # Available Transfer Syntax UID
    return header


def _stream(connection: Connection, wanted: Select[Any], within: Members | None) -> Iterator[Row]:
    rows = connection.execute(wanted, execution_options={"yield_per": AT_ONCE}).mappings()
    if within is None:
        yield from rows
        return
    known: dict[str, list[SeriesSize]] = {}
    for part in rows.partitions():
        unknown = {row["study_uid"] for row in part} - known.keys()
        known |= {uid: [] for uid in unknown}
        for size in sizes(connection, within, unknown):
            known[size.study_uid].append(size)
        headers = first_headers(connection, within, _needed(part, known))
        for row in part:
            yield dict(row) | _sums(row, known[row["study_uid"]]) | _headers(row, known[row["study_uid"]], headers)


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


def _fits(header: dict[str, Any], matches: list[Match]) -> bool:
    return all(fits(header, match) for match in matches)


def _condition(match: Match, within: Members | None) -> tuple[ColumnElement[bool] | None, bool]:
    """What SQL can say of a match, and whether that is all there is to say."""
    if match.tag == "00080061" and match.kind == "one-of":
        return _has_modality(match.values, within), True
    column = _COLUMNS.get(match.tag)
    of_others = within is not None and match.tag in _OF_ANY
    if column is None or of_others or (match.kind == "range" and match.tag != _STUDY_DATE):
        return None, False
    if match.kind == "range":
        return _between(column, *match.values), True
    if match.kind == "like":
        return column.like(_pattern(match.values[0]), escape="\\"), False  # SQLite's takes no heed of case
    if match.tag in _NUMBERS:
        number = float(match.values[0])
        return (column == int(number) if number.is_integer() else false()), True
    return column.in_(match.values), True


def _has_modality(values: tuple[str, ...], within: Members | None) -> ColumnElement[bool]:
    of_study = _other.c.study_uid == studies.c.study_uid
    having = select(_other.c.modality).where(of_study, _other.c.modality.in_(values))
    if within is not None:
        having = having.where(series_within(within, _other))
    return exists(having.correlate(studies))


def _between(column: ColumnElement[Any], low: str, high: str) -> ColumnElement[bool]:
    sides = [column >= low if low else None, column <= high if high else None]
    return and_(*(side for side in sides if side is not None))


_other = series.alias("other")
_STUDY_DATE = "00080020"  # of eight digits always, so that texts compare as dates
_NUMBERS = frozenset(("00200011", "00200013"))
_OF_ANY = frozenset((_STUDY_DATE, "00080050", "00200010", "00200011"))  # their columns hold what any instance said
_COLUMNS: dict[str, ColumnElement[Any]] = {
    _STUDY_DATE: studies.c.study_date,
    "00080050": studies.c.accession_number,
    "00100020": studies.c.patient,  # Patient ID: `deid` writes the pseudonym
    "0020000D": studies.c.study_uid,
    "00200010": studies.c.study_id,
    "00080060": series.c.modality,
    "0020000E": series.c.series_uid,
    "00200011": series.c.series_number,
    "00080016": instances.c.sop_class_uid,
    "00080018": instances.c.uid,
    "00200013": instances.c.instance_number,
}


def _pattern(text: str) -> str:
    return text.translate(_SIGNS)


_SIGNS = {ord("*"): "%", ord("?"): "_", ord("%"): "\\%", ord("_"): "\\_", ord("\\"): "\\\\"}
