"""Two persons who are one: what is stored under the old pseudonym is written anew under the new one.

The result is what taking the images in would have given, had the identifiers been merged before. The merge is kept for
later arrivals first; then each study moves in one transaction, its new files in the store before. So the journey may be
repeated after a crash at any point, and goes on where it ended.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, insert, select, update

from carina.deid.person import Person, merged, person
from carina.deid.pseudonyms import ProjectKeys, is_pseudonym, patient_key, shift_date, shift_days
from carina.deid.rekey import Change, Rekeying, rekeyed_header, rekeyed_instance
from carina.errors import BadInput, Conflict, NotFound
from carina.model.clock import stamp
from carina.model.ids import PatientKey, ProjectId
from carina.model.instance import Source
from carina.node import aliases, tombstones
from carina.node.forget import chosen_projects, rewrite_records
from carina.node.removal import drop_contents, drop_versions, let_go
from carina.node.site import Node, Project
from carina.storage.schema import (
    arrivals,
    clinical,
    frame_tables,
    instance_versions,
    instances,
    patients,
    series,
    studies,
)

log = logging.getLogger(__name__)

MERGED = "patients-merged"
_HINT = "Give both identifiers on standard input, with - - in place of the pseudonyms."


@dataclass(frozen=True)
class Pair:
    """Two identifiers of one person. Identifying. An empty issuer is each project's own."""

    old: Person
    new: Person

    @classmethod
    def of_identifiers(cls, old: tuple[str, str], new: tuple[str, str]) -> Pair:
        """Of issuer and identifier each. Raises `BadInput` where one is empty, and `Conflict` where both are one."""
        made = [person(*one) for one in (old, new)]
        if made[0] is None or made[1] is None:
            raise BadInput("An identifier is empty.")
        if made[0] == made[1]:
            raise Conflict("Both identifiers are the same.")
        return cls(made[0], made[1])


@dataclass(frozen=True)
class Merged:
    """What is, or was, stored under the old one."""

    studies: int = 0
    instances: int = 0
    clinical: int = 0

    def __add__(self, other: Merged) -> Merged:
        return Merged(self.studies + other.studies, self.instances + other.instances, self.clinical + other.clinical)


def pair_of_pseudonyms(node: Node, old: str, new: str, actor: str) -> Pair:
    """The persons of two pseudonyms of one project, whom the way back knows; `actor` is written down for the looks.

    Raises `NotFound` where the way back does not have them, `Conflict` where both are one, `BadInput` for others.
    """
    if not (is_pseudonym(old) and is_pseudonym(new)):
        raise BadInput("These are no pseudonyms of persons.", _HINT)
    if node.way_back is None:
        raise NotFound("This node keeps no map from pseudonyms to persons.", _HINT)
    named = [_person_of(node, one, actor) for one in (old, new)]
    return Pair.of_identifiers(*[(one.issuer, one.identifier) for one in named])


def _person_of(node: Node, pseudonym: str, actor: str) -> Person:
    """The person whose own pseudonym this is, of all who were merged into it."""
    assert node.way_back is not None
    for original in node.way_back.look(pseudonym, actor):
        for project in node.projects.values():
            named = person(original.issuer, original.value, project.issuer, project.strip_leading_zeros)
            if original.kind == "patient" and named is not None and _key(node, project, named) == pseudonym:
                return named
    raise NotFound("The map does not have the person of such a pseudonym.", _HINT)


def count(node: Node, pair: Pair, projects: Collection[ProjectId] = ()) -> Merged:
    """What is stored under the old one now; nothing is changed."""
    found = Merged()
    with node.engine.connect() as connection:
        for project in chosen_projects(node, projects):
            found += _stored(connection, project.id, _change(node, project, pair).old)
    return found


def merge(node: Node, actor: str, pair: Pair, projects: Collection[ProjectId] = ()) -> Merged:
    """Let the old one mean the new one from now on, and write anew what is stored; what that was.

    Raises `Conflict` for a loop, for one who is merged into someone else already, and where one of them is forgotten.
    """
    chosen = chosen_projects(node, projects)
    aliases.merge(node, pair.old, pair.new, actor)
    done = Merged()
    for project in chosen:
        done += _merge_in(node, actor, project, _change(node, project, pair))
    drop_contents(node)
    rewrite_records(node)
    return done


