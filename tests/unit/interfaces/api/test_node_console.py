"""Quarantine, jobs, what was asked, and the audit trail as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.pages import fill_node
from tests.reviewing import hold, ultrasound
from tests.support import open_test_node
from tests.unit.interfaces.api.test_node import SENDER, STAFF, client

from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.api.node import inside_routes
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware
from carina.model.principal import Role
from carina.node import discarded, quarantine, review
from carina.node.site import Node
from carina.node.worker import work
from carina.storage import trail
from carina.storage.accounts import add_account
from carina.storage.audit import AuditRow

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


def person(node: Node, role: Role = "data-manager") -> tuple[TestClient, dict[str, str]]:
    """Somebody of the staff who has signed in, and the header that goes with what they send."""
    identity = Identity(LocalAccounts(node.engine, node.id), node.id, secure=False)
    add_account(node.engine, "nora", "correct horse battery", {role})
    session = identity.provider.sign_in("nora", "correct horse battery", "127.0.0.1")
    app = Starlette(
        routes=inside_routes(node, identity),
        middleware=middleware(Rules("http://node.localhost:8721"), identity),
        exception_handlers=exception_handlers(),  # type: ignore[arg-type]
    )
    made = TestClient(app, base_url="http://node.localhost:8721", client=("127.0.0.1", 5))
    made.cookies.set(identity.cookie, session.secret)
    return made, {"X-CSRF-Token": session.csrf}


def test_an_operator_discards_but_does_not_destroy(node: Node) -> None:
    operator, headers = person(node, "operator")
    [held] = operator.get("/api/quarantine/entries?reason=damaged").json()
    chosen = {"ids": [held["id"]]}
    assert operator.post("/api/quarantine", json={"action": "discard", **chosen}, headers=headers).status_code == 200
    assert operator.post("/api/quarantine", json={"action": "destroy", **chosen}, headers=headers).status_code == 403
    assert quarantine.get(node, held["id"]).state == "discarded"


def test_a_reader_decides_by_json_as_on_the_page(http: TestClient, node: Node) -> None:
    """Signed in: a token may look, and not decide."""
    one = hold(node, ultrasound(1), readers=2)
    [listed] = http.get("/api/review").json()
    assert listed["id"] == one and listed["proposed"] == [
        [*map(int, (12, 16, 36, 232)), None],
        [12, 470, 36, 624, None],
    ]
    assert (listed["readers"], listed["seen"], listed["decisions"]) == (2, 0, [])
    said = {"verdict": "accept", "boxes": listed["proposed"], "seen": 0}
    for wrong in (
        {**said, "verdict": "maybe"},
        {**said, "boxes": None},
        {**said, "boxes": [[1, 2, 3, 4]]},
        {**said, "boxes": [[1, 2, True, 4, None]]},
        {**said, "seen": "0"},
        {"verdict": "reject", "boxes": listed["proposed"], "seen": 0},
    ):
        assert http.post(f"/api/review/{one}", json=wrong).status_code == 400, wrong
    assert http.post(f"/api/review/{one}", json=said).json()["detail"].startswith("A reader decides with an account")
    signed_in, headers = person(node)
    assert signed_in.post(f"/api/review/{one}", json=said).status_code == 403, "without the form's token"
    assert signed_in.post(f"/api/review/{one}", json=said, headers=headers).json() == {"outcome": "waits"}
    late = signed_in.post(f"/api/review/{one}", json=said, headers=headers)
    assert late.status_code == 409, "somebody has decided since"
    [decided] = http.get(f"/api/review/{one}").json()["decisions"]
    assert (decided["verdict"], len(decided["boxes"])) == ("accept", 2)
    assert review.decide(node, "ben", one, "accept", review.get(node, one).proposed, seen=1) == "settled"
    assert http.get(f"/api/review/{one}").status_code == 404
    assert http.get("/api/review?limit=0").status_code == http.get("/api/review?colour=red").status_code == 400


def test_the_review_is_for_data_managers(node: Node) -> None:
    assert client(node).get("/api/review").status_code == 401
    assert client(node).get("/api/review", headers=SENDER).status_code == 403


def test_a_long_trail_is_sent_in_pieces_and_whole(
    http: TestClient, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "BLOCK", 200)
    node.audit.append_all([AuditRow("searched", "nora", str(number)) for number in range(2500)])
    lines = http.get("/api/audit/export?action=searched").text.splitlines()
    assert [json.loads(line)["subject"] for line in lines] == [str(number) for number in range(2500)]
    pieces = list(trail.blocks(iter(["a" * 150, "b" * 150, "c"])))
    assert [len(piece) for piece in pieces] == [300, 1]


@pytest.mark.parametrize("day", ["2026-02-31", "9999-99-99", "20260101", "2026-W01-1", "２０２６-01-01", "0000-00-00"])
@pytest.mark.parametrize("address", ["/api/audit", "/api/audit/export", "/api/asked"])
def test_what_is_no_day_is_said_to_be_none(http: TestClient, address: str, day: str) -> None:
    assert http.get(address, params={"since": day}).json()["detail"] == "This is no day."


@pytest.mark.parametrize(
    "filters",
    ["since=9999-12-31&until=0001-01-01", "actor=%00", "subject=%F0%9F%A9%BB", "action=%25_%27--",
     "permit=" + "x" * 5000, "before=999999999999999", "since=2026-01-01&until=2025-01-01"],
)  # fmt: skip
def test_odd_filters_find_nothing_and_break_nothing(http: TestClient, filters: str) -> None:
    found = http.get(f"/api/audit?{filters}")
    assert found.status_code == 200, found.text
    assert found.json()["entries"] == [] or filters.startswith("before")


def test_who_sent_what_no_project_has_is_told_to_data_managers_and_written_down(http: TestClient, node: Node) -> None:
    [held] = http.get("/api/quarantine/entries?reason=unmapped-source").json()
    address = f"/api/quarantine/entries/{held['id']}/source"
    assert held["source"] == "aet:(not assigned)" and client(node).get(address, headers=SENDER).status_code == 403
    assert http.get(address).json() == {"kind": "aet", "name": "STRANGER", "project": None}
    assert node.audit.entries(1)[0].action == "source-looked-at"
    quarantine.discard(node, "ana", ids=[held["id"]])
    assert http.get(address).status_code == 200
    discarded.destroy(node, "ana", [held["id"]])
    assert http.get(address).status_code == 404
