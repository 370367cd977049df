"""What DICOM peers of the node's settings may do, and may not: search, fetch, have moved, ask what is safe."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from sqlalchemy import update
from tests.archive import take_in
from tests.peering import CT_CLASS, Station, certificates, free_port, station
from tests.support import LUNG, ct, open_test_node

from carina.dicom.quiet import quiet
from carina.interfaces.dimse import asking, commitment, retrieve
from carina.interfaces.dimse.commitment import COMMITMENT, SUCCESS, WELL_KNOWN
from carina.interfaces.dimse.move import MOVE, UNKNOWN_DESTINATION
from carina.interfaces.dimse.retrieve import (
    FIND,
    GET,
    NOT_AUTHORISED,
    NOT_THE_MODEL,
    PATIENT_FIND,
    PATIENT_GET,
    PATIENT_MOVE,
    PENDING_KEYS_IGNORED,
)
from carina.interfaces.dimse.secure import client_context
from carina.interfaces.dimse.server import start_dimse
from carina.model.cohort import OneOf
from carina.model.instance import Peer, Source
from carina.node import datasets, quarantine
from carina.node.committed import kept
from carina.node.site import Node
from carina.storage.audit import Entry
from carina.storage.schema import arrivals

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""pynetdicom leaves the socket of a connection that was refused to the garbage collector."""

ALL = frozenset({"find", "get", "move", "commit"})
ABDOMEN = {"BodyPartExamined": "ABDOMEN"}
FILES = [
    *(ct("A", number=number) for number in (1, 2)),
    ct("A", study=2, elements=ABDOMEN),
    ct("B", elements=ABDOMEN),
]


def peer(title: str = "WORKSTATION", *, may: Sequence[str] = tuple(ALL), dataset: str = "*", **changes: Any) -> Peer:
    return replace(Peer(title, may=frozenset(may), dataset=dataset), **changes)


@contextmanager
def site(folder: Path, *peers: Peer, files: Sequence[bytes] = FILES) -> Iterator[tuple[Node, int]]:
    with open_test_node(folder, peers={one.ae_title: one for one in peers}) as node:
        take_in(node, files)
        server = start_dimse(node, "127.0.0.1", 0, "CARINA")
        try:
            yield node, server.port
        finally:
            server.stop()


@contextmanager
def calling(
    port: int,
    title: str = "WORKSTATION",
    *,
    storage: Sequence[str] = (),
    handlers: Sequence[Any] = (),
    refused: bool = False,
) -> Iterator[Association]:
    entity = AE(ae_title=title)
    for syntax, _ in asking.contexts():
        entity.add_requested_context(syntax)
    for syntax in storage:
        entity.add_requested_context(CT_CLASS, syntax)
    roles = [build_role(CT_CLASS, scp_role=True)] if storage else []
    made = entity.associate(
        "127.0.0.1", port, ae_title="CARINA", ext_neg=list(roles), evt_handlers=list(handlers) or None
    )
    assert made.is_rejected if refused else made.is_established
    try:
        yield made
    finally:
        if made.is_established:
            made.release()


def asked(level: str, /, **keys: object) -> Dataset:
    made = Dataset()
    with quiet():
        made.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(made, keyword, value)
    return made


def find(made: Association, identifier: Dataset, model: str = FIND) -> tuple[int, list[Dataset]]:
    given = list(made.send_c_find(identifier, model))
    return given[-1][0].Status, [match for _, match in given if match is not None]


def move(made: Association, identifier: Dataset, to: str = "WORKSTATION", model: str = MOVE) -> list[Dataset]:
    """The responses."""
    return [status for status, _ in made.send_c_move(identifier, to, model)]


def studies(port: int) -> list[Dataset]:
    with calling(port) as made:
        return find(made, asked("STUDY", StudyInstanceUID="", PatientID=""))[1]


def entries(node: Node, action: str) -> list[Entry]:
    return list(node.audit.entries(50, action=action))


