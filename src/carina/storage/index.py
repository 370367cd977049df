"""The index of what the archive holds: patients, studies, series, instances and their versions.

What is found can be fetched: an instance is put in the store first, and here after, by `indexing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, exists, select

from carina.errors import NotFound
from carina.model.ids import PatientKey, ProjectId, Uid
from carina.storage.members import Members, instances_within
from carina.storage.schema import instance_versions, instances, studies


@dataclass(frozen=True)
class StoredInstance:
    """The current version of an instance; its bytes are `content` in the store."""

    project: ProjectId
    patient: PatientKey
    study_uid: Uid
    series_uid: Uid
    uid: Uid
    sop_class_uid: str
    transfer_syntax_uid: str
    frames: int
    content: str
    size: int
    header: dict[str, Any]


def find_instance(
    connection: Connection,
    uid: str,
    *,
    study_uid: str | None = None,
    series_uid: str | None = None,
    within: Members | None = None,
) -> StoredInstance:
    """The current version of an instance, or `NotFound`, also when it is not in that study or series, or no member."""
    wanted = _stored(within).where(instances.c.uid == uid)
    if study_uid is not None:
        wanted = wanted.where(instances.c.study_uid == study_uid)
    if series_uid is not None:
        wanted = wanted.where(instances.c.series_uid == series_uid)
    row = connection.execute(wanted).mappings().one_or_none()
    if row is None:
        raise NotFound("The archive has no such instance.")
    return _instance(row)


def instances_of(
    connection: Connection, study_uid: str, series_uid: str | None = None, *, within: Members | None = None
) -> list[StoredInstance]:
    """The instances of a study, or of one of its series, by series and number, or `NotFound` when there are none.

    within   only these, as if the archive held nothing else
    """
    wanted = _stored(within).where(instances.c.study_uid == study_uid)
    if series_uid is not None:
        wanted = wanted.where(instances.c.series_uid == series_uid)
    order = (instances.c.series_uid, instances.c.instance_number, instances.c.uid)
    found = [_instance(row) for row in connection.execute(wanted.order_by(*order)).mappings()]
    if not found:
        raise NotFound("The archive has no such study or series.")
    return found


def has_study(connection: Connection, project: ProjectId, study_uid: Uid) -> bool:
    """Whether the project has images of this study."""
    place = and_(studies.c.project == project, studies.c.study_uid == study_uid)
    return bool(connection.execute(select(exists().where(place))).scalar())


def is_needed(connection: Connection, content: str) -> bool:
    """Whether any version of any instance is this content."""
    return bool(connection.execute(select(exists().where(instance_versions.c.content == content))).scalar())


def contents(connection: Connection) -> set[str]:
    """The content of every version: what the store must hold."""
    return set(connection.execute(select(instance_versions.c.content).distinct()).scalars())


def _stored(within: Members | None) -> Any:
    stored = select(instances, studies.c.patient).join(studies, studies.c.study_uid == instances.c.study_uid)
    return stored if within is None else stored.where(instances_within(within))


def _instance(row: RowMapping) -> StoredInstance:
    return StoredInstance(**{name: row[name] for name in StoredInstance.__dataclass_fields__})
