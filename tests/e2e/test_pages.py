"""Every page of ours in a browser: nothing for axe, no window too narrow, nothing heavy, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from tests.e2e.conftest import opened, sign_in
from tests.looking import NORA
from tests.whole import PAGES, ROSA, Shown, Whole, open_whole

pytestmark = pytest.mark.browser

AXE = Axe().axe_script
HEAVIEST = 150_000  # bytes of a page with all it loads, without images
DESK = {"width": 1280, "height": 900}
NARROW = ((360, 740), (640, 450))  # a phone; a desk's screen at 200 %
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WEIGHT = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .filter((one) => !/[.](png|jpg)($|[?])|[/]frames[/]\\d+$/.test(one.name))
    .reduce((sum, one) => sum + one.encodedBodySize, 0)"""
GERMAN = [
    shown
    for shown in PAGES
    if (shown.place, shown.route)
    in {
        ("inside", "/"), ("inside", "/quarantine/{reason}"), ("inside", "/permits/{hub}/{id}"), ("inside", "/system"),
        ("outside", "/datasets/{iri}/studies/{study}"), ("hub", "/explorer"), ("hub", "/requests/{id}"),
    }
]  # fmt: skip


@dataclass
class Desk:
    """A browser whose person has signed in everywhere; what it has complained of since the last look."""

    page: Page
    whole: Whole
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda line: line.type == "error" and self.complaints.append(line.text))

    def go(self, shown: Shown) -> None:
        """Open a page and wait until what it loads is there."""
        self.page.set_viewport_size(DESK)
        self.complaints.clear()
        self.page.goto(self.whole.address(shown), wait_until="load")
        expect(self.page.get_by_text("Asking", exact=True)).to_have_count(0)

    def axe(self, rules: list[str]) -> list[str]:
        """What axe finds by these rules, which may also be tags of rules."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE)
        run = "rules => axe.run({ runOnly: rules, resultTypes: ['violations'] }).then((found) => found.violations)"
        return [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
            for one in self.page.evaluate(run, rules)
            for node in one["nodes"]
        ]

    def too_wide(self) -> list[str]:
        """The narrow windows in which the page scrolls sideways, and what sticks out."""
        found = []
        for width, height in NARROW:
            self.page.set_viewport_size({"width": width, "height": height})
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                out = self.page.evaluate(
                    "width => [...document.querySelectorAll('main *')].filter(one => "
                    "one.getBoundingClientRect().right > width).slice(0, 4).map(one => one.outerHTML.slice(0, 90))",
                    width,
                )
                found.append(f"{wide} px in a window of {width}: {out}")
        return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with open_whole(tmp_path_factory.mktemp("whole")) as made:
        yield made


def at_desk(whole: Whole, browser: Browser, language: str) -> Iterator[Desk]:
    """A desk in this language."""
    with opened(browser, locale=language) as page:
        desk = Desk(page, whole)
        for url, cookie in ((whole.hub, ROSA), (whole.looking.inside, NORA)):
            page.context.add_cookies([{"url": url, "name": "carina-language", "value": "en"}])
            sign_in(page, url, cookie)
        whole.looking.enter(page)
        for url in (whole.hub, whole.looking.inside, whole.looking.outside):
            page.context.add_cookies([{"url": url, "name": "carina-language", "value": language}])
        yield desk


@pytest.fixture(scope="module")
def desk(whole: Whole, browser: Browser) -> Iterator[Desk]:
    yield from at_desk(whole, browser, "en")


@pytest.fixture(scope="module")
def strange(whole: Whole, browser: Browser) -> Iterator[Desk]:
    """A desk of somebody who has not signed in."""
    with opened(browser, locale="en") as page:
        yield Desk(page, whole)


@pytest.fixture(scope="module")
def german(whole: Whole, browser: Browser) -> Iterator[Desk]:
    yield from at_desk(whole, browser, "de")


@pytest.mark.parametrize("shown", PAGES, ids=str)
def test_a_page_is_accessible_light_and_dark_fits_a_phone_and_is_light(desk: Desk, strange: Desk, shown: Shown) -> None:
    desk = strange if shown.route == "/sign-in" else desk
    page = desk.page
    page.emulate_media(color_scheme="light")
    desk.go(shown)
    assert [text for text in desk.complaints if "status of 40" not in text] == []
    assert page.locator("h1").count() == 1
    assert len(page.title()) > 3
    assert page.evaluate(WEIGHT) < HEAVIEST
    found = desk.axe(LEVELS)
    page.emulate_media(color_scheme="dark")
    found += desk.axe(["color-contrast"])
    assert found + desk.too_wide() == []


@pytest.mark.parametrize("shown", GERMAN, ids=str)
def test_a_page_in_german_is_accessible_and_fits_a_phone(german: Desk, shown: Shown) -> None:
    german.go(shown)
    assert german.page.locator("html").get_attribute("lang") == "de"
    assert german.axe(LEVELS) + german.too_wide() == []
