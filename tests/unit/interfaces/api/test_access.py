"""The hub's JSON of access, over real records of a hub and a node."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.access import PASSWORD, Scene, ask_for, deliver, in_days, open_scene, permit_for, permit_in_force, person
from tests.archive import take_in
from tests.support import ct

from carina.federation import wire
from carina.federation.papers import open_code
from carina.hub import permits, runs
from carina.interfaces.api.access_documents import permit_from_json, request_from_json
from carina.interfaces.api.exports import run_from_json
from carina.interfaces.api.hub import api_routes
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.security import Rules, middleware
from carina.model.cohort import Query
from carina.model.search import NodeAnswer
from carina.node import jobs

As = Callable[[str], TestClient]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with open_scene(tmp_path, real=True, threshold=1, hub_threshold=1) as scene:
        yield scene


@pytest.fixture
def limit() -> RateLimit:
    return RateLimit(60, 60)


@pytest.fixture
def app(scene: Scene, limit: RateLimit) -> Starlette:
    async def search(_: Query) -> AsyncIterator[NodeAnswer]:
        for answer in ():
            yield answer

    identity = Identity(LocalAccounts(scene.hub.engine, scene.hub.id), scene.hub.id, secure=False)
    return Starlette(
        routes=api_routes(scene.hub, identity, search, limit),
        middleware=middleware(Rules(scene.hub.url), identity),
        exception_handlers=exception_handlers(),
    )


@pytest.fixture
def as_(app: Starlette, scene: Scene) -> As:
    """A program of this person's."""
    known: dict[str, TestClient] = {}

    def client(name: str) -> TestClient:
        if name not in known:
            http = TestClient(app, base_url=scene.hub.url, client=("127.0.0.1", 5), raise_server_exceptions=False)
            token = http.post("/api/session", json={"name": name, "password": PASSWORD}).json()["token"]
            http.headers["Authorization"] = f"Bearer {token}"
            known[name] = http
        return known[name]

    return client


def draft(scene: Scene, **changes: Any) -> dict[str, Any]:
    plain = {
        "project": "Lung nodules",
        "purpose": "To find them",
        "description": "",
        "organisation": "University of Example",
        "people": ["Rosa"],
        "actions": ["view", "retrieve", "analyse"],
        "last_day": in_days(30),
        "datasets": [scene.dataset],
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def grant(**changes: Any) -> dict[str, Any]:
    plain = {"step": "grant", "actions": ["analyse"], "last_day": in_days(9), "version": "live", "reason": "Sound."}
    return {**plain, "conditions": "", **changes}


# --- requests -----------------------------------------------------------------------------------------------------


def test_a_request_is_made_listed_and_read(scene: Scene, as_: As) -> None:
    rosa = as_("rosa")
    answer = rosa.post("/api/requests", json=draft(scene))
    assert answer.status_code == 201
    made = answer.json()
    assert rosa.get(f"/api/requests/{made['id']}").json() == made
    assert rosa.get("/api/requests").json() == {"requests": [made]}
    read = request_from_json(made)
    assert (read.project, read.people, read.items[0].dataset) == ("Lung nodules", ("Rosa",), scene.dataset)
    assert (read.items[0].turn, read.items[0].events[0].step) == ("committee", "submitted")


def test_a_request_that_cannot_be_is_refused_in_a_sentence(scene: Scene, as_: As) -> None:
    refused: list[tuple[dict[str, Any], int, str]] = [
        ({"last_day": None}, 400, "end date"),
        ({"last_day": "2020-01-01"}, 400, "past"),
        ({"last_day": "tomorrow"}, 400, "no date"),
        ({"last_day": 5}, 400, "'last_day' is no text"),
        ({"last_day": in_days(4000)}, 400, "Lung CT"),
        ({"datasets": []}, 400, "needs a dataset"),
        ({"datasets": ["urn:uuid:none"]}, 404, "no such dataset"),
        ({"datasets": "all"}, 400, "'datasets' is no list of texts"),
        ({"datasets": [["x"]]}, 400, "'datasets' is no list of texts"),
        ({"actions": ["sell"]}, 400, "action"),
        ({"actions": None}, 400, "action"),
        ({"people": [1]}, 400, "'people' is no list of texts"),
        ({"project": "Lung\u0000"}, 400, "project"),
        ({"urgent": True}, 400, "'urgent'"),
    ]
    for changes, status, said in refused:
        answer = as_("rosa").post("/api/requests", json=draft(scene, **changes))
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), changes
    assert as_("rosa").get("/api/requests").json() == {"requests": []}


