"""The hub's JSON API over real records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.testclient import TestClient

from carina.errors import Unreachable
from carina.federation import wire
from carina.hub import catalogue
from carina.hub.centre import Hub
from carina.interfaces.api.documents import answer_from_json, dataset_from_json, total_from_json, variable_from_json
from carina.interfaces.api.hub import api_routes
from carina.interfaces.api.identity import Identity
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.security import Rules, middleware
from carina.interfaces.web.hub import hub_pages
from carina.model.clock import now, stamp
from carina.model.cohort import All, Between, OneOf
from carina.model.permit import Terms
from carina.model.search import total
from carina.model.variables import VARIABLES
from carina.settings import HubSettings
from carina.storage.hub_schema import nodes

URL = "http://hub.localhost:8700"
PASSWORD = "correct horse battery"
NODE = "n-" + "a" * 26
IRI = "urn:uuid:12345678-1234-5678-1234-567812345678"


@pytest.fixture
def http(hub_app: Callable[[], Starlette]) -> Iterator[TestClient]:
    with TestClient(hub_app(), base_url=URL, client=("127.0.0.1", 5), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def signed_in(http: TestClient) -> TestClient:
    answer = http.post("/api/session", json={"name": "rosa", "password": PASSWORD})
    assert answer.status_code == 201
    http.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    return http


def join_node(hub: Hub, last_seen: str | None = None) -> None:
    row = {"id": NODE, "title": "Navarra", "institution": "Hospital Ficticio", "country": "ES", "key": {}, "nkey": "U"}
    with hub.engine.begin() as connection:
        times = {"joined_at": stamp(), "last_seen": last_seen}
        connection.execute(insert(nodes), {**row, **times, "public_url": None, "state": "joined"})


def publish(hub: Hub) -> None:
    body: dict[str, Any] = {
        "iri": IRI,
        "node": NODE,
        "project": "lung",
        "title": "Lung CT",
        "description": "CT of lung cancer",
        "institution": "Hospital Ficticio",
        "country": "ES",
        "threshold": 10,
        "patients": 40,
        "studies": 52,
        "series": None,
        "instances": 800,
        "groups": {"sex": [{"value": "F", "patients": 22}, {"value": "M", "patients": None}]},
        "digest": "0" * 64,
        "computed": stamp(),
        "terms": {"actions": ["view", "analyse"], "longest_days": 90, "versions": [1], "countersign": False},
    }
    catalogue.accept(hub, NODE, wire.read(wire.Description, body))


def test_the_service_describes_itself_as_ga4gh_asks(http: TestClient, hub: Hub) -> None:
    answer = http.get("/api")
    info = answer.json()
    assert answer.status_code == 200
    assert info["id"] == hub.id
    assert info["type"]["artifact"] == "carina-hub"
    assert {"id", "name", "type", "organization", "version"} <= info.keys()  # required by service-info 1.0.0
    assert {"group", "artifact", "version"} == info["type"].keys()
    assert info["organization"] == {"name": "Test hub", "url": URL}


def test_published_datasets_are_listed_and_found_by_iri(http: TestClient, hub: Hub) -> None:
    join_node(hub)
    publish(hub)
    [listed] = http.get("/api/datasets").json()["datasets"]
    assert http.get(f"/api/datasets/{IRI}").json() == listed
    dataset = dataset_from_json(listed)
    assert (dataset.title, dataset.patients, dataset.series) == ("Lung CT", 40, None)
    assert [(group.value, group.patients) for group in dataset.groups["sex"]] == [("F", 22)]
    assert dataset.terms == Terms(actions=("view", "analyse"), longest_days=90, versions=(1,), countersign=False)


def test_an_unknown_dataset_is_a_problem_of_status_404(http: TestClient) -> None:
    answer = http.get("/api/datasets/urn:uuid:none")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() == {"type", "title", "status", "detail", "hint", "error"}
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", "Not Found", 404)
    assert problem["error"] == "not-found"


def test_the_variables_are_those_of_the_model(http: TestClient) -> None:
    listed = http.get("/api/variables").json()["variables"]
    assert tuple(variable_from_json(item) for item in listed) == VARIABLES


def test_nodes_are_listed_without_their_keys(http: TestClient, hub: Hub) -> None:
    join_node(hub, last_seen=stamp(now() - timedelta(seconds=5)))
    [node] = http.get("/api/nodes").json()["nodes"]
    assert node["title"] == "Navarra"
    assert node["online"] is True
    assert not {"key", "nkey"} & node.keys()


def test_a_search_needs_a_person_who_has_signed_in(http: TestClient, answers: Any) -> None:
    answer = http.get("/api/search?modality=CT")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"] == "not-signed-in"
    assert answers.asked == []


def test_a_search_gives_each_nodes_answer_and_the_total(signed_in: TestClient, answers: Any) -> None:
    answer = signed_in.get("/api/search?modality=CT&modality=MR&age=40-60")
    assert answer.status_code == 200
    assert answers.asked == [All((OneOf("modality", ("CT", "MR")), Between("age", 40, 60)))]
    found = answer.json()
    assert [answer_from_json(item) for item in found["answers"]] == answers.given
    assert total_from_json(found["total"]) == total(answers.given)
    assert found["total"]["patients"] == 1057
    assert found["answers"][1]["counts"] == {"patients": None, "studies": None, "threshold": 10}


def test_a_search_streams_each_answer_and_then_the_total(signed_in: TestClient, answers: Any) -> None:
    answer = signed_in.get("/api/search?sex=F", headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = [event.split("\n") for event in answer.text.strip().split("\n\n")]
    assert [lines[0] for lines in events] == ["event: answer"] * 3 + ["event: total"]
    assert answer_from_json(json.loads(events[2][1].removeprefix("data: "))) == answers.given[2]


@pytest.mark.parametrize(
    ("error", "word"), [(Unreachable("The broker is away."), "unreachable"), (RuntimeError("secret"), "carina-error")]
)
def test_a_search_that_fails_on_its_way_ends_with_a_problem(
    signed_in: TestClient, answers: Any, error: Exception, word: str
) -> None:
    answers.error = error
    answer = signed_in.get("/api/search", headers={"Accept": "text/event-stream"})
    last = answer.text.strip().split("\n\n")[-1].split("\n")
    assert last[0] == "event: problem"
    assert json.loads(last[1].removeprefix("data: "))["error"] == word
    assert "secret" not in answer.text


def test_unknown_terms_are_named_and_nobody_is_asked(signed_in: TestClient, answers: Any) -> None:
    answer = signed_in.get("/api/search?modality=XYZ&pirads=5&sex=F")
    assert answer.status_code == 400
    assert "modality=XYZ" in answer.json()["detail"]
    assert "pirads" in answer.json()["detail"]
    assert answers.asked == []


def test_a_search_is_in_the_audit_trail_with_its_query(signed_in: TestClient, hub: Hub) -> None:
    signed_in.get("/api/search?modality=CT")
    [entry] = [entry for entry in hub.audit.entries(10) if entry.action == "searched"]
    assert entry.actor == "rosa"
    assert entry.details["query"] == {"all": [{"one_of": {"variable": "modality", "values": ["CT"]}}]}


@pytest.mark.parametrize("path", ["/api", "/api/datasets", "/api/variables", "/api/nodes", "/api/datasets/x"])
def test_parameters_of_addresses_that_take_none_are_named(http: TestClient, path: str) -> None:
    answer = http.get(f"{path}?limit=5")
    assert answer.status_code == 400
    assert "'limit'" in answer.json()["detail"]


def test_a_wrong_password_and_an_unknown_name_read_the_same(http: TestClient) -> None:
    wrong = http.post("/api/session", json={"name": "rosa", "password": "wrong password"})
    unknown = http.post("/api/session", json={"name": "nobody", "password": "wrong password"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    assert wrong.json()["error"] == "sign-in-failed"


def test_after_five_failures_even_the_right_password_must_wait(http: TestClient) -> None:
    for _ in range(5):
        assert http.post("/api/session", json={"name": "rosa", "password": "wrong password"}).status_code == 401
    answer = http.post("/api/session", json={"name": "rosa", "password": PASSWORD})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"] == "too-many"


@pytest.mark.parametrize(
    "sent",
    [
        {"content": b"name=rosa", "headers": {"content-type": "application/json"}},
        {"content": b"[1]", "headers": {"content-type": "application/json"}},
        {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}},
        {"json": {"name": "rosa"}},
        {"json": {"name": "rosa", "password": 5}},
        {"json": {"name": "rosa", "password": "x", "role": "operator"}},
        {"content": b"{}", "headers": {"content-type": "application/xml"}},
    ],
)
def test_a_body_of_another_shape_is_named_and_not_guessed(http: TestClient, sent: dict[str, Any]) -> None:
    answer = http.post("/api/session", **sent)
    assert answer.status_code == 400
    assert answer.json()["error"] == "bad-input"


def test_a_session_that_was_ended_is_worth_nothing(signed_in: TestClient) -> None:
    assert signed_in.delete("/api/session").status_code == 204
    assert signed_in.get("/api/search").status_code == 401
    assert signed_in.delete("/api/session").status_code == 401


def test_a_join_request_that_is_none_is_refused(http: TestClient) -> None:
    answer = http.post("/federation/join", json={"hello": "hub"})
    assert answer.status_code == 400


def test_an_address_may_try_to_join_twenty_times_a_minute(http: TestClient) -> None:
    statuses = [http.post("/federation/join", json={}).status_code for _ in range(21)]
    assert statuses[:20] == [400] * 20
    assert statuses[20] == 429


def test_health_says_ok_while_the_records_answer(http: TestClient) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}
    assert http.get("/health/ready").json() == {"status": "ok"}


def test_an_unknown_address_and_a_wrong_method_are_problems_too(http: TestClient) -> None:
    missing, method = http.get("/api/nothing"), http.put("/api")
    assert (missing.status_code, missing.json()["error"]) == (404, "not-found")
    assert (method.status_code, set(method.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert missing.headers["content-type"] == method.headers["content-type"] == "application/problem+json"


def test_a_person_may_search_sixty_times_a_minute_over_pages_and_programs(
    hub: Hub, identity: Identity, answers: Any
) -> None:
    """However they ask, and whatever others ask; what is refused asks no node and is in no audit trail."""
    settings = HubSettings(id=hub.id, title=hub.title, keys="env:NONE", public_url=URL)
    limit = RateLimit(settings.searches_a_minute, 60)
    routes = [*api_routes(hub, identity, answers, limit), *hub_pages(hub, identity, answers, limit)]
    app = Starlette(routes=routes, middleware=middleware(Rules(URL), identity), exception_handlers=exception_handlers())
    with TestClient(app, base_url=URL, client=("127.0.0.1", 5)) as http:
        tokens = [
            http.post("/api/session", json={"name": name, "password": PASSWORD}).json()["token"]
            for name in ("rosa", "olaf")
        ]
        rosa, olaf = ({"Authorization": f"Bearer {token}"} for token in tokens)
        for _ in range(20):
            assert http.get("/api/search?sex=F", headers=rosa).status_code == 200
            assert "event: end" in http.get("/explorer/answers?sex=F", headers=rosa).text
            assert http.get("/explorer?sex=F&wait=1", headers=rosa).status_code == 200
        refused = http.get("/api/search?sex=F", headers=rosa)
        assert (refused.status_code, refused.json()["error"]) == (429, "too-many")
        assert int(refused.headers["retry-after"]) > 0
        stream = http.get("/explorer/answers?sex=F", headers=rosa).text
        assert stream.startswith("event: failed") and "too many requests" in stream
        assert http.get("/explorer?sex=F&wait=1", headers=rosa).status_code == 429
        assert http.get("/explorer?sex=F", headers=rosa).status_code == 200  # the page alone asks nobody
        assert len(answers.asked) == len(hub.audit.entries(100, action="searched")) == 60
        assert http.get("/api/search?sex=F", headers=olaf).status_code == 200
