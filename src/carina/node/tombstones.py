"""Who is forgotten, and stays so: keyed digests of pseudonyms, which name nobody and are known again when they return.

A worker asks within the transaction that would take an instance in (`forgotten`). Whoever forgets writes the tombstone
in a transaction of its own before anything is deleted, so one of two things holds: the worker sees the tombstone, or
its commit came first, and what it took in is deleted.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import Connection, delete, exists, insert, select, text, update

from carina.deid.person import Person, merged, person_of
from carina.deid.pseudonyms import ProjectKeys, is_pseudonym, patient_key
from carina.dicom.quiet import quiet
from carina.errors import Withheld
from carina.model.clock import stamp
from carina.model.ids import PatientKey, ProjectId
from carina.model.instance import CleanInstance, Source
from carina.model.keys import derive
from carina.node.site import Node, Project
from carina.storage.schema import studies
from carina.storage.schema import tombstones as table

Patient = tuple[ProjectId, PatientKey]
"""A person as one project knows them."""
Mark = tuple[ProjectId, str]
"""A project, and what stands for a person among its tombstones: `digest_of`."""

_AT_ONCE = 500  # digests of one statement
_BEGINNING = 2**20  # bytes of an instance that are read to see whose it is
_LOCK = 0x436172696E61  # PostgreSQL's advisory lock: shared by those who take in, held alone by those who forget
_WANTED = (0x00080005, 0x00100020, 0x00100021)  # Specific Character Set, Patient ID, Issuer of Patient ID
_PATIENT_ID = 0x00100020
_UIDS = (0x0020000D, 0x0020000E, 0x00080018)  # Study, Series, SOP Instance


def digest_of(node: Node, project: ProjectId, patient: PatientKey) -> str:
    """What stands for a patient among the tombstones: 64 hex digits that mean nothing without the node's key."""
    key = derive(node.keys.pseudonym, "tombstones", project)
    return hmac.new(key, patient.encode(), hashlib.sha256).hexdigest()


def any_forgotten(connection: Connection, project: ProjectId) -> bool:
    """Whether the project has forgotten anybody."""
    return bool(connection.execute(select(exists().where(table.c.project == project))).scalar())


def forgotten(node: Node, connection: Connection, patients: Collection[Patient]) -> set[Patient]:
    """Those of `patients` who are forgotten. In the transaction of `engine.begin()` that would take them in.

    Nobody who is not among the answer can become forgotten before that transaction ends.
    """
    if connection.dialect.name == "postgresql":  # SQLite's transactions follow one another
        connection.execute(text("SELECT pg_advisory_xact_lock_shared(:lock)"), {"lock": _LOCK})
    found: set[Patient] = set()
    for project in {project for project, _ in patients}:
        if any_forgotten(connection, project):
            digests = {digest_of(node, project, patient): patient for of, patient in patients if of == project}
            found |= {(project, digests[one]) for one in _present(connection, project, digests)}
    return found


def _present(connection: Connection, project: ProjectId, digests: Collection[str]) -> set[str]:
    ordered, known = sorted(digests), set[str]()
    for start in range(0, len(ordered), _AT_ONCE):
        some = table.c.digest.in_(ordered[start : start + _AT_ONCE])
        known |= set(connection.execute(select(table.c.digest).where(table.c.project == project, some)).scalars())
    return known


def keep(connection: Connection, marks: Iterable[Mark]) -> int:
    """Set tombstones, or begin anew with those that stand, in a transaction of its own; how many are new.

    When that has committed, nothing of these persons is taken in any more.
    """
    hold_alone(connection)
    new = 0
    for project, digest in sorted(set(marks)):
        place = (table.c.project == project) & (table.c.digest == digest)
        if connection.execute(update(table).where(place).values(finished_at=None)).rowcount == 0:
            connection.execute(insert(table), {"project": project, "digest": digest, "at": stamp()})
            new += 1
    return new


