"""C-FIND and C-GET as a researcher's program does them: a dataset, under a permit, and nothing else."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from sqlalchemy import select, update
from tests.access import MANAGER, Scene, deliver, open_scene, permit_in_force, share
from tests.archive import take_in
from tests.support import LUNG, SCANNER, ct, part10

from carina.dicom.quiet import quiet
from carina.hub import permits as hub_permits
from carina.hub.permits import Permit
from carina.interfaces.dimse import identity, retrieve
from carina.interfaces.dimse.identifiers import answer, read_identifier
from carina.interfaces.dimse.retrieve import CANCELLED, FIND, GET, NOT_AUTHORISED, NOT_THE_MODEL, PENDING, TOO_MANY
from carina.interfaces.dimse.server import start_dimse
from carina.interfaces.dimse.status import OUT_OF_RESOURCES, SUCCESS
from carina.model.clock import now, stamp
from carina.model.cohort import OneOf
from carina.model.ids import PatientKey, Uid
from carina.model.permit import Action
from carina.node import permits, visits
from carina.node.ingest import receive
from carina.node.visits import Visit
from carina.storage.audit import Entry
from carina.storage.schema import instances, permit_states
from carina.storage.search import Found

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
CHEST = OneOf("body_part", ("CHEST",))
ABDOMEN = {"BodyPartExamined": "ABDOMEN"}
FAILED_ALL, FAILED_SOME = 0xA702, 0xB000


class Door(NamedTuple):
    scene: Scene
    port: int


@dataclass
class Fetched:
    """What a C-GET brought, and its last response."""

    files: list[Dataset] = field(default_factory=list)
    syntaxes: list[str] = field(default_factory=list)
    end: Dataset = field(default_factory=Dataset)
    failed: list[str] = field(default_factory=list)

    @property
    def counts(self) -> tuple[int, int]:
        """Completed and failed."""
        return self.end.NumberOfCompletedSuboperations, self.end.NumberOfFailedSuboperations


@contextmanager
def door_of(folder: Path) -> Iterator[Door]:
    """The dataset is the chests: A's two slices, beside an abdomen in the same study, and another of B's."""
    files = [
        *(ct("A", number=number) for number in (1, 2)),
        ct("A", series=2, elements=ABDOMEN),
        ct("B", elements=ABDOMEN),
    ]
    with open_scene(folder) as scene:
        take_in(scene.node, files)
        made = replace(scene, dataset=share(scene.hub, scene.node, query=CHEST))
        with listening(made) as port:
            yield Door(made, port)


@contextmanager
def listening(scene: Scene) -> Iterator[int]:
    server = start_dimse(scene.node, "127.0.0.1", 0, "CARINA")
    try:
        yield server.port
    finally:
        server.stop()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with door_of(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def entered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Door, Visit]]:
    with door_of(tmp_path_factory.mktemp("seen")) as door:
        yield door, visit(door)


@pytest.fixture
def seen(entered: tuple[Door, Visit]) -> tuple[Door, Visit]:
    """A door that tests only look through, and a visit; the node has just heard of the permits' states."""
    scene = entered[0].scene
    deliver(scene.hub, scene.node)
    return entered


def visit(door: Door, actions: Sequence[Action] = ("view", "retrieve", "analyse")) -> Visit:
    return enter(door, permit_in_force(door.scene, actions=tuple(actions)))


def enter(door: Door, permit: Permit) -> Visit:
    code = hub_permits.handover(door.scene.hub, door.scene.rosa, permit.id).code
    return visits.enter(door.scene.node, code, lifetime=visits.PROGRAM)


def end(door: Door, permit: str) -> None:
    hub_permits.revoke(door.scene.hub, door.scene.clara, permit, "The study has ended.")
    deliver(door.scene.hub, door.scene.node)


def shown(secret: str, name: str = "rosa", kind: int = 2) -> UserIdentityNegotiation:
    item = UserIdentityNegotiation()
    item.user_identity_type = kind
    item.primary_field = name.encode()
    if kind == 2:
        item.secondary_field = secret.encode()
    return item


