"""The console's overview, arrivals and system, over a real node."""

from __future__ import annotations

import re
from datetime import date

import pytest
from starlette.testclient import TestClient
from tests.pages import fill_node, sign_in
from tests.support import FOLDER

from carina.interfaces.web.growing import day_chart
from carina.node import quarantine, worker
from carina.node.site import Node
from carina.storage.growth import Day

TODAY = date(2026, 3, 10)


@pytest.fixture
def filled(node: Node) -> Node:
    fill_node(node)
    while worker.work(node, "test"):
        pass
    return node


def test_the_overview_says_what_to_do_and_where(nora: TestClient, filled: Node) -> None:
    page = nora.get("/").text
    assert '<a href="/quarantine">' in page and "wait in quarantine for a decision." in page
    assert 'hx-get="/overview"' in page and "Audit trail" in page
    assert nora.get("/overview").text.startswith("<section")


def test_the_overview_leads_nobody_to_a_page_that_is_not_theirs(console: TestClient, filled: Node) -> None:
    assert sign_in(console, "omar").status_code == 303
    assert "/review" not in console.get("/").text


def test_the_overview_speaks_the_reader_s_language(nora: TestClient, filled: Node) -> None:
    page = nora.get("/", headers={"Accept-Language": "de"})
    assert page.status_code == 200 and 'lang="de"' in page.text


def test_arrivals_of_one_source_are_shown_alone(nora: TestClient, filled: Node) -> None:
    page = nora.get(f"/arrivals?source={FOLDER}").text
    assert 'hx-get="/arrivals/live?source=folder%3Ainbox"' in page
    rows = nora.get(f"/arrivals/live?source={FOLDER}").text
    assert "inbox" in rows and "SCANNER" not in rows
    assert nora.get("/arrivals?source=aet:NOBODY").status_code == 404


def test_what_was_discarded_is_no_longer_counted_as_in_quarantine(nora: TestClient, filled: Node) -> None:
    def figures(address: str) -> dict[str, str]:
        found = re.findall(r"<dt[^>]*>([^<]*)</dt>\s*<dd[^>]*>\s*([^<]*)", nora.get(address).text)
        return {name.strip(): value.strip() for name, value in found}

    assert figures("/arrivals/live")["in quarantine"] == "4"
    quarantine.discard(filled, "nora", wanted=quarantine.Wanted(source=str(FOLDER)))
    told = figures("/arrivals/live")
    assert (told["in quarantine"], told["discarded"]) == ("3", "1")
    told = figures(f"/arrivals/live?source={FOLDER}")
    assert (told["in quarantine"], told["discarded"]) == ("0", "1")


def test_the_system_page_shows_parts_and_no_secret(nora: TestClient, filled: Node) -> None:
    page = nora.get("/system").text
    for text in ("Storage", "Signs messages", "server", "Engine of de-identification", filled.signing.thumbprint):
        assert text in page
    for name in ("pseudonym", "storage", "signing", "permits"):
        assert getattr(filled.keys, name).hex() not in page


def test_pages_are_light(nora: TestClient, filled: Node) -> None:
    for path in ("/", "/arrivals", "/system"):
        assert len(nora.get(path).content) < 60_000, path


def test_a_chart_has_a_place_for_each_day_and_none_for_what_is_older() -> None:
    days = [Day(date(2026, 3, 10), "lung", 2, 50), Day(date(2026, 3, 10), "breast", 1, 50)]
    days += [Day(date(2026, 3, 8), "lung", 1, 1), Day(date(2026, 1, 1), "lung", 9, 10**6)]
    chart = day_chart(days, TODAY, 3)
    assert [(bar.images, bar.size, bar.height) for bar in chart.bars] == [(1, 1, 1.5), (0, 0, 0.0), (3, 100, 100.0)]
    assert chart.largest == 100 and [bar.day.day for bar in chart.some] == [10, 8]
    assert day_chart([], TODAY, 30).largest == 0