# --- who may ---


def test_a_peer_finds_what_is_in_the_archive_at_every_level_of_both_models(tmp_path: Path) -> None:
    with site(tmp_path, peer(may=["find"])) as (node, port), calling(port) as made:
        status, persons = find(made, asked("PATIENT", PatientID="", PatientName=""), PATIENT_FIND)
        assert (status, len(persons)) == (SUCCESS, 2)
        one = max(persons, key=lambda person: len(_of(made, person, PATIENT_FIND)))
        assert "StudyInstanceUID" not in one
        found = _of(made, one, PATIENT_FIND)
        assert len(found) == 2 and {each.PatientID for each in found} == {one.PatientID}
        assert len(find(made, asked("STUDY", StudyInstanceUID=""))[1]) == 3
        study = next(each for each in found if each.NumberOfStudyRelatedInstances == 2)
        above = {"PatientID": one.PatientID, "StudyInstanceUID": study.StudyInstanceUID}
        [series] = find(made, asked("SERIES", SeriesInstanceUID="", **above), PATIENT_FIND)[1]
        keys = {**above, "SeriesInstanceUID": series.SeriesInstanceUID}
        assert len(find(made, asked("IMAGE", SOPInstanceUID="", **keys), PATIENT_FIND)[1]) == 2
        assert {each.PatientID for each in find(made, asked("IMAGE", SOPInstanceUID="", **keys), PATIENT_FIND)[1]} == {
            one.PatientID
        }
        assert node.audit.verify()


def _of(made: Association, person: Dataset, model: str) -> list[Dataset]:
    wanted = asked("STUDY", PatientID=person.PatientID, StudyInstanceUID="", NumberOfStudyRelatedInstances="")
    return find(made, wanted, model)[1]


def test_the_models_differ_in_their_uppermost_level(tmp_path: Path) -> None:
    with site(tmp_path, peer()) as (_, port), calling(port) as made:
        assert find(made, asked("PATIENT", PatientID=""))[0] == NOT_THE_MODEL
        assert find(made, asked("STUDY", StudyInstanceUID=""), PATIENT_FIND)[0] == NOT_THE_MODEL
        assert find(made, asked("STUDY", PatientID="A*", StudyInstanceUID=""), PATIENT_FIND)[0] == NOT_THE_MODEL
        given = list(made.send_c_find(asked("PATIENT", PatientID="", StudyDate="20240101"), PATIENT_FIND))
        assert {status.Status for status, _ in given[:-1]} == {PENDING_KEYS_IGNORED}
        assert len(given) == 3


@pytest.mark.parametrize("may", [(), ("get", "move", "commit"), ("find",)])
def test_a_peer_may_do_what_its_entry_names_and_nothing_else(tmp_path: Path, may: tuple[str, ...]) -> None:
    with site(tmp_path, peer(may=may, host="127.0.0.1", port=free_port())) as (node, port), calling(port) as made:
        wanted = asked("STUDY", StudyInstanceUID="1.2")
        refused = {
            "find": find(made, wanted)[0],
            "get": list(made.send_c_get(wanted, GET))[-1][0].Status,
            "move": move(made, wanted)[-1].Status,
            "commit": _commit(made, ["1.2"]),
        }
        assert {name for name, status in refused.items() if status == NOT_AUTHORISED} == ALL - set(may)
        denied = entries(node, "access-refused")
        assert {entry.actor for entry in denied} == {"peer:WORKSTATION"}
        assert {entry.details["reason"] for entry in denied} <= {"action-not-granted", "no-permit"}


def test_who_is_no_peer_is_answered_nothing(tmp_path: Path) -> None:
    with site(tmp_path, peer("OTHER")) as (node, port), calling(port) as made:
        assert find(made, asked("STUDY", StudyInstanceUID=""))[0] == NOT_AUTHORISED
        [refused] = move(made, asked("STUDY", StudyInstanceUID="1.2"))
        assert (refused.Status, refused.ErrorComment) == (NOT_AUTHORISED, "not-signed-in")
        assert _commit(made, ["1.2"]) == NOT_AUTHORISED
        assert {entry.actor for entry in entries(node, "access-refused")} == {"unknown"}


