"""The console's pages of quarantine: narrowed lists, one image, another profile, and taking back what was discarded."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from starlette.testclient import TestClient
from tests.pages import csrf, fill_node, node_app, sign_in
from tests.support import BREAST, LUNG, SCANNER
from tests.unit.interfaces.web.conftest import NODE_URL, client_of

from carina.deid.profile import BUILT_IN
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.model.instance import Reason, Source
from carina.node import quarantine
from carina.node.ingest import receive
from carina.node.site import Node
from carina.node.worker import work


@pytest.fixture
def filled(node: Node) -> Node:
    fill_node(node)
    work_all(node)
    return node


def work_all(node: Node) -> None:
    while work(node, "test"):
        pass


def plain(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def post(client: TestClient, path: str, **data: str) -> str:
    """Send a form of this page and give the page after it."""
    answer = client.post(path, data={"csrf": csrf(client.get(path).text), **data})
    assert answer.status_code == 303, answer.text
    return plain(client.get(answer.headers["location"]).text)


def test_what_was_discarded_is_taken_back_on_its_page(nora: TestClient, filled: Node) -> None:
    [held] = quarantine.entries(filled, Reason.DAMAGED)
    assert "1 image discarded. For 24 hours" in post(nora, "/quarantine/damaged", id=held.id, action="discard")
    assert "1 discarded image can still be taken back" in plain(nora.get("/quarantine").text)
    assert "can be taken back until" in plain(nora.get(f"/quarantine/damaged/{held.id}").text)
    assert "1 image taken back" in post(nora, "/quarantine/discarded", id=held.id, action="restore")
    assert quarantine.get(filled, held.id).state == "waiting"


def test_all_that_is_discarded_is_destroyed_at_once_when_asked(nora: TestClient, filled: Node) -> None:
    post(nora, "/quarantine/damaged", action="discard")
    post(nora, "/quarantine/not-dicom", action="discard")
    assert "2 images destroyed" in post(nora, "/quarantine/discarded", action="destroy")
    assert "Nothing is discarded" in nora.get("/quarantine/discarded").text
    assert len(filled.quarantine.names()) == 2


def test_an_operator_discards_and_takes_back_but_does_not_destroy(console: TestClient, filled: Node) -> None:
    assert sign_in(console, "omar").status_code == 303
    assert "1 image discarded" in post(console, "/quarantine/damaged", action="discard")
    page = console.get("/quarantine/discarded").text
    assert 'value="restore"' in page and 'value="destroy"' not in page
    asked = {"csrf": csrf(page), "action": "destroy"}
    assert console.post("/quarantine/discarded", data=asked).status_code == 403
    assert quarantine.count(filled, state="discarded") == 1
    assert "1 image taken back" in post(console, "/quarantine/discarded", action="restore")


def test_lists_are_narrowed_and_what_is_decided_is_of_the_narrowed_list(nora: TestClient, filled: Node) -> None:
    receive(filled, b"another letter", SCANNER)
    page = plain(nora.get("/quarantine/not-dicom?source=aet:SCANNER").text)
    assert "1 image" in page and "Discard 1" in page
    page = post(nora, "/quarantine/not-dicom?source=aet:SCANNER", action="discard", source="aet:SCANNER")
    assert "1 image discarded" in page
    assert quarantine.count(filled, quarantine.Wanted(Reason.NOT_DICOM)) == 1
    assert nora.get("/quarantine?days=many").status_code == 400
    assert "Nothing of this kind" in nora.get("/quarantine?days=90").text


def test_how_many_of_those_tried_again_went_through_is_told(nora: TestClient, filled: Node) -> None:
    token = csrf(nora.get("/quarantine/damaged").text)
    place = nora.post("/quarantine/damaged", data={"csrf": token, "action": "retry"}).headers["location"]
    live = re.search(r'hx-get="(/quarantine/progress[^"]+)"', nora.get(place).text)
    assert live is not None
    address = live[1].replace("&amp;", "&")
    assert "0 went through, 0 came back, 1 still wait" in nora.get(address).text
    work_all(filled)
    assert "Done: 0 went through, 1 came back." in nora.get(address).text


def test_one_image_has_a_page_that_says_what_can_be_done_and_holds_nothing_identifying(
    nora: TestClient, filled: Node
) -> None:
    for held in quarantine.entries(filled):
        page = nora.get(f"/quarantine/{held.reason}/{held.id}")
        assert page.status_code == 200 and "What can be done" in page.text
        for planted in ("Garcia", "MRN-", "ACC-77", "STRANGER"):
            assert planted not in page.text
    assert nora.get("/quarantine/damaged/nothing").status_code == 404


def test_a_data_manager_chooses_another_project_s_profile_and_reads_what_it_keeps(filled: Node) -> None:
    node = replace(
        filled, projects={**filled.projects, BREAST: replace(filled.projects[BREAST], profile=BUILT_IN["research"])}
    )
    identity = Identity(LocalAccounts(node.engine, node.id), node.id, secure=False)
    [held] = quarantine.entries(node, Reason.PIXELS_NOT_CHECKED)
    path = f"/quarantine/pixels-not-checked/{held.id}"
    with client_of(node_app(node, identity, NODE_URL), NODE_URL) as client:
        assert sign_in(client, "omar").status_code == 303
        assert "Try with another profile" not in client.get(path).text
        data = {"csrf": csrf(client.get(path).text), "id": held.id, "action": "retry-by", "profile": "project/breast"}
        assert client.post("/quarantine/pixels-not-checked", data=data).status_code == 400
    with client_of(node_app(node, identity, NODE_URL), NODE_URL) as client:
        assert sign_in(client, "nora").status_code == 303
        page = client.get(path).text
        assert "That of project breast: research" in page and "descriptions, cleaned" in page
        data["csrf"] = csrf(page)
        assert client.post("/quarantine/pixels-not-checked", data=data).status_code == 303
    told = node.audit.entries(1)[0]
    assert (told.action, told.actor, told.details) == ("quarantine-retried", "nora", {"profile": "project/breast"})


def test_a_data_manager_learns_whom_to_assign_and_tries_it_again_once_that_is_done(filled: Node) -> None:
    [held] = quarantine.entries(filled, Reason.UNMAPPED_SOURCE)
    path = f"/quarantine/unmapped-source/{held.id}"
    identity = Identity(LocalAccounts(filled.engine, filled.id), filled.id, secure=False)
    with client_of(node_app(filled, identity, NODE_URL), NODE_URL) as client:
        assert sign_in(client, "omar").status_code == 303
        assert "STRANGER" not in client.get(f"{path}?source=shown").text
    with client_of(node_app(filled, identity, NODE_URL), NODE_URL) as client:
        assert sign_in(client, "nora").status_code == 303
        assert "Show who sent it" in client.get(path).text and "STRANGER" not in client.get(path).text
        told = client.get(f"{path}?source=shown").text
        assert "name = &#34;STRANGER&#34;" in told or 'name = "STRANGER"' in told
    [row] = filled.audit.entries(9, action="source-looked-at")
    assert (row.actor, row.subject, row.details) == ("nora", held.id, {})
    mapped = replace(filled, project_of={**filled.project_of, Source("aet", "STRANGER"): LUNG})  # as after a restart
    with client_of(node_app(mapped, identity, NODE_URL), NODE_URL) as client:
        assert sign_in(client, "nora").status_code == 303
        page = client.get(f"{path}?source=shown").text
        assert "is assigned to the project lung now" in page
        data = {"csrf": csrf(page), "id": held.id, "action": "retry"}
        assert client.post("/quarantine/unmapped-source", data=data).status_code == 303
    work_all(mapped)
    assert quarantine.get(mapped, held.id).state == "retried" and held.id not in mapped.quarantine.names()


def test_the_list_of_what_waits_is_for_staff_and_its_forms_need_their_token(console: TestClient, filled: Node) -> None:
    for path in ("/quarantine/discarded", "/quarantine/progress?from=1&to=2"):
        assert console.get(path).status_code == 303
    assert sign_in(console, "nora").status_code == 303
    assert console.post("/quarantine/discarded", data={"action": "destroy"}).status_code == 403
    assert quarantine.count(filled) == 4
