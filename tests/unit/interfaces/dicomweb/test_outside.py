"""The archive as a researcher meets it: a dataset, under a permit, and nothing else."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from PIL import Image
from sqlalchemy import update
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient
from tests.access import MANAGER, Scene, deliver, open_scene, permit_in_force, share
from tests.archive import READER, application, outside_application, take_in
from tests.support import LUNG, ct

from carina.errors import PermitDenied
from carina.hub import catalogue
from carina.hub import permits as hub_permits
from carina.hub.permits import Permit
from carina.interfaces.api.visitors import visitors
from carina.interfaces.dicomweb import giving, wado
from carina.interfaces.dicomweb.opening import Reader
from carina.model.clock import now, stamp
from carina.model.cohort import OneOf
from carina.model.permit import Action
from carina.node import datasets, membership, permits, snapshots, visits
from carina.node.authorise import Grant, members
from carina.node.retrieve import granted
from carina.node.site import Node
from carina.node.visits import Visit
from carina.storage.audit import Entry
from carina.storage.members import Members
from carina.storage.schema import permit_states

CHEST = OneOf("body_part", ("CHEST",))
ALL: tuple[Action, ...] = ("view", "retrieve", "analyse")
ABDOMEN = {"BodyPartExamined": "ABDOMEN"}
DICOM = {"Accept": 'multipart/related; type="application/dicom"'}
PICTURE = {"Accept": "image/png"}


def files() -> list[bytes]:
    """A: a chest of two slices, and an abdomen in the same study. B: an abdomen."""
    return [
        *(ct("A", number=number) for number in (1, 2)),
        ct("A", series=2, elements=ABDOMEN),
        ct("B", elements=ABDOMEN),
    ]


def more() -> list[bytes]:
    """What arrives later: a third slice of A's chest, and C, a chest."""
    return [ct("A", number=3), ct("C")]


@contextmanager
def scene_of_chests(folder: Path) -> Iterator[Scene]:
    """The dataset is the chests; snapshot 1 was taken of it before anything more arrived."""
    with open_scene(folder) as scene:
        take_in(scene.node, files())
        iri = share(scene.hub, scene.node, query=CHEST)
        snapshots.take(scene.node, MANAGER, iri)
        catalogue.accept(
            scene.hub,
            scene.node.id,
            membership.description(datasets.describe(scene.node, datasets.get(scene.node, iri))),
        )
        yield replace(scene, dataset=iri)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with scene_of_chests(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, TestClient]]:
    """A scene that tests only look at, with a visit for everything."""
    with scene_of_chests(tmp_path_factory.mktemp("seen")) as scene:
        yield scene, client(scene, visit(scene).secret)


def visit(scene: Scene, actions: Sequence[Action] = ALL, version: str = "live") -> Visit:
    return enter(scene, permit_in_force(scene, actions=tuple(actions), version=version))


def enter(scene: Scene, permit: Permit) -> Visit:
    code = hub_permits.handover(scene.hub, scene.rosa, permit.id).code
    return visits.enter(scene.node, code, lifetime=visits.PROGRAM)


def client(scene: Scene, secret: str = "", dataset: str = "") -> TestClient:
    """A client of the dataset's service; paths are below `/dicom-web`."""
    base = f"http://127.0.0.1/datasets/{dataset or scene.dataset}/dicom-web"
    made = TestClient(outside_application(scene.node), base_url=base, client=("127.0.0.1", 50000))
    if secret:
        made.headers["Authorization"] = f"Bearer {secret}"
    return made


def inside(node: Node) -> TestClient:
    made = TestClient(application(node), base_url="http://127.0.0.1/dicom-web", client=("127.0.0.1", 50000))
    made.headers["Authorization"] = f"Bearer {READER}"
    return made


def place_of(row: dict[str, Any]) -> str:
    names = (("studies", "0020000D"), ("series", "0020000E"), ("instances", "00080018"))
    return "".join(f"/{name}/{row[tag]['Value'][0]}" for name, tag in names if tag in row)


def places(reader: TestClient, level: str = "instances", **query: str) -> list[str]:
    answer = reader.get(f"/{level}", params=query)
    return sorted(place_of(row) for row in answer.json()) if answer.status_code == 200 else []


