"""Runs on the hub's pages: starting, each node's progress, the pooled result with its plot, exports."""

from __future__ import annotations

import csv
import io
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient
from tests.access import ask_for, grant, hear
from tests.pages import IRI_A, IRI_B, A, B, csrf, exhaust
from tests.running import finish, group, let_sign, progress, stop

from carina.hub import permits, runs
from carina.hub.centre import Hub
from carina.hub.runs import Job, Run
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.web.runs import sentence, state_of
from carina.model.principal import Principal
from carina.storage.hub_schema import nodes


@pytest.fixture
def me(hub: Hub) -> Principal:
    return Principal("rosa", hub.id, frozenset({"researcher"}), "Rosa Ruiz")


@pytest.fixture
def allowed(hub: Hub, clara: TestClient, me: Principal) -> list[str]:
    """Rosa's permits for analyses of the datasets of two nodes, in force."""
    let_sign(hub)
    decider = Principal("clara", hub.id, frozenset({"researcher"}))
    made = []
    for iri in (IRI_A, IRI_B):
        item = ask_for(hub, me, iri, actions=("analyse",)).items[0]
        permit = grant(hub, decider, item.id, actions=("analyse",))
        hear(hub, permit)
        made.append(permit.id)
    return made


@pytest.fixture
def run(hub: Hub, me: Principal, allowed: list[str]) -> Run:
    return runs.start(hub, me, allowed, "signal-statistics", "Two <hospitals>")


def at(run: Run, node: str) -> Job:
    return next(job for job in run.jobs if job.node == node)


def silence(hub: Hub, node: str) -> None:
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).where(nodes.c.id == node).values(last_seen="2026-01-01T00:00:00.000000Z"))