def ask(
    door: Door,
    *items: Any,
    storage: Sequence[str] = (ExplicitVRLittleEndian,),
    on_store: Callable[[Any], int] | None = None,
) -> Association:
    """An association that has been asked for, with these items; it may have been refused."""
    entity = AE(ae_title="WORKSTATION")
    for syntax in (VERIFICATION, FIND, GET):
        entity.add_requested_context(syntax)
    for syntax in storage:
        entity.add_requested_context(CT_CLASS, syntax)
    handlers: list[Any] = [(evt.EVT_C_STORE, on_store)] if on_store else []
    return entity.associate(
        "127.0.0.1", door.port, ae_title="CARINA", ext_neg=list(items), evt_handlers=handlers or None
    )


@contextmanager
def association(door: Door, *items: Any, **options: Any) -> Iterator[Association]:
    made = ask(door, *items, **options)
    assert made.is_established
    try:
        yield made
    finally:
        made.release()


def identifier(level: str, /, **keys: object) -> Dataset:
    made = Dataset()
    with quiet():  # patterns and ranges are no values
        made.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(made, keyword, value)
    return made


def find(made: Association, level: str, /, **keys: object) -> tuple[Dataset, list[Dataset]]:
    """The last status, and the matches."""
    given = list(made.send_c_find(identifier(level, **keys), FIND))
    return given[-1][0], [match for _, match in given if match is not None]


def find_as(door: Door, who: Visit, level: str, /, **keys: object) -> list[Dataset]:
    with association(door, shown(who.secret)) as made:
        status, matches = find(made, level, **keys)
        assert status.Status == SUCCESS
        return matches


def get(
    door: Door,
    who: Visit | None,
    asked: Dataset,
    *,
    storage: Sequence[str] = (ExplicitVRLittleEndian,),
    role: bool = True,
    then: Callable[[], None] = lambda: None,
    told: int = SUCCESS,
) -> Fetched:
    """Fetch; `then` is called after each instance, which is answered with `told`."""
    fetched = Fetched()

    def keep(event: Any) -> int:
        fetched.files.append(pydicom.dcmread(io.BytesIO(event.encoded_dataset())))
        fetched.syntaxes.append(event.context.transfer_syntax)
        then()
        return told

    items = [shown(who.secret)] if who else []
    roles = [build_role(CT_CLASS, scp_role=True)] if role else []
    with association(door, *items, *roles, storage=storage, on_store=keep) as made:
        for status, failed in made.send_c_get(asked, GET):
            fetched.end = status
            listed = [] if failed is None else failed.get("FailedSOPInstanceUIDList")
            fetched.failed = [listed] if isinstance(listed, str) else list(listed or ())
    return fetched


def chest(door: Door, who: Visit) -> Dataset:
    """An identifier of the one study of the dataset."""
    [study] = find_as(door, who, "STUDY")
    return identifier("STUDY", StudyInstanceUID=study.StudyInstanceUID)


def refusals(door: Door, action: str = "access-refused") -> list[Entry]:
    return list(door.scene.node.audit.entries(50, action=action))


# --- who asks ---


def test_without_an_identity_an_echo_is_answered_and_images_are_taken_and_nothing_else_is_given(door: Door) -> None:
    with association(door, build_role(CT_CLASS, scu_role=True, scp_role=True)) as made:
        assert made.send_c_echo().Status == SUCCESS
        assert made.send_c_store(pydicom.dcmread(io.BytesIO(ct("C")))).Status == SUCCESS
        status, matches = find(made, "STUDY")
        assert (status.Status, status.ErrorComment, matches) == (NOT_AUTHORISED, "not-signed-in", [])
    fetched = get(door, None, identifier("STUDY", StudyInstanceUID="1.2"))
    assert (fetched.end.Status, fetched.end.ErrorComment, fetched.files) == (NOT_AUTHORISED, "not-signed-in", [])
    assert "NumberOfFailedSuboperations" not in fetched.end
    assert [(entry.actor, entry.details["reason"], entry.details["door"]) for entry in refusals(door)] == [
        ("unknown", "not-signed-in", "dimse")
    ]  # the second within a minute is only counted