def test_scripts_in_texts_come_back_as_the_data_they_are(scene: Scene, as_: As) -> None:
    script = "<script>alert(1)</script>"
    answer = as_("rosa").post("/api/requests", json=draft(scene, project=script))
    assert answer.json()["project"] == script
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_committee_asks_is_answered_and_grants(scene: Scene, as_: As) -> None:
    rosa, clara = as_("rosa"), as_("clara")
    item = rosa.post("/api/requests", json=draft(scene)).json()["items"][0]["id"]
    [entry] = clara.get("/api/committee").json()["items"]
    assert entry["item"]["id"] == item
    assert entry["request"]["account"] == "rosa"
    asked = clara.post(f"/api/items/{item}", json={"step": "ask", "words": "Which?"}).json()["item"]
    assert (asked["state"], asked["turn"]) == ("asked", "researcher")
    answered = rosa.post(f"/api/items/{item}", json={"step": "answer", "words": "All."}).json()["item"]
    assert answered["turn"] == "committee"
    granted = clara.post(f"/api/items/{item}", json=grant(conditions="No sharing.")).json()["item"]
    assert granted["state"] == "granted"
    permit = permit_from_json(rosa.get(f"/api/permits/{granted['permit']}").json())
    assert (permit.actions, permit.conditions, permit.last_day) == (("analyse",), "No sharing.", in_days(9))
    assert clara.get("/api/committee").json() == {"items": []}
    assert len(clara.get("/api/committee?all=1").json()["items"]) == 1
    assert clara.post(f"/api/items/{item}", json=grant()).status_code == 409


def test_a_refusal_needs_a_reason_and_a_grant_an_end(scene: Scene, as_: As) -> None:
    item = as_("rosa").post("/api/requests", json=draft(scene)).json()["items"][0]["id"]
    for step in ({"step": "refuse"}, {"step": "refuse", "reason": " "}, grant(last_day=""), grant(actions=[])):
        assert as_("clara").post(f"/api/items/{item}", json=step).status_code == 400
    assert as_("rosa").get("/api/requests").json()["requests"][0]["items"][0]["state"] == "waiting"
    refused = as_("clara").post(f"/api/items/{item}", json={"step": "refuse", "reason": "No vote."}).json()
    assert refused["item"]["events"][-1]["words"] == "No vote."


def test_the_researcher_takes_an_item_back(scene: Scene, as_: As) -> None:
    item = as_("rosa").post("/api/requests", json=draft(scene)).json()["items"][0]["id"]
    assert as_("rosa").post(f"/api/items/{item}", json={"step": "withdraw"}).json()["item"]["state"] == "withdrawn"


def test_a_step_of_another_shape_changes_nothing(scene: Scene, as_: As) -> None:
    item = as_("rosa").post("/api/requests", json=draft(scene)).json()["items"][0]["id"]
    for step in (
        {},
        {"step": "bless"},
        {"step": ["grant"]},
        {"step": "withdraw", "words": "x"},
        {"step": "ask", "reason": "x"},
        {"step": "answer", "words": 1},
        {"step": "grant", "why": "x"},
    ):
        assert as_("rosa").post(f"/api/items/{item}", json=step).status_code == 400, step
    assert as_("rosa").get("/api/requests").json()["requests"][0]["items"][0]["state"] == "waiting"


