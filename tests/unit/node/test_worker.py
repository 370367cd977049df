"""From the spool into the archive or the quarantine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.support import LUNG, SCANNER, ct, make_node, open_test_node, ring

from carina.deid.person import Person
from carina.errors import Full
from carina.model.instance import CleanInstance, Instrument, Reason, Source
from carina.node import aliases, ingest, preparing, quarantine, worker
from carina.node.site import Node
from carina.storage import arrivals, index, indexing
from carina.storage.schema import arrivals as rows
from carina.storage.schema import instances, node_tables, patients, series


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    yield node
    node.engine.dispose()


def drain(node: Node) -> list[str]:
    """Work until nothing waits; the states in order."""
    states: list[str] = []
    while batch := worker.work(node, "test"):
        states += batch
    return states


def take(node: Node, data: bytes, source: Source = SCANNER) -> arrivals.Arrival:
    """Receive and process; what became of it."""
    receipt = ingest.receive(node, data, source)
    drain(node)
    with node.engine.connect() as connection:
        return arrivals.get(connection, receipt.id)


def stored(node: Node) -> set[str]:
    """The contents that are in the store."""
    return {path.stem for path in (node.folder / "store").rglob("*.dcm")}


def test_an_image_reaches_the_archive_and_leaves_the_spool(node: Node) -> None:
    arrival = take(node, ct())
    assert (arrival.state, arrival.project) == ("archived", LUNG)
    assert node.spool.names() == node.quarantine.names() == []
    with node.engine.connect() as connection:
        found = index.find_instance(connection, str(arrival.uid), study_uid=arrival.study_uid)
    with node.instances.open(found.content) as stream:
        data = stream.read()
    assert len(data) == found.size
    assert b"Garcia" not in data and b"MRN-0001" not in data
    assert [entry.action for entry in node.audit.entries(5)] == ["archived"]
    assert found.header["00080060"]["Value"] == ["CT"]


def test_one_arrival_can_be_processed_by_itself_and_twice(node: Node) -> None:
    ingest.receive(node, ct(), SCANNER)
    claimed = arrivals.claim(node.engine, "test")
    assert claimed is not None
    sealed = node.spool.read(claimed.id)
    assert worker.process(node, claimed) == "archived"
    node.spool.put(claimed.id, sealed)
    assert worker.process(node, claimed) == "unchanged"
    assert len(stored(node)) == 1 and node.audit.verify() == 1


def test_the_same_image_again_changes_nothing(node: Node) -> None:
    first, again = take(node, ct()), take(node, ct())
    assert (again.state, again.uid) == ("unchanged", first.uid)
    assert len(stored(node)) == 1


def test_another_image_under_the_same_uid_waits_as_conflict_and_the_first_stays(node: Node) -> None:
    first = take(node, ct())
    other = take(node, ct(elements={"ImagePositionPatient": [9, 9, 9]}))
    assert (other.state, other.reason) == ("quarantined", Reason.CONFLICT)
    with node.engine.connect() as connection:
        assert {index.find_instance(connection, str(first.uid)).content} == stored(node)


def test_a_conflict_that_cleans_to_the_same_bytes_does_not_take_the_first_one_s_file(node: Node) -> None:
    first = take(node, ct())
    other = take(node, ct(elements={"ReferringPhysicianName": "Other^Doctor"}))
    assert other.reason == Reason.CONFLICT
    with node.engine.connect() as connection:
        found = index.find_instance(connection, str(first.uid))
    with node.instances.open(found.content) as stream:
        assert len(stream.read()) == found.size


def test_a_source_without_project_waits(node: Node) -> None:
    arrival = take(node, ct(), Source("aet", "STRANGER"))
    assert arrival.reason == Reason.UNMAPPED_SOURCE
    assert quarantine.get(node, arrival.id).project is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"PatientID": None}, Reason.MISSING_IDENTITY),
        ({"StudyInstanceUID": None}, Reason.MISSING_IDENTITY),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, Reason.PIXELS_NOT_CHECKED),
        ({"Modality": "US"}, Reason.PIXELS_NOT_CHECKED),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"}, Reason.CONTENT_NOT_CHECKED),
    ],
)
def test_what_may_not_pass_waits_with_its_reason(node: Node, change: dict[str, Any], reason: Reason) -> None:
    arrival = take(node, ct(elements=change))
    assert (arrival.state, arrival.reason, arrival.project) == ("quarantined", reason, LUNG)
    assert node.quarantine.names() == [arrival.id]
    assert node.spool.names() == [] and stored(node) == set()


def test_a_truncated_file_waits_as_damaged(node: Node) -> None:
    assert take(node, ct()[:-300]).reason == Reason.DAMAGED


def test_the_modality_of_what_waits_is_kept_only_when_it_is_a_known_word(node: Node) -> None:
    derived = {"ImageType": ["DERIVED", "SECONDARY"]}
    known = take(node, ct(elements=derived))
    unknown = take(node, ct(number=2, elements={**derived, "Modality": "GARCIA"}))
    assert quarantine.get(node, known.id).modality == "CT"
    assert quarantine.get(node, known.id).sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"
    assert quarantine.get(node, unknown.id).modality is None


def test_two_projects_hold_copies_that_share_no_identifier(node: Node) -> None:
    lung, breast = take(node, ct()), take(node, ct(), Source("aet", "MAMMO"))
    assert lung.state == breast.state == "archived"
    assert lung.uid != breast.uid and lung.study_uid != breast.study_uid
    with node.engine.connect() as connection:
        assert len(set(connection.execute(select(patients.c.patient)).scalars())) == 2
        series = set(connection.execute(select(instances.c.series_uid)).scalars())
    assert len(series) == 2


def test_merged_identifiers_become_one_patient(node: Node) -> None:
    take(node, ct("OLD-1"))
    aliases.merge(node, Person("HOSPITAL", "OLD-2"), Person("HOSPITAL", "OLD-1"), "test")
    take(node, ct("OLD-2"))
    with node.engine.connect() as connection:
        assert len(connection.execute(select(patients)).all()) == 1


def test_another_ring_of_keys_gives_other_pseudonyms(tmp_path: Path) -> None:
    uids = set()
    for seed in (1, 2):
        node = make_node(tmp_path / str(seed), keys=ring(seed))
        uids.add(take(node, ct()).uid)
        node.engine.dispose()
    assert len(uids) == 2


class _BrokenStore:
    """A store that fails in a way nobody foresaw, and says something that must not be repeated."""

    def put(self, instance: CleanInstance) -> str:
        raise ZeroDivisionError("Garcia^Maria")

    def put_all(self, instances: Sequence[CleanInstance]) -> list[str]:
        return [self.put(instance) for instance in instances]

    def open(self, content: str) -> Any:
        raise NotImplementedError

    def remove(self, content: str) -> None:
        raise NotImplementedError


def test_what_fails_three_times_waits_as_failed_and_only_the_error_s_name_is_kept(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    broken = replace(node, instances=_BrokenStore())
    receipt = ingest.receive(node, ct(), SCANNER)
    with caplog.at_level(logging.INFO):
        states = drain(broken)
    assert states == ["received", "received", "quarantined"]
    held = quarantine.get(node, receipt.id)
    assert (held.reason, held.detail) == (Reason.FAILED, "ZeroDivisionError")
    assert "Garcia" not in caplog.text
    assert node.spool.names() == []


def test_one_that_fails_does_not_hold_the_others_up(node: Node) -> None:
    bad = ingest.receive(node, ct(number=1), SCANNER)
    (node.folder / "spool" / bad.id).write_bytes(b"overwritten")
    for number in (2, 3):
        ingest.receive(node, ct(number=number), SCANNER)
    assert sorted(drain(node)) == ["archived", "archived", "quarantined"]
    assert quarantine.get(node, bad.id).detail == "Its encrypted file does not open."
    assert (node.folder / "spool" / bad.id).exists()


def test_a_lost_spool_file_is_named_and_not_waited_for(node: Node) -> None:
    lost = ingest.receive(node, ct(), SCANNER)
    node.spool.remove(lost.id)
    assert drain(node) == ["quarantined"]
    assert quarantine.get(node, lost.id).detail == "Its encrypted file is gone."


class _FullStore(_BrokenStore):
    """A store on a full disk."""

    def put(self, instance: CleanInstance) -> str:
        raise Full("There is no room left on the disk.")


def test_a_full_disk_gives_the_claims_back_and_counts_no_attempt(node: Node) -> None:
    for number in range(1, 4):
        ingest.receive(node, ct(number=number), SCANNER)
    full = replace(node, instances=_FullStore())
    for _ in range(5):
        with pytest.raises(Full):
            worker.work(full, "test")
    with node.engine.connect() as connection:
        assert {tuple(row) for row in connection.execute(select(rows.c.attempts, rows.c.claimed_by))} == {(0, None)}
    assert drain(node) == ["archived"] * 3


def test_what_has_ended_its_worker_too_often_is_not_tried_again(node: Node) -> None:
    receipt = ingest.receive(node, ct(), SCANNER)
    for number in range(preparing.DEATHS):
        assert arrivals.claim(node.engine, f"dead-{number}") is not None
        arrivals.release_claims(node.engine)
    assert drain(node) == ["quarantined"]
    assert quarantine.get(node, receipt.id).reason == Reason.FAILED


def test_what_was_tried_before_is_worked_on_alone(node: Node) -> None:
    for number in range(1, 5):
        ingest.receive(node, ct(number=number), SCANNER)
    assert arrivals.claim(node.engine, "dead") is not None
    arrivals.release_claims(node.engine)
    assert worker.work(node, "test") == ["archived"]
    assert worker.work(node, "test") == ["archived"] * 3


def test_two_workers_share_the_spool_and_nothing_is_done_twice(node: Node) -> None:
    for number in range(1, 41):
        ingest.receive(node, ct(number=number), SCANNER)
    stop = threading.Event()
    threads = [threading.Thread(target=worker.run, args=(node, stop, f"w{number}")) for number in range(2)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 30
    while arrivals.waiting(node.engine) and time.monotonic() < end:
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join(10)
    [tally] = arrivals.tally(node.engine)
    assert (tally.archived, tally.received, tally.total) == (40, 0, 40)
    assert len(stored(node)) == 40 and node.audit.verify() == 40


def test_a_worker_that_starts_again_frees_what_it_had_claimed_before(node: Node) -> None:
    ingest.receive(node, ct(), SCANNER)
    assert arrivals.claim(node.engine, "worker-1") is not None
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(node, stop, "worker-1"))
    thread.start()
    end = time.monotonic() + 20
    while arrivals.waiting(node.engine) and time.monotonic() < end:
        time.sleep(0.02)
    stop.set()
    thread.join(10)
    assert arrivals.waiting(node.engine) == 0


def test_a_batch_that_cannot_be_told_together_is_told_one_by_one(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """One instance's row cannot be written; the others of its transaction pass all the same."""
    for number in range(1, 4):
        ingest.receive(node, ct(number=number), SCANNER)
    real = indexing.add_all

    def add(connection: Any, entries: Sequence[indexing.Entry]) -> Any:
        if any(entry.instance_number == 2 for entry in entries):
            raise ZeroDivisionError
        return real(connection, entries)

    monkeypatch.setattr(indexing, "add_all", add)
    assert sorted(drain(node)) == ["archived", "archived", "quarantined", "received", "received"]
    assert {heap.reason: heap.count for heap in quarantine.heaps(node)} == {Reason.FAILED: 1}


