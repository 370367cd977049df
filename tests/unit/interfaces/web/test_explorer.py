"""The explorer: the query in the address, answers as they arrive."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from starlette.testclient import TestClient
from tests.pages import IRI_A, A, Answers, B, C

from carina.errors import Unreachable
from carina.hub.centre import Hub
from carina.interfaces.web.explorer import COMMON, canonical, sentence
from carina.model.cohort import All, Between, OneOf, from_pairs
from carina.model.ids import NodeId
from carina.model.search import NodeAnswer, Total
from carina.model.topography import SITES


def events(text: str) -> list[tuple[str, str]]:
    """Name and data of each server-sent event."""
    found = []
    for block in text.strip().split("\n\n"):
        name, *data = block.split("\n")
        found.append((name.removeprefix("event: "), "\n".join(line.removeprefix("data: ") for line in data)))
    return found


def test_whoever_is_not_signed_in_signs_in_and_comes_back(anyone: TestClient, answers: Answers) -> None:
    answer = anyone.get("/explorer?modality=CT&age=40-60")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fexplorer%3Fmodality%3DCT%26age%3D40-60"
    assert anyone.get("/explorer/answers?modality=CT", headers={"Accept": "text/event-stream"}).status_code == 401
    assert answers.asked == []


def test_the_page_asks_nobody_until_its_stream_is_opened(rosa: TestClient, answers: Answers, hub: Hub) -> None:
    page = rosa.get("/explorer?modality=CT&age=40-60").text
    assert answers.asked == []
    assert hub.audit.entries(10, action="searched") == []
    assert 'sse-connect="/explorer/answers?modality=CT&amp;age=40-60"' in page
    for node in (A, B, C):
        assert f'sse-swap="{node}"' in page
    assert "Age at the study: 40 to 60 years" in page
    assert re.search(r'name="modality" value="CT" checked', page)


def test_each_node_arrives_as_a_row_and_moves_the_total(rosa: TestClient, answers: Answers, hub: Hub) -> None:
    answer = rosa.get("/explorer/answers?modality=CT&age=40-60")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answers.asked == [All((OneOf("modality", ("CT",)), Between("age", 40, 60)))]
    arrived = events(answer.text)
    assert [name for name, _ in arrived] == [A, "total", B, "total", C, "total", "end"]
    assert "1\u202f184" in arrived[0][1]
    assert f'href="/datasets/{IRI_A}"' in arrived[0][1]
    assert "2 nodes are still asked." in arrived[1][1]
    assert arrived[2][1].count("fewer than 10") == 1  # of patients; so few may have more studies
    assert arrived[2][1].count("not shown") == 1
    assert "1\u202f241" in arrived[5][1]
    assert "Sum of 2 shown nodes, and 1 node below the threshold." in arrived[5][1]
    [entry] = hub.audit.entries(10, action="searched")
    assert entry.actor == "rosa"


def test_without_javascript_all_answers_stand_on_the_page(rosa: TestClient, answers: Answers, hub: Hub) -> None:
    page = rosa.get("/explorer?modality=CT&wait=1").text
    assert len(answers.asked) == 1
    assert "sse-connect" not in page
    assert "1\u202f241" in page
    assert "Sum of 2 shown nodes, and 1 node below the threshold." in page
    assert len(hub.audit.entries(10, action="searched")) == 1


def test_without_javascript_the_form_itself_asks_to_wait(rosa: TestClient) -> None:
    page = rosa.get("/explorer?modality=CT").text
    assert '<noscript><input type="hidden" name="wait" value="1"></noscript>' in page
    assert 'href="/explorer?modality=CT&amp;wait=1"' in page


def test_unknown_terms_are_named_and_nothing_is_counted(rosa: TestClient, answers: Answers) -> None:
    answer = rosa.get("/explorer?pirads=4&modality=XYZ&sex=F")
    assert answer.status_code == 400
    assert "pirads" in answer.text
    assert "modality=XYZ" in answer.text
    assert "Nothing was counted" in answer.text
    assert "sse-connect" not in answer.text
    assert rosa.get("/explorer/answers?pirads=4").status_code == 400
    assert answers.asked == []


@pytest.mark.parametrize("query", ["age=sixty", "age=60-40", "age=40-60&age=50-70", "age_from=-4&age_to="])
def test_an_age_that_makes_no_sense_is_said_to_be_so(rosa: TestClient, answers: Answers, query: str) -> None:
    rosa.follow_redirects = True
    answer = rosa.get(f"/explorer?{query}")
    assert answer.status_code == 400
    assert "Nothing was counted" in answer.text
    assert answers.asked == []


@pytest.mark.parametrize(
    ("given", "shared"),
    [
        ([("modality", "CT"), ("age_from", ""), ("age_to", "")], [("modality", "CT")]),
        ([("age_from", "40"), ("age_to", "60")], [("age", "40-60")]),
        ([("age_from", "40"), ("age_to", "")], [("age", "40-")]),
        ([("age_from", ""), ("age_to", ""), ("wait", "1")], [("everyone", "1"), ("wait", "1")]),
        ([("everyone", "1")], [("everyone", "1")]),
        ([], []),
    ],
)
def test_the_form_becomes_the_address_that_is_shared(
    given: list[tuple[str, str]], shared: list[tuple[str, str]]
) -> None:
    assert canonical(given) == shared
    assert canonical(shared) == shared


def test_a_form_without_a_choice_asks_for_everyone(rosa: TestClient, answers: Answers) -> None:
    answer = rosa.get("/explorer?age_from=&age_to=")
    assert answer.headers["location"] == "/explorer?everyone=1"
    assert "Every patient with images" in rosa.get("/explorer?everyone=1").text
    rosa.get("/explorer/answers?")
    assert answers.asked == [All(())]


def test_nodes_that_are_silent_refuse_or_lack_a_term_are_named(rosa: TestClient, answers: Answers) -> None:
    answers.given = [
        NodeAnswer(A, "Aurelia", "ES", "silent"),
        NodeAnswer(B, "Waterland", "NL", "refused", reason="not-allowed"),
        NodeAnswer(C, "Banksia", "AU", "unknown-terms", unknown=("diagnosis=C34",)),
    ]
    page = rosa.get("/explorer?diagnosis=C34&wait=1").text
    assert "No answer in time." in page
    assert "Not allowed" in page
    assert "Not known there: diagnosis=C34." in page
    said = "No node gave a number; 1 node does not know all terms; 1 node refused; 1 node did not answer."
    assert said in page


@pytest.mark.parametrize(
    ("numbers", "waiting", "said"),
    [
        ((60, 80, 3, 0, 0, 0, 0), 0, "Sum of 3 shown nodes."),
        ((60, 80, 1, 2, 0, 0, 1), 0, "Sum of 1 shown node, and 2 nodes below the threshold; 1 node did not answer."),
        ((0, 0, 0, 3, 0, 0, 0), 0, "No number to show: 3 nodes below the threshold."),
        ((60, 80, 1, 0, 0, 0, 0), 2, "Sum of 1 shown node; 2 nodes are still asked."),
    ],
)
def test_the_total_says_what_it_is_the_sum_of(numbers: tuple[int, ...], waiting: int, said: str) -> None:
    assert sentence(Total(*numbers), waiting) == said


def test_a_node_that_joined_since_counts_and_is_listed_when_all_wait(rosa: TestClient, answers: Answers) -> None:
    answers.given.append(replace(answers.given[0], node=NodeId("n-" + "d" * 26), title="Newcomer"))
    assert "Newcomer" in rosa.get("/explorer?sex=F&wait=1").text
    arrived = events(rosa.get("/explorer/answers?sex=F").text)
    assert "2\u202f425" in arrived[-2][1]


@pytest.mark.parametrize("error", [Unreachable("The broker is away."), RuntimeError("secret words")])
def test_a_search_that_breaks_off_says_so_and_ends(rosa: TestClient, answers: Answers, error: Exception) -> None:
    answers.given, answers.error = answers.given[:1], error
    arrived = events(rosa.get("/explorer/answers?sex=F").text)
    assert [name for name, _ in arrived] == [A, "total", "failed", "end"]
    assert "secret" not in arrived[2][1]


def test_the_page_says_what_it_does_not_prevent_and_how_to_repeat(rosa: TestClient) -> None:
    page = rosa.get("/explorer?modality=CT&modality=MR&sex=F&age=40-60").text
    assert "does not yet stop somebody from subtracting" in page
    assert "hub.search(modality=[&#34;CT&#34;, &#34;MR&#34;], sex=&#34;F&#34;, age=(40, 60))" in page
    assert "carina search http://hub.localhost:8700 --modality CT --modality MR --sex F --age 40-60" in page


def test_the_form_shows_common_sites_first_and_all_others_one_step_away(rosa: TestClient) -> None:
    page = rosa.get("/explorer").text
    shown = re.findall(r'name="diagnosis" value="(C\d\d)"', page)
    assert sorted(shown) == [code for code, _ in SITES]
    assert shown[:10] == list(COMMON["diagnosis"])
    assert f"<summary>{len(SITES) - 10} others</summary>" in page
    assert "<details open>" not in page[page.index('value="C50"') :]


def test_a_chosen_site_is_seen_without_a_step(rosa: TestClient) -> None:
    page = rosa.get("/explorer?diagnosis=C16&wait=1").text
    assert re.search(r"<details open>\s*<summary>\d+ others</summary>", page)
    assert re.search(r'name="diagnosis" value="C16" checked', page)
    assert "Diagnosis: Stomach (C16)" in page


def test_every_site_that_the_clinical_table_takes_can_be_asked_for(rosa: TestClient, answers: Answers) -> None:
    for code, _ in SITES:
        assert from_pairs([("diagnosis", code)], ()) == All((OneOf("diagnosis", (code,)),))
    assert rosa.get("/explorer/answers?diagnosis=C16").status_code == 200
    assert answers.asked == [All((OneOf("diagnosis", ("C16",)),))]