def test_nobody_decides_on_their_own_request_or_without_a_seat(scene: Scene, as_: As) -> None:
    person(scene.hub, "olga", "operator")
    own = as_("clara").post("/api/requests", json=draft(scene)).json()["items"][0]["id"]
    answer = as_("clara").post(f"/api/items/{own}", json=grant())
    assert (answer.status_code, answer.json()["error"]) == (403, "not-allowed")
    assert "your own request" in answer.json()["detail"]
    assert as_("olga").post(f"/api/items/{own}", json=grant()).status_code == 403
    assert as_("rosa").post(f"/api/items/{own}", json=grant()).status_code == 404
    assert as_("rosa").post("/api/items/none", json=grant()).status_code == 404


def test_strangers_see_no_request_permit_or_run(scene: Scene, as_: As) -> None:
    person(scene.hub, "sam")
    permit = permit_in_force(scene)
    run = as_("rosa").post("/api/runs", json=started(permit.id)).json()["id"]
    sam = as_("sam")
    for path in (f"requests/{permit.request}", f"permits/{permit.id}", f"runs/{run}", f"runs/{run}.csv"):
        assert as_("rosa").get(f"/api/{path}").status_code == 200
        assert sam.get(f"/api/{path}").status_code == 404
    for path in (f"permits/{permit.id}/revoke", f"permits/{permit.id}/enter", f"runs/{run}/cancel"):
        assert sam.post(f"/api/{path}", json={"why": "x"} if path.endswith("revoke") else {}).status_code == 404
    assert [sam.get(f"/api/{name}").json()[name] for name in ("requests", "permits", "runs")] == [[], [], []]


def test_all_of_it_is_for_people_who_have_signed_in(app: Starlette, scene: Scene) -> None:
    read = ("requests", "requests/x", "committee", "permits", "permits/x", "runs", "runs/x", "runs/x.csv")
    written = ("requests", "items/x", "permits/x/revoke", "permits/x/enter", "runs", "runs/x/cancel")
    with TestClient(app, base_url=scene.hub.url, client=("127.0.0.1", 5)) as http:
        answers = [
            *(http.get(f"/api/{path}") for path in read),
            *(http.post(f"/api/{path}", json={}) for path in written),
        ]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(401, "not-signed-in")}


def test_parameters_of_addresses_that_take_none_are_named(as_: As) -> None:
    for path in ("requests", "permits", "runs", "analyses", "committee"):
        assert as_("rosa").get(f"/api/{path}?limit=5").status_code == 400
    assert as_("rosa").get("/api/committee?all=no").status_code == 400


# --- permits ------------------------------------------------------------------------------------------------------


def test_a_permit_shows_how_it_stands_and_never_its_visa(scene: Scene, as_: As) -> None:
    permit = permit_for(scene)
    waiting = as_("rosa").get(f"/api/permits/{permit.id}").json()
    assert (waiting["condition"], waiting["usable"], waiting["node_state"]) == ("waits for the node", False, "unknown")
    assert not {"visa", "jwt"} & waiting.keys()
    assert as_("rosa").get("/api/permits").json() == {"permits": [waiting]}
    assert as_("clara").get(f"/api/permits/{permit.id}").json() == waiting


def test_a_permit_in_force_is_handed_over_by_a_code_in_the_body(scene: Scene, as_: As) -> None:
    permit = permit_in_force(scene)
    answer = as_("rosa").post(f"/api/permits/{permit.id}/enter")
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    content = answer.json()
    assert content.keys() == {"url", "code"}
    assert content["url"] == scene.node.public_url
    code = open_code(content["code"], scene.hub.permit_key.public_jwk, hub=scene.hub.id, node=scene.node.id)
    assert (code.permit, code.subject, code.dataset) == (permit.id, "rosa", scene.dataset)
    assert as_("clara").post(f"/api/permits/{permit.id}/enter").status_code == 403
    assert as_("rosa").post(f"/api/permits/{permit.id}/enter", json={"node": "n-x"}).status_code == 400