def test_a_wrong_identity_is_refused_at_once_and_written_down_without_it(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = visit(door).secret
    wrong = [("rosa", "nonsense"), ("rosa", " "), ("rafael", secret), (" ", secret), ("rosa", f"{secret}x")]
    for name, passcode in wrong:
        assert ask(door, shown(passcode, name)).is_rejected
    told = refusals(door, "visit-refused")
    assert [entry.details["reason"] for entry in reversed(told)] == [
        "unknown-visit",
        "unknown-visit",
        "foreign-subject",
        "foreign-subject",
        "unknown-visit",
    ]
    assert {(entry.actor, entry.subject, entry.details["door"]) for entry in told} == {
        ("unknown", door.scene.node.id, "dimse")
    }
    assert secret not in str(told) + caplog.text
    assert "rafael" not in str(told) + caplog.text


def test_an_identity_of_another_kind_counts_as_none(door: Door) -> None:
    with association(door, shown("", "rosa", kind=1)) as made:
        assert made.send_c_echo().Status == SUCCESS
        assert find(made, "STUDY")[0].Status == NOT_AUTHORISED


def test_researchers_leave_room_for_scanners(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MAX_READERS", 1)
    secret = visit(door).secret
    with association(door, shown(secret)):
        assert ask(door, shown(secret)).is_rejected
        with association(door) as made:
            assert made.send_c_echo().Status == SUCCESS


def test_a_visit_that_is_over_is_nobody_s(door: Door) -> None:
    who = visit(door)
    with association(door, shown(who.secret)) as made:
        visits.leave(door.scene.node, who.secret)
        assert find(made, "STUDY")[0].ErrorComment == "not-signed-in"


def test_a_permit_to_look_fetches_nothing(door: Door) -> None:
    who = visit(door, ["view"])
    with association(door, shown(who.secret)) as made:
        assert find(made, "STUDY")[0].ErrorComment == "action-not-granted"
    fetched = get(door, who, identifier("STUDY", StudyInstanceUID="1.2"))
    assert (fetched.end.Status, fetched.end.ErrorComment) == (NOT_AUTHORISED, "action-not-granted")
    assert {(entry.actor, entry.subject, entry.details["asked"]) for entry in refusals(door)} == {
        ("rosa", door.scene.dataset, "retrieve")
    }


def test_after_a_revocation_an_open_association_gives_nothing(door: Door) -> None:
    who = visit(door)
    with association(door, shown(who.secret)) as made:
        assert find(made, "STUDY")[0].Status == SUCCESS
        end(door, who.permit)
        assert find(made, "STUDY")[0].ErrorComment == "revoked"
    assert refusals(door)[0].details["reason"] == "revoked"


def test_without_a_recent_word_of_the_hub_nothing_is_given(door: Door) -> None:
    who = visit(door)
    with door.scene.node.engine.begin() as connection:
        connection.execute(update(permit_states).values(received_at=stamp(now() - timedelta(seconds=61))))
    with association(door, shown(who.secret)) as made:
        assert find(made, "STUDY")[0].ErrorComment == "status-unknown"


# --- what is found ---


def test_only_members_are_found_and_counted(seen: tuple[Door, Visit]) -> None:
    door, who = seen
    [study] = find_as(door, who, "STUDY", NumberOfStudyRelatedInstances="", NumberOfStudyRelatedSeries="")
    assert (study.NumberOfStudyRelatedSeries, study.NumberOfStudyRelatedInstances) == (1, 2)
    of_study = {"StudyInstanceUID": study.StudyInstanceUID}
    [series] = find_as(door, who, "SERIES", **of_study, Modality="", BodyPartExamined="")
    assert (series.Modality, series.BodyPartExamined) == ("CT", "CHEST")
    images = find_as(door, who, "IMAGE", **of_study, SeriesInstanceUID=series.SeriesInstanceUID, InstanceNumber="")
    assert [image.InstanceNumber for image in images] == [1, 2]
    assert find_as(door, who, "SERIES", **of_study, BodyPartExamined="ABDOMEN") == []
    assert refusals(door) == []


def test_an_answer_has_what_was_asked_for_and_where_to_fetch_it(seen: tuple[Door, Visit]) -> None:
    door, who = seen
    [study] = find_as(door, who, "STUDY", PatientName="", PatientIdentityRemoved="Y*", StudyID="", PatientComments="")
    assert {element.keyword for element in study} == {
        "SpecificCharacterSet",
        "QueryRetrieveLevel",
        "RetrieveAETitle",
        "StudyInstanceUID",
        "PatientName",
        "PatientIdentityRemoved",
        "StudyID",
        "PatientComments",
    }
    assert (study.QueryRetrieveLevel, study.RetrieveAETitle) == ("STUDY", "CARINA")
    assert "Garcia" not in str(study)
    assert study.PatientComments in (None, "")


def test_a_value_that_does_not_fit_is_left_empty() -> None:
    asked = read_identifier(identifier("STUDY", StudyID="", NumberOfStudyRelatedSeries="", StudyDate=""))
    header = {
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "00201206": {"vr": "IS", "Value": ["several"]},
        "00200010": {"vr": "SH", "BulkDataURI": "00200010"},
        "00080020": {"vr": "DA", "Value": ["20260101"]},
    }
    made = answer(asked, Found(LUNG, PatientKey("P"), Uid("1.2"), None, None, header), "CARINA")
    assert (made.StudyInstanceUID, made.StudyDate) == ("1.2", "20260101")
    assert made["NumberOfStudyRelatedSeries"].is_empty
    assert made["StudyID"].is_empty


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"ModalitiesInStudy": "CT"}, 1),
        ({"ModalitiesInStudy": ["MR", "CT"]}, 1),
        ({"ModalitiesInStudy": "MR"}, 0),
        ({"PatientIdentityRemoved": "Y?S"}, 1),
        ({"PatientIdentityRemoved": "N*"}, 0),
        ({"StudyDate": "19000101-"}, 1),
        ({"StudyDate": "-19000101"}, 0),
        ({"StudyInstanceUID": ["1.2", "1.3"]}, 0),
        ({"StudyInstanceUID": "*"}, 1),
        ({"NumberOfStudyRelatedInstances": "2"}, 1),
        ({"NumberOfStudyRelatedInstances": "3"}, 0),
        ({"TimezoneOffsetFromUTC": "+0100"}, 1),
        ({"DeidentificationMethodCodeSequence": [Dataset()]}, 1),
    ],
)
def test_keys_are_matched(seen: tuple[Door, Visit], keys: dict[str, object], found: int) -> None:
    assert len(find_as(*seen, "STUDY", **keys)) == found


