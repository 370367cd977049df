"""The hub's pages, over real records."""

from __future__ import annotations

import re

from sqlalchemy import update
from starlette.testclient import TestClient
from tests.pages import IRI_A, IRI_C, A, B, C

from carina.hub.centre import Hub
from carina.storage.hub_schema import nodes


def test_home_shows_the_sums_the_nodes_and_three_searches(anyone: TestClient) -> None:
    page = anyone.get("/").text
    assert "1\u202f396" in page  # 1184 and 212; the third dataset is too small to be in it
    assert "1 dataset with too few patients to show is not in these sums." in page
    assert "<dd>2 <small>of 3</small></dd>" in page
    assert "last heard" in page
    assert len(re.findall(r'href="/explorer\?[^"]+"', page)) == 3


def test_the_part_that_refreshes_itself_holds_the_figures_and_the_picture(anyone: TestClient) -> None:
    part = anyone.get("/live").text
    assert "<html" not in part
    assert "1\u202f396" in part
    assert 'hx-swap-oob="innerHTML"' in part


def test_an_empty_hub_says_what_to_do(empty_hub: TestClient) -> None:
    assert "No node has joined yet" in empty_hub.get("/").text
    assert "No dataset is published yet" in empty_hub.get("/datasets").text
    assert "No node has joined yet" in empty_hub.get("/nodes").text


def test_no_page_has_style_or_script_inside_or_loads_from_elsewhere(rosa: TestClient) -> None:
    of_everyone = ("/", "/datasets", f"/datasets/{IRI_A}", "/explorer", "/explorer?modality=CT", "/nodes", "/account")
    of_people = ("/requests", f"/requests/new?dataset={IRI_A}", "/permits", "/runs", "/runs/new")
    for path in of_everyone + of_people:
        answer = rosa.get(path)
        assert answer.status_code == 200, path
        assert "style=" not in answer.text, path
        assert "<style" not in answer.text, path
        assert not re.search(r"<script(?![^>]* src=)", answer.text), path
        assert not re.search(r'(src|href)="(https?:)?//', answer.text), path
        assert not re.search(r"\son[a-z]+=", answer.text), path
        assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_the_catalogue_is_narrowed_by_words_modality_and_body_part(anyone: TestClient) -> None:
    def titles(query: str) -> list[str]:
        return re.findall(r'<h2><a href="/datasets/[^"]+">([^<]+)</a>', anyone.get(f"/datasets{query}").text)

    lung, breast, brain = (
        "Lung cancer: CT and PET over time",
        "Breast MR before and after therapy",
        "Paediatric brain tumours",
    )
    assert titles("") == [breast, lung, brain]
    assert titles("?text=LUNG+spain") == [lung]
    assert titles("?modality=CT") == [lung]
    assert titles("?body_part=CHEST") == [lung]
    assert titles("?body_part=BRAIN") == []  # hidden there, so not to be found either
    assert titles("?modality=MR") == [breast, lung]
    assert titles(f"?node={A}") == [lung]
    assert titles("?text=nothing+like+it") == []


def test_a_dataset_shows_its_groups_with_small_ones_hidden(anyone: TestClient) -> None:
    page = anyone.get(f"/datasets/{IRI_A}").text
    assert "1\u202f184" in page
    assert "Bronchus and lung (C34)" in page
    for hidden in ("30–39", "90+", "Canon", "(C50)"):
        assert f"<dt>{hidden}" not in page and "Not shown:" not in page
    assert page.count("fewer than 10") == 1  # why; a hidden group may be larger, so none is said to have fewer
    assert "A group that is not listed has fewer than 10 patients, none included, or is left out" in page
    assert IRI_A in page
    assert "hub.dataset(" in page


def test_a_dataset_below_the_threshold_shows_no_number_at_all(anyone: TestClient) -> None:
    page = anyone.get(f"/datasets/{IRI_C}").text
    assert "fewer than 10" in page
    assert "not shown" in page
    assert "None" not in page


def test_an_unknown_dataset_is_a_page_that_says_so(anyone: TestClient) -> None:
    answer = anyone.get("/datasets/urn:uuid:none")
    assert answer.status_code == 404
    assert "The catalogue has no such dataset." in answer.text
    assert answer.headers["content-type"].startswith("text/html")


def test_what_nodes_say_of_themselves_cannot_become_markup(anyone: TestClient, hub: Hub) -> None:
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).where(nodes.c.id == A).values(title="<script>alert(1)</script>"))
    for path in ("/", "/nodes", f"/datasets/{IRI_A}"):
        assert "<script>alert" not in anyone.get(path).text


def test_only_an_operator_is_told_how_to_invite(rosa: TestClient) -> None:
    assert "carina hub invite" not in rosa.get("/nodes").text


def test_a_browser_keeps_static_files_and_asks_again(anyone: TestClient) -> None:
    first = anyone.get("/static/carina.css")
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    again = anyone.get("/static/carina.css", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_the_vendored_script_is_served_as_script(anyone: TestClient) -> None:
    assert "javascript" in anyone.get("/static/vendor/htmx-2.min.js").headers["content-type"]


def test_each_node_has_a_place_on_the_page_of_nodes(anyone: TestClient) -> None:
    """The source of a visa is this place: /nodes#n-…"""
    page = anyone.get("/nodes").text
    assert [page.count(f'<tr id="{node}">') for node in (A, B, C)] == [1, 1, 1]
