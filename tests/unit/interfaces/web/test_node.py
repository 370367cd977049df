"""The node's console, over a real node with images that came through its door."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient
from tests.pages import csrf, fill_node, sign_in
from tests.support import LUNG

from carina.interfaces.web.node_datasets import typed_query
from carina.model.cohort import All, Between, OneOf
from carina.node import datasets, quarantine
from carina.node.arrivals import growing
from carina.node.site import Node
from carina.node.worker import work
from carina.storage.schema import node_tables

PAGES = (
    "/",
    "/overview",
    "/arrivals",
    "/arrivals/live",
    "/system",
    "/quarantine",
    "/quarantine/damaged",
    "/datasets",
    "/datasets/new",
    "/hubs",
    "/audit",
)
PLANTED = ("Garcia", "MRN-", "ACC-77", "SN-4711", "Referring", "19600102")


def work_all(node: Node) -> None:
    while work(node, "test"):
        pass


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_the_console_without_signing_in(console: TestClient, path: str) -> None:
    answer = console.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=")


def test_arrivals_are_counted_by_source_while_they_are_worked_on(nora: TestClient, node: Node) -> None:
    fill_node(node)
    before = nora.get("/arrivals/live").text
    assert row(before, "SCANNER") == ["0 %", "8", "0", "0", "0", "8", "8", "just now"]
    work_all(node)
    after = soon(lambda: nora.get("/arrivals").text, lambda page: "<dd>0</dd>" in page.split("waiting for a worker")[1])
    assert row(after, "SCANNER") == ["100 %", "8", "6", "0", "2", "0", "8", "just now"]
    assert row(after, "inbox") == ["100 %", "2", "0", "1", "1", "0", "2", "just now"]
    assert row(after, "MAMMO") == ["nothing yet", "0", "0", "0", "0", "0", "0", "never"]
    assert "not assigned to a project" in after
    assert growing(node)[0].study_uid[-12:] in after


def soon(page: Callable[[], str], true: Callable[[str], bool]) -> str:
    """The page once it says so: on a busy machine its sums are kept for an instant."""
    end = time.monotonic() + 20
    while not true(found := page()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def row(page: str, source: str) -> list[str]:
    """The cells of a source's row."""
    found = re.search(rf'<th scope="row">(?:<a [^>]*>)?{source}<.*?</tr>', page, re.DOTALL)
    assert found is not None
    cells = re.findall(r"<td[^>]*>(.*?)</td>", found[0], re.DOTALL)
    return [re.sub(r"<[^>]+>", "", cell).strip() for cell in cells]


def test_quarantine_is_grouped_by_reason_with_its_sentence(nora: TestClient, node: Node) -> None:
    fill_node(node)
    work_all(node)
    page = nora.get("/quarantine").text
    for heap in quarantine.heaps(node):
        assert heap.sentence in page
        assert f'href="/quarantine/{heap.reason}"' in page
    assert "Not DICOM" in page
    assert nora.get("/quarantine/no-such-reason").status_code == 404


def test_no_page_shows_what_identifies_a_person(nora: TestClient, node: Node) -> None:
    fill_node(node)
    work_all(node)
    made = datasets.create(node, "nora", LUNG, "Lung CT")
    heaps = [f"/quarantine/{heap.reason}" for heap in quarantine.heaps(node)]
    for path in (*PAGES, *heaps, f"/datasets/{made.iri}"):
        answer = nora.get(path)
        assert answer.status_code == 200, path
        for text in PLANTED:
            assert text not in answer.text, (path, text)


def test_one_thing_in_quarantine_is_tried_again_by_its_form(nora: TestClient, node: Node) -> None:
    fill_node(node)
    work_all(node)
    [held] = quarantine.entries(node, quarantine.Reason.DAMAGED)
    token = csrf(nora.get("/quarantine/damaged").text)
    answer = nora.post("/quarantine/damaged", data={"csrf": token, "id": held.id, "action": "retry"})
    place = answer.headers["location"]
    assert answer.status_code == 303 and place.endswith("&done=retried&count=1")
    assert "/quarantine/progress?from=" in nora.get(place).text
    assert "1 image given back to the workers." in nora.get(answer.headers["location"]).text
    assert quarantine.get(node, held.id).state == "retried"
    assert node.audit.entries(1, action="quarantine-retried")[0].actor == "nora"


def test_all_of_one_reason_are_discarded_and_nothing_else(nora: TestClient, node: Node) -> None:
    fill_node(node)
    work_all(node)
    count = sum(heap.count for heap in quarantine.heaps(node))
    token = csrf(nora.get("/quarantine/not-dicom").text)
    nora.post("/quarantine/not-dicom", data={"csrf": token, "action": "discard"})
    assert sum(heap.count for heap in quarantine.heaps(node)) == count - 1
    assert "Nothing waits for this reason" in nora.get("/quarantine/not-dicom").text