def test_a_key_that_cannot_be_matched_is_told_of(seen: tuple[Door, Visit]) -> None:
    door, who = seen
    with association(door, shown(who.secret)) as made:
        given = list(made.send_c_find(identifier("STUDY", PatientComments="tall"), FIND))
    assert [status.Status for status, _ in given] == [retrieve.PENDING_KEYS_IGNORED, SUCCESS]
    with association(door, shown(who.secret)) as made:
        given = list(made.send_c_find(identifier("STUDY", StudyID=""), FIND))
    assert [status.Status for status, _ in given] == [PENDING, SUCCESS]


@pytest.mark.parametrize(
    "asked",
    [
        identifier(""),
        identifier("PATIENT"),
        identifier("SERIES"),
        identifier("SERIES", StudyInstanceUID="*"),
        identifier("SERIES", StudyInstanceUID=["1.2", "1.3"]),
        identifier("IMAGE", StudyInstanceUID="1.2"),
        identifier("STUDY", StudyDate="yesterday"),
        identifier("STUDY", PatientComments="x" * 40000, AdditionalPatientHistory="x" * 40000),
    ],
)
def test_what_is_no_identifier_is_refused(seen: tuple[Door, Visit], asked: Dataset) -> None:
    door, who = seen
    with association(door, shown(who.secret)) as made:
        [(status, _)] = made.send_c_find(asked, FIND)
        assert status.Status == NOT_THE_MODEL
        assert made.send_c_echo().Status == SUCCESS


@pytest.mark.parametrize("encoded", [b"\xff" * 40, b"\x08", bytes.fromhex("0800960000000000") + b"\x08\x00" * 900])
@pytest.mark.parametrize("kind", [C_FIND, C_GET])
def test_an_identifier_that_is_no_data_set_is_refused(seen: tuple[Door, Visit], kind: type, encoded: bytes) -> None:
    door, who = seen
    with association(door, shown(who.secret)) as made:
        syntax = FIND if kind is C_FIND else GET
        [context] = [one for one in made.accepted_contexts if one.abstract_syntax == syntax]
        request = kind()
        request.MessageID, request.AffectedSOPClassUID, request.Priority = 1, syntax, 2
        request.Identifier = io.BytesIO(encoded)
        made._reactor_checkpoint.clear()
        made.dimse.send_msg(request, context.context_id)
        _, response = made.dimse.get_msg(block=True)
        made._reactor_checkpoint.set()
        assert response is not None
        assert response.Status == NOT_THE_MODEL
        assert find(made, "STUDY")[0].Status == SUCCESS


