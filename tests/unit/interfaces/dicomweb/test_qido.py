"""Searches as a client meets them: what comes, in which pieces, and what is told beside."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient
from tests.archive import READER, application, archive
from tests.support import ct

from carina.errors import Busy
from carina.interfaces.dicomweb import qido
from carina.node.site import Node

SCANS = "/dicom-web/studies", "/dicom-web/series", "/dicom-web/instances"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    files = [ct("A", number=number) for number in (1, 2, 3)] + [ct("B"), ct("B", series=2)]
    with archive(tmp_path_factory.mktemp("node"), files) as made:
        yield made


@pytest.fixture(scope="module")
def reader(node: Node) -> Iterator[TestClient]:
    with TestClient(application(node), base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as made:
        made.headers["Authorization"] = f"Bearer {READER}"
        yield made


def find(reader: TestClient, path: str, query: str = "") -> list[dict[str, Any]]:
    answer = reader.get(f"/dicom-web{path}?{query}")
    assert answer.status_code in (200, 204), answer.text
    return answer.json() if answer.content else []


def paths(reader: TestClient) -> list[tuple[str, int]]:
    """Every address that is searched, and how many rows it has for one study and series."""
    first = find(reader, "/instances", "limit=1")[0]
    study, series = (first[tag]["Value"][0] for tag in ("0020000D", "0020000E"))
    whole, below = find(reader, "/instances"), f"/studies/{study}"
    of_study = [row for row in whole if row["0020000D"]["Value"] == [study]]
    of_series = [row for row in of_study if row["0020000E"]["Value"] == [series]]
    return [
        ("/studies", 2),
        ("/series", 3),
        ("/instances", 5),
        (f"{below}/series", len({row["0020000E"]["Value"][0] for row in of_study})),
        (f"{below}/instances", len(of_study)),
        (f"{below}/series/{series}/instances", len(of_series)),
    ]


def test_every_address_gives_its_rows_with_tags_in_order(reader: TestClient) -> None:
    for path, count in paths(reader):
        rows = find(reader, path)
        assert len(rows) == count, path
        for row in rows:
            assert list(row) == sorted(row)
            assert "00081190" in row and "0020000D" in row


def test_an_instance_below_its_series_repeats_nothing_of_study_and_series(reader: TestClient) -> None:
    path = paths(reader)[-1][0]
    [row, *_] = find(reader, path)
    assert not {"00100010", "00100020", "00080060", "00080061", "00201209"} & row.keys()
    assert {"00080016", "00080018", "0020000D", "0020000E", "00200013", "00280010"} <= row.keys()
    [full, *_] = find(reader, f"{path}", "includefield=PatientID,00080060&includefield=ModalitiesInStudy")
    assert {"00100020", "00080060", "00080061"} <= full.keys()


def test_the_transfer_syntax_and_attributes_beyond_the_usual_come_when_asked_for(reader: TestClient) -> None:
    asked = "includefield=00083002,SliceThickness,00091001&includefield=KVP&limit=1"
    [row] = find(reader, "/instances", asked)
    assert row["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert row["00180060"]["Value"] == [120]
    assert "00091001" not in row


def test_searches_do_not_read_whole_headers_unless_asked_to(node: Node, reader: TestClient) -> None:
    said: list[str] = []
    note = lambda _connection, _cursor, statement, *_: said.append(statement.partition("FROM")[0])  # noqa: E731
    event.listen(node.engine, "before_cursor_execute", note)
    find(reader, "/instances", "limit=1&PatientID=P*")
    find(reader, "/instances", "limit=1&includefield=KVP")
    event.remove(node.engine, "before_cursor_execute", note)
    headers = [one for one in said if "instance_header" in one]
    assert ["instances.brief" in one for one in headers] == [True, False]


def test_an_answer_that_would_be_too_large_is_a_page_and_says_so(
    reader: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = find(reader, "/instances", "includefield=all")
    monkeypatch.setattr(qido, "MOST_BYTES", 1000)
    got: list[dict[str, Any]] = []
    while True:
        answer = reader.get(f"/dicom-web/instances?includefield=all&offset={len(got)}")
        if answer.status_code == 204:
            break
        assert "more results" in answer.headers["warning"]
        got += answer.json()
    assert got == whole


def test_an_answer_of_many_pieces_is_given_whole(reader: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = find(reader, "/instances")
    monkeypatch.setattr(qido, "PIECE", 10)
    assert find(reader, "/instances") == whole


@pytest.mark.parametrize("path", SCANS)
def test_a_search_that_takes_too_long_is_503_and_says_what_to_do(
    reader: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def slow(*_: object, **__: object) -> Iterator[None]:
        raise Busy("The search takes too long and was broken off.", "Narrow it.")
        yield

    monkeypatch.setattr(qido, "scan", slow)
    answer = reader.get(path)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Narrow" in answer.json()["hint"]


@pytest.mark.parametrize(
    "query",
    [
        "PatientName=" + "*a" * 400,
        "StudyDescription=" + "?" * 1000 + "*",
        "&".join(f"{tag:08X}=*a*" for tag in (0x00081030, 0x0008103E, 0x00080050, 0x00100010, 0x00200010)),
        "StudyInstanceUID=" + ",".join(f"1.2.{number}" for number in range(1500)),
        "offset=999999999",
        "includefield=" + ",".join(["00180050"] * 1500),
    ],
)
def test_what_is_meant_to_cost_much_costs_little(reader: TestClient, query: str) -> None:
    begun = time.process_time()
    for path in SCANS:
        assert reader.get(f"{path}?{query}").status_code in (200, 204)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "query",
    [
        "PatientName=" + "*a" * 600,
        "StudyInstanceUID=" + "1," * 9000,
        "&".join(["includefield=00180050"] * 201),
        "PatientID=A&PatientID=B",
        "emptyvaluematching=maybe",
        "multiplevaluematching=1",
        "StudyInstanceUID=1.2;drop",
        "limit=1e9",
        "offset=-1",
        "StudyTime=noon",
        "PixelData=1",
    ],
)
def test_what_cannot_be_meant_is_400_without_its_value(reader: TestClient, query: str) -> None:
    answer = reader.get(f"/dicom-web/instances?{query}")
    assert answer.status_code in (200, 400)
    if query.startswith("PixelData"):
        assert "PixelData" in answer.headers["warning"]
        return
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    for value in ("drop", "noon", "maybe", "1e9"):
        assert value not in answer.text


def test_what_is_absent_can_be_asked_for(reader: TestClient) -> None:
    assert len(find(reader, "/studies", 'PatientSize=""&emptyvaluematching=true')) == 2
    assert find(reader, "/studies", 'PatientID=""&emptyvaluematching=true') == []
    assert find(reader, "/studies", "ModalitiesInStudy=CT\\MR&multiplevaluematching=true") == []
    assert len(find(reader, "/studies", "ModalitiesInStudy=CT\\MR")) == 2


def test_pages_hold_each_instance_once_in_an_order_that_stays(reader: TestClient) -> None:
    whole = [row["00080018"]["Value"][0] for row in find(reader, "/instances")]
    for size in (1, 2, 3):
        pages = [find(reader, "/instances", f"limit={size}&offset={at}") for at in range(0, len(whole), size)]
        assert [row["00080018"]["Value"][0] for page in pages for row in page] == whole
    assert find(reader, "/instances", "limit=0") == []