def test_an_ae_title_from_a_wrong_address_is_refused_with_the_association(tmp_path: Path) -> None:
    wrong, right = peer(addresses=("192.0.2.0/24",)), peer("NEAR", addresses=("127.0.0.0/8", "::1/128"))
    with site(tmp_path, wrong, right) as (node, port):
        with calling(port, refused=True):
            pass
        with calling(port, "NEAR") as made:
            assert find(made, asked("STUDY", StudyInstanceUID=""))[0] == SUCCESS
        [entry] = entries(node, "peer-refused")
        assert (entry.actor, entry.details["reason"]) == ("peer:WORKSTATION", "wrong-address")


def test_a_peer_bound_to_a_dataset_sees_its_members_while_it_is_published(tmp_path: Path) -> None:
    with open_test_node(tmp_path) as node:
        made = datasets.create(node, "dora", LUNG, "Abdomens", query=OneOf("body_part", ("ABDOMEN",)))
    with site(tmp_path, peer(dataset=made.iri)) as (node, port):
        with calling(port) as draft:
            assert find(draft, asked("STUDY", StudyInstanceUID=""))[0] == NOT_AUTHORISED
        datasets.publish(node, "dora", made.iri)
        with calling(port) as published:
            status, found = find(published, asked("STUDY", StudyInstanceUID="", NumberOfStudyRelatedInstances=""))
            assert (status, len(found)) == (SUCCESS, 2)
            datasets.withdraw(node, "dora", made.iri)
            assert find(published, asked("STUDY", StudyInstanceUID=""))[0] == NOT_AUTHORISED
        assert {entry.details["reason"] for entry in entries(node, "access-refused")} == {"dataset-not-published"}


# --- fetching ---


@pytest.mark.parametrize("model", [GET, PATIENT_GET])
def test_a_peer_fetches_and_that_is_a_release(tmp_path: Path, model: str) -> None:
    kept: list[Dataset] = []

    def keep(event: Any) -> int:
        kept.append(event.dataset)
        return SUCCESS

    with site(tmp_path, peer()) as (node, port):
        study = studies(port)[0]
        handlers = [(evt.EVT_C_STORE, keep)]
        with calling(port, storage=[ExplicitVRLittleEndian], handlers=handlers) as made:
            wanted = asked("STUDY", StudyInstanceUID=study.StudyInstanceUID, PatientID=study.PatientID)
            status = [status for status, _ in made.send_c_get(wanted, model)][-1]
            assert status.Status == SUCCESS
        assert len(kept) == status.NumberOfCompletedSuboperations > 0
        [entry] = entries(node, "released")
        assert (entry.actor, entry.subject) == ("peer:WORKSTATION", study.StudyInstanceUID)
        assert entry.details == {"what": "instances", "dataset": "*", "instances": len(kept)}


def test_a_patient_is_fetched_whole(tmp_path: Path) -> None:
    with station() as there, site(tmp_path, peer(host="127.0.0.1", port=there.port)) as (node, port):
        person = next(
            one.PatientID for one in studies(port) if sum(one.PatientID == x.PatientID for x in studies(port)) > 1
        )
        with calling(port) as made:
            last = move(made, asked("PATIENT", PatientID=person), model=PATIENT_MOVE)[-1]
        assert (last.Status, last.NumberOfCompletedSuboperations) == (SUCCESS, 3)
        assert {one.PatientID for one in there.files} == {person}
        assert len(entries(node, "released")) == 2


# --- moving ---


def chest(port: int) -> Dataset:
    """The study of two slices."""
    with calling(port) as made:
        found = find(made, asked("STUDY", StudyInstanceUID="", NumberOfStudyRelatedInstances=""))[1]
    [uid] = [each.StudyInstanceUID for each in found if each.NumberOfStudyRelatedInstances == 2]
    return asked("STUDY", StudyInstanceUID=uid)