def _change(node: Node, project: Project, pair: Pair) -> Change:
    """From the old one's own pseudonym to that of whom the new one finally means."""
    ruled = [
        person(one.issuer, one.identifier, project.issuer, project.strip_leading_zeros) for one in (pair.old, pair.new)
    ]
    if ruled[0] is None or ruled[1] is None or ruled[0] == ruled[1]:
        raise Conflict("Both identifiers are the same by this project's rules.")
    old, new = ruled[0], merged(ruled[1], aliases.load(node, project))
    keys = ProjectKeys.of(node.keys.pseudonym, project.id)
    return Change(patient_key(keys, old), patient_key(keys, new), shift_days(keys, old), shift_days(keys, new))


def _key(node: Node, project: Project, named: Person) -> PatientKey:
    return patient_key(ProjectKeys.of(node.keys.pseudonym, project.id), named)


def _stored(connection: Connection, project: ProjectId, patient: PatientKey) -> Merged:
    theirs = and_(studies.c.project == project, studies.c.patient == patient)
    number, inside = connection.execute(select(func.count(), func.sum(studies.c.instance_count)).where(theirs)).one()
    rows = select(func.count()).where(clinical.c.project == project, clinical.c.patient == patient)
    return Merged(int(number), int(inside or 0), int(connection.execute(rows).scalar_one()))


def _merge_in(node: Node, actor: str, project: Project, change: Change) -> Merged:
    with node.engine.connect() as connection:
        found = _stored(connection, project.id, change.old)
        place = and_(studies.c.project == project.id, studies.c.patient == change.old)
        theirs = list(
            connection.execute(select(studies.c.study_uid).where(place).order_by(studies.c.study_uid)).scalars()
        )
    for study_uid in theirs:
        _Study(node, project, change, study_uid).move()
    with node.engine.begin() as connection:
        _keep_patient(connection, project.id, change)
        _move_clinical(connection, project.id, change)
        left = connection.execute(
            select(exists().where(studies.c.project == project.id, studies.c.patient == change.old))
        )
        if not left.scalar():
            gone = and_(patients.c.project == project.id, patients.c.patient == change.old)
            connection.execute(delete(patients).where(gone))
        details: dict[str, Any] = {"project": project.id, "studies": found.studies, "instances": found.instances}
        node.audit.append(MERGED, actor, connection=connection, **details, clinical=found.clinical)
    if node.way_back is not None:
        node.way_back.rekey(change.old, change.new)
    return found


def _keep_patient(connection: Connection, project: ProjectId, change: Change) -> None:
    """The new one's row, with what the old one's knows; nothing where neither has any."""
    rows = {
        row.patient: row.sex
        for row in connection.execute(
            select(patients).where(patients.c.project == project, patients.c.patient.in_([change.old, change.new]))
        )
    }
    if change.old not in rows:
        return
    if change.new not in rows:
        connection.execute(insert(patients), {"project": project, "patient": change.new, "sex": rows[change.old]})
    elif rows[change.new] is None:
        place = and_(patients.c.project == project, patients.c.patient == change.new)
        connection.execute(update(patients).where(place).values(sex=rows[change.old]))


def _move_clinical(connection: Connection, project: ProjectId, change: Change) -> None:
    """The old one's rows among the new one's, in the order in which a table of both would have them."""
    both = and_(clinical.c.project == project, clinical.c.patient.in_([change.old, change.new]))
    rows = [dict(row) for row in connection.execute(select(clinical).where(both)).mappings()]
    if all(row["patient"] == change.new for row in rows):
        return
    sex = next((row["sex"] for row in rows if row["sex"]), None)
    for row in rows:
        if row["patient"] == change.old and row["diagnosis_date"]:
            day = date.fromisoformat(row["diagnosis_date"]) + timedelta(days=change.new_days - change.old_days)
            row["diagnosis_date"] = day.isoformat()
        row |= {"patient": change.new, "sex": sex}
    rows.sort(key=lambda row: (row["diagnosis_date"] or "9999", row["topography"], row["morphology"] or ""))
    connection.execute(delete(clinical).where(both))
    connection.execute(insert(clinical), [{**row, "number": number} for number, row in enumerate(rows, 1)])


