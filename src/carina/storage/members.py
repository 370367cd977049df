"""What belongs to a dataset, as conditions in SQL: the only place where that is said.

Each condition is asked of one row at a time by keys, so that looking one instance up costs the same in an archive of
any size.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Text, and_, case, cast, exists, func, select
from sqlalchemy.sql.selectable import Subquery

from carina.model.cohort import Query
from carina.model.ids import DatasetIri, ProjectId
from carina.storage.cohort import matching_series
from carina.storage.database import from_text
from carina.storage.schema import instances, series, snapshot_members, studies

SHORT_HEADER: ColumnElement[str] = case(
    (cast(instances.c.brief, Text) == "{}", cast(instances.c.header, Text)), else_=cast(instances.c.brief, Text)
)
"""Of an instance, as text: what searches need. What was archived before there were short headers has none until it is
described again; its whole header says the same."""


@dataclass(frozen=True)
class Members:
    """The members of a dataset: whatever has `query` now, or else those of the snapshot `number` of `dataset`.

    A series has the whole query or none of it, and all its instances with it (`model.cohort`). A snapshot holds
    instances in the version they had; one that was made anew since is no longer among what can be given. `study`: of
    them, those of this one; empty: all.
    """

    project: ProjectId
    query: Query | None = None
    dataset: DatasetIri | None = None
    number: int | None = None
    study: str = ""

    def __post_init__(self) -> None:
        """Neither, or both, would be a dataset of anything."""
        if (self.query is None) == (self.dataset is None or self.number is None):
            raise ValueError("members are those of a query or of a snapshot")


def instances_within(members: Members, of: FromClause = instances) -> ColumnElement[bool]:
    """Whether a row of `instances`, or of an alias of it, is a member. Raises `InvalidQuery` for unknown terms."""
    if members.query is not None:
        return _of_study(members, of, _series_matches(members, members.query, of))
    in_snapshot = and_(
        snapshot_members.c.dataset == members.dataset,
        snapshot_members.c.number == members.number,
        snapshot_members.c.uid == of.c.uid,
        snapshot_members.c.content == of.c.content,
    )
    return _of_study(members, of, exists(select(snapshot_members.c.uid).where(in_snapshot).correlate(of)))


def series_within(members: Members, of: FromClause = series) -> ColumnElement[bool]:
    """Whether a row of `series`, or of an alias of it, has a member."""
    if members.query is not None:
        return _of_study(members, of, _series_matches(members, members.query, of))
    inside = instances.alias()
    its_own = inside.c.series_uid == of.c.series_uid
    return exists(select(inside.c.uid).where(its_own, instances_within(members, inside)).correlate(of))


def studies_within(members: Members, of: FromClause = studies) -> ColumnElement[bool]:
    """Whether a row of `studies`, or of an alias of it, has a member."""
    inside = series.alias()
    its_own = inside.c.study_uid == of.c.study_uid
    return exists(select(inside.c.series_uid).where(its_own, series_within(members, inside)).correlate(of))


@dataclass(frozen=True)
class SeriesSize:
    """A series that has members, and how many."""

    study_uid: str
    series_uid: str
    modality: str
    number: int | None
    instances: int


def sizes(connection: Connection, members: Members, study_uids: Collection[str]) -> list[SeriesSize]:
    """What these studies hold of the members, series by series."""
    own = (series.c.study_uid, series.c.series_uid, series.c.modality, series.c.series_number)
    wanted = select(*own, series.c.instance_count).where(series_within(members))
    if members.query is None:
        belongs = series.c.series_uid == instances.c.series_uid
        counted = select(*own, func.count(instances.c.uid)).join(instances, belongs)
        wanted = counted.where(instances_within(members)).group_by(*own)
    of_these = series.c.study_uid.in_(list(study_uids))
    return [SeriesSize(*row) for row in connection.execute(wanted.where(of_these))]


def first_headers(connection: Connection, members: Members, series_uids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Of each of these series, which have members, the short header of its first member by number and UID."""
    if not series_uids:
        return {}
    order = (instances.c.instance_number, instances.c.uid)
    place = func.row_number().over(partition_by=instances.c.series_uid, order_by=order).label("place")
    ranked = select(instances.c.uid, place).where(instances.c.series_uid.in_(list(series_uids)))
    if members.query is None:
        ranked = ranked.where(instances_within(members))
    first = ranked.subquery("first")
    wanted = select(instances.c.series_uid, SHORT_HEADER).join(first, first.c.uid == instances.c.uid)
    return {uid: from_text(header) for uid, header in connection.execute(wanted.where(first.c.place == 1))}


def _of_study(members: Members, of: FromClause, matches: ColumnElement[bool]) -> ColumnElement[bool]:
    """`matches`, and the row is of the one study if there is one."""
    return and_(of.c.study_uid == members.study, matches) if members.study else matches


def _series_matches(members: Members, query: Query, of: FromClause) -> ColumnElement[bool]:
    """Whether the row's series has the query. By UIDs alone, which no two projects share: SQLite would else take an
    index on the project, which all rows have in common."""
    matched = _matching(members.project, query)
    return exists(select(matched.c.series_uid).where(matched.c.series_uid == of.c.series_uid).correlate(of))


@lru_cache(256)
def _matching(project: ProjectId, query: Query) -> Subquery:
    """What SQLAlchemy makes of a query takes it longer than the database needs to answer."""
    return matching_series([project], query)
