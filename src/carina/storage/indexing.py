"""Taking stored instances into the index, a batch at a time: what is known is read once, what changes is written once.

Counts, modalities and states change in the same transaction as what they count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, Table, bindparam, insert, select, update

from carina.errors import Conflict
from carina.model.clock import stamp
from carina.model.instance import CleanInstance
from carina.storage.ready import ReadyJson
from carina.storage.schema import (
    action_sets,
    frame_tables,
    instance_versions,
    instances,
    patients,
    series,
    studies,
)

Added = Literal["added", "unchanged", "replaced"]
Header = Mapping[str, Any]
"""DICOM JSON (PS3.18 Annex F), bulk data left out."""
_Key = tuple[str, ...]
_Row = dict[str, Any]
_OTHER_CONTENT = "An instance with this UID came earlier with other content."
_OTHER_PLACE = "Its study or series came earlier as another patient's or study's."


@dataclass(frozen=True)
class Entry:
    """A clean instance whose file is in the store.

    content, size            of that file; size in bytes
    header, brief            DICOM JSON, compact: the whole of it, and what searches answer with
    study, series            of it what belongs to the study and to the series
    pixel_offset, frame_size where its frames lie in the file, as `dicom.frametable` says; `frame_table` likewise
    instrument               identifier in a register of instruments
    """

    clean: CleanInstance
    content: str
    size: int
    frames: int
    study: Header = field(repr=False)
    series: Header = field(repr=False)
    header: str = field(repr=False)
    brief: str = field(repr=False)
    instance_number: int | None = None
    pixel_offset: int | None = None
    frame_size: int | None = None
    frame_table: bytes | None = field(default=None, repr=False)
    body_part: str | None = None
    manufacturer: str | None = None
    instrument: str | None = None


def add_all(connection: Connection, entries: Sequence[Entry]) -> tuple[list[Added | Conflict], list[_Key]]:
    """Take stored instances into the index, in order, in a transaction of `engine.begin()`.

    The same source and version again is "unchanged"; the same source and a new version is "replaced", and what the
    index says of its study and series is then taken from this version alone. A `Conflict`, and nothing of it is taken
    in, when its UID has another source, or its study or series belongs to another patient or study.

    Also the studies, as project and UID, that were complete and have grown.
    """
    batch = _Batch(connection, entries)
    results = [batch.add(entry) for entry in entries]
    batch.write()
    return results, batch.reopened


class _Rows:
    """Rows of one table that a batch knows, and how they change."""

    def __init__(self, connection: Connection, table: Table, keys: Sequence[str], wanted: Collection[str]) -> None:
        self.table = table
        self.keys = tuple(keys)
        of_these = select(table).where(table.c[keys[-1]].in_(sorted(wanted))).order_by(*(table.c[key] for key in keys))
        self.known: dict[_Key, _Row] = {}
        for row in connection.execute(of_these.with_for_update()).mappings():
            self.known[tuple(row[key] for key in keys)] = dict(row)
        self._new: dict[_Key, _Row] = {}
        self._changed: dict[_Key, _Row] = {}

    def get(self, key: _Key) -> _Row | None:
        return self.known.get(key)

    def add(self, key: _Key, row: _Row) -> None:
        self.known[key] = self._new[key] = dict(row)

    def change(self, key: _Key, changes: _Row) -> None:
        self.known[key].update(changes)
        if key in self._new:
            self._new[key].update(changes)
        elif changes:
            self._changed.setdefault(key, {}).update(changes)

    def write(self, connection: Connection) -> None:
        if self._new:
            connection.execute(insert(self.table), list(self._new.values()))
        for columns in {tuple(sorted(changes)) for changes in self._changed.values()}:
            alike = [(key, changes) for key, changes in self._changed.items() if tuple(sorted(changes)) == columns]
            place = [self.table.c[name] == bindparam(f"key_{name}") for name in self.keys]
            changed = update(self.table).where(*place).values({name: bindparam(f"new_{name}") for name in columns})
            rows = [
                {f"key_{name}": part for name, part in zip(self.keys, key, strict=True)}
                | {f"new_{name}": value for name, value in changes.items()}
                for key, changes in alike
            ]
            connection.execute(changed, rows)


class _Batch:
    """What is known of everything that the entries touch."""

    def __init__(self, connection: Connection, entries: Sequence[Entry]) -> None:
        self.connection = connection
        cleans = [entry.clean for entry in entries]
        self.at = stamp()
        self.patients = _Rows(connection, patients, ("project", "patient"), {one.patient for one in cleans})
        self.studies = _Rows(connection, studies, ("project", "study_uid"), {one.study_uid for one in cleans})
        self.series = _Rows(connection, series, ("project", "series_uid"), {one.series_uid for one in cleans})
        uids = {one.uid for one in cleans}
        self.places = _places(connection, uids)
        self.versions = _versions(connection, uids)
        self.instances: dict[_Key, _Row] = {}
        self.replaced: set[_Key] = set()
        self.new_versions: list[_Row] = []
        self.actions: dict[str, Mapping[str, int]] = {}
        self.tables: dict[str, bytes] = {}
        self.reopened: list[_Key] = []

    def add(self, entry: Entry) -> Added | Conflict:
        clean = entry.clean
        key = (clean.project, clean.uid)
        of_uid = self.versions.get(key, {})
        if any(digest != clean.source_digest for digest, _ in of_uid.values()):
            return Conflict(_OTHER_CONTENT)
        if _version(clean) in of_uid:
            return "unchanged"
        if not self._same_place(clean):
            return Conflict(_OTHER_PLACE)
        replaces = key in self.places
        self._keep_patient(clean)
        new_series = self._keep_series(entry, replaces, (clean.project, clean.series_uid))
        self._keep_study(entry, replaces, new_series)
        self._keep_instance(key, entry, replaces)
        return "replaced" if replaces else "added"

    def write(self) -> None:
        """Tell the records what has changed."""
        for rows in (self.patients, self.studies, self.series):
            rows.write(self.connection)
        if self.replaced:
            gone = [{"of": project, "which": uid} for project, uid in sorted(self.replaced)]
            place = (instances.c.project == bindparam("of"), instances.c.uid == bindparam("which"))
            self.connection.execute(instances.delete().where(*place), gone)
        _insert(self.connection, instances, list(self.instances.values()))
        _insert(self.connection, instance_versions, self.new_versions)
        _insert_new(
            self.connection,
            action_sets,
            "digest",
            {key: {"actions": dict(value)} for key, value in self.actions.items()},
        )
        _insert_new(
            self.connection, frame_tables, "content", {key: {"frames": value} for key, value in self.tables.items()}
        )

    def _same_place(self, clean: CleanInstance) -> bool:
        """Whether neither study nor series is known as another patient's or study's, nor the instance in another."""
        study = self.studies.get((clean.project, clean.study_uid))
        of_series = self.series.get((clean.project, clean.series_uid))
        place = self.places.get((clean.project, clean.uid))
        return (
            (study is None or study["patient"] == clean.patient)
            and (of_series is None or of_series["study_uid"] == clean.study_uid)
            and (place is None or place == clean.series_uid)
        )

    def _keep_patient(self, clean: CleanInstance) -> None:
        key = (clean.project, clean.patient)
        row = self.patients.get(key)
        if row is None:
            self.patients.add(key, {"project": clean.project, "patient": clean.patient, "sex": clean.facts.sex})
        elif row["sex"] is None and clean.facts.sex is not None:
            self.patients.change(key, {"sex": clean.facts.sex})

    def _keep_study(self, entry: Entry, replaces: bool, new_series: bool) -> None:
        clean, header = entry.clean, entry.study
        key = (clean.project, clean.study_uid)
        columns = {
            "study_date": clean.facts.study_date,
            "study_time": first_text(header, "00080030"),
            "study_id": first_text(header, "00200010"),
            "accession_number": first_text(header, "00080050"),
            "age_years": clean.facts.age_years,
            "header": header,
        }
        row = self.studies.get(key)
        if row is None:
            ids = {"project": clean.project, "study_uid": clean.study_uid, "patient": clean.patient}
            counts = {"modalities": [], "series_count": 0, "instance_count": 0}
            state = {"first_at": self.at, "last_at": self.at, "state": "receiving", "completed_at": None, "reopened": 0}
            self.studies.add(key, {**ids, **columns, **counts, **state})
            row = self.studies.known[key]
        else:
            self.studies.change(key, columns if replaces else _what_lacks(row, columns))
        changes: _Row = {"last_at": self.at}
        if not replaces:
            changes["instance_count"] = row["instance_count"] + 1
            if new_series:
                changes["modalities"] = sorted({*row["modalities"], clean.modality})
                changes["series_count"] = row["series_count"] + 1
            if row["state"] == "complete":
                changes |= {"state": "receiving", "reopened": row["reopened"] + 1}
                self.reopened.append(key)
        self.studies.change(key, changes)

    def _keep_series(self, entry: Entry, replaces: bool, key: _Key) -> bool:
        """True when the series is new."""
        clean, row = entry.clean, self.series.get(key)
        columns = {
            "series_number": whole_number(entry.series, "00200011"),
            "body_part": entry.body_part,
            "manufacturer": entry.manufacturer,
            "instrument": entry.instrument,
            "device": clean.facts.device,
            "header": entry.series,
        }
        if row is None:
            ids = {"project": clean.project, "series_uid": clean.series_uid, "study_uid": clean.study_uid}
            self.series.add(key, {**ids, "modality": clean.modality, **columns, "instance_count": 0})
        else:
            self.series.change(key, columns if replaces else _what_lacks(row, columns))
        if not replaces:
            self.series.change(key, {"instance_count": self.series.known[key]["instance_count"] + 1})
        return row is None

    def _keep_instance(self, key: _Key, entry: Entry, replaces: bool) -> None:
        clean = entry.clean
        if replaces:
            self.replaced.add(key)
        self.places[key] = clean.series_uid
        self.instances[key] = {
            "project": clean.project,
            "uid": clean.uid,
            "series_uid": clean.series_uid,
            "study_uid": clean.study_uid,
            "sop_class_uid": clean.sop_class_uid,
            "transfer_syntax_uid": clean.transfer_syntax_uid,
            "instance_number": entry.instance_number,
            "frames": entry.frames,
            "content": entry.content,
            "size": entry.size,
            "header": ReadyJson(entry.header),
            "brief": ReadyJson(entry.brief),
            "pixel_offset": entry.pixel_offset,
            "frame_size": entry.frame_size,
        }
        if entry.frame_table is not None:
            self.tables[entry.content] = entry.frame_table
        self.versions.setdefault(key, {})[_version(clean)] = (clean.source_digest, entry.content)
        self.new_versions.append(
            {
                "project": clean.project,
                "uid": clean.uid,
                "engine": clean.version.engine,
                "profile_digest": clean.version.profile_digest,
                "review": clean.version.review,
                "source_digest": clean.source_digest,
                "content": entry.content,
                "made_at": self.at,
                "actions": self._actions(clean.actions),
            }
        )

    def _actions(self, actions: Mapping[str, int]) -> str:
        """The digest under which what was done is kept."""
        content = dict(sorted(actions.items()))
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        self.actions[digest] = content
        return digest


def _places(connection: Connection, uids: Collection[str]) -> dict[_Key, str]:
    """Of those instances that are here, the series that each is in."""
    known = select(instances.c.project, instances.c.uid, instances.c.series_uid).where(
        instances.c.uid.in_(sorted(uids))
    )
    return {(row.project, row.uid): row.series_uid for row in connection.execute(known)}


def _versions(connection: Connection, uids: Collection[str]) -> dict[_Key, dict[_Key, tuple[str, str]]]:
    """By instance, its versions, of each the digest of its source and its content."""
    found: dict[_Key, dict[_Key, tuple[str, str]]] = {}
    for row in connection.execute(select(instance_versions).where(instance_versions.c.uid.in_(sorted(uids)))):
        version = (row.engine, row.profile_digest, row.review)
        found.setdefault((row.project, row.uid), {})[version] = (row.source_digest, row.content)
    return found


def _version(clean: CleanInstance) -> _Key:
    return clean.version.engine, clean.version.profile_digest, clean.version.review


def _what_lacks(row: _Row, columns: _Row) -> _Row:
    """What a further instance knows that the row does not: the first that states something is believed."""
    changes = {
        name: value for name, value in columns.items() if name != "header" and row[name] is None and value is not None
    }
    known, stated = row["header"], columns["header"]
    lacking = {
        tag: item
        for tag, item in stated.items()
        if tag not in known or (known[tag] != item and not known[tag].get("Value"))
    }
    if lacking:
        changes["header"] = {**known, **lacking}
    return changes


def _insert(connection: Connection, table: Table, rows: list[_Row]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _insert_new(connection: Connection, table: Table, key: str, rows: Mapping[str, _Row]) -> None:
    """Those that are not there yet."""
    if not rows:
        return
    column = table.c[key]
    known = set(connection.execute(select(column).where(column.in_(sorted(rows)))).scalars())
    _insert(connection, table, [{key: name, **row} for name, row in rows.items() if name not in known])


def first_text(header: Header, tag: str) -> str | None:
    """The first value of a text attribute, or None."""
    values = header.get(tag, {}).get("Value") or [None]
    text = "" if values[0] is None else str(values[0]).strip()
    return text.encode(errors="replace").decode() or None


def whole_number(header: Header, tag: str) -> int | None:
    """The first value of an integer string attribute (VR IS, so of 32 bits), or None."""
    try:
        number = int(header[tag]["Value"][0])
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None
    return number if -(2**31) <= number < 2**31 else None