def test_a_study_is_moved_to_a_peer_counted_and_written_down(tmp_path: Path) -> None:
    with station("ARCHIVE") as there:
        archive = peer("ARCHIVE", may=(), dataset="", host="127.0.0.1", port=there.port)
        with site(tmp_path, peer(), archive) as (node, port):
            wanted = chest(port)
            with calling(port) as made:
                given = move(made, wanted, "ARCHIVE")
            assert [status.Status for status in given] == [0xFF00, 0xFF00, SUCCESS]
            assert [given[0].NumberOfRemainingSuboperations, given[1].NumberOfRemainingSuboperations] == [1, 0]
            assert (given[-1].NumberOfCompletedSuboperations, given[-1].NumberOfFailedSuboperations) == (2, 0)
            assert [one.StudyInstanceUID for one in there.files] == [wanted.StudyInstanceUID] * 2
            assert there.callers == ["CARINA"] * 2
            assert there.originators == ["WORKSTATION"] * 2
            [entry] = entries(node, "released")
            assert entry.details == {"what": "instances", "dataset": "*", "to": "peer:ARCHIVE", "instances": 2}


def test_a_destination_must_be_a_peer_with_a_place(tmp_path: Path) -> None:
    gone = peer("GONE", may=(), dataset="", host="127.0.0.1", port=free_port())
    with site(tmp_path, peer(), gone) as (node, port), calling(port) as made:
        wanted = chest(port)
        assert [one.Status for one in move(made, wanted, "NOBODY")] == [UNKNOWN_DESTINATION]
        assert [one.Status for one in move(made, wanted, "WORKSTATION")] == [UNKNOWN_DESTINATION]
        assert entries(node, "released") == []
        assert [one.Status for one in move(made, wanted, "GONE")] == [UNKNOWN_DESTINATION]
        assert list(made.send_c_find(asked("STUDY", StudyInstanceUID=""), FIND))


def test_what_the_destination_refuses_is_listed(tmp_path: Path) -> None:
    with station(answer=lambda number: 0xA700 if number == 1 else 0) as there:
        with site(tmp_path, peer(host="127.0.0.1", port=there.port)) as (_, port), calling(port) as made:
            responses = list(made.send_c_move(chest(port), "WORKSTATION", MOVE))
        status, failed = responses[-1]
        assert (status.Status, status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations) == (
            0xB000,
            1,
            1,
        )
        assert failed.FailedSOPInstanceUIDList == there.files[0].SOPInstanceUID


def test_what_is_stored_compressed_goes_as_it_is(tmp_path: Path) -> None:
    packed = pydicom.dcmread(io.BytesIO(ct("A")))
    packed.compress(RLELossless, encoding_plugin="pydicom")
    file = io.BytesIO()
    packed.save_as(file)
    with station(syntaxes=(RLELossless, ExplicitVRLittleEndian)) as there:
        own = peer(host="127.0.0.1", port=there.port)
        with site(tmp_path, own, files=[file.getvalue()]) as (_, port):
            [study] = studies(port)
            with calling(port) as made:
                assert move(made, asked("STUDY", StudyInstanceUID=study.StudyInstanceUID))[-1].Status == SUCCESS
    assert there.syntaxes == [RLELossless]


def test_a_move_is_cancelled(tmp_path: Path) -> None:
    files = [ct("A", number=number) for number in range(1, 12)]
    with station() as there, site(tmp_path, peer(host="127.0.0.1", port=there.port), files=files) as (_, port):
        [study] = studies(port)
        with calling(port) as made:
            answers = made.send_c_move(
                asked("STUDY", StudyInstanceUID=study.StudyInstanceUID), "WORKSTATION", MOVE, msg_id=7
            )
            next(answers)
            made.send_c_cancel(7, query_model=MOVE)
            last = [status for status, _ in answers][-1]
        assert last.Status == retrieve.CANCELLED
        assert 0 < last.NumberOfRemainingSuboperations < 11
        assert len(there.files) < 11