def everything_below(place: str) -> dict[str, dict[str, str]]:
    """Each address of an instance and of what holds it, with what to accept there."""
    study, series = place.split("/series", maxsplit=1)[0], place.split("/instances", maxsplit=1)[0]
    return {
        **{f"{each}/metadata": {} for each in (study, series, place)},
        **dict.fromkeys((study, series, place), DICOM),
        f"{place}/frames/1": {},
        f"{place}/bulkdata/7FE00010": {},
        f"{place}/rendered": PICTURE,
        f"{place}/frames/1/rendered": PICTURE,
    }


def refusals(scene: Scene) -> list[Entry]:
    return list(scene.node.audit.entries(50, action="access-refused"))


def number(row: dict[str, Any], tag: str) -> int:
    return int(row[tag]["Value"][0])


# --- members only ---


def test_a_visit_finds_the_members_of_its_dataset_and_staff_inside_find_all(seen: tuple[Scene, TestClient]) -> None:
    scene, reader = seen
    with inside(scene.node) as staff:
        chests = places(staff, BodyPartExamined="CHEST")
        assert [len(places(staff, level)) for level in ("studies", "series", "instances")] == [2, 3, 4]
    assert places(reader) == chests
    assert len(chests) == 2
    assert [len(places(reader, level)) for level in ("studies", "series")] == [1, 1]


def test_no_count_of_a_study_tells_of_what_is_no_member(seen: tuple[Scene, TestClient]) -> None:
    scene, reader = seen
    [study] = reader.get("/studies").json()
    assert (number(study, "00201206"), number(study, "00201208")) == (1, 2)
    [series] = reader.get("/series?includefield=all").json()
    assert number(series, "00201209") == 2
    with inside(scene.node) as staff:
        [whole] = staff.get("/studies", params={"StudyInstanceUID": study["0020000D"]["Value"][0]}).json()
        assert (number(whole, "00201206"), number(whole, "00201208")) == (2, 3)
    assert places(reader, "studies", NumberOfStudyRelatedInstances="3") == []


def test_a_live_permit_sees_what_arrives_and_a_snapshot_does_not(scene: Scene) -> None:
    live, old = client(scene, visit(scene).secret), client(scene, visit(scene, version="1").secret)
    assert places(live) == places(old)
    take_in(scene.node, more())
    assert [len(places(live, level)) for level in ("studies", "series", "instances")] == [2, 2, 4]
    assert [len(places(old, level)) for level in ("studies", "series", "instances")] == [1, 1, 2]
    [study] = old.get("/studies").json()
    assert (number(study, "00201206"), number(study, "00201208")) == (1, 2)
    for place in set(places(live)) - set(places(old)):
        assert old.get(f"{place}/metadata").status_code == 404
        assert live.get(f"{place}/metadata").status_code == 200
    series = places(old)[0].split("/instances")[0]
    assert len(old.get(f"{series}/metadata").json()) == 2
    assert old.get(series, headers=DICOM).content.count(b"Content-Location") == 2
    assert live.get(series, headers=DICOM).content.count(b"Content-Location") == 3


def test_what_is_no_member_is_not_there_by_any_address(seen: tuple[Scene, TestClient]) -> None:
    scene, reader = seen
    with inside(scene.node) as staff:
        others = [place for place in places(staff) if place not in places(reader)]
        assert len(others) == 2
        for place in others:
            for path, accept in everything_below(place).items():
                assert staff.get(path, headers=accept).status_code == 200, path
    mine = places(reader)[0].split("/series")[0]
    for place in others:
        for path, accept in everything_below(place).items():
            of_mine = path in (mine, f"{mine}/metadata")  # a study of which a part belongs to the dataset
            assert reader.get(path, headers=accept).status_code == (200 if of_mine else 404), path
        series = place.split("/instances")[0]
        assert reader.get(f"{series}/instances").status_code == 204


def test_a_study_is_given_without_what_is_no_member(seen: tuple[Scene, TestClient]) -> None:
    _, reader = seen
    study = places(reader)[0].split("/series")[0]
    assert {item["00180015"]["Value"][0] for item in reader.get(f"{study}/metadata").json()} == {"CHEST"}
    assert reader.get(study, headers=DICOM).content.count(b"Content-Location") == 2


