"""Quarantine, jobs, what was asked, and the audit trail as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.pages import fill_node
from tests.support import open_test_node
from tests.unit.interfaces.api.test_node import SENDER, STAFF, client

from carina.node import quarantine
from carina.node.site import Node
from carina.node.worker import work

ADDRESSES = ("/api/quarantine", "/api/quarantine/entries", "/api/audit", "/api/audit/export", "/api/audit/check",
             "/api/asked", "/api/jobs")  # fmt: skip


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_test_node(tmp_path) as node:
        fill_node(node)
        while work(node, "test"):
            pass
        yield node


@pytest.fixture
def http(node: Node) -> TestClient:
    made = client(node)
    made.headers.update(STAFF)
    return made


def test_all_of_it_is_for_the_staff(node: Node) -> None:
    for address in ADDRESSES:
        assert client(node).get(address).status_code == 401, address
        assert client(node).get(address, headers=SENDER).status_code == 403, address


def test_quarantine_is_listed_with_what_may_be_done_and_done(http: TestClient, node: Node) -> None:
    heaps = {heap["reason"]: heap for heap in http.get("/api/quarantine").json()["waiting"]}
    assert heaps["pixels-not-checked"]["actions"] == ["retry", "profile", "discard"]
    assert heaps["damaged"]["actions"] == ["discard", "retry"] and heaps["damaged"]["advice"]
    [held] = http.get("/api/quarantine/entries?reason=damaged").json()
    assert http.get(f"/api/quarantine/entries/{held['id']}").json()["profiles"] == []
    assert http.post("/api/quarantine", json={"action": "discard", "reason": "damaged"}).json() == {"count": 1}
    [gone] = http.get("/api/quarantine/entries?state=discarded").json()
    assert gone["kept_until"] > gone["discarded_at"]
    assert http.post("/api/quarantine", json={"action": "restore", "ids": [held["id"]]}).json() == {"count": 1}
    batch = http.post("/api/quarantine", json={"action": "retry", "ids": [held["id"]]}).json()
    told = http.get(f"/api/quarantine/progress?first={batch['first']}&last={batch['last']}").json()
    assert told == {"waits": 1, "through": 0, "back": 0}
    http.post("/api/quarantine", json={"action": "discard", "source": "folder:inbox"})
    assert http.post("/api/quarantine", json={"action": "destroy", "days": 0, "source": "folder:inbox"}).json() == {
        "count": 1
    }
    assert quarantine.count(node) == 2


@pytest.mark.parametrize(
    "body",
    [{"action": "discard"}, {"action": "burn", "reason": "damaged"}, {"action": "retry", "ids": []},
     {"action": "retry", "reason": "bad luck"}, {"action": "retry", "colour": "red"},
     {"action": "discard", "reason": "damaged", "profile": "basic"}, {"action": "retry", "ids": "all"}],
)  # fmt: skip
def test_what_is_not_understood_changes_nothing(http: TestClient, node: Node, body: dict[str, object]) -> None:
    assert http.post("/api/quarantine", json=body).status_code == 400
    assert quarantine.count(node) == 4 and quarantine.count(node, state="discarded") == 0


def test_the_trail_is_narrowed_exported_and_checked(http: TestClient, node: Node) -> None:
    found = http.get("/api/audit?action=quarantined&limit=2").json()
    assert [entry["action"] for entry in found["entries"]] == ["quarantined"] * 2 and found["before"]
    export = http.get("/api/audit/export?action=quarantined")
    assert export.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["action"] for line in export.text.splitlines()] == ["quarantined"] * 4
    newest = node.audit.entries(1)[0]
    assert (newest.action, newest.details["filters"]) == ("audit-exported", ["action"])
    assert http.get("/api/audit/export?form=csv").text.startswith("seq,at,actor,action")
    assert http.get("/api/audit?colour=red").status_code == http.get("/api/audit?since=today").status_code == 400
    assert http.get("/api/audit/check").json() == {}
    assert http.post("/api/audit/check", json={"from": "first"}).json()["state"] == "whole"
    assert http.get("/api/audit/check").json()["seq"] == node.audit.entries(1)[0].seq


def test_what_was_asked_is_told_and_a_job_that_is_not_there_is_not_ended(http: TestClient, node: Node) -> None:
    node.audit.append("viewed", "rosa", "1.2", what="rendered", hub="h-1", permit="p-1", instances=3)
    node.audit.append("viewed", "rosa", "1.3", what="rendered", hub="h-1", permit="p-1", instances=2)
    node.audit.append("viewed", "nora", "1.3", what="rendered", instances=2)  # of the staff: nothing left the house
    [line] = http.get("/api/asked?permit=p-1").json()["given"]
    assert (line["account"], line["requests"], line["instances"]) == ("rosa", 2, 5)
    assert http.get("/api/asked?account=nora").json()["given"] == []
    assert http.get("/api/asked?until=2020-01-01&since=2019-01-01").json()["given"] == []
    assert http.get("/api/asked?since=yesterday").status_code == 400
    assert http.get("/api/jobs").json() == []
    assert http.post("/api/jobs/h-1/j-1", json={"action": "cancel"}).status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "/api/audit?limit=0000001000000",
        f"/api/audit?before={'9' * 5000}",
        "/api/quarantine/entries?days=999999999999999",
        f"/api/quarantine/progress?first=1&last={'9' * 40}",
    ],
)
def test_absurd_numbers_are_refused_in_words(http: TestClient, address: str) -> None:
    answer = http.get(address)
    assert answer.status_code == 400 and answer.json()["detail"]