def test_a_known_instrument_is_named_and_its_marks_are_not(tmp_path: Path) -> None:
    instruments = (
        Instrument("local:other", ae_title="SCANNER", station_name="ELSEWHERE"),
        Instrument("hdl:21.T1/ct-1", ae_title="SCANNER", station_name="ZZSTATION", device_serial_number="ZZSERIAL"),
    )
    marks = {"StationName": "ZZSTATION", "DeviceSerialNumber": "ZZSERIAL"}
    with open_test_node(tmp_path / "node", instruments=instruments) as node:
        ingest.receive(node, ct("A", elements=marks), SCANNER)
        ingest.receive(node, ct("B"), SCANNER)
        while worker.work(node, "test"):
            pass
        with node.engine.connect() as connection:
            found = connection.execute(select(series.c.instrument)).scalars().all()
            kept = [str(row) for table in node_tables.sorted_tables for row in connection.execute(select(table))]
        assert sorted(found, key=str) == [None, "hdl:21.T1/ct-1"]
        assert not [row for row in kept if "ZZS" in row]
        assert not [path for path in node.folder.rglob("*") if path.is_file() and b"ZZS" in path.read_bytes()]


RETURNED = Source("aet", "RETURNED")


def returned(node: Node, study: str, patient: str, **elements: Any) -> bytes:
    """A computed image as a researcher gives it back: pseudonymous, its study one of the archive."""
    marks = {"PatientIdentityRemoved": "YES", "PatientName": patient, "StudyInstanceUID": study, **elements}
    return ct(patient, number=9, elements=marks)