def test_a_permit_that_is_not_in_force_is_not_handed_over(scene: Scene, as_: As) -> None:
    permit = permit_for(scene)
    answer = as_("rosa").post(f"/api/permits/{permit.id}/enter", json={})
    assert (answer.status_code, answer.json()["error"]) == (403, "permit-denied")
    assert "waits for the node" in answer.json()["detail"]


def test_a_committee_must_say_why_it_ends_a_permit(scene: Scene, as_: As) -> None:
    permit = permit_in_force(scene)
    path = f"/api/permits/{permit.id}/revoke"
    assert as_("clara").post(path, json={"why": ""}).status_code == 400
    ended = as_("clara").post(path, json={"why": "The project is over."}).json()
    assert (ended["condition"], ended["ended_by"], ended["ended_why"]) == ("ended", "clara", "The project is over.")
    assert as_("clara").post(path, json={"why": "Again."}).status_code == 409


def test_the_key_that_signs_permits_is_open_to_everyone(app: Starlette, scene: Scene) -> None:
    with TestClient(app, base_url=scene.hub.url, client=("127.0.0.1", 5)) as http:
        [key] = http.get("/.well-known/jwks.json").json()["keys"]
    assert (key["alg"], key["use"], key["crv"]) == ("ES256", "sig", "P-256")
    assert "d" not in key


# --- runs ---------------------------------------------------------------------------------------------------------


def started(*chosen: str, **changes: Any) -> dict[str, Any]:
    return {"permits": list(chosen), "analysis": "signal-statistics", "title": "", **changes}


def do_all(scene: Scene) -> None:
    """The node fetches its jobs, does them, and tells the hub."""
    for paper in runs.open_jobs(scene.hub, scene.node.id, wire.Jobs(progress={})).orders:
        jobs.take(scene.node, scene.hub.id, paper)
    while (waiting := jobs.next_job(scene.node)) is not None:
        assert jobs.begin(scene.node, *waiting)
        jobs.compute_job(scene.node, *waiting)
    for outcome in jobs.undelivered(scene.node, scene.hub.id):
        runs.outcome(scene.hub, scene.node.id, outcome)


def test_the_analyses_are_open_to_everyone(app: Starlette, scene: Scene) -> None:
    with TestClient(app, base_url=scene.hub.url, client=("127.0.0.1", 5)) as http:
        [analysis] = http.get("/api/analyses").json()["analyses"]
    assert (analysis["name"], analysis["group"]) == ("signal-statistics", "modality")


def test_a_run_gives_each_nodes_numbers_and_the_pooled_ones(scene: Scene, as_: As) -> None:
    take_in(scene.node, [ct(patient=f"MRN-{number}", number=number) for number in range(1, 4)])
    rosa = as_("rosa")
    begun = rosa.post("/api/runs", json=started(permit_in_force(scene).id, title="Look"))
    assert begun.status_code == 201
    path = f"/api/runs/{begun.json()['id']}"
    assert begun.json()["jobs"][0]["state"] == "waiting"
    do_all(scene)
    deliver(scene.hub, scene.node)
    run = run_from_json(rosa.get(path).json())
    assert run.ended and run.jobs[0].state == "done" and run.jobs[0].threshold == 1
    [group] = run.jobs[0].groups
    assert (group.group, group.n) == ("CT", 3)
    [pooled] = run.pooled
    assert (pooled.moments, pooled.released, pooled.withheld) == (group, ("Test node",), ())
    assert rosa.get("/api/runs").json() == {"runs": [{**rosa.get(path).json(), "pooled": []}]}
    table = rosa.get(f"{path}.csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["content-disposition"] == f'attachment; filename="run-{run.id}.csv"'
    [own, all_nodes] = csv.DictReader(io.StringIO(table.text, newline=""))
    assert (own["node"], own["dataset"], own["n"]) == ("Test node", "Lung CT", "3")
    assert float(own["mean"]) == float(all_nodes["mean"]) == rosa.get(path).json()["pooled"][0]["mean"]
    assert rosa.post(f"{path}/cancel").status_code == 409


def test_a_run_that_was_cancelled_stays_so(scene: Scene, as_: As) -> None:
    rosa = as_("rosa")
    run = rosa.post("/api/runs", json=started(permit_in_force(scene).id)).json()["id"]
    cancelled = rosa.post(f"/api/runs/{run}/cancel", json={}).json()
    assert cancelled["cancelled_at"] and cancelled["jobs"][0]["state"] == "cancelled"
    assert rosa.post(f"/api/runs/{run}/cancel", json={"now": True}).status_code == 400


def test_a_run_of_another_shape_is_not_begun(scene: Scene, as_: As) -> None:
    permit = permit_in_force(scene)
    refused: list[tuple[dict[str, Any], int, str]] = [
        ({"analysis": "mind-reading"}, 404, "no such analysis"),
        ({"permits": []}, 400, "needs a permit"),
        ({"permits": "x"}, 400, "'permits' is no list of texts"),
        ({"permits": ["x"]}, 404, "no such permit"),
        ({"title": 5}, 400, "'title' is no text"),
        ({"nodes": []}, 400, "'nodes'"),
    ]
    for changes, status, said in refused:
        answer = as_("rosa").post("/api/runs", json=started(permit.id, **changes))
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), changes
    assert as_("rosa").get("/api/runs").json() == {"runs": []}


