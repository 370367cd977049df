"""Two persons who are one: what is stored becomes what it would have been."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from sqlalchemy import select
from tests.support import CORPUS, LUNG, SCANNER, ct, make_node

from carina.deid.evidence.reveal import WayBack
from carina.deid.person import Person
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys, patient_key
from carina.errors import Conflict
from carina.model.ids import PatientKey
from carina.model.keys import derive
from carina.node import aliases, clinical, datasets, forget, merge, snapshots, worker
from carina.node.ingest import receive
from carina.node.merge import Pair
from carina.node.site import Node, Project
from carina.storage import schema

OLD, NEW = Person("HOSPITAL", "MRN-0001"), Person("HOSPITAL", "MRN-0002")
TABLE = "patient_id,issuer,sex,birth_date,topography,morphology,diagnosis_date,stage,treatment,vital_status\n"
ROWS = (
    "MRN-0001,,F,1960-01-02,C34.1,8140/3,2024-03-01,IIIA,surgery,alive\n"
    "MRN-0002,,F,1960-01-02,C50.1,,2019-05-06,I,,alive\n"
)


@contextmanager
def site(folder: Path, profile: str = "research") -> Iterator[Node]:
    node = make_node(folder)
    way_back = WayBack(folder / "way-back.sqlite", derive(node.keys.storage, "way-back"))
    project = Project(LUNG, "Lung", load_profile(profile), "HOSPITAL")
    try:
        yield replace(node, way_back=way_back, projects={LUNG: project})
    finally:
        way_back.close()
        node.engine.dispose()


def take_in(node: Node, files: list[bytes]) -> list[str]:
    """Receive the files, and let a worker finish all that waits; the states it ended in."""
    for data in files:
        receive(node, data, SCANNER)
    states: list[str] = []
    while batch := worker.work(node, "test"):
        states += batch
    return states


def key(node: Node, one: Person) -> PatientKey:
    return patient_key(ProjectKeys.of(node.keys.pseudonym, LUNG), one)


TABLES = {
    "instances": None,
    "series": None,
    "studies": ("first_at", "last_at", "completed_at"),
    "patients": None,
    "clinical": None,
    "instance_versions": ("made_at",),
    "frame_tables": None,
}


def rows(node: Node) -> dict[str, list[Any]]:
    """All that the records say, but when."""
    found = {}
    with node.engine.connect() as connection:
        for name, times in TABLES.items():
            table = schema.node_tables.tables[name]
            columns = [column for column in table.c if column.name not in (times or ())]
            found[name] = sorted((tuple(row) for row in connection.execute(select(*columns))), key=str)
    return found


def files(node: Node) -> set[str]:
    return {path.name for path in (node.folder / "store").rglob("*.dcm")}


def dated(number: int = 1, **elements: Any) -> bytes:
    """An image of the old person with dates of all kinds, at the root and in a sequence."""
    item = pydicom.Dataset()
    item.PerformedProcedureStepStartDate = "20240311"
    more = {
        "AcquisitionDateTime": "20240311101500.000000",
        "ContrastBolusAgent": "",
        "RequestAttributesSequence": [item],
        "PatientBirthDate": "19600102",
        **elements,
    }
    return ct("MRN-0001", number=number, elements=more)


def originals() -> list[bytes]:
    """Images of the old person: made here, and real ones of the corpus given to them."""
    found = [dated(number) for number in (1, 2)] + [ct("MRN-0002", study=7)]
    for path in sorted(CORPUS.rglob("*.dcm"))[::9][:24]:
        with suppress(Exception):
            dataset = pydicom.dcmread(path)
            dataset.PatientID, dataset.IssuerOfPatientID = "MRN-0001", ""
            stream = BytesIO()
            dataset.save_as(stream)
            found.append(stream.getvalue())
    return found


@pytest.mark.parametrize("profile", ["basic", "research"])
def test_the_result_is_what_an_earlier_merge_would_have_given(tmp_path: Path, profile: str) -> None:
    with site(tmp_path / "late", profile) as late, site(tmp_path / "early", profile) as early:
        aliases.merge(early, OLD, NEW, "ana")
        for node in (late, early):
            states = take_in(node, originals())
            assert states.count("archived") >= 5, states
            clinical.import_table(node, LUNG, TABLE + ROWS)
        assert rows(late) != rows(early)
        done = merge.merge(late, "ana", Pair(OLD, NEW))
        assert done.instances >= 4 and done.clinical == 1
        assert rows(late) == rows(early)
        assert files(late) == files(early)
        assert late.way_back is not None and early.way_back is not None
        new = key(late, NEW)
        assert set(late.way_back.look(new, "ana")) == set(early.way_back.look(new, "ana"))
        assert not late.way_back.has(key(late, OLD))


def test_later_images_of_the_old_one_come_to_the_new_one(tmp_path: Path) -> None:
    with site(tmp_path) as node:
        take_in(node, [dated(1)])
        merge.merge(node, "ana", Pair(OLD, NEW))
        assert take_in(node, [dated(1)]) == ["unchanged"]
        assert take_in(node, [dated(2)]) == ["archived"]
        with node.engine.connect() as connection:
            assert list(connection.execute(select(schema.patients.c.patient)).scalars()) == [key(node, NEW)]
            assert connection.execute(select(schema.studies.c.instance_count)).scalars().all() == [2]


def test_a_merge_may_be_repeated_and_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with site(tmp_path) as node:
        take_in(node, [ct("MRN-0001", study=study) for study in (1, 2)])
        moved = merge._Study.move
        calls: list[str] = []

        def once(self: Any) -> None:
            if calls:
                raise KeyboardInterrupt
            calls.append(self.uid)
            moved(self)

        monkeypatch.setattr(merge._Study, "move", once)
        with pytest.raises(KeyboardInterrupt):
            merge.merge(node, "ana", Pair(OLD, NEW))
        monkeypatch.undo()
        assert merge.count(node, Pair(OLD, NEW)).studies == 1
        assert merge.merge(node, "ana", Pair(OLD, NEW)).studies == 1
        assert merge.merge(node, "ana", Pair(OLD, NEW)).studies == 0
        with node.engine.connect() as connection:
            assert set(connection.execute(select(schema.studies.c.patient)).scalars()) == {key(node, NEW)}


def test_what_a_snapshot_held_before_is_no_longer_given(tmp_path: Path) -> None:
    from carina.storage.members import Members, instances_within

    with site(tmp_path) as node:
        take_in(node, [dated(1), ct("MRN-0009")])
        iri = datasets.create(node, "ana", LUNG, "All").iri
        snapshots.take(node, "ana", iri)
        merge.merge(node, "ana", Pair(OLD, NEW))
        within = instances_within(Members(LUNG, dataset=iri, number=1))
        with node.engine.connect() as connection:
            held = connection.execute(select(schema.instances.c.uid).where(within)).all()
        assert len(held) == 1


def test_two_pseudonyms_are_enough_where_the_map_knows_their_persons(tmp_path: Path) -> None:
    with site(tmp_path) as node:
        take_in(node, [dated(1), ct("MRN-0002", study=7)])
        pair = merge.pair_of_pseudonyms(node, key(node, OLD), key(node, NEW), "ana")
        assert pair == Pair(OLD, NEW)


def test_a_forgotten_person_is_merged_with_nobody(tmp_path: Path) -> None:
    with site(tmp_path) as node:
        take_in(node, [dated(1)])
        forget.forget(node, "ana", forget.marks_of(node, "MRN-0002"))
        with pytest.raises(Conflict):
            merge.merge(node, "ana", Pair(OLD, NEW))
        assert merge.count(node, Pair(OLD, NEW)).studies == 1


def test_no_row_of_the_trail_names_the_persons(tmp_path: Path) -> None:
    with site(tmp_path) as node:
        take_in(node, [dated(1)])
        merge.merge(node, "ana", Pair(OLD, NEW))
        [row] = node.audit.entries(5, action="patients-merged")
        assert row.details == {"project": "lung", "studies": 1, "instances": 1, "clinical": 0}
        assert row.subject == ""
