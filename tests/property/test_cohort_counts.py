"""Counts from SQL are those of a plain reading of `model.cohort`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert
from tests.stored import records

from carina.model.cohort import All, AnyOf, Between, OneOf, Query
from carina.model.ids import ProjectId
from carina.model.variables import BY_NAME
from carina.storage import cohort
from carina.storage.schema import clinical, patients, series, studies

PROJECTS = [ProjectId("a"), ProjectId("b")]
CODES = ("modality", "body_part", "sex", "manufacturer", "diagnosis")
SITES = ("C34", "C50", "C99")


@dataclass(frozen=True)
class Row:
    """A series as a query sees it."""

    project: str
    patient: str
    study: str
    series: str
    instances: int
    values: dict[str, str | int | None]
    sites: frozenset[str]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with records(tmp_path_factory.mktemp("cohort")) as engine:
        yield engine


def codes(name: str, number: int = 3) -> list[str]:
    return [value for value, _ in BY_NAME[name].values[:number]]


def maybe(values: list[str]) -> st.SearchStrategy[str | None]:
    return st.sampled_from([*values, None])


def several(part: st.SearchStrategy[Query]) -> st.SearchStrategy[tuple[Query, ...]]:
    return st.lists(part, max_size=3).map(tuple)


a_series = st.fixed_dictionaries(
    {
        "modality": st.sampled_from([*codes("modality"), "ZZ"]),
        "body_part": maybe(codes("body_part")),
        "manufacturer": maybe(codes("manufacturer")),
        "instances": st.integers(1, 9),
    }
)
a_study = st.fixed_dictionaries(
    {
        "age": st.one_of(st.none(), st.integers(0, 90)),
        "series": st.lists(a_series, min_size=1, max_size=3),
    }
)
a_diagnosis = st.tuples(st.sampled_from(SITES), maybe(codes("sex")))
a_patient = st.fixed_dictionaries(
    {
        "project": st.sampled_from(PROJECTS),
        "sex": maybe(codes("sex")),
        "diagnoses": st.lists(a_diagnosis, max_size=3),
        "studies": st.lists(a_study, max_size=3),
    }
)
archives = st.lists(a_patient, max_size=6)

one_of = st.sampled_from(CODES).flatmap(
    lambda name: st.builds(
        OneOf, st.just(name), st.lists(st.sampled_from(codes(name)), max_size=2, unique=True).map(tuple)
    )
)
bound = st.one_of(st.none(), st.integers(0, 100))
between = st.builds(Between, st.just("age"), bound, bound)
queries: st.SearchStrategy[Query] = st.recursive(
    one_of | between,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple).flatmap(lambda parts: st.sampled_from([All(parts), AnyOf(parts)]))
    ),
    max_leaves=6,
)


def keep(connection: Connection, archive: list[dict[str, Any]]) -> list[Row]:
    """Write the archive down; names repeat over projects, so that persons of two must not be taken for one."""
    rows = []
    for number, person in enumerate(archive):
        project = person["project"]
        name = f"P{sum(other['project'] == project for other in archive[:number])}"
        owner = {"project": project, "patient": name}
        connection.execute(insert(patients), {**owner, "sex": person["sex"]})
        for place, (site, sex) in enumerate(person["diagnoses"], 1):
            row = {"number": place, "sex": sex, "topography": f"{site}.1", "site": site}
            connection.execute(insert(clinical), {**owner, **row})
        stated = [sex for _, sex in person["diagnoses"] if sex is not None]
        sex = stated[0] if stated else person["sex"]
        sites = frozenset(site for site, _ in person["diagnoses"])
        for study_number, study in enumerate(person["studies"]):
            study_uid = f"{number}.{study_number}"
            row = {"study_uid": study_uid, "age_years": study["age"], "modalities": [], "header": {}}
            connection.execute(insert(studies), {**owner, **row, "first_at": "", "last_at": ""})
            for series_number, one in enumerate(study["series"]):
                uid = f"{study_uid}.{series_number}"
                values = {key: one[key] for key in ("modality", "body_part", "manufacturer")}
                row = {"project": project, "series_uid": uid, "study_uid": study_uid, "header": {}, **values}
                connection.execute(insert(series), {**row, "instance_count": one["instances"]})
                seen = {**values, "sex": sex, "age": study["age"]}
                rows.append(Row(project, name, study_uid, uid, one["instances"], seen, sites))
    return rows


def holds(query: Query, row: Row) -> bool:
    match query:
        case OneOf("diagnosis", values):
            return bool(row.sites & set(values))
        case OneOf(name, values):
            return row.values[name] in values
        case Between(name, low, high):
            value = row.values[name]
            return isinstance(value, int) and (low is None or value >= low) and (high is None or value <= high)
        case All(parts):
            return all(holds(part, row) for part in parts)
        case AnyOf(parts):
            return any(holds(part, row) for part in parts)


def band(age: int) -> str:
    return "90+" if age >= 90 else f"{age // 10}0-{age // 10}9"


@settings(deadline=None, max_examples=80)
@given(archive=archives, query=queries, projects=st.lists(st.sampled_from(PROJECTS), unique=True))
def test_sql_and_a_plain_reading_agree(
    engine: Engine, archive: list[dict[str, Any]], query: Query, projects: list[ProjectId]
) -> None:
    with engine.connect() as connection:  # ends without a commit
        rows = [row for row in keep(connection, archive) if row.project in projects and holds(query, row)]
        people = {(row.project, row.patient) for row in rows}
        number_of_studies = len({(row.project, row.study) for row in rows})
        assert cohort.count(connection, projects, query) == (len(people), number_of_studies)

        sums = cohort.groups(connection, projects, query)
        assert (sums.patients, sums.studies) == (len(people), number_of_studies)
        assert (sums.series, sums.instances) == (len(rows), sum(row.instances for row in rows))
        members: dict[str, dict[str, set[tuple[str, str]]]] = {name: {} for name in BY_NAME}
        for row in rows:
            who = (row.project, row.patient)
            for name, value in row.values.items():
                if value is not None:
                    members[name].setdefault(band(value) if isinstance(value, int) else value, set()).add(who)
            for site in row.sites:
                members["diagnosis"].setdefault(site, set()).add(who)
        expected = {name: {value: len(people) for value, people in by.items()} for name, by in members.items()}
        assert sums.groups == expected
