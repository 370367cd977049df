"""Cohort queries in SQL: how many patients and studies match, and how they divide.

A query is asked of each series with its study's age and its patient's sex and diagnoses, as `model.cohort` says. What
the clinical table says of a person's sex wins over the images' headers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    and_,
    case,
    distinct,
    false,
    func,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.sql.selectable import ScalarSelect, Subquery

from carina.model.cohort import All, AnyOf, Between, OneOf, Query
from carina.model.ids import ProjectId
from carina.model.variables import require_known
from carina.storage.schema import clinical, instances, patients, series, studies

OLDEST = 90  # ages above are kept as this


@dataclass(frozen=True)
class Sums:
    """What matches, and by variable how many distinct patients have each value.

    A patient with several values counts at each; one without counts at none. `age` is in bands of ten years: "40-49",
    at last "90+".
    """

    patients: int
    studies: int
    series: int
    instances: int
    groups: dict[str, dict[str, int]]


def count(connection: Connection, projects: Collection[ProjectId], query: Query) -> tuple[int, int]:
    """Distinct patients and studies that match, over these projects; a person in two projects counts twice.

    Raises `InvalidQuery` for terms that have no meaning here.
    """
    matched = matching_series(projects, query)
    sums = connection.execute(select(_patients(matched), _studies(matched))).one()
    return int(sums[0]), int(sums[1])


def groups(connection: Connection, projects: Collection[ProjectId], query: Query) -> Sums:
    """What matches, and how it divides. Raises `InvalidQuery` as `count` does."""
    matched = matching_series(projects, query)
    totals = select(
        _patients(matched),
        _studies(matched),
        func.count(matched.c.series_uid),
        func.coalesce(func.sum(matched.c.instance_count), 0),
    )
    number = connection.execute(totals).one()
    band = case((matched.c.age >= OLDEST, OLDEST // 10), else_=matched.c.age // 10)
    return Sums(
        patients=int(number[0]),
        studies=int(number[1]),
        series=int(number[2]),
        instances=int(number[3]),
        groups={
            "modality": _divide(connection, matched, matched.c.modality),
            "body_part": _divide(connection, matched, matched.c.body_part),
            "sex": _divide(connection, matched, matched.c.sex),
            "age": _divide(connection, matched, band, _band_name),
            "manufacturer": _divide(connection, matched, matched.c.manufacturer),
            "diagnosis": _diagnoses(connection, matched),
        },
    )


def membership_digest(connection: Connection, projects: Collection[ProjectId], query: Query) -> str:
    """SHA-256 of the instances and versions that match; changes when one comes, goes or is made anew."""
    matched = matching_series(projects, query)
    belongs = and_(instances.c.project == matched.c.project, instances.c.series_uid == matched.c.series_uid)
    rows = select(instances.c.project, instances.c.uid, instances.c.content).join(matched, belongs)
    digest = hashlib.sha256()
    for row in connection.execute(rows.order_by(instances.c.project, instances.c.uid)):
        digest.update(" ".join(row).encode() + b"\n")
    return digest.hexdigest()


def matching_series(projects: Collection[ProjectId], query: Query) -> Subquery:
    """One row for each series that has the whole query. Raises `InvalidQuery` for terms that have no meaning here."""
    require_known(query)
    columns = (
        series.c.project,
        series.c.series_uid,
        series.c.study_uid,
        studies.c.patient,
        series.c.instance_count,
        series.c.modality,
        series.c.body_part,
        series.c.manufacturer,
        studies.c.age_years.label("age"),
        _sex().label("sex"),
    )
    wanted = select(*columns).select_from(_everything())
    return wanted.where(series.c.project.in_(list(projects)), _holds(query)).subquery("matched")


def _everything() -> FromClause:
    of_study = and_(studies.c.project == series.c.project, studies.c.study_uid == series.c.study_uid)
    of_patient = and_(patients.c.project == studies.c.project, patients.c.patient == studies.c.patient)
    return series.join(studies, of_study).join(patients, of_patient)


def _of_patient() -> ColumnElement[bool]:
    return and_(clinical.c.project == studies.c.project, clinical.c.patient == studies.c.patient)


def _sex() -> ColumnElement[str]:
    stated = select(clinical.c.sex).where(_of_patient(), clinical.c.sex.is_not(None)).order_by(clinical.c.number)
    first: ScalarSelect[str] = stated.limit(1).correlate(studies).scalar_subquery()
    return func.coalesce(first, patients.c.sex)


_COLUMNS: dict[str, Callable[[], ColumnElement[str]]] = {
    "modality": lambda: series.c.modality,
    "body_part": lambda: series.c.body_part,
    "manufacturer": lambda: series.c.manufacturer,
    "sex": _sex,
}


def _holds(query: Query) -> ColumnElement[bool]:
    match query:
        case OneOf("diagnosis", values):
            having = select(clinical.c.project, clinical.c.patient).where(clinical.c.site.in_(values))
            return tuple_(studies.c.project, studies.c.patient).in_(having)
        case OneOf(name, values):
            return _COLUMNS[name]().in_(values)
        case Between(_, low, high):  # `require_known`: of an age
            age = studies.c.age_years
            sides = [age >= low if low is not None else None, age <= high if high is not None else None]
            return and_(age.is_not(None), *(side for side in sides if side is not None))
        case All(parts):
            return and_(true(), *(_holds(part) for part in parts))
        case AnyOf(parts):
            return or_(false(), *(_holds(part) for part in parts))


def _patients(matched: FromClause) -> ColumnElement[int]:
    """A project's name has no slash, so no two patients meet."""
    return func.count(distinct(matched.c.project + "/" + matched.c.patient))


def _studies(matched: FromClause) -> ColumnElement[int]:
    return func.count(distinct(matched.c.project + "/" + matched.c.study_uid))


def _divide(
    connection: Connection, matched: FromClause, value: ColumnElement[object], name: Callable[[object], str] = str
) -> dict[str, int]:
    named = value.label("value")
    rows = select(named, _patients(matched)).where(value.is_not(None)).group_by(named).order_by(named)
    return {name(row[0]): int(row[1]) for row in connection.execute(rows)}


def _band_name(tens: object) -> str:
    return f"{OLDEST}+" if tens == OLDEST // 10 else f"{tens}0-{tens}9"


def _diagnoses(connection: Connection, matched: FromClause) -> dict[str, int]:
    has = and_(clinical.c.project == matched.c.project, clinical.c.patient == matched.c.patient)
    joined = select(clinical.c.site, _patients(matched)).select_from(matched.join(clinical, has))
    return {
        row[0]: int(row[1]) for row in connection.execute(joined.group_by(clinical.c.site).order_by(clinical.c.site))
    }