def test_a_move_ends_when_the_dataset_is_withdrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "ASK_AGAIN", 0.0)
    with open_test_node(tmp_path) as node:
        made = datasets.create(node, "dora", LUNG, "All")
        datasets.publish(node, "dora", made.iri)
    with station(answer=lambda _: datasets.withdraw(node, "dora", made.iri) or 0) as there:  # type: ignore[func-returns-value]
        own = peer(dataset=made.iri, host="127.0.0.1", port=there.port)
        with site(tmp_path, own) as (node, port):
            wanted = chest(port)
            with calling(port) as association:
                responses = list(association.send_c_move(wanted, "WORKSTATION", MOVE))
            assert responses[-1][0].Status == NOT_AUTHORISED
            assert len(there.files) == 1


def test_a_peer_with_tls_is_called_by_tls(tmp_path: Path) -> None:
    own = certificates(tmp_path)
    context = client_context(own.certificate, own.key, own.certificate)
    with station(tls=own.listening()) as there:
        known = peer(host="127.0.0.1", port=there.port, tls=True)
        with open_test_node(tmp_path / "node", peers={known.ae_title: known}) as node:
            take_in(node, FILES)
            for tls, status in ((None, retrieve.UNABLE), (context, SUCCESS)):
                server = start_dimse(node, "127.0.0.1", 0, "CARINA", calling=tls)
                try:
                    wanted = chest(server.port)
                    with calling(server.port) as made:
                        assert move(made, wanted)[-1].Status == status
                finally:
                    server.stop()
        assert len(there.files) == 2


# --- storage commitment ---


def _commit(made: Association, uids: Sequence[str], transaction: str = "1.2.3") -> int:
    information = Dataset()
    information.TransactionUID = transaction
    information.ReferencedSOPSequence = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT_CLASS, uid
        information.ReferencedSOPSequence.append(item)
    status, _ = made.send_n_action(information, 1, COMMITMENT, WELL_KNOWN)
    return int(status.Status)


def report(there: Station) -> tuple[int, set[str], dict[str, int]]:
    """Event type, what is safe, and what is not with the reason."""
    assert there.told.wait(10)
    kind, information = there.reports[-1]
    safe = {item.ReferencedSOPInstanceUID for item in information.get("ReferencedSOPSequence", [])}
    failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in information.get("FailedSOPSequence", [])}
    return kind, safe, failed


def uid_of(data: bytes) -> str:
    return str(pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID)


def sent_by(port: int, title: str, files: Sequence[bytes]) -> list[str]:
    """The UIDs of what was sent."""
    entity = AE(ae_title=title)
    entity.add_requested_context(CT_CLASS, ExplicitVRLittleEndian)
    made = entity.associate("127.0.0.1", port, ae_title="CARINA")
    for data in files:
        assert made.send_c_store(pydicom.dcmread(io.BytesIO(data))).Status == SUCCESS
    made.release()
    return [uid_of(data) for data in files]


def test_what_a_peer_sent_is_safe_in_spool_archive_and_quarantine_and_nothing_else_is(tmp_path: Path) -> None:
    unnamed = ct("C", elements={"PatientID": None})
    with station("SCANNER") as there:
        scanner = peer("SCANNER", may=["commit"], dataset="", host="127.0.0.1", port=there.port)
        with site(tmp_path, scanner, peer("OTHER"), files=[]) as (node, port):
            archived = sent_by(port, "SCANNER", [ct("A"), unnamed])
            assert sorted(take_in(node)) == ["archived", "quarantined"]
            spooled = sent_by(port, "SCANNER", [ct("B")])
            of_another = sent_by(port, "OTHER", [ct("D")])
            with calling(port, "SCANNER") as made:
                assert _commit(made, [*archived, *spooled, *of_another, "1.2.3.4"], "1.2.840.1") == SUCCESS
                kind, safe, failed = report(there)
            assert (kind, safe) == (2, {*archived, *spooled})
            assert failed == {of_another[0]: 0x0112, "1.2.3.4": 0x0112}
            assert there.reports[-1][1].TransactionUID == "1.2.840.1"
            there.told.clear()
            with calling(port, "SCANNER") as made:
                assert _commit(made, archived) == SUCCESS
                assert report(there) == (1, set(archived), {})


