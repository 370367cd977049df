"""Asking for access and deciding on it, with real records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from tests.access import (
    Scene,
    ask_for,
    decision,
    draft,
    grant,
    hear,
    in_days,
    iri,
    member,
    open_scene,
    permit_for,
    person,
    publish,
)
from tests.federating import open_joined_node

from carina.errors import BadInput, CarinaError, Conflict, NotAllowed, NotFound, TooMany
from carina.hub import catalogue, committee, permits, requests, terms, texts
from carina.hub.requests import AccessRequest, Item
from carina.model.clock import now, parse_stamp
from carina.model.permit import Terms
from carina.model.principal import Principal
from carina.storage.hub_schema import hub_permits, request_items
from carina.storage.hub_schema import requests as request_table

SCRIPT = "<script>alert('x')</script> & \"quotes\" {{ 7*7 }} '; DROP TABLE permits; --"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with open_scene(tmp_path) as opened:
        yield opened


@pytest.fixture
def asked(scene: Scene) -> Item:
    return ask_for(scene.hub, scene.rosa, scene.dataset).items[0]


def again(scene: Scene, item: Item) -> Item:
    return requests.item(scene.hub, scene.rosa, item.id)[1]


def count(scene: Scene, table: Any) -> int:
    with scene.hub.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


# --- asking -------------------------------------------------------------------------------------------------------


def test_a_request_has_one_item_per_dataset_each_for_its_nodes_committee(scene: Scene, tmp_path: Path) -> None:
    with open_joined_node(tmp_path / "second", scene.hub, seed=2, title="Second") as (second, _):
        other = publish(scene.hub, second, 2, title="Breast MR")
        made = ask_for(scene.hub, scene.rosa, scene.dataset, other, actions=("analyse",))
    assert [(item.title, item.node, item.node_title, item.state, item.turn) for item in made.items] == [
        ("Breast MR", second.id, "Second", "waiting", "committee"),
        ("Lung CT", scene.node.id, "Test node", "waiting", "committee"),
    ]
    assert (made.account, made.account_name, made.project) == ("rosa", "Rosa", "Lung nodules")
    assert made.people == ("Rosa Researcher", "Rafael Reader")
    assert (made.actions, made.last_day) == (("analyse",), in_days(30))
    assert [(event.actor, event.step, event.words) for event in made.items[0].events] == [("rosa", "submitted", "")]
    [entry] = scene.hub.audit.entries(1)
    assert (entry.action, entry.actor, entry.subject) == ("request-submitted", "rosa", made.id)
    assert entry.details == {"datasets": [scene.dataset, other], "actions": ["analyse"]}


def test_what_people_write_is_kept_as_it_is_and_is_not_in_the_audit_trail(scene: Scene) -> None:
    fields = dict.fromkeys(("project", "purpose", "description", "organisation"), SCRIPT)
    made = ask_for(scene.hub, scene.rosa, scene.dataset, **fields, people=(SCRIPT,))
    kept = requests.get(scene.hub, scene.rosa, made.id)
    assert {kept.project, kept.purpose, kept.description, kept.organisation, *kept.people} == {SCRIPT}
    assert all("script" not in str(entry) for entry in scene.hub.audit.entries(50))


def test_lines_are_kept_and_their_ends_become_one_kind(scene: Scene) -> None:
    made = ask_for(scene.hub, scene.rosa, scene.dataset, purpose=" One\r\nTwo\rThree\tü 肺 \n", project="  P  ")
    assert (made.purpose, made.project) == ("One\nTwo\nThree\tü 肺", "P")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"last_day": ""}, "needs an end date"),
        ({"last_day": "  "}, "needs an end date"),
        ({"last_day": None}, "needs an end date"),
        ({"last_day": "soon"}, "no date"),
        ({"last_day": "2027-02-30"}, "no date"),
        ({"last_day": "01.03.2027"}, "no date"),
        ({"last_day": "2000-01-01"}, "in the past"),
        ({"last_day": "9999-12-31"}, "beyond what “Lung CT” allows"),
        ({"project": ""}, "project's title is missing"),
        ({"project": " \t "}, "project's title is missing"),
        ({"project": None}, "project's title is missing"),
        ({"project": "x" * 201}, "project's title is too long"),
        ({"project": "two\nlines"}, "control characters"),
        ({"purpose": ""}, "purpose is missing"),
        ({"purpose": "x" * 2001}, "purpose is too long"),
        ({"purpose": "bell\a"}, "control characters"),
        ({"purpose": "x\x00"}, "control characters"),
        ({"purpose": "\x9b31m"}, "control characters"),
        ({"purpose": "half \ud800"}, "control characters"),
        ({"project": "txt\u202egnp"}, "control characters"),
        ({"description": "x" * 10_001}, "description is too long"),
        ({"description": "\x1b[2J"}, "control characters"),
        ({"organisation": ""}, "organisation is missing"),
        ({"organisation": "x" * 201}, "organisation is too long"),
        ({"people": ("x" * 201,)}, "person is too long"),
        ({"people": ("",)}, "person is missing"),
        ({"people": ("a\x7f",)}, "control characters"),
        ({"people": ("Rosa",) * 51}, "at most 50 people"),
        ({"actions": ()}, "action is missing"),
        ({"actions": ("view", "own")}, "action is missing or unknown"),
        ({"datasets": ()}, "needs a dataset"),
        ({"datasets": (iri(1),) * 2}, "twice"),
        ({"datasets": (iri(1),) * 51}, "at most 50 datasets"),
    ],
)
def test_a_request_that_is_not_as_it_should_be_is_refused_in_a_sentence_and_leaves_nothing(
    scene: Scene, changes: dict[str, Any], word: str
) -> None:
    rows = scene.hub.audit.verify()
    with pytest.raises(BadInput, match=word) as refused:
        requests.submit(scene.hub, scene.rosa, draft(scene.dataset, **changes) if changes else draft())
    assert refused.value.message.endswith(".") and refused.value.hint.endswith(".")
    assert (count(scene, request_table), count(scene, request_items)) == (0, 0)
    assert scene.hub.audit.verify() == rows


@pytest.mark.parametrize("unknown", [iri(77), "", "urn:uuid:1", "x" * 10_000, "\ud800", "' OR 1=1 --", None])
def test_a_dataset_that_the_catalogue_does_not_have_is_not_found(scene: Scene, unknown: Any) -> None:
    with pytest.raises(NotFound, match="no such dataset"):
        ask_for(scene.hub, scene.rosa, scene.dataset, unknown)
    assert count(scene, request_table) == 0


def test_a_withdrawn_dataset_cannot_be_asked_for(scene: Scene) -> None:
    catalogue.withdraw(scene.hub, scene.node.id, scene.dataset)
    with pytest.raises(NotFound):
        ask_for(scene.hub, scene.rosa, scene.dataset)


def test_a_request_ends_when_each_of_its_datasets_allows_it(scene: Scene) -> None:
    short = publish(scene.hub, scene.node, 2, title="Short", terms=Terms(longest_days=10))
    with pytest.raises(BadInput, match="beyond what “Short” allows: at most 10 days") as refused:
        ask_for(scene.hub, scene.rosa, scene.dataset, short, last_day=in_days(11))
    assert in_days(10) in refused.value.hint
    assert ask_for(scene.hub, scene.rosa, scene.dataset, short, last_day=in_days(10)).last_day == in_days(10)
    assert ask_for(scene.hub, scene.rosa, short, last_day=in_days(0)).last_day == in_days(0)


def test_a_week_of_the_year_is_kept_as_its_day(scene: Scene) -> None:
    day = (now() + timedelta(days=20)).date()
    year, week, number = day.isocalendar()
    made = ask_for(scene.hub, scene.rosa, scene.dataset, last_day=f"{year}-W{week:02}-{number}")
    assert made.last_day == day.isoformat()


def test_actions_that_a_dataset_does_not_allow_are_refused_by_name(scene: Scene) -> None:
    sums = publish(scene.hub, scene.node, 2, title="Sums only", terms=Terms(actions=("analyse",)))
    with pytest.raises(BadInput, match="“Sums only” does not allow “view”, “retrieve”") as refused:
        ask_for(scene.hub, scene.rosa, scene.dataset, sums)
    assert "It allows “analyse”." in refused.value.hint
    assert ask_for(scene.hub, scene.rosa, scene.dataset, sums, actions=("analyse",)).actions == ("analyse",)
    nothing = publish(scene.hub, scene.node, 3, title="Nothing", terms=Terms(actions=()))
    with pytest.raises(BadInput, match="“Nothing” does not allow") as refused:
        ask_for(scene.hub, scene.rosa, nothing)
    assert "nothing at present" in refused.value.hint


def test_a_node_that_offers_no_images_can_be_asked_for_analyses_only(tmp_path: Path) -> None:
    with open_scene(tmp_path, public_url=None) as scene:
        for action in ("view", "retrieve"):
            with pytest.raises(BadInput, match="“Lung CT” offers no images"):
                ask_for(scene.hub, scene.rosa, scene.dataset, actions=(action, "analyse"))
        assert ask_for(scene.hub, scene.rosa, scene.dataset, actions=("analyse",)).actions == ("analyse",)


def test_only_people_with_an_account_ask(scene: Scene) -> None:
    for name in ("token:robot", "nobody"):
        with pytest.raises(NotAllowed, match="with an account"):
            ask_for(scene.hub, Principal(name, scene.hub.id, frozenset({"researcher"})), scene.dataset)
    assert ask_for(scene.hub, person(scene.hub, "otto", "operator"), scene.dataset).account == "otto"
    assert ask_for(scene.hub, scene.clara, scene.dataset).account == "clara"


@given(st.text(max_size=300))
def test_a_text_is_refused_or_can_be_kept_and_shown(text: str) -> None:
    for read in (texts.line, texts.prose):
        try:
            kept = read(text, "It", 200)
        except BadInput:
            continue
        assert 1 <= len(kept) <= 200 and kept.strip() == kept and "\x00" not in kept and "\r" not in kept
        assert kept.encode()
    assert texts.shown(text).isprintable()


def test_a_person_has_so_many_undecided_requests_and_no_more(scene: Scene) -> None:
    made = [ask_for(scene.hub, scene.rosa, scene.dataset).items[0] for _ in range(requests.MOST_OPEN)]
    requests.ask(scene.hub, scene.clara, made[0].id, "Why?")  # which is no decision
    with pytest.raises(TooMany, match="50 requests that are not decided"):
        ask_for(scene.hub, scene.rosa, scene.dataset)
    assert len(requests.own(scene.hub, scene.rosa)) == requests.MOST_OPEN
    ask_for(scene.hub, scene.clara, scene.dataset)  # each person for themselves
    requests.refuse(scene.hub, scene.clara, made[0].id, "No.")
    ask_for(scene.hub, scene.rosa, scene.dataset)


# --- reading ------------------------------------------------------------------------------------------------------


def test_a_person_sees_their_own_requests_newest_first(scene: Scene) -> None:
    rafael = person(scene.hub, "rafael")
    made = [ask_for(scene.hub, scene.rosa, scene.dataset).id for _ in range(3)]
    ask_for(scene.hub, rafael, scene.dataset)
    assert [request.id for request in requests.own(scene.hub, scene.rosa)] == made[::-1]
    assert len(requests.own(scene.hub, rafael)) == 1
    assert requests.own(scene.hub, scene.clara) == []


def test_a_request_is_seen_by_its_person_operators_and_the_committees_concerned(scene: Scene, tmp_path: Path) -> None:
    with open_joined_node(tmp_path / "second", scene.hub, seed=2) as (second, _):
        other = publish(scene.hub, second, 2, title="Breast MR")
        carlos = member(scene.hub, second.id, "carlos")
    made = ask_for(scene.hub, scene.rosa, scene.dataset, other, actions=("analyse",))
    otto, rafael = person(scene.hub, "otto", "operator"), person(scene.hub, "rafael")

    def titles(who: Principal) -> list[str]:
        return [item.title for item in requests.get(scene.hub, who, made.id).items]

    assert titles(scene.rosa) == titles(otto) == ["Breast MR", "Lung CT"]
    assert (titles(scene.clara), titles(carlos)) == (["Lung CT"], ["Breast MR"])
    for who in (scene.clara, carlos):
        [(seen, item)] = requests.queue(scene.hub, who)
        assert [one.id for one in seen.items] == [item.id]
    lung = made.items[1]
    for stranger in (rafael, Principal("nobody", scene.hub.id, frozenset())):
        with pytest.raises(NotFound):
            requests.get(scene.hub, stranger, made.id)
    for stranger in (rafael, carlos):
        with pytest.raises(NotFound):
            requests.item(scene.hub, stranger, lung.id)
    for unknown in ("", "0" * 26):
        with pytest.raises(NotFound):
            requests.get(scene.hub, otto, unknown)
        with pytest.raises(NotFound):
            requests.item(scene.hub, otto, unknown)


def test_a_committee_that_was_dismissed_sees_and_decides_nothing_more(scene: Scene, asked: Item) -> None:
    committee.remove(scene.hub, scene.node.id, "clara")
    assert requests.queue(scene.hub, scene.clara) == []
    with pytest.raises(NotFound):
        requests.get(scene.hub, scene.clara, asked.request)
    with pytest.raises(NotFound):
        grant(scene.hub, scene.clara, asked.id)


def test_the_queue_has_what_waits_first_and_the_oldest_on_top(scene: Scene) -> None:
    first, second, third, fourth = (ask_for(scene.hub, scene.rosa, scene.dataset).items[0].id for _ in range(4))
    requests.ask(scene.hub, scene.clara, first, "Which detector?")
    requests.refuse(scene.hub, scene.clara, third, "No.")
    assert [item.id for _, item in requests.queue(scene.hub, scene.clara)] == [second, fourth, first]
    assert [item.id for _, item in requests.queue(scene.hub, scene.clara, all=True)] == [second, fourth, first, third]
    requests.answer(scene.hub, scene.rosa, first, "A small one.")
    assert [item.id for _, item in requests.queue(scene.hub, scene.clara)] == [second, fourth, first]
    assert requests.queue(scene.hub, scene.rosa) == []


# --- steps --------------------------------------------------------------------------------------------------------


def test_a_question_and_its_answer_hand_the_turn_over_and_back(scene: Scene, asked: Item) -> None:
    requests.ask(scene.hub, scene.clara, asked.id, f"Why?\n{SCRIPT}")
    waits = again(scene, asked)
    assert (waits.state, waits.turn) == ("asked", "researcher") and waits.since > asked.since
    requests.answer(scene.hub, scene.rosa, asked.id, SCRIPT)
    back = again(scene, asked)
    assert (back.state, back.turn) == ("waiting", "committee") and back.since > waits.since
    assert [(event.actor, event.step, event.words) for event in back.events] == [
        ("rosa", "submitted", ""),
        ("clara", "asked", f"Why?\n{SCRIPT}"),
        ("rosa", "answered", SCRIPT),
    ]
    entries = scene.hub.audit.entries(2)
    assert [(entry.action, entry.actor, entry.subject, entry.details) for entry in entries] == [
        ("request-answered", "rosa", asked.id, {}),
        ("request-asked", "clara", asked.id, {}),
    ]


def test_a_refusal_has_a_reason_and_is_final(scene: Scene, asked: Item) -> None:
    for reason in ("", "  ", "x" * 2001, "\x00"):
        with pytest.raises(BadInput, match="The reason"):
            requests.refuse(scene.hub, scene.clara, asked.id, reason)
    assert again(scene, asked).state == "waiting"
    requests.refuse(scene.hub, scene.clara, asked.id, "The purpose is not research.")
    refused = again(scene, asked)
    assert (refused.state, refused.turn, refused.permit) == ("refused", "nobody", None)
    assert refused.events[-1].words == "The purpose is not research."
    with pytest.raises(Conflict, match="another state"):
        grant(scene.hub, scene.clara, asked.id)
    with pytest.raises(Conflict, match="another state"):
        requests.withdraw(scene.hub, scene.rosa, asked.id)


def test_a_question_that_is_never_answered_keeps_no_committee_from_deciding(scene: Scene, asked: Item) -> None:
    requests.ask(scene.hub, scene.clara, asked.id, "Why?")
    with pytest.raises(Conflict):
        requests.ask(scene.hub, scene.clara, asked.id, "Why, please?")
    requests.refuse(scene.hub, scene.clara, asked.id, "There was no answer.")
    with pytest.raises(Conflict):
        requests.answer(scene.hub, scene.rosa, asked.id, "Sorry, here it is.")


@pytest.mark.parametrize("asked_back", [False, True])
def test_an_item_is_withdrawn_before_it_is_decided(scene: Scene, asked: Item, asked_back: bool) -> None:
    if asked_back:
        requests.ask(scene.hub, scene.clara, asked.id, "Why?")
    requests.withdraw(scene.hub, scene.rosa, asked.id)
    assert (again(scene, asked).state, again(scene, asked).turn) == ("withdrawn", "nobody")
    assert scene.hub.audit.entries(1)[0].action == "request-withdrawn"
    for step in (requests.ask, requests.refuse):
        with pytest.raises(Conflict):
            step(scene.hub, scene.clara, asked.id, "words")
    with pytest.raises(Conflict):
        grant(scene.hub, scene.clara, asked.id)


def test_an_answer_without_a_question_is_refused(scene: Scene, asked: Item) -> None:
    with pytest.raises(Conflict):
        requests.answer(scene.hub, scene.rosa, asked.id, "You did not ask.")
    with pytest.raises(BadInput, match="The answer is missing"):
        requests.answer(scene.hub, scene.rosa, asked.id, " ")
    with pytest.raises(BadInput, match="The question is missing"):
        requests.ask(scene.hub, scene.clara, asked.id, "")


def test_only_the_person_who_asked_answers_and_withdraws(scene: Scene, asked: Item) -> None:
    requests.ask(scene.hub, scene.clara, asked.id, "Why?")
    with pytest.raises(NotAllowed, match="person who asked"):
        requests.answer(scene.hub, scene.clara, asked.id, "Because.")
    with pytest.raises(NotAllowed):
        requests.withdraw(scene.hub, person(scene.hub, "otto", "operator"), asked.id)
    with pytest.raises(NotFound):
        requests.withdraw(scene.hub, person(scene.hub, "rafael"), asked.id)
    assert again(scene, asked).state == "asked"


def decisions(scene: Scene, who: Principal, item: str) -> list[Callable[[], object]]:
    """Every way of deciding."""
    return [
        lambda: requests.ask(scene.hub, who, item, "Why?"),
        lambda: requests.refuse(scene.hub, who, item, "No."),
        lambda: grant(scene.hub, who, item),
    ]


def test_a_member_of_the_committee_never_decides_on_their_own_request(scene: Scene) -> None:
    own = ask_for(scene.hub, scene.clara, scene.dataset).items[0]
    for decide in decisions(scene, scene.clara, own.id):
        with pytest.raises(NotAllowed, match="You cannot decide on your own request"):
            decide()
    carlos = member(scene.hub, scene.node.id, "carlos")
    assert grant(scene.hub, carlos, own.id).account == "clara"


def test_only_the_committee_of_the_items_node_decides(scene: Scene, asked: Item, tmp_path: Path) -> None:
    with open_joined_node(tmp_path / "second", scene.hub, seed=2) as (second, _):
        carlos = member(scene.hub, second.id, "carlos")
    for decide in decisions(scene, person(scene.hub, "otto", "operator"), asked.id):
        with pytest.raises(NotAllowed, match="access committee"):
            decide()
    for who in (carlos, person(scene.hub, "rafael")):  # who may not even see it
        for decide in decisions(scene, who, asked.id):
            with pytest.raises(NotFound, match="no such item"):
                decide()
    for decide in decisions(scene, scene.clara, "0" * 26):
        with pytest.raises(NotFound):
            decide()
    assert (again(scene, asked).state, count(scene, hub_permits)) == ("waiting", 0)
    assert len(again(scene, asked).events) == 1


# --- granting -----------------------------------------------------------------------------------------------------


def test_a_grant_makes_a_permit_and_the_turn_goes_to_the_node(scene: Scene, asked: Item) -> None:
    permit = grant(
        scene.hub, scene.clara, asked.id, actions=("analyse", "view"), last_day=in_days(7), conditions=SCRIPT
    )
    assert (permit.account, permit.node, permit.dataset) == ("rosa", scene.node.id, scene.dataset)
    assert (permit.actions, permit.last_day, permit.version) == (("view", "analyse"), in_days(7), "live")
    assert (permit.conditions, permit.issued_by, permit.request) == (SCRIPT, "clara", asked.request)
    item = again(scene, asked)
    assert (item.state, item.turn, item.permit) == ("granted", "data-manager", permit.id)
    assert item.since == permit.node_since
    actions = [(entry.action, entry.actor, entry.subject) for entry in scene.hub.audit.entries(2)]
    assert actions == [("permit-issued", "clara", permit.id), ("request-granted", "clara", asked.id)]


@pytest.mark.parametrize(
    ("state", "turn"),
    [("waiting", "data-manager"), ("in-force", "nobody"), ("declined", "nobody"), ("withdrawn", "nobody")],
)
def test_the_turn_follows_the_nodes_word(scene: Scene, asked: Item, state: str, turn: str) -> None:
    permit = grant(scene.hub, scene.clara, asked.id)
    hear(scene.hub, permit, state)
    item = again(scene, asked)
    assert item.turn == turn
    assert item.since == permits.get(scene.hub, scene.rosa, permit.id).node_since


def test_it_is_nobodys_turn_once_the_permit_has_ended(
    scene: Scene, asked: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    permit = grant(scene.hub, scene.clara, asked.id)
    monkeypatch.setattr(requests, "stamp", lambda: permit.expires_at)
    assert (again(scene, asked).turn, again(scene, asked).since) == ("nobody", permit.expires_at)
    monkeypatch.undo()
    ended = permits.revoke(scene.hub, scene.clara, permit.id, "Misused.")
    assert (again(scene, asked).turn, again(scene, asked).since) == ("nobody", ended.ended_at)
    assert again(scene, asked).events[-1].step == "revoked"


def test_a_request_can_be_granted_in_part(scene: Scene) -> None:
    publish(scene.hub, scene.node, 2, title="Other")
    made = ask_for(scene.hub, scene.rosa, scene.dataset, iri(2))
    grant(scene.hub, scene.clara, made.items[0].id, actions=("view",))
    requests.refuse(scene.hub, scene.clara, made.items[1].id, "Not this one.")
    states = [item.state for item in requests.get(scene.hub, scene.rosa, made.id).items]
    assert states == ["granted", "refused"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"actions": ("view", "retrieve")}, "more than was asked for"),
        ({"actions": ()}, "action is missing"),
        ({"last_day": ""}, "needs an end date"),
        ({"last_day": "2000-01-01"}, "in the past"),
        ({"last_day": "9999-12-31"}, "longer than was asked for"),
        ({"version": "1"}, "no such version"),
        ({"version": "02"}, "no such version"),
        ({"version": ""}, "no such version"),
        ({"version": 2}, "no such version"),
        ({"reason": ""}, "The reason is missing"),
        ({"reason": "x\x00"}, "The reason has control characters"),
        ({"conditions": "x" * 2001}, "text of the conditions is too long"),
        ({"conditions": "\x1b"}, "control characters"),
    ],
)
def test_a_grant_that_goes_too_far_is_refused_and_leaves_all_as_it_was(
    tmp_path: Path, changes: dict[str, Any], word: str
) -> None:
    with open_scene(tmp_path, terms=Terms(versions=(2,))) as scene:
        made = ask_for(scene.hub, scene.rosa, scene.dataset, actions=("view", "analyse"))
        rows = scene.hub.audit.verify()
        with pytest.raises(BadInput, match=word):
            grant(scene.hub, scene.clara, made.items[0].id, **{"actions": ("view",), **changes})
        assert again(scene, made.items[0]).state == "waiting"
        assert (count(scene, hub_permits), scene.hub.audit.verify()) == (0, rows)


def test_a_numbered_version_can_be_granted(tmp_path: Path) -> None:
    with open_scene(tmp_path, terms=Terms(versions=(1, 3))) as scene:
        assert permit_for(scene, version="3").version == "3"


def test_a_grant_keeps_to_what_the_data_holder_allows_by_then(scene: Scene, asked: Item) -> None:
    publish(scene.hub, scene.node, terms=Terms(actions=("analyse",), longest_days=5))
    with pytest.raises(BadInput, match="does not allow “view”, “retrieve”"):
        grant(scene.hub, scene.clara, asked.id)
    with pytest.raises(BadInput, match="at most 5 days"):
        grant(scene.hub, scene.clara, asked.id, actions=("analyse",))
    assert grant(scene.hub, scene.clara, asked.id, actions=("analyse",), last_day=in_days(5)).last_day == in_days(5)


def test_a_grant_of_images_at_a_node_that_no_longer_offers_them_is_refused(tmp_path: Path) -> None:
    with open_scene(tmp_path) as scene:
        asked = ask_for(scene.hub, scene.rosa, scene.dataset).items[0]
        with scene.hub.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE nodes SET public_url = NULL")
        with pytest.raises(BadInput, match="“Lung CT” offers no images"):
            grant(scene.hub, scene.clara, asked.id)
        assert grant(scene.hub, scene.clara, asked.id, actions=("analyse",)).actions == ("analyse",)


def test_a_dataset_that_was_withdrawn_is_not_granted(scene: Scene, asked: Item) -> None:
    catalogue.withdraw(scene.hub, scene.node.id, scene.dataset)
    with pytest.raises(Conflict, match="no longer in the catalogue"):
        grant(scene.hub, scene.clara, asked.id)
    requests.refuse(scene.hub, scene.clara, asked.id, "It was withdrawn.")


def test_a_request_whose_last_day_has_passed_cannot_be_granted(
    scene: Scene, asked: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terms, "now", lambda: now() + timedelta(days=31))
    with pytest.raises(BadInput, match="in the past"):
        grant(scene.hub, scene.clara, asked.id)


def test_nothing_is_decided_twice(scene: Scene, asked: Item) -> None:
    grant(scene.hub, scene.clara, asked.id)
    carlos = member(scene.hub, scene.node.id, "carlos")
    for who in (scene.clara, carlos):
        for decide in decisions(scene, who, asked.id):
            with pytest.raises(Conflict, match="another state"):
                decide()
    assert count(scene, hub_permits) == 1
    assert [event.step for event in again(scene, asked).events] == ["submitted", "granted"]


@pytest.mark.parametrize("turn", range(3))
def test_of_decisions_at_once_one_stands_and_the_others_are_told(scene: Scene, asked: Item, turn: int) -> None:
    people = [scene.clara, *(member(scene.hub, scene.node.id, f"member{number}") for number in range(3))]
    steps: list[Callable[[], object]] = [
        *((lambda who=who: grant(scene.hub, who, asked.id)) for who in people[:3]),
        lambda: requests.refuse(scene.hub, people[3], asked.id, "No."),
        lambda: requests.withdraw(scene.hub, scene.rosa, asked.id),
    ]
    start = Barrier(len(steps))

    def attempt(step: Callable[[], object]) -> CarinaError | None:
        start.wait()
        try:
            step()
        except CarinaError as error:
            return error
        return None

    with ThreadPoolExecutor(len(steps)) as pool:
        ended = list(pool.map(attempt, steps[turn:] + steps[:turn]))
    assert ended.count(None) == 1
    assert {type(error) for error in ended if error} == {Conflict}
    item = again(scene, asked)
    assert [event.step for event in item.events] == ["submitted", item.state]
    assert count(scene, hub_permits) == (item.state == "granted")
    assert len(scene.hub.audit.entries(50, action=f"request-{item.state}")) == 1
    scene.hub.audit.verify()


def test_a_grant_that_fails_at_the_last_leaves_nothing_half_done(
    scene: Scene, asked: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permits, "MOST_OF_A_NODE", 0)
    rows = scene.hub.audit.verify()
    with pytest.raises(CarinaError, match="have not expired"):
        grant(scene.hub, scene.clara, asked.id)
    assert (again(scene, asked).state, count(scene, hub_permits)) == ("waiting", 0)
    assert scene.hub.audit.verify() == rows


def test_since_is_an_instant(scene: Scene, asked: Item) -> None:
    assert abs(now() - parse_stamp(asked.since)) < timedelta(minutes=1)
    request: AccessRequest = requests.get(scene.hub, scene.rosa, asked.request)
    assert replace(request.items[0]) == asked and decision().version == "live"
