"""Journeys by the keyboard alone, with a focus that is seen: a data manager in the console, a researcher at images."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.e2e.conftest import opened, press_until
from tests.looking import NORA
from tests.whole import Whole, open_whole

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with open_whole(tmp_path_factory.mktemp("whole")) as made:
        yield made


@pytest.fixture(scope="module")
def console(whole: Whole, browser: Browser) -> Iterator[Page]:
    """Nora's browser; she signed in by keys."""
    with opened(browser, locale="en") as page:
        page.goto(f"{whole.looking.inside}/sign-in")
        press_until(page, "Tab", "input#name")
        page.keyboard.type(NORA[0])
        press_until(page, "Tab", "input#password")
        page.keyboard.type(NORA[1])
        press_until(page, "Tab", "button:has-text('Sign in')")
        page.keyboard.press("Space")
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        yield page


def press(page: Page, selector: str, key: str = "Enter") -> None:
    """Go to an element with the Tab key and press another there."""
    press_until(page, "Tab", selector)
    page.keyboard.press(key)


def test_a_data_manager_discards_what_waits_and_takes_it_back(console: Page) -> None:
    press(console, "main a[href^='/quarantine']")
    press(console, "h2 a[href='/quarantine/unmapped-source']")
    console.once("dialog", lambda dialog: dialog.dismiss())
    press(console, "button:has-text('Discard 1')")
    expect(console.get_by_role("button", name="Discard 1")).to_be_visible()
    console.once("dialog", lambda dialog: dialog.accept())
    console.keyboard.press("Enter")
    expect(console.get_by_role("status")).to_contain_text("1 image discarded.")
    press(console, "main a[href='/quarantine/discarded']")
    expect(console.get_by_role("heading", name="Discarded")).to_be_visible()
    before = console.get_by_role("button", name=re.compile("^Take [0-9a-v]{26} back")).count()
    press(console, "tr:has-text('Unmapped source') button:has-text('Undo')")
    expect(console.get_by_role("status")).to_contain_text("1 image taken back")
    expect(console.get_by_role("button", name=re.compile("^Take [0-9a-v]{26} back"))).to_have_count(before - 1)


def test_a_data_manager_narrows_the_audit_trail_and_takes_it_along(console: Page) -> None:
    press(console, "nav a[href='/audit']")
    press(console, "summary:has-text('Narrow the trail')")
    press_until(console, "Tab", "select#action")
    console.keyboard.type("quarantine-r".replace("-", " "))
    press(console, "main button:has-text('Show')")
    expect(console).to_have_url(re.compile("action=quarantine-restored"))
    expect(console.locator("tbody tr").first).to_contain_text("quarantine restored")
    with console.expect_download() as download:
        press(console, "main a:has-text('CSV')")
    assert "quarantine-restored" in download.value.path().read_text()


def test_a_data_manager_cancels_an_analysis_on_a_page_that_keeps_itself_up_to_date(console: Page) -> None:
    press(console, "nav a[href='/asked']")
    cancel = console.get_by_role("button", name=re.compile("^Cancel"))
    expect(cancel).to_have_count(2)
    press_until(console, "Tab", "button[value='cancel']")
    with console.expect_response(lambda answer: answer.url.endswith("/asked/live")):
        pass
    console.wait_for_timeout(300)
    expect(cancel.first).to_be_focused()  # the page has been brought up to date meanwhile
    console.once("dialog", lambda dialog: dialog.accept())
    console.keyboard.press("Enter")
    expect(console.get_by_role("status")).to_contain_text("The analysis was cancelled.")
    expect(cancel).to_have_count(1)


def test_the_language_is_changed_and_changed_back(console: Page) -> None:
    press(console, "footer a[lang='de']")
    expect(console.locator("html")).to_have_attribute("lang", "de")
    press(console, "footer a[lang='en']")
    expect(console.locator("html")).to_have_attribute("lang", "en")


def test_a_researcher_goes_through_a_study(whole: Whole, browser: Browser) -> None:
    with opened(browser, locale="en") as page:
        whole.looking.enter(page)
        page.goto(whole.looking.dataset)
        press(page, "tr:has-text('SEG') th a")
        stage, number = page.locator("#stage"), page.locator("[data-number]")
        expect(stage).to_have_class(re.compile("live"))
        press(page, "#stage", "Home")
        page.keyboard.press("ArrowDown")
        expect(number).to_have_text(re.compile("^2 / "))
        press_until(page, "Tab", "select#window")
        page.keyboard.type("Bone")
        expect(page.get_by_label("Window")).to_have_value("bone")
        box = page.locator(".legend input").first
        press_until(page, "Tab", ".legend input")
        page.keyboard.press("Space")
        expect(box).not_to_be_checked()
        page.keyboard.press("Space")
        expect(box).to_be_checked()
        press_until(page, "Shift+Tab", "#stage")
        outlines = page.locator("#stage .outlines path")
        for _ in range(10):
            page.wait_for_timeout(200)
            if outlines.count():
                break
            page.keyboard.press("ArrowDown")
        expect(outlines).not_to_have_count(0)
        page.keyboard.press("o")
        expect(outlines).to_have_count(0)
        press(page, "a[data-mosaic]")
        press(page, ".tiles li:nth-child(3) a")
        expect(number).to_have_text(re.compile("^3 / "))
        press(page, "#header summary")
        press_until(page, "Tab", "#sought")
        page.keyboard.type("pixel spacing")
        rows = page.locator("#header tbody tr:visible")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("PixelSpacing")
