"""The index of what the archive holds: patients, studies, series, instances and their versions.

What is found can be fetched: an instance is put in the store first and here after. Counts and modalities change in the
same transaction as what they count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, and_, delete, exists, insert, select, update

from carina.errors import Conflict, NotFound
from carina.model.clock import stamp
from carina.model.ids import PatientKey, ProjectId, Uid
from carina.model.instance import CleanInstance, Version
from carina.storage.members import Members, instances_within
from carina.storage.schema import action_sets, instance_versions, instances, patients, series, studies

Added = Literal["added", "unchanged", "replaced"]
Header = Mapping[str, Any]
"""DICOM JSON (PS3.18 Annex F), bulk data left out."""


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


def add_instance(
    connection: Connection,
    clean: CleanInstance,
    *,
    content: str,
    size: int,
    frames: int,
    study_header: Header,
    series_header: Header,
    header: Header,
    body_part: str | None,
    manufacturer: str | None,
    instrument: str | None = None,
) -> Added:
    """Take a stored instance into the index, in a transaction of `engine.begin()`.

    content, size   of its file in the store; size in bytes
    headers         DICOM JSON of what belongs to the study, to the series, and of the whole
    instrument      identifier in a register of instruments

    The same source and version again is "unchanged"; the same source and a new version is "replaced", and what the
    index says of its study and series is then taken from this version alone. Raises `Conflict`, and changes nothing,
    when its UID has another source, or its study or series belongs to another patient or study.
    """
    known = _known_version(connection, clean)
    if known is not None:
        return "unchanged"
    _require_same_place(connection, clean)
    place = and_(instances.c.project == clean.project, instances.c.uid == clean.uid)
    replaces = bool(connection.execute(select(exists().where(place))).scalar())
    _keep_patient(connection, clean)
    _keep_study(connection, clean, study_header, replaces)
    described = {"body_part": body_part, "manufacturer": manufacturer, "instrument": instrument}
    new_series = _keep_series(connection, clean, series_header, described, replaces)
    if replaces:
        connection.execute(delete(instances).where(place))
    row = {
        "project": clean.project,
        "uid": clean.uid,
        "series_uid": clean.series_uid,
        "study_uid": clean.study_uid,
        "sop_class_uid": clean.sop_class_uid,
        "transfer_syntax_uid": clean.transfer_syntax_uid,
        "instance_number": _whole_number(header, "00200013"),
        "frames": frames,
        "content": content,
        "size": size,
        "header": dict(header),
    }
    connection.execute(insert(instances), row)
    _keep_version(connection, clean, content)
    _count(connection, clean, new_instance=not replaces, new_series=new_series)
    return "replaced" if replaces else "added"


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


def _is_version(version: Version) -> Any:
    columns = instance_versions.c
    return and_(
        columns.engine == version.engine,
        columns.profile_digest == version.profile_digest,
        columns.review == version.review,
    )


def _known_version(connection: Connection, clean: CleanInstance) -> str | None:
    """The content of this version if it is here. Raises `Conflict` when the UID has another source."""
    of_uid = and_(instance_versions.c.project == clean.project, instance_versions.c.uid == clean.uid)
    digests = select(instance_versions.c.source_digest).where(of_uid).distinct()
    if any(digest != clean.source_digest for digest in connection.execute(digests).scalars()):
        raise Conflict("An instance with this UID came earlier with other content.")
    same = select(instance_versions.c.content).where(of_uid, _is_version(clean.version))
    return connection.execute(same).scalar()


def _require_same_place(connection: Connection, clean: CleanInstance) -> None:
    """Raise `Conflict` when study or series is known as another patient's or study's, or the instance in another."""
    places = (
        (studies.c.patient, studies.c.study_uid, clean.study_uid, clean.patient),
        (series.c.study_uid, series.c.series_uid, clean.series_uid, clean.study_uid),
        (instances.c.series_uid, instances.c.uid, clean.uid, clean.series_uid),
    )
    for above, key, uid, expected in places:
        value = connection.execute(select(above).where(key == uid, key.table.c.project == clean.project)).scalar()
        if value is not None and value != expected:
            raise Conflict("Its study or series came earlier as another patient's or study's.")


def _keep_patient(connection: Connection, clean: CleanInstance) -> None:
    place = and_(patients.c.project == clean.project, patients.c.patient == clean.patient)
    row = connection.execute(select(patients.c.sex).where(place).with_for_update()).one_or_none()
    if row is None:
        values = {"project": clean.project, "patient": clean.patient, "sex": clean.facts.sex}
        connection.execute(insert(patients), values)
    elif row.sex is None and clean.facts.sex is not None:
        connection.execute(update(patients).where(place).values(sex=clean.facts.sex))


def _keep_study(connection: Connection, clean: CleanInstance, header: Header, replaces: bool) -> None:
    place = and_(studies.c.project == clean.project, studies.c.study_uid == clean.study_uid)
    columns = {
        "study_date": clean.facts.study_date,
        "study_time": _first_text(header, "00080030"),
        "study_id": _first_text(header, "00200010"),
        "accession_number": _first_text(header, "00080050"),
        "age_years": clean.facts.age_years,
        "header": dict(header),
    }
    row = connection.execute(select(studies).where(place).with_for_update()).mappings().one_or_none()
    if row is not None:
        changes = columns if replaces else _what_lacks(row, columns)
        connection.execute(update(studies).where(place).values(**changes, last_at=stamp()))
        return
    at = stamp()
    ids = {"project": clean.project, "study_uid": clean.study_uid, "patient": clean.patient}
    connection.execute(insert(studies), {**ids, **columns, "modalities": [], "first_at": at, "last_at": at})


def _keep_series(
    connection: Connection,
    clean: CleanInstance,
    header: Header,
    described: dict[str, str | None],
    replaces: bool,
) -> bool:
    """True when the series is new."""
    place = and_(series.c.project == clean.project, series.c.series_uid == clean.series_uid)
    columns = {
        "series_number": _whole_number(header, "00200011"),
        **described,
        "device": clean.facts.device,
        "header": dict(header),
    }
    row = connection.execute(select(series).where(place).with_for_update()).mappings().one_or_none()
    if row is not None:
        changes = columns if replaces else _what_lacks(row, columns)
        if changes:
            connection.execute(update(series).where(place).values(**changes))
        return False
    ids = {"project": clean.project, "series_uid": clean.series_uid, "study_uid": clean.study_uid}
    connection.execute(insert(series), {**ids, "modality": clean.modality, **columns})
    return True


def _what_lacks(row: RowMapping, columns: dict[str, Any]) -> dict[str, Any]:
    """What a further instance knows that the row does not: the first that states something is believed."""
    changes = {
        name: value for name, value in columns.items() if name != "header" and row[name] is None and value is not None
    }
    filled = {tag: item for tag, item in row["header"].items() if item.get("Value")}
    header = {**columns["header"], **filled}
    if any(tag not in row["header"] or row["header"][tag] != item for tag, item in header.items()):
        changes["header"] = header
    return changes


def _keep_version(connection: Connection, clean: CleanInstance, content: str) -> None:
    version = {
        "project": clean.project,
        "uid": clean.uid,
        "engine": clean.version.engine,
        "profile_digest": clean.version.profile_digest,
        "review": clean.version.review,
        "source_digest": clean.source_digest,
        "content": content,
        "made_at": stamp(),
        "actions": _keep_actions(connection, clean.actions),
    }
    connection.execute(insert(instance_versions), version)


def _keep_actions(connection: Connection, actions: Mapping[str, int]) -> str:
    """The digest under which what was done is kept."""
    content = dict(sorted(actions.items()))
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    if not connection.execute(select(exists().where(action_sets.c.digest == digest))).scalar():
        connection.execute(insert(action_sets), {"digest": digest, "actions": content})
    return digest


def _count(connection: Connection, clean: CleanInstance, *, new_instance: bool, new_series: bool) -> None:
    if not new_instance:
        return
    of_series = and_(series.c.project == clean.project, series.c.series_uid == clean.series_uid)
    of_study = and_(studies.c.project == clean.project, studies.c.study_uid == clean.study_uid)
    connection.execute(update(series).where(of_series).values(instance_count=series.c.instance_count + 1))
    changes: dict[str, Any] = {"instance_count": studies.c.instance_count + 1}
    if new_series:
        known = connection.execute(select(studies.c.modalities).where(of_study)).scalar_one()
        changes["modalities"] = sorted({*known, clean.modality})
        changes["series_count"] = studies.c.series_count + 1
    connection.execute(update(studies).where(of_study).values(**changes))


def _first_text(header: Header, tag: str) -> str | None:
    """The first value of a text attribute, or None."""
    values = header.get(tag, {}).get("Value") or [None]
    text = "" if values[0] is None else str(values[0]).strip()
    return text.encode(errors="replace").decode() or None


def _whole_number(header: Header, tag: str) -> int | None:
    """The first value of an integer string attribute (VR IS, so of 32 bits), or None."""
    try:
        number = int(header[tag]["Value"][0])
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None
    return number if -(2**31) <= number < 2**31 else None
