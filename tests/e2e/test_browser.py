"""A person with a browser, at the hub and at a node of a running federation."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Browser, expect
from tests.e2e.conftest import Demo, opened, press_until, sign_in

pytestmark = pytest.mark.browser

STAFF = ("data-manager", "operator")
WAIT = 20_000  # milliseconds that a search may take here


def test_a_nodes_page_shows_images_while_they_arrive(demo: Demo, browser: Browser) -> None:
    node = demo.nodes[0]
    with opened(browser) as page:
        sign_in(page, node["url"], demo.account(node["key"], *STAFF))
        page.get_by_role("link", name="Arrivals", exact=True).click()
        expect(page.get_by_role("heading", name="Arrivals", level=1)).to_be_visible()
        page.evaluate("window.loadedOnce = true")
        arrived = page.locator(".figures dd").first
        for _ in range(2):
            expect(arrived).not_to_have_text(arrived.inner_text(), timeout=60_000)
        assert page.evaluate("window.loadedOnce") is True  # the page kept itself up to date
        expect(page.get_by_role("heading", name="Studies that grew last")).to_be_visible(timeout=60_000)


def test_from_signing_in_to_counts_of_three_nodes_to_a_dataset(full_demo: Demo, browser: Browser) -> None:
    demo = full_demo
    with opened(browser) as page:
        page.goto(f"{demo.hub}/")
        page.get_by_role("link", name="Search the nodes").click()
        expect(page).to_have_url(re.compile("/sign-in"))
        page.get_by_label("Name", exact=True).fill(demo.account("hub", "researcher")[0])
        page.get_by_label("Password").fill(demo.account("hub", "researcher")[1])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Explorer")).to_be_visible()

        page.get_by_text("Computed tomography").click()  # the label, by pointer
        expect(page.get_by_label("Computed tomography")).to_be_checked()
        page.get_by_role("button", name="Search").click()
        expect(page).to_have_url(f"{demo.hub}/explorer?modality=CT")
        rows = page.locator("#results tbody tr")
        expect(rows).to_have_count(3)
        expect(rows.get_by_text("Answered")).to_have_count(3, timeout=WAIT)
        expect(page.get_by_text("Sum of 3 shown nodes.")).to_be_visible()
        patients = [int(re.sub(r"\D", "", cell)) for cell in rows.locator("td.amount:nth-of-type(2)").all_inner_texts()]
        assert len(patients) == 3
        assert min(patients) >= 10
        total = page.locator(".sum b").first.inner_text()
        assert int(re.sub(r"\D", "", total)) == sum(patients)

        rows.first.get_by_role("link").first.click()
        if "/datasets?" in page.url:  # a node with several datasets
            page.locator(".entry h2 a").first.click()
        expect(page.get_by_text("urn:uuid:")).not_to_have_count(0)
        groups = page.get_by_role("heading", name="Patients by group")
        end = time.monotonic() + 40
        while not groups.is_visible() and time.monotonic() < end:  # a node describes itself anew every 20 s
            page.wait_for_timeout(1_000)
            page.reload()
        expect(groups).to_be_visible()
        page.go_back()


def test_the_three_searches_of_the_first_page_have_figures_at_every_node(full_demo: Demo, browser: Browser) -> None:
    with opened(browser) as page:
        sign_in(page, full_demo.hub, full_demo.account("hub", "researcher"))
        paths = page.locator(".steps a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert len(paths) == 3
        for path in paths:
            page.goto(full_demo.hub + path)
            expect(page.locator("#results tbody").get_by_text("Answered")).to_have_count(3, timeout=WAIT)


def test_the_back_button_brings_the_earlier_search_back(full_demo: Demo, browser: Browser) -> None:
    with opened(browser) as page:
        sign_in(page, full_demo.hub, full_demo.account("hub", "researcher"))
        page.goto(f"{full_demo.hub}/explorer")
        page.get_by_label("Computed tomography").check()
        page.get_by_role("button", name="Search").click()
        expect(page).to_have_url(re.compile(r"\?modality=CT$"))
        page.get_by_label("Magnetic resonance").check()
        page.get_by_role("button", name="Search").click()
        expect(page).to_have_url(re.compile(r"\?modality=CT&modality=MR$"))
        page.go_back()
        expect(page).to_have_url(re.compile(r"\?modality=CT$"))
        expect(page.get_by_label("Terms of this search").get_by_role("listitem")).to_have_text(
            "Modality: Computed tomography (CT)"
        )
        expect(page.get_by_label("Magnetic resonance")).not_to_be_checked()


def test_everything_goes_by_keyboard_alone(full_demo: Demo, browser: Browser) -> None:
    name, password = full_demo.account("hub", "researcher")
    with opened(browser) as page:
        page.goto(f"{full_demo.hub}/sign-in?next=/explorer")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        press_until(page, "Tab", "input#name")
        page.keyboard.type(name)
        press_until(page, "Tab", "input#password")
        page.keyboard.type(password)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Explorer")).to_be_visible()
        press_until(page, "Tab", "input[value='MR']")
        page.keyboard.press("Space")
        press_until(page, "Tab", "summary:has-text('Sex')")
        page.keyboard.press("Enter")
        press_until(page, "Tab", "input[value='F']")
        page.keyboard.press("Space")
        press_until(page, "Tab", "button:has-text('Search')")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"\?modality=MR&sex=F$"))
        expect(page.locator("#results tbody").get_by_text("Asking")).to_have_count(0, timeout=WAIT)
        press_until(page, "Tab", "#results tbody a")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("/datasets"))


def test_without_javascript_one_can_sign_in_search_and_sign_out(full_demo: Demo, browser: Browser) -> None:
    with opened(browser, java_script_enabled=False) as page:
        sign_in(page, full_demo.hub, full_demo.account("hub", "researcher"))
        page.goto(f"{full_demo.hub}/explorer")
        page.get_by_label("Computed tomography").check()
        page.get_by_role("button", name="Search").click()
        expect(page.locator("#results tbody").get_by_text("Answered")).to_have_count(3, timeout=WAIT)
        page.goto(f"{full_demo.hub}/account")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_a_wrong_password_is_told_in_one_sentence(full_demo: Demo, browser: Browser) -> None:
    with opened(browser) as page:
        page.goto(f"{full_demo.hub}/sign-in")
        page.get_by_label("Name", exact=True).fill("nobody-here")
        page.get_by_label("Password").fill("a wrong password")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("wrong")