def test_an_identifier_that_is_too_large_is_let_go_and_what_follows_is_heard(door: Door) -> None:
    who = visit(door)
    small = replace(door.scene, node=replace(door.scene.node, largest_instance=500))
    with listening(small) as port, association(Door(small, port), shown(who.secret)) as made:
        assert find(made, "STUDY", PatientComments="x" * 2000)[0].Status == NOT_THE_MODEL
        assert made.send_c_store(pydicom.dcmread(io.BytesIO(ct("F")))).Status == OUT_OF_RESOURCES
        assert find(made, "STUDY")[0].Status == SUCCESS


def test_all_matches_come_however_many_are_read_together(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "_PAGE", 2)
    monkeypatch.setattr(retrieve, "ASK_AGAIN", 0.0)
    take_in(door.scene.node, [ct(f"P{number}") for number in range(5)])
    assert len(find_as(door, visit(door), "STUDY")) == 6


def test_a_search_ends_when_the_permit_does(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "_PAGE", 1)
    monkeypatch.setattr(retrieve, "ASK_AGAIN", 0.0)
    take_in(door.scene.node, [ct(f"P{number}") for number in range(3)])
    who = visit(door)
    pages = iter([lambda: None, lambda: end(door, who.permit)])
    found = retrieve.find

    def find_and_end(*arguments: Any) -> Any:
        next(pages, lambda: None)()
        return found(*arguments)

    monkeypatch.setattr(retrieve, "find", find_and_end)
    with association(door, shown(who.secret)) as made:
        status, matches = find(made, "STUDY")
    assert (status.Status, status.ErrorComment, len(matches)) == (NOT_AUTHORISED, "revoked", 1)


# --- what is given ---


def test_a_study_is_given_without_what_is_no_member_as_it_is_stored(seen: tuple[Door, Visit]) -> None:
    door, who = seen
    fetched = get(door, who, chest(door, who))
    assert (fetched.end.Status, fetched.counts, fetched.failed) == (SUCCESS, (2, 0), [])
    assert {file.BodyPartExamined for file in fetched.files} == {"CHEST"}
    with door.scene.node.engine.connect() as connection:
        content = {row.uid: row.content for row in connection.execute(select(instances))}
    for file in fetched.files:
        with door.scene.node.instances.open(content[file.SOPInstanceUID]) as stored:
            assert pydicom.dcmread(stored) == file


def test_a_series_and_an_image_are_given_and_what_is_no_member_is_not_there(seen: tuple[Door, Visit]) -> None:
    door, who = seen
    above = {"StudyInstanceUID": chest(door, who).StudyInstanceUID}
    [series] = find_as(door, who, "SERIES", **above)
    above["SeriesInstanceUID"] = series.SeriesInstanceUID
    first, second = (image.SOPInstanceUID for image in find_as(door, who, "IMAGE", **above))
    fetched = get(door, who, identifier("SERIES", **above))
    assert [file.SOPInstanceUID for file in fetched.files] == [first, second]
    fetched = get(door, who, identifier("IMAGE", **above, SOPInstanceUID=second))
    assert [file.SOPInstanceUID for file in fetched.files] == [second]
    with door.scene.node.engine.connect() as connection:
        every = list(connection.execute(select(instances.c.study_uid, instances.c.series_uid, instances.c.uid)))
    others = [row for row in every if row.uid not in (first, second)]
    assert len(others) == 2
    for row in others:
        asked = identifier(
            "IMAGE", StudyInstanceUID=row.study_uid, SeriesInstanceUID=row.series_uid, SOPInstanceUID=row.uid
        )
        fetched = get(door, who, asked)
        assert (fetched.end.Status, fetched.counts, fetched.files) == (SUCCESS, (0, 0), [])


@pytest.mark.parametrize(
    "asked",
    [
        identifier("STUDY"),
        identifier("STUDY", StudyInstanceUID="*"),
        identifier("STUDY", StudyInstanceUID="1.2", SeriesInstanceUID="1.3"),
        identifier("SERIES", SeriesInstanceUID="1.2"),
        identifier("IMAGE", StudyInstanceUID="1.2", SeriesInstanceUID="1.2"),
        identifier("STUDY", StudyInstanceUID="1.2", PatientComments="tall"),
    ],
)
def test_what_names_no_images_fetches_none(seen: tuple[Door, Visit], asked: Dataset) -> None:
    door, who = seen
    assert get(door, who, asked).end.Status == NOT_THE_MODEL