def finish(connection: Connection, marks: Iterable[Mark]) -> None:
    """Note that nothing is left of these persons."""
    for project, digest in set(marks):
        place = (table.c.project == project) & (table.c.digest == digest)
        connection.execute(update(table).where(place).values(finished_at=stamp()))


def lift(connection: Connection, marks: Iterable[Mark]) -> int:
    """Take tombstones away; how many there were."""
    taken = 0
    for project, digest in set(marks):
        taken += connection.execute(delete(table).where(table.c.project == project, table.c.digest == digest)).rowcount
    return taken


def hold_alone(connection: Connection) -> None:
    """Wait for the transactions that take in, and let none begin until this one has ended."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


@dataclass(frozen=True)
class Tombstone:
    """One person whom one project has forgotten; `finished_at` is None while something may still be here."""

    project: ProjectId
    digest: str
    at: str
    finished_at: str | None


def listed(connection: Connection) -> list[Tombstone]:
    """All tombstones, oldest first."""
    wanted = select(table).order_by(table.c.at, table.c.digest)
    return [
        Tombstone(ProjectId(row.project), row.digest, row.at, row.finished_at) for row in connection.execute(wanted)
    ]


# --- what a worker needs for bytes that do not come as far as a clean instance ---------------------------------------


def head_of(stream: BinaryIO) -> Dataset | None:
    """The identifiers of an instance, read by pydicom; None for what cannot be read.

    The beginning is enough for all but instances with megabytes before the identifiers: of these all is read.
    """
    beginning = stream.read(_BEGINNING)
    head = _read(beginning)
    if (head is None or any(tag not in head for tag in (_PATIENT_ID, *_UIDS))) and (more := stream.read()):
        head = _read(beginning + more)
    return head


def _read(data: bytes) -> Dataset | None:
    with quiet():
        try:
            tags: list[Any] = [*_WANTED, *_UIDS]
            return dcmread(BytesIO(data), stop_before_pixels=True, force=True, specific_tags=tags)
        except Exception:  # noqa: BLE001  pydicom raises many kinds; what cannot be read names nobody here
            return None


def uids_of(head: Dataset) -> list[str]:
    """The UIDs of the instance, its series and its study, those that it has."""
    return [str(head[tag].value).strip(" \0") for tag in _UIDS if tag in head and head[tag].value]


def patients_in(
    node: Node, projects: Iterable[tuple[Project, Mapping[Person, Person]]], source: Source, head: Dataset
) -> list[Patient]:
    """Whom an instance is of, in each of several projects with their aliases; none where it has no identifier.

    For what goes into quarantine, too: a forgotten person's images do not wait there either.
    """
    found = []
    for project, aliases in projects:
        with suppress(
            Withheld, ValueError, LookupError
        ):  # no identifier, or letters that its character set does not have
            one = person_of(head, project.issuer, project.strip_leading_zeros)
            found.append((project.id, _key_of(node, project, one, aliases, source in node.pseudonymised)))
    return found


def _key_of(
    node: Node, project: Project, person: Person, aliases: Mapping[Person, Person], pseudonymised: bool
) -> PatientKey:
    person = merged(person, aliases)
    if pseudonymised and is_pseudonym(person.identifier):
        return PatientKey(person.identifier)
    return patient_key(ProjectKeys.of(node.keys.pseudonym, project.id), person)


def clear_way_back(node: Node, connection: Connection, refused: Iterable[CleanInstance]) -> None:
    """Take out of the way back what a worker put there of instances that `forgotten` then refused.

    connection   any; it says which studies and series others still have under these UIDs
    """
    if node.way_back is None:
        return
    for clean in refused:
        kept = connection.execute(select(studies.c.patient).where(studies.c.study_uid == clean.study_uid)).scalar()
        others = kept is not None and kept != clean.patient
        node.way_back.forget(
            [clean.patient] if others else [clean.patient, clean.study_uid, clean.series_uid, clean.uid]
        )