def plain(page: str) -> str:
    """What a page says, without markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_nothing_run_yet_and_nothing_to_run_with_are_said(rosa: TestClient) -> None:
    assert "Nothing run yet" in rosa.get("/runs").text
    assert "No permit for analyses is in force" in rosa.get("/runs/new").text


def test_a_run_is_started_over_several_permits(rosa: TestClient, hub: Hub, me: Principal, allowed: list[str]) -> None:
    page = rosa.get("/runs/new", params={"permit": allowed[0]}).text
    assert f'value="{allowed[0]}" checked' in page and f'value="{allowed[1]}">' in page
    data = {"csrf": csrf(page), "permit": allowed, "analysis": "signal-statistics", "title": "Both"}
    answer = rosa.post("/runs/new", data=data)
    made = runs.listed(hub, me)[0]
    assert answer.headers["location"] == f"/runs/{made.id}?done=started"
    assert {job.node for job in made.jobs} == {A, B}
    assert "Both" in rosa.get("/runs").text


def test_a_run_that_cannot_be_started_comes_back_with_the_sentence(
    rosa: TestClient, hub: Hub, me: Principal, allowed: list[str]
) -> None:
    token = csrf(rosa.get("/runs/new").text)
    data: dict[str, Any] = {"csrf": token, "permit": [], "analysis": "signal-statistics", "title": "<i>kept</i>"}
    empty = rosa.post("/runs/new", data=data)
    assert empty.status_code == 400 and "A run needs a permit." in empty.text
    assert 'value="&lt;i&gt;kept&lt;/i&gt;"' in empty.text
    assert rosa.post("/runs/new", data={**data, "permit": allowed, "analysis": "other"}).status_code == 404
    permits.revoke(hub, me, allowed[0])
    answer = rosa.post("/runs/new", data={**data, "permit": allowed})
    assert answer.status_code == 403
    assert "The permit for “Lung cancer: CT and PET over time” was ended." in answer.text
    assert runs.listed(hub, me) == []


def test_runs_are_not_started_more_often_than_a_person_may_ask(
    rosa: TestClient, hub: Hub, me: Principal, allowed: list[str], limit: RateLimit
) -> None:
    exhaust(limit)
    data = {"csrf": csrf(rosa.get("/runs/new").text), "permit": allowed, "analysis": "signal-statistics", "title": "A"}
    answer = rosa.post("/runs/new", data=data)
    assert answer.status_code == 429 and "too many requests in a short time" in answer.text
    assert runs.listed(hub, me) == []


def test_a_person_with_too_many_runs_is_told_so_in_the_form(
    rosa: TestClient, hub: Hub, me: Principal, allowed: list[str]
) -> None:
    for _ in range(runs.MOST_OPEN):
        runs.start(hub, me, allowed, "signal-statistics")
    data = {"csrf": csrf(rosa.get("/runs/new").text), "permit": allowed, "analysis": "signal-statistics", "title": "A"}
    answer = rosa.post("/runs/new", data=data)
    assert answer.status_code == 429 and "You have 20 runs that have not ended." in answer.text
    assert f'value="{allowed[0]}" checked' in answer.text


def test_permits_that_wait_for_their_node_are_named(rosa: TestClient, hub: Hub, me: Principal, allowed: Any) -> None:
    hear(hub, permits.get(hub, me, allowed[1]), "waiting")
    page = plain(rosa.get("/runs/new").text)
    assert "1 further permit waits for a node: Breast MR before and after therapy." in page


def test_a_page_shows_each_nodes_progress(rosa: TestClient, hub: Hub, run: Run) -> None:
    progress(hub, at(run, A), 42)
    page = rosa.get(f"/runs/{run.id}").text
    assert "42 %" in page and 'width="42%"' in page
    assert "Done for 0 of 2 datasets; 1 running; 1 not fetched yet." in page
    assert "Two &lt;hospitals&gt;" in page
    assert f'hx-get="/runs/{run.id}/live?seen=' in page and 'hx-trigger="every 2s"' in page


def test_the_live_part_comes_only_when_something_has_changed(rosa: TestClient, hub: Hub, run: Run) -> None:
    address = re.search(r'hx-get="([^"]+)"', rosa.get(f"/runs/{run.id}").text)
    assert address is not None
    assert rosa.get(address[1]).status_code == 204
    progress(hub, at(run, A), 7)
    part = rosa.get(address[1])
    assert part.status_code == 200
    assert "<html" not in part.text and "7 %" in part.text and 'id="run"' in part.text


def test_a_run_that_has_ended_is_not_asked_about_again(rosa: TestClient, hub: Hub, run: Run) -> None:
    finish(hub, run, at(run, A), group("CT", 40, 18.351, 4.2))
    stop(hub, at(run, B), "refused", "not-countersigned")
    page = rosa.get(f"/runs/{run.id}").text
    assert "hx-get" not in page and "Cancel" not in page
    assert "Done for 1 of 2 datasets; 1 refused." in page
    assert "The node&#39;s data manager has not signed the permit." in page
    assert "Partly done" in page


def test_results_stand_as_text_beside_the_plot(rosa: TestClient, hub: Hub, run: Run) -> None:
    finish(hub, run, at(run, A), group("CT", 40, 18.351, 4.2), group("MR", 12, 27, 9))
    finish(hub, run, at(run, B), group("CT", 60, 12.9, 3.1))
    page = rosa.get(f"/runs/{run.id}").text
    said = plain(page)
    assert "Computed tomography (CT)" in said
    assert "Hospital Santa Aurelia 40 18.35 ± 4.20" in said
    assert "Waterland Medisch Centrum 60 12.90 ± 3.10" in said
    assert "Pooled over 2 datasets 100 15.08 ± 4.46" in said
    assert "Pooled over 1 dataset 12 27.00 ± 9.00" in said
    assert "Not in it: Waterland Medisch Centrum." in said
    assert "A person known to two nodes counts twice." in said
    assert all('aria-hidden="true"' in tag for tag in re.findall(r"<svg[^>]*dots[^>]*>", page))
    assert page.count("<circle") >= 5


def test_a_silent_node_is_said_to_be(rosa: TestClient, hub: Hub, run: Run) -> None:
    silence(hub, B)
    page = rosa.get(f"/runs/{run.id}").text
    assert "The node is silent. It does its part when it returns." in page
    assert "1 node silent." in page
    progress(hub, at(run, B), 30)
    assert "when last heard it had begun, 30 %" in rosa.get(f"/runs/{run.id}").text


def test_a_node_that_releases_nothing_says_its_limit(rosa: TestClient, hub: Hub, run: Run) -> None:
    finish(hub, run, at(run, A))
    stop(hub, at(run, B), "failed", "out-of-memory")
    page = rosa.get(f"/runs/{run.id}").text
    assert "no group has enough patients for the node’s limit of 10." in page
    assert "The analysis needed more memory than the node gives." in page
    assert "No node gave a group." in page


def test_a_run_is_cancelled_after_a_question(rosa: TestClient, hub: Hub, me: Principal, run: Run) -> None:
    page = rosa.get(f"/runs/{run.id}").text
    assert "data-confirm=" in page
    path = f"/runs/{run.id}/cancel"
    assert rosa.post(path, data={"csrf": csrf(page)}).headers["location"].endswith("?done=cancelled")
    assert {job.state for job in runs.get(hub, me, run.id).jobs} == {"cancelled"}
    again = rosa.post(path, data={"csrf": csrf(page)})
    assert again.status_code == 409 and "The run has ended." in again.text
    assert "Cancelled" in rosa.get("/runs").text


def test_a_result_is_exported_as_csv_and_json(rosa: TestClient, hub: Hub, run: Run) -> None:
    finish(hub, run, at(run, A), group("CT", 40, 18.351, 4.2))
    table = rosa.get(f"/runs/{run.id}.csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.headers["content-disposition"] == f'attachment; filename="run-{run.id}.csv"'
    rows = list(csv.DictReader(io.StringIO(table.text)))
    numbers = [(row["group"], row["n"]) for row in rows if row["n"]]
    assert numbers == [("CT", "40"), ("CT", "40")]  # a node's own, and the pooled one
    whole = rosa.get(f"/runs/{run.id}.json")
    assert whole.headers["content-disposition"] == f'attachment; filename="run-{run.id}.json"'
    assert Decimal(str(json.loads(whole.text)["pooled"][0]["mean"])) == Decimal("18.351")


def test_nobody_else_sees_a_run(clara: TestClient, run: Run) -> None:
    for path in ("", "/live", ".csv", ".json"):
        assert clara.get(f"/runs/{run.id}{path}").status_code == 404
    assert "Two &lt;hospitals&gt;" not in clara.get("/runs").text


def test_a_runs_word_is_what_has_become_of_its_jobs(hub: Hub, me: Principal, run: Run) -> None:
    assert state_of(run) == ("Running", "info")
    stop(hub, at(run, A), "failed", "crashed")
    stop(hub, at(run, B), "refused", "revoked")
    ended = runs.get(hub, me, run.id)
    assert state_of(ended) == ("No result", "bad")
    assert sentence(ended) == "Done for 0 of 2 datasets; 1 refused; 1 failed."
