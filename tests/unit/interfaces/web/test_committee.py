"""The committee's pages: the queue, the request beside the dataset's terms, and the decision."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient
from tests.access import ask_for, in_days
from tests.pages import IRI_A, IRI_B, IRI_C, A, csrf

from carina.hub import requests
from carina.hub.centre import Hub
from carina.hub.requests import Item
from carina.model.principal import Principal
from carina.storage.hub_schema import catalogue, nodes


@pytest.fixture
def researcher(hub: Hub) -> Principal:
    return Principal("rosa", hub.id, frozenset({"researcher"}), "Rosa Ruiz")


@pytest.fixture
def item(hub: Hub, clara: TestClient, researcher: Principal) -> Item:
    """A dataset of Rosa's request, of which Clara decides; its node shows images and has two snapshots."""
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).where(nodes.c.id == A).values(public_url="https://images.example.org"))
        known = connection.execute(select(catalogue.c.description).where(catalogue.c.iri == IRI_A)).scalar_one()
        terms = {**known["terms"], "actions": ["view", "analyse"], "longest_days": 60, "versions": [1, 2]}
        described = {**known, "terms": terms}
        connection.execute(update(catalogue).where(catalogue.c.iri == IRI_A).values(description=described))
    return ask_for(hub, researcher, IRI_A, actions=("view", "analyse"), last_day=in_days(50)).items[0]


def decide(client: TestClient, item: Item, **given: Any) -> Any:
    page = client.get(f"/committee/{item.id}").text
    return client.post(f"/committee/{item.id}", data={"csrf": csrf(page), **given})


def granted(**changes: Any) -> dict[str, Any]:
    plain = {"step": "grant", "actions": ["analyse"], "last_day": in_days(20), "version": "2", "reason": "Sound."}
    return {**plain, "conditions": "Cite the dataset.", **changes}


def state(hub: Hub, who: Principal, item: Item) -> str:
    return requests.item(hub, who, item.id)[1].state


def test_the_queue_shows_what_waits_for_its_members(clara: TestClient, hub: Hub, item: Item) -> None:
    page = clara.get("/committee").text
    assert "Your turn" in page and "Lung nodules" in page and "Rosa Ruiz, University of Example" in page
    assert f'href="/committee/{item.id}"' in page
    assert "Hospital Santa Aurelia" in page


def test_an_empty_queue_says_what_will_stand_there(clara: TestClient) -> None:
    assert "Nothing waits for a decision" in clara.get("/committee").text


def test_nobody_else_reaches_the_committees_pages(rosa: TestClient, item: Item) -> None:
    answer = rosa.get("/committee")
    assert answer.status_code == 403 and "You are in no committee." in answer.text
    assert rosa.get(f"/committee/{item.id}").headers["location"] == f"/requests/{item.request}"
    assert rosa.get("/committee/06h08ah80prbg0k463grrqusdc").status_code == 404


def test_a_member_of_one_committee_does_not_see_what_is_asked_of_another(
    clara: TestClient, hub: Hub, researcher: Principal
) -> None:
    other = ask_for(hub, researcher, IRI_C, actions=("analyse",), project="Of another node").items[0]
    assert "Of another node" not in clara.get("/committee").text
    assert clara.get(f"/committee/{other.id}").status_code == 404


def test_the_request_stands_beside_the_datasets_terms(clara: TestClient, item: Item) -> None:
    page = clara.get(f"/committee/{item.id}").text
    assert "To train and test a detector." in page and "Rosa Researcher, Rafael Reader" in page
    assert "60 days" in page and "Live, and snapshots 1, 2" in page
    assert '<option value="2">Snapshot 2</option>' in page
    assert 'name="actions" value="view" checked' in page and 'value="retrieve"' not in page
    assert f'max="{in_days(50)}"' in page


def test_only_what_the_terms_still_allow_can_be_chosen(clara: TestClient, hub: Hub, item: Item) -> None:
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).where(nodes.c.id == A).values(public_url=None))
    page = clara.get(f"/committee/{item.id}").text
    assert 'value="view"' not in page and 'value="analyse" checked' in page
    assert "Asked for but not allowed at present: look at images." in page