def test_addresses_in_answers_are_the_dataset_s(seen: tuple[Scene, TestClient]) -> None:
    scene, reader = seen
    base = f"http://127.0.0.1/datasets/{scene.dataset}/dicom-web/studies/"
    [study] = reader.get("/studies").json()
    assert study["00081190"]["Value"][0].startswith(base)
    held = reader.get(f"{places(reader)[0]}/metadata").json()[0]
    address = held["7FE00010"]["BulkDataURI"]
    assert address.startswith(base)
    assert reader.get(address).status_code == 200
    below = reader.get(f"{place_of(study)}/series").json()[0]
    assert "00100020" not in below


# --- what a permit is for ---


def answers(reader: TestClient, place: str) -> dict[str, int]:
    return {path: reader.get(path, headers=accept).status_code for path, accept in everything_below(place).items()}


def test_a_permit_to_look_gives_pictures_and_headers_but_no_objects(scene: Scene) -> None:
    reader = client(scene, visit(scene, ["view"]).secret)
    place = places(reader)[0]
    given = answers(reader, place)
    assert {path for path, status in given.items() if status == 200} == {
        path for path in given if path.endswith(("/rendered", "/metadata"))
    }
    assert set(given.values()) == {200, 403}
    picture = reader.get(f"{place}/rendered?accept=image/png&window=40,400")
    assert Image.open(io.BytesIO(picture.content)).format == "PNG"
    refused = refusals(scene)
    assert {(entry.actor, entry.subject, entry.details["reason"]) for entry in refused} == {
        ("rosa", scene.dataset, "action-not-granted")
    }


def test_a_permit_to_fetch_gives_objects_and_no_pictures(scene: Scene) -> None:
    reader = client(scene, visit(scene, ["retrieve"]).secret)
    place = places(reader)[0]
    assert refusals(scene) == []  # a search belongs to both
    given = answers(reader, place)
    assert {path for path, status in given.items() if status != 200} == {
        path for path in given if path.endswith("/rendered")
    }
    alone = reader.get(place, headers={"Accept": "application/dicom"})
    assert pydicom.dcmread(io.BytesIO(alone.content)).BodyPartExamined == "CHEST"


def segmentation() -> bytes:
    """Of A's chest: an object that is no picture, with an element that only the whole header shows."""
    of_its_class = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4",
        "Modality": "SEG",
        "ImageType": ["DERIVED", "PRIMARY"],
    }
    mask = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "PixelData": b"\1" * 1024}
    return ct("A", series=3, elements={**of_its_class, **mask, "SegmentationType": "FRACTIONAL"})


SEGMENTATION_TYPE = "00620001"


def test_a_permit_to_look_shows_no_whole_header_of_what_is_no_picture(scene: Scene) -> None:
    assert take_in(scene.node, [segmentation()]) == ["archived"]
    looking, fetching = (client(scene, visit(scene, actions).secret) for actions in (["view"], ["view", "retrieve"]))
    [mask] = places(looking, Modality="SEG")
    study, series = mask.split("/series")[0], mask.split("/instances")[0]
    for path in (series, mask):
        refused = looking.get(f"{path}/metadata")
        assert (refused.status_code, refused.json()["reason"]) == (403, "action-not-granted")
        assert SEGMENTATION_TYPE in fetching.get(f"{path}/metadata").json()[0]
    some = looking.get(f"{study}/metadata")
    assert {item["00080060"]["Value"][0] for item in some.json()} == {"CT"}
    assert "no pictures: 1." in some.headers["warning"]
    assert len(fetching.get(f"{study}/metadata").json()) == len(some.json()) + 1
    for asked in ("includefield=all", "includefield=SegmentationType"):
        [found] = looking.get(f"/instances?Modality=SEG&{asked}").json()
        assert SEGMENTATION_TYPE not in found
        assert found["00080018"]["Value"] == [mask.rsplit("/", 1)[-1]]
        assert SEGMENTATION_TYPE in fetching.get(f"/instances?Modality=SEG&{asked}").json()[0]
    assert "00180060" in looking.get("/instances?Modality=CT&includefield=all").json()[0]
    with inside(scene.node) as staff:
        assert SEGMENTATION_TYPE in staff.get(f"{mask}/metadata").json()[0]


