"""A node's JSON about permits, inside, and the way in for programs, outside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.permitting import Site, open_site, segment
from tests.support import ct
from tests.visiting import browser, fresh_code, open_images, outside_app

from carina.interfaces.api.identity import Identity, MemoryAccounts, Session
from carina.interfaces.api.node import inside_routes
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware
from carina.model.clock import now, parse_stamp, stamp
from carina.model.principal import Principal
from carina.node import permits
from carina.node.visits import PROGRAM
from carina.storage.schema import visits

URL = "http://node.localhost:8721"
SECURE = "https://images.localhost:8722"
MANAGER = {"Authorization": "Bearer manager"}
OPERATOR = {"Authorization": "Bearer operator"}
SENDER = {"Authorization": "Bearer sender"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as made:
        yield made


@pytest.fixture
def inside(site: Site) -> TestClient:
    me = site.node.id
    tokens = {
        "manager": Principal("nora", me, frozenset({"data-manager"})),
        "operator": Principal("omar", me, frozenset({"operator"})),
        "sender": Principal("token:ct", me, frozenset({"sender"})),
    }
    provider = MemoryAccounts({"nora": ("password", tokens["manager"])}, tokens)
    identity = Identity(provider, me, secure=False)
    app = Starlette(
        routes=inside_routes(site.node, identity),
        middleware=middleware(Rules(URL), identity),
        exception_handlers=exception_handlers(),  # type: ignore[arg-type]
    )
    client = TestClient(app, base_url=URL, client=("127.0.0.1", 5))
    client.session = provider.sign_in("nora", "password", "127.0.0.1")  # type: ignore[attr-defined]
    client.cookie = identity.cookie  # type: ignore[attr-defined]
    return client


def step(client: TestClient, site: Site, permit: str, **body: Any) -> Any:
    return client.post(f"/api/permits/{site.hub.id}/{permit}", json=body, headers=MANAGER)


# --- inside -------------------------------------------------------------------------------------------------------


def test_permits_are_listed_with_all_a_data_manager_needs(inside: TestClient, site: Site) -> None:
    visa = site.grant(signed=False, conditions="None")
    [shown] = inside.get("/api/permits", headers=MANAGER).json()
    assert shown == inside.get(f"/api/permits/{site.hub.id}/{visa.id}", headers=MANAGER).json()
    expected = {
        "id": visa.id,
        "hub": site.hub.id,
        "hub_title": "Test hub",
        "account": "rosa",
        "name": "Rosa Investigadora",
        "organisation": "University",
        "project": "Lungs",
        "purpose": "To find out",
        "dataset": site.dataset,
        "version": "live",
        "actions": ["view", "retrieve", "analyse"],
        "conditions": "None",
        "state": "waiting",
        "hub_state": "valid",
        "decided_at": None,
        "decided_by": None,
        "reason": "",
        "use": {"view": 0, "retrieve": 0, "analyse": 0, "last": None},
    }
    assert {name: shown[name] for name in expected} == expected
    assert set(shown) - set(expected) == {"issued_at", "expires_at", "received_at"}


@pytest.mark.parametrize(("headers", "status"), [({}, 401), (OPERATOR, 403), (SENDER, 403)])
def test_permits_are_for_data_managers(inside: TestClient, site: Site, headers: dict[str, str], status: int) -> None:
    visa = site.grant(signed=False)
    path = f"/api/permits/{site.hub.id}/{visa.id}"
    assert inside.get("/api/permits", headers=headers).status_code == status
    assert inside.get(path, headers=headers).status_code == status
    assert inside.post(path, json={"step": "countersign"}, headers=headers).status_code == status
    assert permits.get(site.node, site.hub.id, visa.id).state == "waiting"


def test_a_data_manager_decides_by_a_token(inside: TestClient, site: Site) -> None:
    visa = site.grant(signed=False)
    assert step(inside, site, visa.id, step="decline", reason="Not now.").json()["reason"] == "Not now."
    assert step(inside, site, visa.id, step="countersign").json()["state"] == "in-force"
    assert step(inside, site, visa.id, step="withdraw", reason="Enough.").json()["state"] == "withdrawn"
    assert site.node.audit.entries(1, action="permit-withdrawn")[0].actor == "nora"


def test_a_data_manager_decides_by_a_session_and_its_token_only(inside: TestClient, site: Site) -> None:
    visa = site.grant(signed=False)
    session: Session = inside.session  # type: ignore[attr-defined]
    path, body = f"/api/permits/{site.hub.id}/{visa.id}", {"step": "countersign"}
    cookie = {"Cookie": f"{inside.cookie}={session.secret}"}  # type: ignore[attr-defined]
    assert inside.post(path, json=body, headers=cookie).status_code == 403
    answer = inside.post(path, json=body, headers={**cookie, "X-CSRF-Token": session.csrf})
    assert answer.json()["state"] == "in-force"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"step": "burn"}, 400),
        ({"step": "decline", "reason": ""}, 400),
        ({"step": "decline"}, 400),
        ({"step": "withdraw", "reason": "It is not in force"}, 409),
        ({"step": 1}, 400),
        ({"step": "countersign", "more": "x"}, 400),
        ({}, 400),
    ],
)
def test_a_step_that_cannot_be_taken_is_refused(
    inside: TestClient, site: Site, body: dict[str, Any], status: int
) -> None:
    visa = site.grant(signed=False)
    answer = step(inside, site, visa.id, **body)
    assert answer.status_code == status
    assert answer.json()["hint"]
    assert permits.get(site.node, site.hub.id, visa.id).state == "waiting"


def test_a_permit_that_is_not_there_is_not_found(inside: TestClient, site: Site) -> None:
    assert step(inside, site, "nothing", step="countersign").status_code == 404
    assert inside.get("/api/permits/h-x/y", headers=MANAGER).status_code == 404
    assert inside.get("/api/permits?all=1", headers=MANAGER).status_code == 400


# --- outside ------------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Site]:
    with open_images(tmp_path / "images", [ct()]) as made:
        yield made


def test_a_program_enters_by_a_code_and_reads_with_its_token(images: Site) -> None:
    client = browser(images)
    answer = client.post("/api/enter", json={"code": fresh_code(images, images.grant())})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    found = answer.json()
    assert set(found) == {"token", "dataset", "expires"}
    assert found["dataset"] == images.dataset
    assert abs(parse_stamp(found["expires"]) - now() - PROGRAM) < timedelta(seconds=10)
    path = f"/datasets/{images.dataset}/dicom-web/studies"
    assert client.get(path).status_code == 401
    headers = {"Authorization": f"Bearer {found['token']}", "Accept": "application/dicom+json"}
    assert len(client.get(path, headers=headers).json()) == 1


def test_a_code_that_was_used_by_a_browser_is_used_up_for_programs(images: Site) -> None:
    client = browser(images)
    code = fresh_code(images, images.grant())
    assert client.post("/enter", data={"code": code}).status_code == 303
    answer = client.post("/api/enter", json={"code": code})
    assert (answer.status_code, answer.json()["error"]) == (403, "permit-denied")


@pytest.mark.parametrize("body", [{}, {"code": 1}, {"code": "x", "more": "y"}, []])
def test_a_body_that_is_none_is_refused(images: Site, body: Any) -> None:
    assert browser(images).post("/api/enter", json=body).status_code == 400


def test_another_sites_page_cannot_have_a_browser_enter_by_the_api(images: Site) -> None:
    client = browser(images)
    code = fresh_code(images, images.grant())
    foreign = client.post("/api/enter", json={"code": code}, headers={"Origin": "http://hub.localhost:8700"})
    assert foreign.status_code == 403
    assert client.post("/api/enter", data={"code": code}).status_code in (400, 403)
    assert client.post("/api/enter", json={"code": code}).status_code == 201


def test_an_address_that_tries_many_codes_must_wait(images: Site) -> None:
    client = browser(images)
    answers = [client.post("/api/enter", json={"code": "x"}).status_code for _ in range(31)]
    assert answers == [403] * 30 + [429]


def test_browsers_and_programs_of_one_address_have_one_limit(images: Site) -> None:
    client = browser(images)
    for _ in range(15):
        assert client.post("/enter", data={"code": "x"}).status_code == 403
        assert client.post("/api/enter", json={"code": "x"}).status_code == 403
    assert client.post("/enter", data={"code": "x"}).status_code == 429
    assert client.post("/api/enter", json={"code": "x"}).status_code == 429


def test_all_addresses_that_one_machine_may_have_count_together(images: Site) -> None:
    app = outside_app(images, SECURE)
    answers = [enter_from(app, f"2001:db8::{place:x}") for place in range(1, 32)]
    assert answers == [403] * 30 + [429]
    assert enter_from(app, "2001:db8:0:1::1") == 403
    assert [row.details for row in images.node.audit.entries(50, action="handover-refused")] == [{"reason": "forged"}]


def enter_from(app: Starlette, address: str) -> int:
    client = TestClient(app, base_url=SECURE, client=(address, 5), raise_server_exceptions=False)
    return client.post("/api/enter", json={"code": "x"}).status_code


def test_a_code_that_names_its_hub_with_half_letters_is_refused(images: Site) -> None:
    head, named = segment({"alg": "ES256"}), segment({"hub": "\ud800"})
    answer = browser(images).post("/api/enter", json={"code": f"{head}.{named}.AAAA"})
    assert (answer.status_code, answer.json()["error"]) == (403, "permit-denied")


def test_a_visit_that_is_over_is_told_so(images: Site) -> None:
    client, visa = browser(images), images.grant()
    token = client.post("/api/enter", json={"code": fresh_code(images, visa)}).json()["token"]
    images.states[visa.id] = "ended"
    images.say(now())
    path = f"/datasets/{images.dataset}/dicom-web/studies"
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/dicom+json"}
    assert [client.get(path, headers=headers).status_code for _ in range(2)] == [403, 403]
    with images.node.engine.begin() as connection:
        ends = parse_stamp(connection.execute(select(visits.c.expires_at)).scalar_one())
        assert timedelta(minutes=9) < ends - now() <= timedelta(minutes=10)
        connection.execute(update(visits).values(expires_at=stamp()))
    answer = client.get(path, headers=headers)
    assert answer.status_code == 401
    assert "your visit has ended" in answer.json()["detail"]


def test_inside_permits_are_not_outside(images: Site) -> None:
    client = browser(images)
    for path in ("/api/permits", "/api/status", "/permits", "/asked", "/sign-in"):
        assert client.get(path, headers=MANAGER).status_code == 404
