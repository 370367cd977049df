"""Forgetting a person: everywhere, for good, and whatever interrupts it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from sqlalchemy import delete, select
from tests.support import BREAST, LUNG, SCANNER, ct, make_node

from carina.deid.evidence.reveal import WayBack
from carina.deid.person import Person
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys, new_uid, patient_key
from carina.errors import BadInput, BadSettings, Conflict, NotFound
from carina.model.ids import PatientKey, ProjectId
from carina.model.instance import Source
from carina.model.keys import derive
from carina.node import aliases, clinical, datasets, forget, journal, membership, removal, snapshots, thumbnails, worker
from carina.node.ingest import receive
from carina.node.recovery import recover
from carina.node.removal import Counts
from carina.node.site import Node, Project
from carina.storage import schema

WHO, OTHER = "MRN-4711-SECRET", "MRN-0002"
MAMMO = Source("aet", "MAMMO")
TABLE = "patient_id,issuer,sex,birth_date,topography,morphology,diagnosis_date,stage,treatment,vital_status\n"
ROWS = f"{WHO},,F,1960-01-02,C34.1,8140/3,2024-03-01,IIIA,surgery,alive\n{OTHER},,F,,C50.1,,2019-05-06,I,,alive\n"


def make(folder: Path) -> Node:
    node = make_node(folder)
    research = load_profile("research")
    projects = {one: Project(one, one.title(), research, "HOSPITAL") for one in (LUNG, BREAST)}
    way_back = WayBack(folder / "way-back.sqlite", derive(node.keys.storage, "way-back"))
    return replace(node, projects=projects, way_back=way_back, journal=folder.parent / "node.forgotten")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = make(tmp_path / "node")
    yield made
    assert made.way_back is not None
    made.way_back.close()
    made.engine.dispose()


def drain(node: Node) -> list[str]:
    states: list[str] = []
    while batch := worker.work(node, "test"):
        states += batch
    return states


def key(node: Node, identifier: str, project: ProjectId = LUNG) -> PatientKey:
    return patient_key(ProjectKeys.of(node.keys.pseudonym, project), Person("HOSPITAL", identifier))


def unsure(identifier: str, number: int) -> bytes:
    """An image that must wait in quarantine: its pixels may show text."""
    return ct(identifier, study=5, number=number, elements={"BurnedInAnnotation": "YES"})


def fill(node: Node) -> None:
    """Both persons everywhere: archive of two projects, quarantine, spool, tables, snapshot, previews, aliases."""
    aliases.merge(node, Person("HOSPITAL", "OLD-ID-9"), Person("HOSPITAL", WHO), "ana")
    aliases.merge(node, Person("HOSPITAL", "OLD-ID-8"), Person("HOSPITAL", OTHER), "ana")
    for one in (WHO, OTHER):
        for number in (1, 2):
            receive(node, ct(one, number=number), SCANNER)
        receive(node, ct(one, study=3), MAMMO)
        receive(node, unsure(one, 4), SCANNER)
        receive(node, ct(one, study=6), Source("aet", "NOBODY"))
    receive(node, ct("OLD-ID-9", study=2), SCANNER)
    drain(node)
    clinical.import_table(node, LUNG, TABLE + ROWS)
    iri = datasets.create(node, "ana", LUNG, "All").iri
    snapshots.take(node, "ana", iri)
    datasets.publish(node, "ana", iri)
    with node.engine.connect() as connection:
        for content in connection.execute(select(schema.instances.c.content)).scalars():
            thumbnails.thumbnail(node, content, "small", lambda: b"picture")
    for one in (WHO, OTHER):
        receive(node, ct(one, study=8), SCANNER)


def forgotten(node: Node, identifier: str = WHO, **more: Any) -> Counts:
    return forget.forget(node, "ana", forget.marks_of(node, identifier, **more))


def theirs(node: Node) -> list[bytes]:
    """What must be nowhere: identifiers as sent, pseudonyms, and UIDs, new ones and as sent."""
    found = [WHO, "OLD-ID-9", *(key(node, WHO, one) for one in (LUNG, BREAST))]
    for identifier, studies in ((WHO, (1, 3, 5, 6, 8)), ("OLD-ID-9", (2,))):
        for study in studies:
            dataset = pydicom.dcmread(BytesIO(ct(identifier, study=study)))
            for uid in (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID):
                found += [uid, *(new_uid(ProjectKeys.of(node.keys.pseudonym, one), uid) for one in (LUNG, BREAST))]
    return [one.encode() for one in found]


def left_in(node: Node, sought: list[bytes]) -> set[tuple[str, bytes]]:
    """Where any of these bytes still are: in all files, but in the rows of the audit trail, which name new UIDs."""
    records = node.folder / "records.sqlite"
    found = set()
    for path in [*node.folder.rglob("*"), journal.path_of(node)]:
        if not path.is_file():
            continue
        data = path.read_bytes()
        if path == records:
            data = _without_trail(records)
        found |= {(path.name, one) for one in sought if one in data}
    return found


def _without_trail(records: Path) -> bytes:
    """The records as they are on the disk, the rows of the trail blanked where they stand."""
    data = records.read_bytes()
    with closing(sqlite3.connect(records)) as database:
        for subject, details in database.execute("SELECT subject, details FROM audit"):
            for text in (subject, details):
                if text:
                    data = data.replace(text.encode(), b"." * len(text.encode()))
    return data


def counts(node: Node, table: Any) -> int:
    with node.engine.connect() as connection:
        return len(connection.execute(select(table)).all())


def test_nothing_is_left_of_the_person_and_all_of_others(node: Node) -> None:
    fill(node)
    sought = theirs(node)
    assert {one for _, one in left_in(node, sought)}
    before = forget.count(node, forget.marks_of(node, WHO))
    gone = forgotten(node)
    assert (before.instances, before.received, before.quarantined, before.clinical) == (4, 1, 2, 1)
    assert replace(gone, names=0) == replace(before, names=0)
    assert gone.names > 10
    if node.engine.dialect.name == "sqlite":
        assert left_in(node, sought) == set()
    assert counts(node, schema.instances) == 3 and counts(node, schema.patients) == 2
    assert counts(node, schema.clinical) == 1 and counts(node, schema.snapshot_members) == 2
    assert len(list((node.folder / "store").rglob("*.dcm"))) == 3
    assert len([path for path in (node.folder / "thumbnails").rglob("*") if path.is_file()]) == 3
    assert len(node.spool.names()) == 1 and len(node.quarantine.names()) == 2
    assert aliases.count(node) == 1
    assert drain(node) == ["archived"]
    assert forget.count(node, forget.marks_of(node, WHO)).nothing
    assert node.audit.verify()


def test_the_trail_has_counts_and_no_name(node: Node) -> None:
    fill(node)
    forgotten(node)
    [row] = node.audit.entries(5, action="person-forgotten")
    assert row.subject == "" and row.actor == "ana"
    assert row.details["instances"] == 4 and row.details["projects"] == ["breast", "lung"]


def test_what_comes_later_is_refused(node: Node) -> None:
    fill(node)
    drain(node)
    forgotten(node)
    for data, source in ((ct(WHO, study=9), SCANNER), (ct("OLD-ID-9", study=9), SCANNER), (ct(WHO, study=9), MAMMO)):
        receive(node, data, source)
    assert drain(node) == ["forgotten"] * 3
    receive(node, unsure(WHO, 9), SCANNER)
    assert drain(node) == ["forgotten"]
    assert node.spool.names() == [] and len(node.quarantine.names()) == 2
    report = clinical.import_table(node, LUNG, TABLE + ROWS)
    assert (report.persons, report.rows, report.forgotten) == (1, 1, 1)
    forget.rewrite_records(node)  # empties the log, which has pages of the trail
    if node.engine.dialect.name == "sqlite":
        assert left_in(node, theirs(node)) == set()


def test_what_comes_later_from_a_source_without_project_is_refused(node: Node) -> None:
    forgotten(node, projects=[BREAST])
    for one in (WHO, OTHER):
        receive(node, ct(one), Source("aet", "NOBODY"))
    assert drain(node) == ["forgotten", "quarantined"]
    assert node.spool.names() == [] and len(node.quarantine.names()) == 1
    [row] = node.audit.entries(5, action="refused-forgotten")
    assert row.actor == "aet:(not assigned)" and row.subject == ""


def test_one_project_may_forget_alone(node: Node) -> None:
    fill(node)
    gone = forgotten(node, projects=[BREAST])
    assert gone.instances == 1 and aliases.count(node) == 2
    assert counts(node, schema.instances) == 6


def test_a_pseudonym_is_enough_where_the_map_knows_its_person(node: Node) -> None:
    fill(node)
    gone = forgotten(node, key(node, WHO))
    assert gone.instances == 4 and gone.quarantined == 2


def test_a_pseudonym_alone_forgets_in_its_project(node: Node) -> None:
    fill(node)
    gone = forgotten(replace(node, way_back=None), key(node, WHO))
    assert gone.instances == 3


def test_hubs_are_told_and_described_anew(node: Node) -> None:
    fill(node)
    marks, before = membership.published_marks(node), datasets.published(node)[0]
    forgotten(node)
    assert membership.published_marks(node) != marks
    assert datasets.published(node)[0].digest != before.digest


def test_the_person_may_be_admitted_again(node: Node) -> None:
    fill(node)
    drain(node)
    marks = forget.marks_of(node, WHO)
    with pytest.raises(NotFound):
        forget.lift(node, "ana", marks)
    forgotten(node)
    forget.lift(node, "ana", marks)
    assert forget.apply_tombstones(node).nothing
    receive(node, ct(WHO, number=1), SCANNER)
    assert drain(node) == ["archived"]
    assert forget.number_forgotten(node)[0] == 0


def test_no_merge_brings_a_forgotten_person_back(node: Node) -> None:
    forgotten(node)
    with pytest.raises(Conflict):
        aliases.merge(node, Person("HOSPITAL", WHO), Person("HOSPITAL", OTHER), "ana")
    assert aliases.count(node) == 0


def test_without_an_identifier_nothing_happens(node: Node) -> None:
    with pytest.raises(BadInput):
        forget.marks_of(node, "  ")
    with pytest.raises(NotFound):
        forget.marks_of(node, WHO, projects=[ProjectId("none")])


def test_without_a_journal_nothing_happens(node: Node, tmp_path: Path) -> None:
    fill(node)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSettings):
        forgotten(replace(node, journal=tmp_path / "file" / "journal"))
    assert counts(node, schema.instances) == 7 and counts(node, schema.tombstones) == 0


# --- whatever interrupts it ------------------------------------------------------------------------------------------

STEPS = (
    "_drop_names",
    "drop_waiting",
    "drop_records",
    "drop_contents",
    "drop_late",
    "_drop_aliases",
    "rewrite_records",
)


@pytest.mark.parametrize("step", STEPS)
def test_a_start_ends_what_was_begun(node: Node, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(node)
    real: Callable[..., Any] = getattr(forget, step)

    def cut(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(forget, step, cut)
    with pytest.raises(KeyboardInterrupt):
        forgotten(node)
    monkeypatch.setattr(forget, step, real)
    drain(node)
    recover(node)
    forget.apply_tombstones(node)
    forget.rewrite_records(node)
    if node.engine.dialect.name == "sqlite":
        assert left_in(node, theirs(node)) == set()
    assert counts(node, schema.instances) == 4
    assert forget.apply_tombstones(node) == Counts()


def test_records_of_an_older_back_up_forget_again(node: Node) -> None:
    fill(node)
    drain(node)
    sought = theirs(node)
    forgotten(node)
    with node.engine.begin() as connection:
        connection.execute(delete(schema.tombstones))  # as if they had never been set; and the person is back
    for number in (1, 2):
        receive(node, ct(WHO, number=number), SCANNER)
    assert drain(node) == ["archived", "archived"]
    gone = forget.apply_tombstones(node)
    assert gone.instances == 2
    if node.engine.dialect.name == "sqlite":
        assert left_in(node, sought) == set()
    assert counts(node, schema.tombstones) == 4


def test_a_journal_that_is_lost_is_written_again_from_the_records(node: Node) -> None:
    forgotten(node)
    path = journal.path_of(node)
    before = journal.read(node)
    path.unlink()
    forget.apply_tombstones(node)
    assert journal.read(node) == before and path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_cut_off_does_not_count(node: Node) -> None:
    forgotten(node)
    path = journal.path_of(node)
    before = journal.read(node)
    with path.open("ab") as file:
        file.write(b"forgotten 2026-")
    assert journal.read(node) == before
    forgotten(node, OTHER)
    assert len(journal.read(node)) == 4
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(Conflict):
        journal.read(node)


def test_a_worker_that_had_begun_brings_nothing_back(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(node, ct(WHO), SCANNER)
    receive(node, unsure(WHO, 2), SCANNER)
    settle = worker._settle

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(worker, "_settle", settle)
        forgotten(node)
        return settle(*arguments)

    monkeypatch.setattr(worker, "_settle", late)
    drain(node)
    assert counts(node, schema.instances) == 0
    assert node.spool.names() == [] and node.quarantine.names() == []
    assert not list((node.folder / "store").rglob("*.dcm"))
    if node.engine.dialect.name == "sqlite":
        forget.rewrite_records(node)
        assert left_in(node, theirs(node)) == set()


def test_files_that_do_not_say_whose_they_are_are_told(node: Node) -> None:
    receive(node, ct(None or "", study=1), SCANNER)
    node.quarantine.put("0" * 32, b"nonsense")
    drain(node)
    assert forget.count(node, forget.marks_of(node, WHO)).unread == 2
    assert removal.waiting_of(node, forget.marks_of(node, WHO)).quarantine == []
