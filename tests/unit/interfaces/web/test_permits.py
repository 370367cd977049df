"""A person's permits: their states in words, the way to the images, and how they end."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient
from tests.access import BAD_ADDRESSES, ask_for, grant, hear
from tests.pages import IRI_A, A, csrf, exhaust

from carina.federation.papers import open_code
from carina.hub import permits
from carina.hub.centre import Hub
from carina.hub.permits import Permit
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.security import POLICY
from carina.model.principal import Principal
from carina.storage.hub_schema import hub_permits, nodes

IMAGES = "https://images.example.org"


@pytest.fixture
def me(hub: Hub) -> Principal:
    return Principal("rosa", hub.id, frozenset({"researcher"}), "Rosa Ruiz")


@pytest.fixture
def permit(hub: Hub, clara: TestClient, me: Principal) -> Permit:
    """Rosa's for images and analyses, of which the node has not said anything."""
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).where(nodes.c.id == A).values(public_url=f"{IMAGES}/"))
    item = ask_for(hub, me, IRI_A).items[0]
    decider = Principal("clara", hub.id, frozenset({"researcher"}))
    return grant(hub, decider, item.id, actions=("view", "analyse"), conditions="<b>Cite</b> it.")


def act(client: TestClient, path: str, **given: Any) -> Any:
    page = client.get(path.rpartition("/")[0]).text
    return client.post(path, data={"csrf": csrf(page), **given})


def test_no_permit_yet_says_how_to_come_to_one(rosa: TestClient) -> None:
    assert "No permit at present" in rosa.get("/permits").text


def test_each_state_is_said_in_words(rosa: TestClient, hub: Hub, permit: Permit) -> None:
    path = f"/permits/{permit.id}"
    for state, sentence in (
        ("", "Hospital Santa Aurelia has not fetched it yet"),
        ("waiting", "Waits for the data manager of Hospital Santa Aurelia to sign it too"),
        ("in-force", "(UTC): 30 more days"),
        ("declined", "The data manager of Hospital Santa Aurelia declined it"),
        ("withdrawn", "took the signature back"),
    ):
        if state:
            hear(hub, permit, state, "Not now." if state in ("declined", "withdrawn") else "")
        for page in (rosa.get("/permits").text, rosa.get(path).text):
            assert sentence in page, state
            assert state not in ("declined", "withdrawn") or "“Not now.”" in page
    assert "&lt;b&gt;Cite&lt;/b&gt; it." in rosa.get(path).text


def test_the_use_that_the_node_counts_is_shown(rosa: TestClient, hub: Hub, permit: Permit) -> None:
    assert "Not used yet" in rosa.get("/permits").text
    hear(hub, permit, "in-force", view=12, analyse=1, last="2026-01-02T03:04:05.678901Z")
    assert "Looked at 12 times, analysed 1 time, last" in rosa.get("/permits").text
    assert re.search(r"<dt>times looked at</dt><dd>12</dd>", rosa.get(f"/permits/{permit.id}").text)


def test_opening_hands_the_browser_over_by_a_form_that_holds_a_one_time_code(
    rosa: TestClient, hub: Hub, permit: Permit
) -> None:
    hear(hub, permit)
    answer = act(rosa, f"/permits/{permit.id}/open")
    assert answer.status_code == 200
    form = re.search(r'<form method="post" action="([^"]+)" data-submit>\s*<input [^>]*value="([^"]+)"', answer.text)
    assert form is not None and form[1] == f"{IMAGES}/enter"
    code = open_code(form[2], hub.permit_key.public_jwk, hub=hub.id, node=A)
    assert (code.permit, code.dataset, code.subject) == (permit.id, IRI_A, "rosa")
    assert "<button" in answer.text.partition("data-submit")[2]  # for where no script runs
    assert f"form-action 'self' {IMAGES};" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "strict-origin"
    assert answer.headers["cache-control"] == "no-store"
    other = rosa.get(f"/permits/{permit.id}")
    assert IMAGES not in other.headers["content-security-policy"]
    assert other.headers["referrer-policy"] == "same-origin"


def test_images_are_not_opened_while_the_permit_waits(rosa: TestClient, permit: Permit) -> None:
    assert "Open the images" not in rosa.get(f"/permits/{permit.id}").text
    answer = act(rosa, f"/permits/{permit.id}/open")
    assert answer.status_code == 403
    assert "The permit waits for the node" in answer.text
    assert "data-submit" not in answer.text


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_an_address_with_a_second_meaning_stands_in_no_form_or_policy(
    rosa: TestClient, hub: Hub, permit: Permit, address: str
) -> None:
    hear(hub, permit)
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).where(nodes.c.id == A).values(public_url=address))
    answer = act(rosa, f"/permits/{permit.id}/open")
    assert answer.status_code == 502
    assert "The node names an address for its images that cannot be used." in answer.text
    assert "data-submit" not in answer.text and address not in answer.text
    assert answer.headers["content-security-policy"] == POLICY