def test_a_decision_without_the_token_or_with_an_unknown_word_changes_nothing(nora: TestClient, node: Node) -> None:
    fill_node(node)
    work_all(node)
    heaps = quarantine.heaps(node)
    assert nora.post("/quarantine/damaged", data={"action": "discard"}).status_code == 403
    token = csrf(nora.get("/quarantine/damaged").text)
    assert nora.post("/quarantine/damaged", data={"csrf": token, "action": "burn"}).status_code == 400
    assert quarantine.heaps(node) == heaps


def test_the_address_cannot_put_words_into_the_page(nora: TestClient) -> None:
    page = nora.get("/quarantine?done=retried&count=<b>9</b>").text
    assert "Images given back to the workers." in page
    assert "<b>9</b>" not in page
    assert 'role="status"' not in nora.get("/quarantine?done=You+have+won").text


def test_a_dataset_is_made_looked_at_published_and_withdrawn(nora: TestClient, node: Node) -> None:
    fill_node(node, patients=12)
    work_all(node)
    token = csrf(nora.get("/datasets/new").text)
    form = {"csrf": token, "project": "lung", "title": "Lung CT", "description": "All of it", "query": "modality=CT"}
    form |= {"actions": ["view", "analyse"], "longest_days": "90"}
    made = nora.post("/datasets/new", data=form)
    assert made.status_code == 303
    page = nora.get(made.headers["location"]).text
    assert "Saved as a draft." in page
    assert "What would be sent to the hubs" in page
    assert "Modality: Computed tomography (CT)" in page
    [dataset] = datasets.listed(node)
    path = f"/datasets/{dataset.iri}"
    assert datasets.published(node) == []
    assert (dataset.actions, dataset.longest_days) == (("view", "analyse"), 90)
    assert "90 days" in page
    nora.post(path, data={"csrf": token, "action": "publish"})
    [description] = datasets.published(node)
    assert description.patients == 12
    assert "What the hubs are sent" in nora.get(path).text
    nora.post(path, data={"csrf": token, "action": "withdraw"})
    assert datasets.get(node, dataset.iri).state == "withdrawn"
    assert "Withdrawn" in nora.get("/datasets").text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", " "),
        ("query", "pirads=4"),
        ("query", "CT?"),
        ("query", "http://hub.example/explorer"),
        ("project", "none"),
        ("actions", "burn"),
        ("actions", ""),
        ("longest_days", "0"),
        ("longest_days", "366"),
        ("longest_days", "soon"),
    ],
)
def test_a_dataset_that_cannot_be_is_not_made_and_the_form_keeps_what_was_typed(
    nora: TestClient, node: Node, field: str, value: str
) -> None:
    token = csrf(nora.get("/datasets/new").text)
    form = {"csrf": token, "project": "lung", "title": "Kept title", "description": "Kept words", "query": ""}
    form |= {"actions": "view", "longest_days": ""}
    answer = nora.post("/datasets/new", data={**form, field: value})
    assert answer.status_code in (400, 404)
    assert 'role="alert"' in answer.text
    assert "Kept words" in answer.text
    assert datasets.listed(node) == []


def test_the_address_of_a_search_can_be_pasted_as_the_query_of_a_dataset() -> None:
    pasted = typed_query("http://hub.localhost:8700/explorer?modality=CT&age=40-60")
    assert pasted == typed_query("modality=CT&age=40-60") == All((OneOf("modality", ("CT",)), Between("age", 40, 60)))
    assert typed_query("") == typed_query("/explorer?everyone=1") == All(())


def test_an_operator_looks_at_datasets_but_does_not_decide(console: TestClient, node: Node) -> None:
    dataset = datasets.create(node, "nora", LUNG, "Lung CT")
    sign_in(console, "omar")
    page = console.get(f"/datasets/{dataset.iri}").text
    assert 'value="publish"' not in page
    token = csrf(console.get("/account").text)
    answer = console.post(f"/datasets/{dataset.iri}", data={"csrf": token, "action": "publish"})
    assert answer.status_code == 403
    assert datasets.published(node) == []


def test_the_audit_trail_is_shown_and_a_break_in_it_is_named(nora: TestClient, node: Node) -> None:
    fill_node(node)
    work_all(node)
    page = nora.get("/audit").text
    assert "The chain is whole." in page
    assert "quarantined" in page
    assert "archived" not in nora.get("/audit?action=quarantined").text.split("<tbody>")[1]
    audit = node_tables.tables["audit"]
    with node.engine.begin() as connection:
        connection.execute(update(audit).where(audit.c.seq == 2).values(actor="somebody else"))
    broken = nora.get("/audit").text
    assert "broken at row 2" in broken
    assert "The chain is whole." not in broken


def test_older_rows_of_the_trail_are_one_step_away(nora: TestClient, node: Node) -> None:
    for number in range(60):
        node.audit.append("tested", "test", str(number))
    page = nora.get("/audit?action=tested").text
    assert 'href="/audit?action=tested&amp;before=11"' in page
    assert "Older rows" not in nora.get("/audit?before=11&action=tested").text