def test_who_fetched_is_written_down_once_with_the_permit(door: Door) -> None:
    who = visit(door)
    asked = chest(door, who)
    get(door, who, asked)
    [entry] = refusals(door, "retrieved")
    assert (entry.actor, entry.subject) == ("rosa", asked.StudyInstanceUID)
    under = {"hub": door.scene.hub.id, "permit": who.permit}
    assert dict(entry.details) == {"what": "instances", "instances": 2, **under}
    assert permits.get(door.scene.node, door.scene.hub.id, who.permit).use.retrieve == 2  # a search and a fetch
    door.scene.node.audit.verify()


def test_a_plain_image_is_given_in_the_plain_syntax_that_is_taken(seen: tuple[Door, Visit]) -> None:
    door, who = seen
    fetched = get(door, who, chest(door, who), storage=[ImplicitVRLittleEndian])
    assert (fetched.counts, set(fetched.syntaxes)) == ((2, 0), {ImplicitVRLittleEndian})
    assert fetched.files[0].pixel_array.shape == (32, 32)


def test_a_compressed_image_is_given_as_it_is_or_plain(door: Door) -> None:
    plain = pydicom.dcmread(io.BytesIO(ct("R")))
    pixels = plain.pixel_array
    plain.compress(RLELossless, generate_instance_uid=False)
    take_in(door.scene.node, [part10(plain, RLELossless)])
    who = visit(door)
    own = chest_uids(door, who)
    [study] = [one.StudyInstanceUID for one in find_as(door, who, "STUDY") if one.StudyInstanceUID not in own]
    for storage in ([RLELossless, ExplicitVRLittleEndian], [ExplicitVRLittleEndian], [ImplicitVRLittleEndian]):
        fetched = get(door, who, identifier("STUDY", StudyInstanceUID=study), storage=storage)
        assert (fetched.counts, fetched.syntaxes) == ((1, 0), [storage[0]])
        [file] = fetched.files
        assert (file.pixel_array == pixels).all()


def chest_uids(door: Door, who: Visit) -> set[str]:
    """The studies of which a plain image is in the store."""
    with door.scene.node.engine.connect() as connection:
        plain = select(instances.c.study_uid).where(instances.c.transfer_syntax_uid == ExplicitVRLittleEndian)
        return set(connection.execute(plain).scalars())


def test_what_the_peer_does_not_take_has_failed(seen: tuple[Door, Visit]) -> None:
    door, who = seen
    asked = chest(door, who)
    for options in ({"role": False}, {"storage": [RLELossless]}, {"storage": []}):
        fetched = get(door, who, asked, **options)  # type: ignore[arg-type]
        assert (fetched.end.Status, fetched.counts, fetched.files) == (FAILED_ALL, (0, 2), [])
        assert len(fetched.failed) == 2


def test_what_the_peer_refuses_has_failed(seen: tuple[Door, Visit]) -> None:
    door, who = seen
    fetched = get(door, who, chest(door, who), told=0xA700)
    assert (fetched.end.Status, fetched.counts, len(fetched.failed)) == (FAILED_ALL, (0, 2), 2)


def test_an_image_that_cannot_be_read_has_failed_and_the_others_come(door: Door) -> None:
    who = visit(door)
    asked = chest(door, who)
    with door.scene.node.engine.begin() as connection:
        lost = connection.execute(select(instances.c.uid).where(instances.c.study_uid == asked.StudyInstanceUID))
        uid = sorted(lost.scalars())[0]
        connection.execute(update(instances).where(instances.c.uid == uid).values(content="0" * 64))
    fetched = get(door, who, asked)
    assert (fetched.end.Status, fetched.counts, fetched.failed) == (FAILED_SOME, (1, 1), [uid])
    assert uid not in {file.SOPInstanceUID for file in fetched.files}