def test_a_grant_makes_a_permit_as_decided(clara: TestClient, hub: Hub, item: Item, researcher: Principal) -> None:
    answer = decide(clara, item, **granted())
    assert answer.headers["location"] == "/committee?done=granted"
    assert state(hub, researcher, item) == "granted"
    assert "Granted. The permit goes to the node now." in clara.get("/committee?done=granted").text
    page = clara.get("/committee?all=1").text
    assert "Granted, not yet in force" in page and "Run analyses" in page
    permit = requests.item(hub, researcher, item.id)[1].permit
    page = clara.get(f"/permits/{permit}").text
    assert "Snapshot 2" in page and "Cite the dataset." in page


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"actions": []}, "An action is missing or unknown."),
        ({"actions": ["retrieve"]}, "This grants more than was asked for."),
        ({"last_day": in_days(51)}, "This grants longer than was asked for."),
        ({"last_day": "2020-01-01"}, "The end date is in the past."),
        ({"version": "3"}, "has no such version."),
        ({"reason": " "}, "The reason is missing."),
    ],
)
def test_a_decision_that_goes_too_far_comes_back_as_it_was_typed(
    clara: TestClient, hub: Hub, item: Item, researcher: Principal, changes: dict[str, Any], sentence: str
) -> None:
    answer = decide(clara, item, **granted(conditions="<i>kept</i>", **changes))
    assert answer.status_code == 400
    assert sentence in answer.text
    assert "&lt;i&gt;kept&lt;/i&gt;</textarea>" in answer.text
    assert state(hub, researcher, item) == "waiting"


def test_a_refusal_needs_a_reason_which_the_researcher_reads(
    clara: TestClient, hub: Hub, item: Item, researcher: Principal
) -> None:
    empty = decide(clara, item, step="refuse", reason="")
    assert empty.status_code == 400 and "The reason is missing." in empty.text
    assert decide(clara, item, step="refuse", reason="Not of this purpose.").headers["location"].endswith("refused")
    assert requests.item(hub, researcher, item.id)[1].events[-1].words == "Not of this purpose."


def test_a_question_goes_to_the_researcher(clara: TestClient, hub: Hub, item: Item, researcher: Principal) -> None:
    empty = decide(clara, item, step="ask", words="")
    assert empty.status_code == 400 and "The question is missing." in empty.text
    assert decide(clara, item, step="ask", words="Which board?").status_code == 303
    assert state(hub, researcher, item) == "asked"
    page = clara.get("/committee").text
    assert "Waits for an answer" in page and "Nothing waits for a decision" in page
    assert "Ask the researcher" not in clara.get(f"/committee/{item.id}").text


def test_a_member_does_not_decide_on_their_own_request(clara: TestClient, hub: Hub) -> None:
    me = Principal("clara", hub.id, frozenset({"researcher"}))
    own = ask_for(hub, me, IRI_B, actions=("analyse",)).items[0]
    page = clara.get(f"/committee/{own.id}").text
    assert "This is your own request." in page and 'name="step"' not in page
    token = csrf(clara.get(f"/requests/{own.request}").text)
    answer = clara.post(f"/committee/{own.id}", data={"csrf": token, **granted(version="live")})
    assert answer.status_code == 403
    assert "You cannot decide on your own request." in answer.text
    assert state(hub, me, own) == "waiting"


def test_of_two_decisions_the_second_is_told(clara: TestClient, hub: Hub, item: Item) -> None:
    token = csrf(clara.get(f"/committee/{item.id}").text)
    assert clara.post(f"/committee/{item.id}", data={"csrf": token, **granted()}).status_code == 303
    late = clara.post(f"/committee/{item.id}", data={"csrf": token, "step": "refuse", "reason": "No."})
    assert late.status_code == 409 and 'role="alert"' in late.text


def test_a_dataset_that_was_withdrawn_cannot_be_granted(clara: TestClient, hub: Hub, item: Item) -> None:
    with hub.engine.begin() as connection:
        connection.execute(update(catalogue).where(catalogue.c.iri == IRI_A).values(state="withdrawn"))
    page = clara.get(f"/committee/{item.id}").text
    assert "The dataset is no longer in the catalogue." in page
    assert "Grant access" not in page and "Refuse" in page
    assert decide(clara, item, **granted()).status_code == 409


def test_an_unknown_step_changes_nothing(clara: TestClient, hub: Hub, item: Item, researcher: Principal) -> None:
    assert decide(clara, item, step="burn").status_code == 400
    assert state(hub, researcher, item) == "waiting"


def test_what_people_write_cannot_become_markup(clara: TestClient, hub: Hub, researcher: Principal) -> None:
    script = "<script>alert(1)</script>"
    item = ask_for(hub, researcher, IRI_A, actions=("analyse",), project=script, purpose=script).items[0]
    for path in ("/committee", f"/committee/{item.id}"):
        assert "<script>alert" not in clara.get(path).text