def test_a_run_under_a_permit_to_look_names_the_dataset(scene: Scene, as_: As) -> None:
    permit = permit_in_force(scene, actions=("view",))
    answer = as_("rosa").post("/api/runs", json=started(permit.id))
    assert (answer.status_code, answer.json()["error"]) == (403, "permit-denied")
    assert "Lung CT" in answer.json()["detail"]


def test_what_makes_something_new_is_limited_per_person(scene: Scene, as_: As, limit: RateLimit) -> None:
    permit = permit_in_force(scene)
    for _ in range(60):
        limit.spend("rosa")
    for path, content in (
        ("requests", draft(scene)),
        ("runs", started(permit.id)),
        (f"permits/{permit.id}/enter", {}),
    ):
        answer = as_("rosa").post(f"/api/{path}", json=content)
        assert (answer.status_code, answer.json()["error"]) == (429, "too-many")
    assert as_("rosa").get("/api/requests").status_code == 200
    assert permits.listed(scene.hub, scene.rosa)[0].usable


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("requests", '{"purpose": "\\ud800"}'),
        ("requests", '{"people": ["Rosa", "\\udfff x"]}'),
        ("requests", '{"\\ud800": 1}'),
        ("items/x", '{"step": "\\udc00"}'),
        ("runs", '{"permits": [{"a": [{"\\ud83d": 2}]}]}'),
        ("runs", b'{"title": "\xed\xa0\x80"}'),
        ("permits/x/revoke", '{"why": "\\ud800"}'),
    ],
)
def test_half_a_surrogate_pair_is_no_text_wherever_it_stands(as_: As, path: str, body: str | bytes) -> None:
    http = as_("rosa")
    answer = http.post(f"/api/{path}", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is no valid JSON.")


def test_a_whole_surrogate_pair_is_a_letter(as_: As) -> None:
    body = '{"why": "\\ud83d\\ude00"}'
    answer = as_("rosa").post("/api/permits/x/revoke", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 404


def test_a_stranger_who_decides_on_an_item_is_told_that_there_is_none(scene: Scene, as_: As) -> None:
    person(scene.hub, "mallory")
    item = ask_for(scene.hub, scene.rosa, scene.dataset).items[0].id
    for step in ({"step": "refuse", "reason": "No."}, {"step": "ask", "words": "Why?"}, {"step": "withdraw"}):
        assert as_("mallory").post(f"/api/items/{item}", json=step).status_code == 404
    own = ask_for(scene.hub, scene.clara, scene.dataset).items[0].id
    assert as_("clara").post(f"/api/items/{own}", json={"step": "refuse", "reason": "No."}).status_code == 403