def test_a_fetch_ends_when_the_permit_does(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "ASK_AGAIN", 0.0)
    take_in(door.scene.node, [ct("A", number=number) for number in (3, 4)])
    who = visit(door)
    fetched = get(door, who, chest(door, who), then=lambda: end(door, who.permit))
    assert (fetched.end.Status, fetched.end.ErrorComment) == (NOT_AUTHORISED, "revoked")
    assert (len(fetched.files), fetched.counts, len(fetched.failed)) == (1, (1, 3), 3)
    assert refusals(door)[0].details["reason"] == "revoked"


def test_a_fetch_ends_when_the_node_takes_its_agreement_back(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "ASK_AGAIN", 0.0)
    who = visit(door)
    node, hub = door.scene.node, door.scene.hub
    fetched = get(
        door, who, chest(door, who), then=lambda: permits.withdraw(node, MANAGER, hub.id, who.permit, "Not any more.")
    )
    assert (len(fetched.files), fetched.end.ErrorComment) == (1, "declined")


def test_a_fetch_can_be_cancelled(door: Door) -> None:
    who = visit(door)
    asked = chest(door, who)
    made: Association
    given: list[Dataset] = []

    def keep(event: Any) -> int:
        given.append(event.dataset)
        event.assoc.send_c_cancel(1, None, GET)
        return SUCCESS

    roles = build_role(CT_CLASS, scp_role=True)
    with association(door, shown(who.secret), roles, on_store=keep) as made:
        statuses = [status for status, _ in made.send_c_get(asked, GET)]
    assert (statuses[-1].Status, len(given)) == (CANCELLED, 1)
    assert statuses[-1].NumberOfRemainingSuboperations == 1


def test_what_was_held_for_a_peer_that_leaves_is_given_back(door: Door) -> None:
    who = visit(door)
    asked = chest(door, who)
    server = start_dimse(door.scene.node, "127.0.0.1", 0, "CARINA")
    held: list[int] = []

    def leave(event: Any) -> int:
        held.append(server._server.outgoing.taken)
        event.assoc.abort()
        return SUCCESS

    try:
        roles = build_role(CT_CLASS, scp_role=True)
        made = ask(Door(door.scene, server.port), shown(who.secret), roles, on_store=leave)
        made.dimse_timeout = 2  # it waits for an answer that will not come
        list(made.send_c_get(asked, GET))
        until = time.monotonic() + 5
        while server._server.outgoing.taken:
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        server.stop()
    assert len(held) == 1
    assert held[0] > 0


def test_more_than_can_be_counted_is_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    who = visit(door)
    asked = chest(door, who)
    monkeypatch.setattr(retrieve, "MAX_SUB_OPERATIONS", 1)
    assert get(door, who, asked).end.Status == TOO_MANY
    assert refusals(door, "retrieved") == []


def test_no_more_is_in_memory_at_once_than_there_is_room_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "_WAIT_FOR_ROOM", 0.0)
    who = visit(door)
    asked = chest(door, who)
    small = replace(door.scene, node=replace(door.scene.node, largest_instance=500))
    with listening(small) as port:
        fetched = get(Door(small, port), who, asked)
    assert (fetched.end.Status, fetched.files) == (FAILED_ALL, [])


def test_one_association_searches_stores_and_fetches_in_turn(door: Door) -> None:
    who = visit(door)
    asked = chest(door, who)
    given: list[Dataset] = []

    def keep(event: Any) -> int:
        given.append(event.dataset)
        return SUCCESS

    roles = build_role(CT_CLASS, scu_role=True, scp_role=True)
    with association(door, shown(who.secret), roles, on_store=keep) as made:
        for number in (7, 8):
            assert made.send_c_store(pydicom.dcmread(io.BytesIO(ct("D", number=number)))).Status == SUCCESS
            assert [status.Status for status, _ in made.send_c_get(asked, GET)][-1] == SUCCESS
            assert find(made, "STUDY")[0].Status == SUCCESS
    assert len(given) == 4
    receive(door.scene.node, ct("E"), SCANNER)


def test_nothing_of_what_was_asked_is_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    who = visit(door)
    with association(door, shown(who.secret)) as made:
        find(made, "STUDY", PatientName="Secret^Person")
        find(made, "STUDY", StudyDate="Secret")
    get(door, who, identifier("STUDY", StudyInstanceUID="1.2", PatientName="Secret^Person"))
    assert "Secret" not in caplog.text
    assert who.secret not in caplog.text