def test_what_is_given_back_keeps_its_uids_and_dates_and_joins_its_study(node: Node) -> None:
    first = take(node, ct())
    with node.engine.connect() as connection:
        patient = str(connection.execute(select(patients.c.patient)).scalar_one())
    declared = replace(node, project_of={**node.project_of, RETURNED: LUNG}, pseudonymised=frozenset({RETURNED}))
    uid = "2.25.4711"
    back = take(declared, returned(node, str(first.study_uid), patient, SOPInstanceUID=uid), RETURNED)
    assert (back.state, back.uid, back.study_uid) == ("archived", uid, first.study_uid)
    with node.engine.connect() as connection:
        assert index.find_instance(connection, uid).patient == patient
        assert index.find_instance(connection, uid).header["00080020"]["Value"] == ["20240311"]


def test_what_is_given_back_without_its_study_or_its_mark_waits(node: Node) -> None:
    first = take(node, ct())
    declared = replace(node, project_of={**node.project_of, RETURNED: LUNG}, pseudonymised=frozenset({RETURNED}))
    pseudonym = "P" + "A" * 16
    stranger = take(declared, returned(node, "2.25.1", pseudonym), RETURNED)
    assert stranger.reason == Reason.NOT_PSEUDONYMISED
    assert quarantine.get(node, stranger.id).detail == "Its study is not in this project's archive."
    unmarked = take(declared, returned(node, str(first.study_uid), pseudonym, PatientIdentityRemoved="NO"), RETURNED)
    assert unmarked.reason == Reason.NOT_PSEUDONYMISED
    another = take(declared, returned(node, str(first.study_uid), pseudonym), RETURNED)
    assert another.reason == Reason.CONFLICT, "its study is another person's"
