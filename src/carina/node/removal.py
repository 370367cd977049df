"""Taking persons out of a node, room by room. Each step may be repeated, and finds nothing the second time.

Persons are named by their marks (`tombstones.Mark`), so that the same steps serve whoever types an identifier and a
start that finds tombstones of a journal.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields

from pydicom.dataset import Dataset
from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, select, update

from carina.deid.pseudonyms import ProjectKeys, new_uid
from carina.errors import BadInput, NotFound, WrongKey
from carina.model.clock import stamp
from carina.model.ids import PatientKey, ProjectId
from carina.model.instance import Source
from carina.node import aliases, recent, thumbnails
from carina.node.site import Node
from carina.node.spooled import opened_parcel
from carina.node.tombstones import Mark, Patient, digest_of, head_of, patients_in, uids_of
from carina.storage.schema import (
    arrivals,
    clinical,
    datasets,
    frame_tables,
    instance_versions,
    instances,
    patients,
    pixel_checks,
    quarantine,
    removals,
    series,
    snapshot_members,
    studies,
)

log = logging.getLogger(__name__)

_AT_ONCE = 500  # names of one statement


@dataclass(frozen=True)
class Counts:
    """What was found of persons, or removed.

    patients     pseudonyms that had anything here, one in each project
    received     instances that waited for the workers
    quarantined  instances in quarantine
    clinical     rows of clinical tables
    names        lines of the way back
    aliases      merged identifiers
    unread       files in spool and quarantine whose header does not say whose they are; they stay
    """

    patients: int = 0
    studies: int = 0
    series: int = 0
    instances: int = 0
    received: int = 0
    quarantined: int = 0
    clinical: int = 0
    names: int = 0
    aliases: int = 0
    unread: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Counts)))

    @property
    def nothing(self) -> bool:
        """Whether nothing was found."""
        return not any(getattr(self, one.name) for one in fields(Counts) if one.name != "unread")


@dataclass(frozen=True)
class Waiting:
    """What spool and quarantine hold of persons. `uids`: what replaces the UIDs of those instances."""

    spool: list[str] = field(default_factory=list)
    quarantine: list[str] = field(default_factory=list)
    patients: set[Patient] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)
    unread: int = 0


def waiting_of(node: Node, marks: Collection[Mark]) -> Waiting:
    """Open each sealed file and see whether it is of one of these persons; the spool first, as files leave it so."""
    found = _Scan(node, marks)
    spool = found.of(node.spool.names())
    return Waiting(spool, found.of(node.quarantine.names()), found.patients, found.uids, len(found.unread))


class _Scan:
    def __init__(self, node: Node, marks: Collection[Mark]) -> None:
        self._node, self._marks = node, marks
        self._aliases = {project.id: aliases.load(node, project) for project in node.projects.values()}
        self.patients: set[Patient] = set()
        self.uids: set[str] = set()
        self.unread: set[str] = set()

    def of(self, names: Collection[str]) -> list[str]:
        return [name for name in names if self._is_sought(name)]

    def _is_sought(self, name: str) -> bool:
        try:
            with opened_parcel(self._node, name) as (label, stream, _):
                head = head_of(stream)
        except NotFound:
            return False  # a worker has taken it in meanwhile
        except (BadInput, WrongKey):
            self.unread.add(name)
            return False
        theirs = [] if head is None else self._patients(label.source, head)
        if head is None or not theirs:
            self.unread.add(name)
            return False
        sought = {one for one in theirs if is_marked(self._node, self._marks, *one)}
        self.patients |= sought
        for project in {project for project, _ in sought}:
            keys = ProjectKeys.of(self._node.keys.pseudonym, project)
            self.uids |= {new_uid(keys, uid) for uid in uids_of(head)}
        return bool(sought)

    def _patients(self, source: Source, head: Dataset) -> list[Patient]:
        """Whom it is of, in its project; where nobody has said to which project it belongs, in each."""
        node = self._node
        project = node.project_of.get(source)
        projects = [one for one in node.projects.values() if project in (None, one.id)]
        return patients_in(node, [(one, self._aliases[one.id]) for one in projects], source, head)


def is_marked(node: Node, marks: Collection[Mark], project: ProjectId, patient: PatientKey) -> bool:
    """Whether one of the marks is this patient's."""
    return any(of == project for of, _ in marks) and (project, digest_of(node, project, patient)) in marks