def test_the_place_is_shown_by_its_host_only(rosa: TestClient, hub: Hub, permit: Permit) -> None:
    hear(hub, permit)
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).values(public_url="https://images.example.org:8443/sign-in.at-the-hub/"))
    answer = act(rosa, f"/permits/{permit.id}/open")
    assert "<code>images.example.org</code>" in answer.text
    assert 'action="https://images.example.org:8443/sign-in.at-the-hub/enter"' in answer.text
    assert "form-action 'self' https://images.example.org:8443;" in answer.headers["content-security-policy"]


def test_images_are_not_opened_more_often_than_a_person_may_ask(
    rosa: TestClient, hub: Hub, permit: Permit, limit: RateLimit
) -> None:
    hear(hub, permit)
    exhaust(limit)
    answer = act(rosa, f"/permits/{permit.id}/open")
    assert answer.status_code == 429 and "too many requests in a short time" in answer.text
    assert "data-submit" not in answer.text
    assert hub.audit.entries(9, action="handover-made") == []


def test_whoever_sees_a_permit_comes_back_to_a_page_that_is_there(
    rosa: TestClient, clara: TestClient, olaf: TestClient, permit: Permit
) -> None:
    for client, above in ((rosa, "/permits"), (clara, "/committee"), (olaf, "/")):
        page = client.get(f"/permits/{permit.id}").text
        assert f'<p class="crumb"><a href="{above}">' in page
        assert client.get(above).status_code == 200


def test_a_node_without_an_address_offers_no_images(rosa: TestClient, hub: Hub, permit: Permit) -> None:
    hear(hub, permit)
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).where(nodes.c.id == A).values(public_url=None))
    page = rosa.get(f"/permits/{permit.id}").text
    assert "Open the images" not in page and "Run an analysis" in page
    assert act(rosa, f"/permits/{permit.id}/open").status_code == 403


def test_nobody_else_sees_a_permit_or_opens_by_it(
    clara: TestClient, rosa: TestClient, hub: Hub, permit: Permit
) -> None:
    hear(hub, permit)
    page = clara.get(f"/permits/{permit.id}").text  # the committee sees it
    assert "End the permit" in page and "Open the images" not in page and "hub.open" not in page
    assert act(clara, f"/permits/{permit.id}/open").status_code == 403
    assert rosa.get("/permits/06h08ah80prbg0k463grrqusdc").status_code == 404


def test_the_committee_ends_a_permit_with_a_reason(
    clara: TestClient, rosa: TestClient, hub: Hub, permit: Permit, me: Principal
) -> None:
    hear(hub, permit)
    assert "data-confirm=" in clara.get(f"/permits/{permit.id}").text
    empty = act(clara, f"/permits/{permit.id}/end", why="")
    assert empty.status_code == 400 and "The reason is missing." in empty.text
    assert permits.get(hub, me, permit.id).usable
    assert act(clara, f"/permits/{permit.id}/end", why="<u>Over</u>").headers["location"].endswith("?done=ended")
    page = rosa.get(f"/permits/{permit.id}").text
    assert "Ended by clara" in page and "“&lt;u&gt;Over&lt;/u&gt;”" in page
    assert "Open the images" not in page and "Give the permit back" not in page
    assert "Over</h2>" in rosa.get("/permits").text


def test_a_person_gives_a_permit_back_without_a_reason(
    rosa: TestClient, hub: Hub, permit: Permit, me: Principal
) -> None:
    token = csrf(rosa.get(f"/permits/{permit.id}").text)
    path = f"/permits/{permit.id}/end"
    assert rosa.post(path, data={"csrf": token, "why": ""}).status_code == 303
    assert permits.get(hub, me, permit.id).condition_of() == "ended"
    again = rosa.post(path, data={"csrf": token, "why": ""})
    assert again.status_code == 409 and "The permit is over already." in again.text


def test_an_expired_permit_says_its_last_day(rosa: TestClient, hub: Hub, permit: Permit) -> None:
    with hub.engine.begin() as connection:
        connection.execute(update(hub_permits).values(expires_at="2026-03-02T00:00:00.000000Z"))
    page = rosa.get(f"/permits/{permit.id}").text
    assert "Expired" in page
    assert re.search(r"Its last day was <time[^>]*>1 March 2026</time>", page)
