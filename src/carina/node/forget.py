"""Forgetting a person: everywhere in the node, and for good.

The journey, each step of which may be repeated after a crash at any point:

1. the tombstone, in the journal outside of the folder and then in the records: nothing of the person is taken in now
2. spool and quarantine, the way back, the records, the files of the store, merged identifiers
3. the tombstone is marked as finished, with a row of the audit trail that has counts and nobody's name

A start that finds a tombstone without that mark, or one that only the journal has because an older back-up was put in
place, goes the way again (`apply_tombstones`).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import select

from carina.deid.person import Person, person
from carina.deid.pseudonyms import ProjectKeys, is_pseudonym, patient_key
from carina.errors import BadInput, NotFound
from carina.model.ids import PatientKey, ProjectId
from carina.node import aliases, journal, tombstones
from carina.node.removal import (
    Counts,
    Waiting,
    counts_of,
    drop_contents,
    drop_late,
    drop_records,
    drop_waiting,
    is_marked,
    known_patients,
    names_of,
    owned_by_others,
    waiting_of,
)
from carina.node.site import Node, Project
from carina.node.tombstones import Mark, Patient, digest_of
from carina.storage.schema import removals

log = logging.getLogger(__name__)

FORGOTTEN = "person-forgotten"
_REWRITTEN_WITHIN = 2**30  # bytes of records that are rewritten whole after somebody was forgotten


def marks_of(
    node: Node, identifier: str, issuer: str = "", projects: Collection[ProjectId] = (), *, actor: str = "operator"
) -> set[Mark]:
    """What stands for a person in these projects, or in all: for the identifier, and for all merged with it.

    identifier  Patient ID (0010,0020), or a pseudonym of this node, whose person the way back then knows
    issuer      (0010,0021); empty: each project's own
    actor       written down as who looked into the way back

    Raises `BadInput` for no identifier, `NotFound` for a project that the node does not have.
    """
    chosen = chosen_projects(node, projects)
    marks: set[Mark] = set()
    for one in chosen:
        named = person(issuer, identifier, one.issuer, one.strip_leading_zeros)
        if named is None:
            raise BadInput("No identifier was given.", "Give the patient's identifier, as images and tables have it.")
        marks |= _marks_in(node, one, named)
    if is_pseudonym(identifier.strip()):
        marks |= _marks_of_pseudonym(node, identifier.strip(), chosen, actor)
    return marks


def chosen_projects(node: Node, projects: Collection[ProjectId]) -> list[Project]:
    """These projects, or all. Raises `NotFound`."""
    if unknown := set(projects) - set(node.projects):
        raise NotFound("This node has no such project." if len(unknown) == 1 else "This node lacks some projects.")
    return [project for project in node.projects.values() if not projects or project.id in projects]


def _marks_in(node: Node, project: Project, named: Person) -> set[Mark]:
    keys = ProjectKeys.of(node.keys.pseudonym, project.id)
    group = aliases.group(node, project, named)
    return {(project.id, digest_of(node, project.id, patient_key(keys, one))) for one in group}


def _marks_of_pseudonym(node: Node, pseudonym: str, chosen: list[Project], actor: str) -> set[Mark]:
    """The pseudonym itself in each project, and the person whom the way back has for it."""
    marks: set[Mark] = {(one.id, digest_of(node, one.id, PatientKey(pseudonym))) for one in chosen}
    if node.way_back is not None and node.way_back.has(pseudonym):
        for original in node.way_back.look(pseudonym, actor):
            for one in chosen:
                named = person(original.issuer, original.value, one.issuer, one.strip_leading_zeros)
                if original.kind == "patient" and named is not None:
                    marks |= _marks_in(node, one, named)
    return marks


def count(node: Node, marks: Collection[Mark]) -> Counts:
    """What the node has of these persons now; nothing is changed."""
    found = waiting_of(node, marks)
    sums = Counts(received=len(found.spool), quarantined=len(set(found.quarantine) - set(found.spool)))
    sums += Counts(unread=found.unread, aliases=_merged(node, marks))
    with node.engine.connect() as connection:
        for project, patient in known_patients(node, marks):
            sums += counts_of(connection, project, patient)
    return sums


def _merged(node: Node, marks: Collection[Mark]) -> int:
    """How many merges are theirs."""
    found = set()
    for project in node.projects.values():
        keys = ProjectKeys.of(node.keys.pseudonym, project.id)
        found |= {
            one for one in aliases.load(node, project) if is_marked(node, marks, project.id, patient_key(keys, one))
        }
    return len(found)


def forget(node: Node, actor: str, marks: Collection[Mark]) -> Counts:
    """Forget these persons (`marks_of`) for good; what was removed. Repeat it after whatever interrupted it.

    Raises `BadSettings` when the journal cannot be written; then nothing has happened. Raises `Full` and `Busy`.
    """
    journal.append(node, "forgotten", marks)
    with node.engine.begin() as connection:
        tombstones.keep(connection, marks)
    return _complete(node, actor, set(marks))


def apply_tombstones(node: Node, *, thorough: bool = False) -> Counts:
    """Forget once more whoever is forgotten and here all the same: after a crash, or when a back-up was put in place.

    thorough  look into spool and quarantine, whether or not the records say that anybody is back

    For the start of a node before it takes anything in, and for whoever restores a back-up.
    """
    said = journal.read(node)
    with node.engine.begin() as connection:
        known = {(one.project, one.digest): one for one in tombstones.listed(connection)}
        lifted = {mark for mark, word in said.items() if word == "lifted"} & known.keys()
        tombstones.lift(connection, lifted)
        all_of_them = {mark for mark, word in said.items() if word == "forgotten"} | known.keys() - lifted
        unfinished = {mark for mark in all_of_them if mark not in known or known[mark].finished_at is None}
        if new := all_of_them - known.keys():
            tombstones.keep(connection, new)
        waits = connection.execute(select(removals.c.content).limit(1)).first() is not None
    if missing := all_of_them - said.keys():
        journal.append(node, "forgotten", missing)
    back = {(one, digest_of(node, one, patient)) for one, patient in known_patients(node, all_of_them)}
    again = all_of_them if thorough else unfinished | back
    if not again:
        if waits:
            drop_contents(node)
        return Counts()
    log.info("tombstones-applied", extra={"count": len(again)})
    return _complete(node, "carina", again)


def lift(node: Node, actor: str, marks: Collection[Mark]) -> int:
    """Take in again what comes of these persons from now on; how many tombstones there were. Nothing comes back.

    Raises `NotFound` when none of them is forgotten.
    """
    with node.engine.begin() as connection:
        lifted = tombstones.lift(connection, marks)
        if not lifted:
            raise NotFound("Nobody of this identifier is forgotten.", "Check the identifier, its issuer and project.")
        journal.append(node, "lifted", marks)
        node.audit.append("person-readmitted", actor, connection=connection, tombstones=lifted)
    return lifted


def number_forgotten(node: Node) -> tuple[int, str | None]:
    """How many tombstones there are, and when the last was set."""
    with node.engine.connect() as connection:
        found = tombstones.listed(connection)
    return len(found), found[-1].at if found else None


def _complete(node: Node, actor: str, marks: Collection[Mark]) -> Counts:
    """From the tombstone on to the end."""
    waiting = waiting_of(node, marks)
    theirs = known_patients(node, marks) | waiting.patients
    sums = Counts(received=len(waiting.spool), quarantined=len(set(waiting.quarantine) - set(waiting.spool)))
    sums += Counts(unread=waiting.unread, names=_drop_names(node, theirs, waiting))
    drop_waiting(node, waiting)
    for project, patient in sorted(theirs):
        with node.engine.begin() as connection:
            sums += drop_records(connection, project, patient)
    drop_contents(node)
    drop_late(node)
    sums = replace(sums, aliases=_drop_aliases(node, actor))
    with node.engine.begin() as connection:
        tombstones.finish(connection, marks)
        node.audit.append(FORGOTTEN, actor, connection=connection, **_said(marks, sums))
    rewrite_records(node)
    log.info("person-forgotten", extra=asdict(sums))
    return sums


def _said(marks: Iterable[Mark], sums: Counts) -> dict[str, Any]:
    return {"projects": sorted({project for project, _ in marks}), **asdict(sums)}


def _drop_names(node: Node, theirs: set[Patient], waiting: Waiting) -> int:
    """Take them out of the way back, while the records still say which UIDs are theirs; how many lines there were."""
    if node.way_back is None:
        return 0
    with node.engine.connect() as connection:
        names = waiting.uids - owned_by_others(connection, waiting.uids, theirs)
        for project, patient in theirs:
            names |= names_of(connection, project, patient)
    return node.way_back.forget(sorted(names))


def _drop_aliases(node: Node, actor: str) -> int:
    with node.engine.connect() as connection:
        marks = {(one.project, one.digest) for one in tombstones.listed(connection)}

    def forgotten(project: Project, one: Person) -> bool:
        keys = ProjectKeys.of(node.keys.pseudonym, project.id)
        return is_marked(node, marks, project.id, patient_key(keys, one))

    return aliases.forget(node, actor, forgotten)


def rewrite_records(node: Node) -> bool:
    """Write the records anew without what was deleted, and empty their log; False where that was left out.

    SQLite overwrites what it deletes, but pages may keep copies of lines that were moved about. Records of more than
    1 GiB are not rewritten, since nobody could write meanwhile; nor are those that somebody else holds now.
    """
    if node.way_back is not None:
        node.way_back.rewrite()
    if node.engine.dialect.name != "sqlite":
        return False
    raw = node.engine.raw_connection()
    try:
        cursor = raw.cursor()
        [pages], [size] = (cursor.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        if pages * size <= _REWRITTEN_WITHIN:
            cursor.execute("VACUUM")
        busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return pages * size <= _REWRITTEN_WITHIN and not busy
    except sqlite3.OperationalError:
        log.warning("records-not-rewritten")
        return False
    finally:
        raw.close()