def known_patients(node: Node, marks: Collection[Mark]) -> set[Patient]:
    """Those of the marked persons whom images, clinical rows or the way back name."""
    found: set[Patient] = set()
    with node.engine.connect() as connection:
        for project in {project for project, _ in marks}:
            named = {str(one) for one in _names(connection, project)}
            if node.way_back is not None:
                named |= set(node.way_back.patients())
            found |= {(project, PatientKey(one)) for one in named if is_marked(node, marks, project, PatientKey(one))}
    return found


def _names(connection: Connection, project: ProjectId) -> Iterator[str]:
    for table in (patients, clinical):
        named = select(table.c.patient).where(table.c.project == project).distinct()
        yield from connection.execute(named).scalars()


def counts_of(connection: Connection, project: ProjectId, patient: PatientKey) -> Counts:
    """What the records hold of one patient."""
    its = _studies_of(project, patient)

    def number(table: ColumnElement[bool], of: object) -> int:
        return int(connection.execute(select(func.count()).select_from(of).where(table)).scalar_one())  # type: ignore[arg-type]

    counted = Counts(
        studies=number((studies.c.project == project) & (studies.c.patient == patient), studies),
        series=number(series.c.study_uid.in_(its), series),
        instances=number(instances.c.study_uid.in_(its), instances),
        clinical=number((clinical.c.project == project) & (clinical.c.patient == patient), clinical),
    )
    known = number((patients.c.project == project) & (patients.c.patient == patient), patients)
    return counted + Counts(patients=int(bool(known or counted.clinical)))


def names_of(connection: Connection, project: ProjectId, patient: PatientKey) -> set[str]:
    """What the way back may have of one patient: the pseudonym, and the UIDs of studies, series and instances."""
    its = _studies_of(project, patient)
    found: set[str] = {str(patient)}
    for wanted in (
        its,
        select(series.c.series_uid).where(series.c.study_uid.in_(its)),
        select(instances.c.uid).where(instances.c.study_uid.in_(its)),
    ):
        found |= set(connection.execute(wanted).scalars())
    return found


def _studies_of(project: ProjectId, patient: PatientKey):  # type: ignore[no-untyped-def]
    return select(studies.c.study_uid).where(studies.c.project == project, studies.c.patient == patient)


def owned_by_others(connection: Connection, uids: set[str], theirs: set[Patient]) -> set[str]:
    """Those of `uids` under which the archive holds something of another patient."""
    found: set[str] = set()
    for column, study in ((studies.c.study_uid, studies.c.study_uid), (series.c.series_uid, series.c.study_uid),
                          (instances.c.uid, instances.c.study_uid)):  # fmt: skip
        for some in chunks(uids):
            wanted = select(column, studies.c.project, studies.c.patient).where(column.in_(some))
            joined = wanted if study is studies.c.study_uid else wanted.where(study == studies.c.study_uid)
            found |= {uid for uid, project, patient in connection.execute(joined) if (project, patient) not in theirs}
    return found


def drop_waiting(node: Node, found: Waiting) -> None:
    """Empty spool and quarantine of what was found: the rows first, so that no worker takes it up, then the bytes."""
    names = sorted({*found.spool, *found.quarantine})
    for some in chunks(names):
        with node.engine.begin() as connection:
            connection.execute(delete(pixel_checks).where(pixel_checks.c.id.in_(some)))
            connection.execute(delete(quarantine).where(quarantine.c.id.in_(some)))
            connection.execute(update(arrivals).where(arrivals.c.id.in_(some)).values(**_nothing_left()))
    for name in names:
        node.spool.remove(name)
        node.quarantine.remove(name)


def _nothing_left() -> dict[str, object]:
    none = dict.fromkeys(("reason", "study_uid", "uid", "sent", "claimed_by", "claimed_at"))
    return {**none, "state": "forgotten", "finished_at": stamp()}