@dataclass
class _Study:
    """One study on its way from the old one to the new one."""

    node: Node
    project: Project
    change: Change
    uid: str
    written: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    untouched: set[str] = field(default_factory=set)

    def move(self) -> None:
        """Write the files anew, then move all rows in one transaction; again where images came meanwhile."""
        while True:
            with self.node.engine.connect() as connection:
                rows = self._instances(connection)
                self.untouched = self._pseudonymised(connection)
            for row in rows:
                if row["content"] not in self.written:
                    self.written[row["content"]] = self._write(row)
            with self.node.engine.begin() as connection:
                present = self._instances(connection)
                if all(row["content"] in self.written for row in present):
                    self._move_rows(connection, present)
                    return

    def _instances(self, connection: Connection) -> list[dict[str, Any]]:
        wanted = select(instances).where(instances.c.project == self.project.id, instances.c.study_uid == self.uid)
        return [dict(row) for row in connection.execute(wanted.order_by(instances.c.uid)).mappings()]

    def _pseudonymised(self, connection: Connection) -> set[str]:
        """The instances that came from a source whose dates this node leaves as they are."""
        place = and_(arrivals.c.project == self.project.id, arrivals.c.study_uid == self.uid)
        wanted = select(arrivals.c.uid, arrivals.c.source_kind, arrivals.c.source_name).where(place)
        return {uid for uid, kind, name in connection.execute(wanted) if Source(kind, name) in self.node.pseudonymised}

    def _write(self, row: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Put the instance's new file into the store; its content, and what else its row says then."""
        keying = Rekeying.of(self.change, row["header"], moved_here=row["uid"] not in self.untouched)
        with self.node.instances.open(row["content"]) as stream:
            data = stream.read()
        content = self.node.instances.put(rekeyed_instance(data, keying, self.project.id, row))
        headers = {name: rekeyed_header(row[name], keying) for name in ("header", "brief")}
        return content, {**headers, "content": content}

    def _move_rows(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        if tombstones.forgotten(self.node, connection, [(self.project.id, self.change.new)]):
            raise Conflict("The person is forgotten here.", "Nothing can be stored under the new one.")
        _keep_patient(connection, self.project.id, self.change)
        self._move_contents(connection, rows)
        for row in rows:
            place = and_(instances.c.project == self.project.id, instances.c.uid == row["uid"])
            connection.execute(update(instances).where(place).values(**self.written[row["content"]][1]))
        keying = self._keying(rows)
        rows_moved = any(row["uid"] not in self.untouched for row in rows)
        for table, key in ((series, series.c.series_uid), (studies, studies.c.study_uid)):
            inside = and_(table.c.project == self.project.id, table.c.study_uid == self.uid)
            for found in connection.execute(select(table).where(inside)).mappings().all():
                values: dict[str, Any] = {"header": rekeyed_header(found["header"], keying)}
                if table is studies:
                    values |= {"patient": self.change.new, "study_date": self._day(found["study_date"], rows_moved)}
                connection.execute(update(table).where(inside, key == found[key.name]).values(**values))

    def _keying(self, rows: list[dict[str, Any]]) -> Rekeying:
        """For what studies and series say: as of the first instance whose dates this node moved."""
        first = next((row for row in rows if row["uid"] not in self.untouched), None)
        return Rekeying(self.change, None, "") if first is None else Rekeying.of(self.change, first["header"])

    def _day(self, known: str | None, moved_here: bool) -> str | None:
        """The study's date in the index, which moves whatever the profile does to dates."""
        if not moved_here:
            return known
        return None if known is None else shift_date(known, self.change.new_days - self.change.old_days) or known

    def _move_contents(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        """The versions in force and their frames become those of the new files; all other versions go."""
        for row in rows:
            content = self.written[row["content"]][0]
            if content == row["content"]:
                continue
            place = and_(
                instance_versions.c.project == self.project.id,
                instance_versions.c.uid == row["uid"],
                instance_versions.c.content == row["content"],
            )
            connection.execute(update(instance_versions).where(place).values(content=content, made_at=stamp()))
            frames = connection.execute(
                select(frame_tables.c.frames).where(frame_tables.c.content == row["content"])
            ).scalar()
            known = select(exists().where(frame_tables.c.content == content))
            if frames is not None and not connection.execute(known).scalar():
                connection.execute(insert(frame_tables), {"content": content, "frames": frames})
            let_go(connection, [row["content"]])
        kept = {content for content, _ in self.written.values()}
        drop_versions(connection, self.project.id, [row["uid"] for row in rows], but=kept)