def test_a_node_that_allows_no_fetching_gives_no_objects_whatever_the_permit_says(scene: Scene) -> None:
    secret, policy = visit(scene).secret, replace(scene.node.policy, actions=("view",))
    strict = client(replace(scene, node=replace(scene.node, policy=policy)), secret)
    place = places(strict)[0]
    assert strict.get(f"{place}/rendered", headers=PICTURE).status_code == 200
    assert strict.get(place, headers=DICOM).status_code == 403
    assert refusals(scene)[0].details["reason"] == "action-not-allowed"


def test_who_looked_and_who_fetched_is_written_down_with_the_permit(scene: Scene) -> None:
    entered = visit(scene)
    reader = client(scene, entered.secret)
    place = places(reader)[0]
    reader.get(f"{place}/rendered", headers=PICTURE)
    reader.get(place, headers=DICOM)
    fetched, looked = scene.node.audit.entries(2)
    under = {"hub": scene.hub.id, "permit": entered.permit, "instances": 1}
    assert (looked.action, looked.actor, dict(looked.details)) == ("viewed", "rosa", {"what": "rendered", **under})
    assert (fetched.action, fetched.actor, dict(fetched.details)) == (
        "retrieved",
        "rosa",
        {"what": "instances", **under},
    )
    use = permits.get(scene.node, scene.hub.id, entered.permit).use
    assert (use.view, use.retrieve) == (2, 1)  # the search was one, too
    scene.node.audit.verify()


# --- who may ---


def every_answer(reader: TestClient, place: str) -> dict[str, Any]:
    found = {path: reader.get(path, headers=accept) for path, accept in everything_below(place).items()}
    return found | {path: reader.get(path) for path in ("/studies", "/series", "/instances", "/nothing")}


def test_every_answer_forbids_to_keep_it(scene: Scene) -> None:
    entered = visit(scene, ["view"])
    reader = client(scene, entered.secret)
    place = places(reader)[0]
    for each in (reader, client(scene), client(scene, "nonsense")):
        for path, answer in every_answer(each, place).items():
            assert answer.headers["cache-control"] == "no-store", path
    assert reader.post("/studies", content=b"").headers["cache-control"] == "no-store"


def test_nobody_reads_without_a_visit(scene: Scene) -> None:
    place = places(client(scene, visit(scene).secret))[0]
    for secret in ("", "nonsense", READER):
        given = every_answer(client(scene, secret), place)
        assert {path for path, answer in given.items() if answer.status_code != 401} == {"/nothing"}


def test_a_visit_opens_nothing_inside(scene: Scene) -> None:
    reader = inside(scene.node)
    reader.headers["Authorization"] = f"Bearer {visit(scene).secret}"
    assert reader.get("/studies").status_code == 401


def test_nothing_is_stored_from_outside(scene: Scene) -> None:
    reader = client(scene, visit(scene).secret)
    for path in ("/studies", "/studies/1.2.3"):
        assert reader.post(path, content=ct("X")).status_code == 405


def test_a_browser_s_cookie_is_as_good_as_a_token_and_a_token_goes_first(scene: Scene) -> None:
    browser = client(scene)
    browser.cookies.set(visitors(scene.node, secure=False).cookie, visit(scene).secret)
    assert browser.get("/studies").status_code == 200
    for other in ("Bearer nonsense", "Basic bm9uc2Vuc2U="):
        assert browser.get("/studies", headers={"Authorization": other}).status_code == 401


def test_a_secret_for_one_dataset_opens_no_other(scene: Scene) -> None:
    other = share(scene.hub, scene.node, "Everything")
    secret = visit(scene).secret
    place = places(client(scene, secret))[0]
    unknown = "urn:uuid:00000000-0000-4000-8000-0000000000ff"
    for dataset in (other, unknown, "anything"):
        given = every_answer(client(scene, secret, dataset), place)
        assert {path for path, answer in given.items() if answer.status_code != 403} == {"/nothing"}
    told = {(entry.subject, entry.details["reason"]) for entry in refusals(scene)}
    assert told == {
        (other, "no-permit"),
        ("urn:uuid:00000000-0000-4000-8000-0000000000ff", "no-permit"),
        ("", "no-permit"),
    }