def test_what_is_discarded_from_quarantine_is_not_safe(tmp_path: Path) -> None:
    with station("SCANNER") as there:
        scanner = peer("SCANNER", may=["commit"], dataset="", host="127.0.0.1", port=there.port)
        with site(tmp_path, scanner, files=[]) as (node, port):
            sent = sent_by(port, "SCANNER", [ct("C", elements={"PatientID": None})])
            take_in(node)
            [held] = quarantine.entries(node)
            quarantine.discard(node, "dora", ids=[held.id])
            with calling(port, "SCANNER") as made:
                assert _commit(made, sent) == SUCCESS
                assert report(there) == (2, set(), {sent[0]: 0x0112})


def test_what_has_left_the_archive_is_not_safe(tmp_path: Path) -> None:
    with site(tmp_path, peer("SCANNER", may=["commit"], dataset=""), files=[]) as (node, port):
        sent = sent_by(port, "SCANNER", [ct("A")])
        assert take_in(node) == ["archived"]
        source = Source("aet", "SCANNER")
        assert kept(node, source, sent) == set(sent)
        with node.engine.begin() as connection:
            connection.execute(update(arrivals).values(uid="1.2.3.4"))
        assert kept(node, source, sent) == set()


def test_a_peer_without_a_place_is_told_where_it_asked(tmp_path: Path) -> None:
    there = Station()

    def hear(event: Any) -> tuple[int, None]:
        information = event.event_information
        information.decode()
        there.reports.append((event.event_type, information))
        there.told.set()
        return 0, None

    with site(tmp_path, peer("SCANNER", may=["commit"], dataset=""), files=[]) as (_, port):
        sent = sent_by(port, "SCANNER", [ct("A")])
        with calling(port, "SCANNER", handlers=[(evt.EVT_N_EVENT_REPORT, hear)]) as made:
            assert _commit(made, sent) == SUCCESS
            assert report(there) == (1, set(sent), {})


def test_an_answer_that_cannot_be_delivered_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitment, "PATIENCE", (0.0, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2))
    port_of_peer = free_port()
    with site(tmp_path, peer("SCANNER", may=["commit"], dataset="", host="127.0.0.1", port=port_of_peer)) as (_, port):
        calls: list[int] = []
        associate = commitment.peers.associate

        def count(*arguments: Any, **options: Any) -> Association:
            calls.append(1)
            return associate(*arguments, **options)

        monkeypatch.setattr(commitment.peers, "associate", count)
        with calling(port, "SCANNER") as made:
            assert _commit(made, [generate_uid()]) == SUCCESS
        for _ in range(100):
            if len(calls) >= 3:
                break
            time.sleep(0.1)
        assert len(calls) >= 3


def test_commitment_requests_are_bounded_and_must_have_their_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "MOST_NAMED", 2)
    scanner = peer("SCANNER", may=["commit"], dataset="")
    with site(tmp_path, scanner, files=[]) as (_, port), calling(port, "SCANNER") as made:
        assert _commit(made, ["1.2"] * 3) == commitment.INVALID_ARGUMENT
        assert _commit(made, []) == commitment.INVALID_ARGUMENT
        assert _commit(made, ["1.2"]) == SUCCESS
        status, _ = made.send_n_action(asked("STUDY"), 2, COMMITMENT, WELL_KNOWN)
        assert status.Status == commitment.NO_SUCH_ACTION
