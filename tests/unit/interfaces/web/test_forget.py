"""The console's page to forget a person."""

from __future__ import annotations

import logging
import re

import pytest
from starlette.testclient import TestClient
from tests.pages import csrf, fill_node, sign_in

from carina.node import forget, worker
from carina.node.forget import count, marks_of
from carina.node.site import Node

WHO = "MRN-0001"


def filled(node: Node) -> None:
    fill_node(node)
    while worker.work(node, "test"):
        pass


def look(client: TestClient, **given: str) -> str:
    token = csrf(client.get("/forget").text)
    answer = client.post("/forget", data={"csrf": token, "step": "look", "identifier": WHO, **given})
    assert answer.status_code == 200, answer.text
    return answer.text


def fields(page: str) -> list[str]:
    return re.findall(r'name="mark" value="([^"]+)"', page)


def test_only_data_managers_may(console: TestClient, node: Node) -> None:
    filled(node)
    assert console.get("/forget").status_code == 303
    sign_in(console, "omar")
    assert console.get("/forget").status_code == 403
    assert 'href="/forget"' not in console.get("/datasets").text
    token = csrf(console.get("/quarantine/damaged").text)
    assert console.post("/forget", data={"csrf": token, "identifier": WHO}).status_code == 403


def test_counts_come_first_and_nothing_is_deleted_by_them(nora: TestClient, node: Node) -> None:
    filled(node)
    assert 'href="/forget"' in nora.get("/datasets").text
    before = count(node, marks_of(node, WHO))
    assert before.instances
    page = look(nora)
    assert "Forget this person?" in page and f"<dd>{before.instances}</dd>" in page
    assert WHO not in page
    assert count(node, marks_of(node, WHO)) == before


def test_a_person_is_forgotten_after_the_tick(nora: TestClient, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    filled(node)
    page = look(nora)
    sent = {"csrf": csrf(page), "step": "forget", "mark": fields(page)}
    assert nora.post("/forget", data=sent).status_code == 400
    assert not count(node, marks_of(node, WHO)).nothing
    answer = nora.post("/forget", data={**sent, "sure": "yes"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/forget?done=forgotten")
    after = nora.get(answer.headers["location"]).text
    assert "The person is forgotten." in after and "nora" in after and "2 tombstones" in after
    assert count(node, marks_of(node, WHO)).nothing
    assert node.audit.entries(1, action="person-forgotten")[0].actor == "nora"
    assert WHO not in caplog.text and WHO not in after


def test_one_project_may_be_chosen(nora: TestClient, node: Node) -> None:
    filled(node)
    assert [one.partition(":")[0] for one in fields(look(nora, project="lung"))] == ["lung"]


@pytest.mark.parametrize(
    "given",
    [
        {"identifier": " "},
        {"identifier": "A" * 201},
        {"project": "none"},
        {"step": "forget", "sure": "yes"},
        {"step": "forget", "sure": "yes", "mark": "lung:zz"},
        {"step": "forget", "sure": "yes", "mark": "none:" + "0" * 64},
    ],
)
def test_what_makes_no_sense_is_said_and_nothing_typed_is_shown(
    nora: TestClient, node: Node, given: dict[str, str]
) -> None:
    filled(node)
    token = csrf(nora.get("/forget").text)
    answer = nora.post("/forget", data={"csrf": token, "identifier": WHO, **given})
    assert answer.status_code in (400, 404) and 'role="alert"' in answer.text
    assert WHO not in answer.text
    assert forget.number_forgotten(node) == (0, None)


def test_a_form_from_elsewhere_does_nothing(nora: TestClient, node: Node) -> None:
    filled(node)
    assert nora.post("/forget", data={"csrf": "x", "identifier": WHO}).status_code == 403