def test_a_secret_for_one_dataset_opens_no_other_although_its_holder_has_a_permit_for_that(scene: Scene) -> None:
    first = visit(scene)
    second = visit(replace(scene, dataset=share(scene.hub, scene.node, "Everything")))
    assert client(scene, first.secret, second.dataset).get("/studies").status_code == 403
    assert client(scene, second.secret, second.dataset).get("/studies").status_code == 200


# --- the end of it ---


def test_after_a_revocation_everything_is_refused(scene: Scene) -> None:
    permit = permit_in_force(scene)
    reader = client(scene, enter(scene, permit).secret)
    place = places(reader)[0]
    assert set(answers(reader, place).values()) == {200}
    hub_permits.revoke(scene.hub, scene.clara, permit.id, "The study has ended.")
    deliver(scene.hub, scene.node)
    given = every_answer(reader, place)
    assert {path for path, answer in given.items() if answer.status_code != 403} == {"/nothing"}
    assert given["/studies"].json()["detail"] == "The permit was ended."
    assert {entry.details["reason"] for entry in refusals(scene)} == {"revoked"}


def test_after_the_node_took_its_agreement_back_everything_is_refused(scene: Scene) -> None:
    permit = permit_in_force(scene)
    reader = client(scene, enter(scene, permit).secret)
    place = places(reader)[0]
    permits.withdraw(scene.node, MANAGER, scene.hub.id, permit.id, "Not any more.")
    assert set(answers(reader, place).values()) == {403}
    assert refusals(scene)[0].details["reason"] == "declined"


def test_without_a_recent_word_of_the_hub_everything_is_refused(scene: Scene) -> None:
    reader = client(scene, visit(scene).secret)
    place = places(reader)[0]
    with scene.node.engine.begin() as connection:
        connection.execute(update(permit_states).values(received_at=stamp(now() - timedelta(seconds=61))))
    given = every_answer(reader, place)
    assert {answer.status_code for path, answer in given.items() if path != "/nothing"} == {403}
    assert "permit status unknown" in given["/studies"].json()["detail"]


def test_when_the_dataset_is_withdrawn_everything_is_refused(scene: Scene) -> None:
    reader = client(scene, visit(scene).secret)
    place = places(reader)[0]
    datasets.withdraw(scene.node, MANAGER, scene.dataset)
    assert set(answers(reader, place).values()) == {403}


def test_an_answer_under_way_is_broken_off_when_the_permit_ends(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving, "ASK_AGAIN", 0.0)
    monkeypatch.setattr(giving, "PIECE", 1000)
    permit = permit_in_force(scene)
    who = enter(scene, permit).principal
    reader = Reader(who, granted(scene.node, who, scene.dataset, ["retrieve"]), ["retrieve"])
    study = places(client(scene, enter(scene, permit).secret), "studies")[0].rsplit("/", 1)[-1]
    headers = [(b"accept", DICOM["Accept"].encode()), (b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "path_params": {"study": study}}
    scope |= {"query_string": b"", "scheme": "http", "server": ("127.0.0.1", 80)}

    async def fetch() -> list[bytes]:
        response = await wado.retrieve(scene.node, Request(scope), reader)
        assert isinstance(response, StreamingResponse)
        given: list[bytes] = []
        with pytest.raises(PermitDenied) as refused:
            async for chunk in response.body_iterator:
                given.append(bytes(chunk))
                if len(given) == 2:  # of the first file
                    hub_permits.revoke(scene.hub, scene.clara, permit.id, "The study has ended.")
                    deliver(scene.hub, scene.node)
        assert refused.value.reason == "revoked"
        return given

    assert len(asyncio.run(fetch())) == 2


# --- what a grant covers ---


def test_only_staff_are_given_the_whole_archive() -> None:
    staff = Grant("", "", None, None, "live", None, None, staff=True)
    assert members(staff) is None
    with pytest.raises(PermitDenied):
        members(replace(staff, staff=False))
    iri = datasets.DatasetIri("urn:uuid:00000000-0000-4000-8000-000000000001")
    some = Grant("p", "h", iri, LUNG, "live", CHEST, None, staff=False)
    assert members(some) == Members(LUNG, query=CHEST)
    assert members(replace(some, version="3")) == Members(LUNG, dataset=iri, number=3)
    with pytest.raises(ValueError, match="members"):
        members(replace(some, query=None))
