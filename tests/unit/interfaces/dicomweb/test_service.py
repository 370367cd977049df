"""The routes, as a client meets them: what is asked, what is answered, with which status."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from PIL import Image
from sqlalchemy import func, select
from starlette.testclient import TestClient
from tests.archive import READER, SENDER, STRANGER, application, archive, message, take_in
from tests.support import ct

from carina.interfaces.dicomweb import bounds, stow
from carina.interfaces.room import Room
from carina.node.site import Node
from carina.storage.schema import arrivals

RELATED = 'multipart/related; type="application/dicom"; boundary=edge'
MULTIPART_DICOM = 'multipart/related; type="application/dicom"'


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    files = [ct("A", number=number) for number in (1, 2)] + [ct("B", series=2)]
    with archive(tmp_path_factory.mktemp("node"), files) as made:
        yield made


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Node]:
    with archive(tmp_path / "node") as made:
        yield made


@pytest.fixture(scope="module")
def reader(node: Node) -> Iterator[TestClient]:
    with client(node, READER) as made:
        yield made


def client(node: Node, secret: str) -> TestClient:
    made = TestClient(application(node), base_url="http://127.0.0.1", client=("127.0.0.1", 50000))
    made.headers["Authorization"] = f"Bearer {secret}"
    return made


def send(node: Node, body: bytes, media: str = RELATED, path: str = "", secret: str = SENDER) -> Any:
    with client(node, secret) as sender:
        return sender.post(f"/dicom-web/studies{path}", content=body, headers={"Content-Type": media})


def uids(data: bytes) -> tuple[str, str, str]:
    dataset = pydicom.dcmread(io.BytesIO(data))
    return dataset.StudyInstanceUID, dataset.SOPClassUID, dataset.SOPInstanceUID


def rows(node: Node) -> int:
    with node.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(arrivals)).scalar_one()


def instance_path(reader: TestClient) -> str:
    found = reader.get("/dicom-web/instances").json()[0]
    study, series, uid = (found[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
    return f"/dicom-web/studies/{study}/series/{series}/instances/{uid}"


# --- store ---


def test_all_stored_is_200_and_the_uids_are_those_that_were_sent(empty: Node) -> None:
    files = [ct("A"), ct("B")]
    answer = send(empty, message(files))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    stored = answer.json()["00081199"]["Value"]
    assert [(item["00081150"]["Value"][0], item["00081155"]["Value"][0]) for item in stored] == [
        uids(data)[1:] for data in files
    ]
    assert "00081198" not in answer.json()
    assert take_in(empty) == ["archived", "archived"]


def test_some_stored_is_202_and_what_failed_is_named_with_its_reason(empty: Node) -> None:
    answer = send(empty, message([ct("A"), b"a text file that is no DICOM"]))
    assert answer.status_code == 202
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert answer.json()["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [stow.CANNOT_UNDERSTAND]}}]
    assert rows(empty) == 2  # what was refused rests in quarantine


def test_none_stored_is_409(empty: Node) -> None:
    answer = send(empty, message([b"a text file that is no DICOM"]))
    assert answer.status_code == 409


def test_an_instance_of_another_study_is_refused(empty: Node) -> None:
    data = ct("A")
    study, sop_class, uid = uids(data)
    assert send(empty, message([data]), path=f"/{study}").status_code == 200
    answer = send(empty, message([data]), path="/1.2.3")
    assert answer.status_code == 409
    [failed] = answer.json()["00081198"]["Value"]
    assert failed["00081155"]["Value"] == [uid]
    assert failed["00081150"]["Value"] == [sop_class]
    assert failed["00081197"]["Value"] == [stow.NO_SUCH_STUDY_HERE]


def test_what_is_too_large_is_refused_and_not_kept_in_memory(empty: Node) -> None:
    small = replace(empty, largest_instance=len(ct("A")) - 1)
    answer = send(small, message([ct("A"), ct("B", size=8)]))
    assert answer.status_code == 202
    [failed] = answer.json()["00081198"]["Value"]
    assert (failed["00081155"]["Value"], failed["00081197"]["Value"]) == ([uids(ct("A"))[2]], [stow.OUT_OF_RESOURCES])
    assert empty.quarantine.names() == [] and len(empty.spool.names()) == 1
    assert [entry.details["reason"] for entry in empty.audit.entries(10, action="refused-not-kept")] == ["too-large"]


def test_a_sender_who_finds_no_room_in_memory_comes_again(empty: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[Room] = []

    def small(_most: int) -> Room:
        rooms.append(Room(len(ct("A")) - 1))
        return rooms[-1]

    monkeypatch.setattr(stow, "Room", small)
    answer = send(empty, message([ct("A")]))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "120")
    assert send(empty, message([ct("B", size=8), ct("C", size=8)])).status_code == 200
    assert [room.taken for room in rooms] == [0] * len(rooms) and rooms


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"", RELATED, 400),
        (b"--edge--", RELATED, 400),
        (message([ct()])[:-200], RELATED, 400),
        (message([ct()]), 'multipart/related; type="application/dicom"', 400),
        (message([ct()]), 'multipart/related; type="application/dicom+json"; boundary=edge', 415),
        (message([ct()]), "multipart/form-data; boundary=edge", 415),
        (ct(), "application/dicom", 415),
        (b"", "", 415),
    ],
)
def test_a_request_that_is_not_as_the_standard_says_is_refused(
    empty: Node, body: bytes, media: str, status: int
) -> None:
    answer = send(empty, body, media)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert rows(empty) == 0


def test_a_full_disk_is_503_and_says_when_to_come_again(empty: Node) -> None:
    full = replace(empty, folder=Path("/proc"))  # a place with no room at all
    answer = send(full, message([ct("A"), ct("B"), ct("C"), ct("D"), ct("E"), ct("F")]))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert rows(empty) == 0


def test_a_repeated_send_changes_nothing(empty: Node) -> None:
    for _ in range(2):
        assert send(empty, message([ct("A")])).status_code == 200
    assert take_in(empty) == ["archived", "unchanged"]


# --- who may ---


def test_a_sender_may_not_read_and_a_reader_may_not_send(node: Node, reader: TestClient) -> None:
    assert send(node, message([ct("X")]), secret=READER).status_code == 403
    for secret, status in ((SENDER, 403), (STRANGER, 403), ("nonsense", 401)):
        with client(node, secret) as someone:
            for path in (
                "studies",
                "instances",
                "studies/1.2/metadata",
                "studies/1.2/series/1.3/instances/1.4/rendered",
            ):
                assert someone.get(f"/dicom-web/{path}").status_code == status, path


def test_no_answer_may_be_kept_on_the_way(reader: TestClient) -> None:
    path = instance_path(reader)
    for each in ("/dicom-web/studies", path, f"{path}/metadata", f"{path}/frames/1", f"{path}/rendered"):
        answer = reader.get(each)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"


# --- search ---


def test_nothing_found_is_204(reader: TestClient) -> None:
    answer = reader.get("/dicom-web/studies", params={"PatientID": "nobody"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_what_is_not_supported_is_told_in_a_warning(reader: TestClient) -> None:
    answer = reader.get("/dicom-web/studies?EchoTime=3&fuzzymatching=true")
    assert answer.status_code == 200
    assert "EchoTime" in answer.headers["warning"]
    assert "fuzzymatching" in answer.headers["warning"]
    assert "warning" not in reader.get("/dicom-web/studies").headers


@pytest.mark.parametrize("query", ["NoSuchThing=1", "limit=-1", "StudyDate=soon", "includefield=NoSuchThing"])
def test_a_search_without_meaning_is_400(reader: TestClient, query: str) -> None:
    answer = reader.get(f"/dicom-web/studies?{query}")
    assert answer.status_code == 400
    assert "soon" not in answer.text


def test_what_the_address_names_is_not_repeated_from_the_level_above(reader: TestClient) -> None:
    [first, *_] = reader.get("/dicom-web/series").json()
    study = first["0020000D"]["Value"][0]
    [below, *_] = reader.get(f"/dicom-web/studies/{study}/series").json()
    assert "00100020" in first
    assert "00100020" not in below
    assert below["00081190"]["Value"][0].endswith(f"/dicom-web/studies/{study}/series/{below['0020000E']['Value'][0]}")


def test_all_fields_come_when_asked_for_and_no_binary_value(reader: TestClient) -> None:
    [found, *_] = reader.get("/dicom-web/instances?includefield=all&limit=1").json()
    assert found["00180060"]["Value"] == [120]
    assert "7FE00010" not in found


def test_an_answer_in_another_form_is_406(reader: TestClient) -> None:
    for path in ("/dicom-web/studies", f"{instance_path(reader)}/metadata"):
        assert reader.get(path, headers={"Accept": "application/dicom+xml"}).status_code == 406


# --- retrieve ---


def test_one_instance_comes_alone_or_in_a_part_as_accepted(reader: TestClient) -> None:
    path = instance_path(reader)
    alone = reader.get(path, headers={"Accept": "application/dicom"})
    assert alone.headers["content-type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert pydicom.dcmread(io.BytesIO(alone.content)).SOPInstanceUID == path.rsplit("/", 1)[-1]
    part = reader.get(path, headers={"Accept": MULTIPART_DICOM})
    assert part.headers["content-type"].startswith(MULTIPART_DICOM)
    assert alone.content in part.content


def test_a_study_does_not_come_alone(reader: TestClient) -> None:
    study = instance_path(reader).split("/series")[0]
    assert reader.get(study, headers={"Accept": "application/dicom"}).status_code == 406
    assert reader.get(study, headers={"Accept": "text/html"}).status_code == 406
    assert reader.get(study, headers={"Accept": f"{MULTIPART_DICOM}; transfer-syntax=1.2.3"}).status_code == 406
    assert reader.get(study, headers={"Accept": f"{MULTIPART_DICOM}; transfer-syntax=*"}).status_code == 200


def test_what_is_not_there_is_404(reader: TestClient) -> None:
    path = instance_path(reader)
    for missing in ("/dicom-web/studies/2.25.404", f"{path[:-1]}9999", f"{path}/frames/2", f"{path}/bulkdata/00080018"):
        assert reader.get(missing).status_code == 404, missing
    _, rest = path.split("/series")
    assert reader.get(f"/dicom-web/studies/2.25.404/series{rest}").status_code == 404


@pytest.mark.parametrize("frames", ["0", "x", "1,,2", "-1", "1,2,", "1,1", "2,1,02"])
def test_a_list_of_frames_that_is_none_is_refused(reader: TestClient, frames: str) -> None:
    assert reader.get(f"{instance_path(reader)}/frames/{frames}").status_code in (400, 404)


def test_a_list_of_frames_that_names_one_twice_is_refused(reader: TestClient) -> None:
    for path in ("frames/1,1", "frames/1,01", "frames/1,1/rendered", f"frames/{','.join(['1'] * 1000)}"):
        answer = reader.get(f"{instance_path(reader)}/{path}")
        assert (answer.status_code, answer.json()["detail"]) == (400, "The list names a frame twice.")


def test_more_pixels_than_one_request_may_have_are_refused(reader: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{instance_path(reader)}/frames"
    pictures = {"Accept": 'multipart/related; type="image/png"'}
    assert reader.get(f"{path}/1,2,3,4,5/rendered?viewport=4096,4096", headers=pictures).status_code == 413
    assert reader.get(f"{path}/1/rendered?viewport=4096,4096", headers=pictures).status_code == 200
    monkeypatch.setattr(bounds, "MAX_BYTES", 32 * 32 * 2 - 1)
    answer = reader.get(f"{path}/1/rendered")
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def test_pictures_are_made_as_asked(reader: TestClient) -> None:
    path = f"{instance_path(reader)}/rendered"
    small = reader.get(path, params={"viewport": "8,8", "quality": "50"}, headers={"Accept": "image/jpeg"})
    picture = Image.open(io.BytesIO(small.content))
    assert (small.headers["content-type"], picture.format, picture.size) == ("image/jpeg", "JPEG", (8, 8))
    white = reader.get(path, params={"window": "-9000,1,linear"}, headers={"Accept": "image/png"})
    assert Image.open(io.BytesIO(white.content)).getextrema() == (255, 255)
    assert reader.get(path, headers={"Accept": "video/mp4"}).status_code == 406


@pytest.mark.parametrize(
    "query",
    ["window=1", "window=a,b", "window=1,0", "window=1,2,wavy", "viewport=0,1", "viewport=1", "viewport=9999,9999",
     "viewport=1,1,0,0,0,0", "quality=0", "quality=101", "quality=best"],
)  # fmt: skip
def test_a_picture_that_cannot_be_is_refused(reader: TestClient, query: str) -> None:
    assert reader.get(f"{instance_path(reader)}/rendered?{query}").status_code == 400


def test_who_received_images_is_written_down(node: Node, reader: TestClient) -> None:
    path = instance_path(reader)
    reader.get(f"{path}/frames/1")
    [last] = node.audit.entries(1)
    assert (last.action, last.actor, last.details["what"]) == ("retrieved", "dora", "frames")
    assert last.subject in path
