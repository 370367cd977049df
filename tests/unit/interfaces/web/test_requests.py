"""Asking for access by the hub's pages: choosing datasets, the form, a request's states and history."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient
from tests.access import ask_for, grant, hear, in_days
from tests.pages import IRI_A, IRI_B, IRI_C, A, B, csrf, exhaust

from carina.hub import permits, requests
from carina.hub.centre import Hub
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.web.words import duration, remaining
from carina.model.clock import now, stamp
from carina.model.permit import end_day, end_of
from carina.model.principal import Principal
from carina.storage.hub_schema import catalogue, nodes, request_items


@pytest.fixture
def me(hub: Hub) -> Principal:
    return Principal("rosa", hub.id, frozenset({"researcher"}), "Rosa Ruiz")


@pytest.fixture
def committee_of_all(hub: Hub, clara: TestClient) -> Principal:
    return Principal("clara", hub.id, frozenset({"researcher"}), "Clara")


def typed(client: TestClient, **changes: Any) -> dict[str, Any]:
    """The form filled in for two datasets."""
    page = client.get("/requests/new", params={"dataset": [IRI_A, IRI_B]}).text
    plain = {
        "csrf": csrf(page),
        "project": "Lung nodules",
        "purpose": "To train a detector.",
        "description": "",
        "organisation": "University of Example",
        "people": "Rafael Reader\r\n\r\nLea Lopez",
        "actions": ["analyse"],
        "last_day": in_days(30),
        "dataset": [IRI_A, IRI_B],
    }
    return {**plain, **changes}


def send(client: TestClient, **changes: Any) -> Any:
    return client.post("/requests/new", data=typed(client, **changes))


def test_several_datasets_are_chosen_in_the_list_without_a_script(rosa: TestClient) -> None:
    page = rosa.get("/datasets").text
    assert '<form method="get" action="/requests/new"' in page
    for iri in (IRI_A, IRI_B, IRI_C):
        assert f'type="checkbox" name="dataset" value="{iri}"' in page
    assert page.count("Run analyses, for up to 365 days. Its data manager signs too.") == 3
    form = rosa.get("/requests/new", params={"dataset": [IRI_A, IRI_B]}).text
    assert "2 datasets" in form
    assert "Lung cancer: CT and PET over time" in form and "Breast MR before and after therapy" in form


def test_a_dataset_says_what_can_be_asked_for_and_how(anyone: TestClient, hub: Hub) -> None:
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).where(nodes.c.id == A).values(public_url="https://images.example.org"))
    page = anyone.get(f"/datasets/{IRI_A}").text
    assert "Look at images, fetch images, run analyses" in page
    assert "365 days (1 year)" in page
    assert "The committee, then the node’s data manager" in page
    assert f'href="/requests/new?dataset={IRI_A.replace(":", "%3A")}"' in page
    without = anyone.get(f"/datasets/{IRI_B}").text  # its node has no address to show images at
    assert "<dd>Run analyses</dd>" in without
    assert "The node gives no images out" in without


def test_whoever_has_not_signed_in_does_so_first_and_comes_back_with_the_choice(anyone: TestClient) -> None:
    answer = anyone.get("/requests/new", params={"dataset": [IRI_A, IRI_B]})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=%2Frequests%2Fnew%3Fdataset")
    assert anyone.get("/requests").headers["location"] == "/sign-in?next=%2Frequests"


def test_the_menu_has_what_a_person_can_use(anyone: TestClient, clara: TestClient) -> None:
    assert 'href="/requests"' not in anyone.get("/").text
    for path in ("/requests", "/permits", "/runs", "/committee"):
        assert f'<a href="{path}"' in clara.get("/").text


def test_only_members_see_the_committee_in_the_menu(rosa: TestClient) -> None:
    page = rosa.get("/").text
    assert '<a href="/requests"' in page
    assert 'href="/committee"' not in page


def test_a_request_is_sent_and_waits_for_each_committee(rosa: TestClient, hub: Hub, me: Principal) -> None:
    answer = send(rosa)
    assert answer.status_code == 303, answer.text
    asked = requests.own(hub, me)[0]
    assert answer.headers["location"] == f"/requests/{asked.id}?done=submitted"
    assert asked.people == ("Rafael Reader", "Lea Lopez")
    page = rosa.get(answer.headers["location"]).text
    assert "Your request is with the committees." in page
    assert "Waits for the committee of Hospital Santa Aurelia" in page
    assert "Waits for the committee of Waterland Medisch Centrum" in page
    assert "Lung nodules" in rosa.get("/requests").text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"last_day": ""}, "A request needs an end date."),
        ({"last_day": "2020-01-01"}, "The end date is in the past."),
        ({"last_day": in_days(900)}, "The end date is beyond what"),
        ({"last_day": "soon"}, "The end date is no date."),
        ({"actions": []}, "An action is missing or unknown."),
        ({"actions": ["delete"]}, "An action is missing or unknown."),
        ({"actions": ["view"]}, "offers no images from outside"),
        ({"project": "   "}, "The project&#39;s title is missing."),
        ({"purpose": ""}, "The purpose is missing."),
        ({"project": "x\x07y"}, "The project&#39;s title has control characters."),
        ({"people": "a" * 201}, "The name of a person is too long."),
    ],
)
def test_a_form_that_is_wrong_comes_back_as_it_was_typed_with_the_sentence(
    rosa: TestClient, hub: Hub, me: Principal, changes: dict[str, Any], sentence: str
) -> None:
    answer = send(rosa, **{"organisation": "Kept <b>as</b> typed", **changes})
    assert answer.status_code == 400
    assert sentence in answer.text and 'role="alert"' in answer.text
    assert 'value="Kept &lt;b&gt;as&lt;/b&gt; typed"' in answer.text
    assert f'value="{IRI_A}" checked' in answer.text
    assert requests.own(hub, me) == []


def test_datasets_that_are_gone_are_said_to_be(rosa: TestClient, hub: Hub) -> None:
    with hub.engine.begin() as connection:
        connection.execute(update(catalogue).where(catalogue.c.iri == IRI_A).values(state="withdrawn"))
    assert "1 dataset that you chose is no longer" in rosa.get(f"/requests/new?dataset={IRI_A}&dataset={IRI_B}").text
    assert "no longer in the catalogue" in rosa.get("/requests/new", params={"dataset": IRI_A}).text
    answer = send(rosa, dataset=[IRI_A, IRI_B])
    assert answer.status_code == 404
    assert "The catalogue has no such dataset." in answer.text
    assert "To train a detector." in answer.text
    assert "No dataset is chosen" in rosa.get("/requests/new").text


def test_scripts_in_texts_are_shown_as_text(rosa: TestClient, hub: Hub, me: Principal) -> None:
    script = "<script>alert(1)</script>"
    asked = ask_for(
        hub,
        me,
        IRI_A,
        actions=("analyse",),
        project=script,
        purpose=script,
        description=script,
        organisation=script,
        people=(script,),
    )
    for path in ("/requests", f"/requests/{asked.id}"):
        page = rosa.get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_partly_granted_requests_say_so_of_each_dataset(
    rosa: TestClient, hub: Hub, me: Principal, committee_of_all: Principal
) -> None:
    asked = ask_for(hub, me, IRI_A, IRI_B, actions=("analyse",))
    by = {item.node: item for item in asked.items}
    permit = grant(hub, committee_of_all, by[A].id, actions=("analyse",), reason="A sound study.")
    requests.refuse(hub, committee_of_all, by[B].id, "The purpose does not fit.")
    page = rosa.get(f"/requests/{asked.id}").text
    assert "Granted, not yet in force" in page and "Refused" in page
    assert "A sound study." in page and "The purpose does not fit." in page
    assert "Hospital Santa Aurelia has not fetched it yet" in page
    hear(hub, permit, "waiting")
    assert "Waits for the data manager of Hospital Santa Aurelia to sign it too" in rosa.get("/requests").text
    hear(hub, permit, "in-force")
    assert f'href="/permits/{permit.id}"' in rosa.get(f"/requests/{asked.id}").text
    permits.revoke(hub, committee_of_all, permit.id, "The study has ended.")
    page = rosa.get(f"/requests/{asked.id}").text
    assert "Ended by clara" in page and "The study has ended." in page


def test_a_question_is_answered_on_the_page(
    rosa: TestClient, hub: Hub, me: Principal, committee_of_all: Principal
) -> None:
    asked = ask_for(hub, me, IRI_A, actions=("analyse",))
    item = asked.items[0].id
    requests.ask(hub, committee_of_all, item, "Which ethics board?")
    page = rosa.get(f"/requests/{asked.id}").text
    assert "Your turn" in page and "Which ethics board?" in page
    form = {"csrf": csrf(page), "item": item, "step": "answer"}
    empty = rosa.post(f"/requests/{asked.id}", data={**form, "words": " "})
    assert empty.status_code == 400 and "The answer is missing." in empty.text
    assert rosa.post(f"/requests/{asked.id}", data={**form, "words": "That of Example."}).status_code == 303
    page = rosa.get(f"/requests/{asked.id}").text
    assert "That of Example." in page and "Waits for the committee of Hospital Santa Aurelia" in page
    late = rosa.post(f"/requests/{asked.id}", data={**form, "words": "Once more."})
    assert late.status_code == 409 and "Once more." not in requests.get(hub, me, asked.id).items[0].events[-1].words


def test_a_dataset_is_withdrawn_from_a_request_after_a_question(rosa: TestClient, hub: Hub, me: Principal) -> None:
    asked = ask_for(hub, me, IRI_A, IRI_B, actions=("analyse",))
    page = rosa.get(f"/requests/{asked.id}").text
    assert page.count("data-confirm=") == 2
    data = {"csrf": csrf(page), "item": asked.items[0].id, "step": "withdraw"}
    assert rosa.post(f"/requests/{asked.id}", data=data).headers["location"].endswith("?done=withdrawn")
    states = {item.id: item.state for item in requests.get(hub, me, asked.id).items}
    assert states == {asked.items[0].id: "withdrawn", asked.items[1].id: "waiting"}
    unknown = rosa.post(f"/requests/{asked.id}", data={**data, "step": "grant"})
    assert unknown.status_code == 400 and "This form asks for nothing that is known here." in unknown.text


def test_others_cannot_see_a_request(rosa: TestClient, hub: Hub, committee_of_all: Principal) -> None:
    asked = ask_for(hub, committee_of_all, IRI_C, actions=("analyse",))
    answer = rosa.get(f"/requests/{asked.id}")
    assert answer.status_code == 404
    assert "There is no such request." in answer.text


def test_a_form_without_its_token_is_refused(rosa: TestClient, hub: Hub, me: Principal) -> None:
    assert rosa.post("/requests/new", data={**typed(rosa), "csrf": "other"}).status_code == 403
    assert requests.own(hub, me) == []


def test_how_long_a_turn_lasts_is_said(rosa: TestClient, hub: Hub, me: Principal) -> None:
    asked = ask_for(hub, me, IRI_A, actions=("analyse",))
    with hub.engine.begin() as connection:
        connection.execute(update(request_items).values(since=stamp(now() - timedelta(hours=2, minutes=5))))
    page = rosa.get(f"/requests/{asked.id}").text
    assert re.search(r"Waits for the committee of Hospital Santa Aurelia · <time[^>]*>for 2 hours<", page)


def test_ends_and_longest_times_are_said_in_words() -> None:
    assert remaining(end_of(now().date())) == "ends today"
    assert remaining(stamp(end_of(end_day(in_days(28))))) == "28 more days"
    assert remaining("2026-01-01T00:00:00.000000Z") == "over"
    assert (duration(30), duration(365), duration(730)) == ("30 days", "365 days (1 year)", "730 days (2 years)")


def test_requests_are_not_sent_more_often_than_a_person_may_ask(
    rosa: TestClient, hub: Hub, me: Principal, limit: RateLimit
) -> None:
    exhaust(limit)
    answer = send(rosa)
    assert answer.status_code == 429 and "too many requests in a short time" in answer.text
    assert "To train a detector." in answer.text  # what was typed is still there
    assert requests.own(hub, me) == []


def test_a_person_with_too_many_undecided_requests_is_told_so_in_the_form(
    rosa: TestClient, hub: Hub, me: Principal
) -> None:
    for _ in range(requests.MOST_OPEN):
        ask_for(hub, me, IRI_B, actions=("analyse",))
    answer = send(rosa)
    assert answer.status_code == 429 and "You have 50 requests that are not decided." in answer.text
    assert "To train a detector." in answer.text
    assert len(requests.own(hub, me)) == requests.MOST_OPEN


def test_whoever_sees_a_request_comes_back_to_a_page_that_is_there(
    rosa: TestClient, clara: TestClient, olaf: TestClient, hub: Hub, me: Principal
) -> None:
    made = ask_for(hub, me, IRI_B, actions=("analyse",))
    for client, above in ((rosa, "/requests"), (clara, "/committee"), (olaf, "/")):
        page = client.get(f"/requests/{made.id}").text
        assert f'<p class="crumb"><a href="{above}">' in page
        assert client.get(above).status_code == 200