def drop_late(node: Node) -> None:
    """Remove from quarantine what a worker, who had begun before, put there of instances that are forgotten."""
    for some in chunks(node.quarantine.names()):
        gone = select(arrivals.c.id).where(arrivals.c.id.in_(some), arrivals.c.state == "forgotten")
        with node.engine.connect() as connection:
            names = list(connection.execute(gone).scalars())
        for name in names:
            node.quarantine.remove(name)


def drop_records(connection: Connection, project: ProjectId, patient: PatientKey) -> Counts:
    """Delete all that the records say of one patient, in one transaction, and note which files are to go after it."""
    counted = counts_of(connection, project, patient)
    its = list(connection.execute(_studies_of(project, patient)).scalars())
    for some in chunks(its):
        inside = (instances.c.project == project) & instances.c.study_uid.in_(some)
        uids = list(connection.execute(select(instances.c.uid).where(inside)).scalars())
        done = arrivals.c.project == project, arrivals.c.study_uid.in_(some)
        ids = list(connection.execute(select(arrivals.c.id).where(*done)).scalars())
        for their in chunks(ids):
            connection.execute(delete(pixel_checks).where(pixel_checks.c.id.in_(their)))
            connection.execute(delete(quarantine).where(quarantine.c.id.in_(their)))
        connection.execute(update(arrivals).where(*done).values(**_nothing_left()))
        drop_versions(connection, project, uids)
        drop_members(connection, project, uids)
        connection.execute(delete(instances).where(inside))
        connection.execute(delete(series).where(series.c.project == project, series.c.study_uid.in_(some)))
        connection.execute(delete(studies).where(studies.c.project == project, studies.c.study_uid.in_(some)))
    for table in (patients, clinical):
        connection.execute(delete(table).where(table.c.project == project, table.c.patient == patient))
    return counted


def drop_versions(connection: Connection, project: ProjectId, uids: Collection[str], but: Collection[str] = ()) -> None:
    """Delete all versions of instances from the records, but those of some contents."""
    for some in chunks(uids):
        place = (instance_versions.c.project == project) & instance_versions.c.uid.in_(some)
        contents = set(connection.execute(select(instance_versions.c.content).where(place)).scalars()) - set(but)
        for gone in chunks(contents):
            connection.execute(delete(instance_versions).where(place, instance_versions.c.content.in_(gone)))
        let_go(connection, contents)


def let_go(connection: Connection, contents: Collection[str]) -> None:
    """Note that these files are to be removed, once the transaction has committed, and delete what tells of frames."""
    for some in chunks(contents):
        waits = set(connection.execute(select(removals.c.content).where(removals.c.content.in_(some))).scalars())
        new = [{"content": content} for content in some if content not in waits]
        if new:
            connection.execute(insert(removals), new)
        connection.execute(delete(frame_tables).where(frame_tables.c.content.in_(some)))


def drop_members(connection: Connection, project: ProjectId, uids: Collection[str]) -> None:
    """Take instances out of the snapshots of the project's datasets."""
    members = select(snapshot_members.c.dataset, snapshot_members.c.number).distinct()
    of_project = snapshot_members.c.dataset.in_(select(datasets.c.iri).where(datasets.c.project == project))
    for dataset, number in connection.execute(members.where(of_project)).all():
        inside = (snapshot_members.c.dataset == dataset) & (snapshot_members.c.number == number)
        for some in chunks(uids):
            connection.execute(delete(snapshot_members).where(inside, snapshot_members.c.uid.in_(some)))


def drop_contents(node: Node) -> None:
    """Remove the files that wait in `removals`, unless something names them again."""
    with node.engine.connect() as connection:
        gone = list(connection.execute(select(removals.c.content)).scalars())
    for content in gone:
        with node.engine.connect() as connection:
            needed = connection.execute(select(exists().where(instance_versions.c.content == content))).scalar()
        if not needed:
            with suppress(NotFound):
                node.instances.remove(content)
            thumbnails.forget_content(node, content)
            recent.let_go(content)
    for some in chunks(gone):
        with node.engine.begin() as connection:
            connection.execute(delete(removals).where(removals.c.content.in_(some)))


def chunks(names: Collection[str]) -> Iterator[list[str]]:
    """The names, sorted, as many at once as a statement takes."""
    ordered = sorted(names)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]
