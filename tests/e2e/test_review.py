"""A data manager with a browser looks at pictures in which text was found, and decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select
from tests.e2e.conftest import opened, sign_in
from tests.pages import PASSWORD, node_app
from tests.reviewing import DATE, NAME, hold, ultrasound
from tests.support import ct, open_test_node

from carina.deid.pixels.findings import Box
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.node import review
from carina.node.site import Node
from carina.storage.accounts import add_account
from carina.storage.schema import pixel_checks

pytestmark = pytest.mark.browser

NORA, BEN = ("nora", PASSWORD), ("ben", PASSWORD)


@dataclass(frozen=True)
class Console:
    """A node's console that answers at `url`."""

    node: Node
    url: str

    def state(self, arrival_id: str) -> str:
        with self.node.engine.connect() as connection:
            wanted = select(pixel_checks.c.state).where(pixel_checks.c.id == arrival_id)
            return str(connection.execute(wanted).scalar_one())

    def boxes(self, arrival_id: str) -> list[list[Any]]:
        with self.node.engine.connect() as connection:
            wanted = select(pixel_checks.c.boxes).where(pixel_checks.c.id == arrival_id)
            return list(connection.execute(wanted).scalar_one())


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with open_test_node(tmp_path / "node", title="Hospital Santa Aurelia") as node:
        for name in ("nora", "ben"):
            add_account(node.engine, name, PASSWORD, {"data-manager"})
        identity = Identity(LocalAccounts(node.engine, node.id), node.id, secure=False)
        config = uvicorn.Config(node_app(node, identity, "http://node.localhost"), port=0, log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        end = time.monotonic() + 20
        while not server.started and time.monotonic() < end:
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Console(node, f"http://node.localhost:{port}")
        server.should_exit = True
        thread.join(20)


def rects(page: Page) -> list[list[int]]:
    """Left, top, right and bottom of the boxes that the picture shows."""
    found: list[list[int]] = page.locator("#desk .boxes rect").evaluate_all(
        "all => all.map(one => ['x', 'y', 'width', 'height'].map(name => Number(one.getAttribute(name))))"
    )
    return [[left, top, left + width, top + height] for left, top, width, height in found]


def drag(page: Page, box: Box) -> None:
    """Draw this box of an image of 640 × 480 over the picture."""
    corners = page.evaluate(
        """([one, other]) => [one, other].map(([x, y]) => {
            const at = new DOMPoint(x, y).matrixTransform(document.querySelector('#desk .boxes').getScreenCTM());
            return [at.x, at.y];
        })""",
        [[box.left, box.top], [box.right, box.bottom]],
    )
    page.mouse.move(*corners[0])
    page.mouse.down()
    page.mouse.move(*corners[1], steps=4)
    page.mouse.up()


def test_a_box_is_drawn_another_left_out_and_the_image_passes(console: Console, browser: Browser) -> None:
    held, last = hold(console.node, ultrasound(1)), hold(console.node, ultrasound(2))
    with opened(browser) as page:
        sign_in(page, console.url, NORA)
        page.get_by_role("link", name="Review").click()
        page.locator(f"a[href='/review/{held}']").click()
        expect(page.get_by_role("button", name="Blank 2 boxes and pass")).to_be_visible()
        page.get_by_role("button", name="Draw a box").click()
        drag(page, Box(100, 300, 140, 420))
        expect(page.get_by_role("button", name="Blank 3 boxes and pass")).to_be_visible()
        [left, top, right, bottom] = rects(page)[2]
        assert all(abs(a - b) <= 2 for a, b in zip((left, top, right, bottom), (300, 100, 420, 140), strict=True))
        page.locator("#desk .boxes rect").nth(1).click()
        page.keyboard.press("Delete")
        expect(page.get_by_label("Box 2")).not_to_be_checked()
        page.get_by_role("button", name="Blank 2 boxes and pass").click()
        page.wait_for_url(f"{console.url}/review/{last}?done=settled")
    assert console.state(held) == "settled"
    assert [12, 16, 36, 232, None] in console.boxes(held)
    assert [top, left, bottom, right, None] in console.boxes(held)
    assert len(console.boxes(held)) == 2


def test_a_box_is_drawn_where_it_is_seen_when_the_picture_is_enlarged(console: Console, browser: Browser) -> None:
    held = hold(console.node, ultrasound(1), boxes=())
    with opened(browser) as page:
        sign_in(page, console.url, NORA)
        page.goto(f"{console.url}/review/{held}")
        page.get_by_role("button", name="Zoom: fit").click()
        page.get_by_role("button", name="Zoom: 2 ×").click()
        page.get_by_role("button", name="Draw a box").click()
        drag(page, Box(200, 280, 220, 330))
        [[left, top, right, bottom]] = rects(page)
        assert all(abs(a - b) <= 1 for a, b in zip((left, top, right, bottom), (280, 200, 330, 220), strict=True))


def test_everything_goes_by_keys(console: Console, browser: Browser) -> None:
    ids = [hold(console.node, ultrasound(number)) for number in range(4)]
    with opened(browser) as page:
        sign_in(page, console.url, NORA)
        page.goto(f"{console.url}/review/{ids[0]}")
        page.keyboard.press("ArrowRight")
        page.wait_for_url(f"{console.url}/review/{ids[1]}")
        page.keyboard.press("ArrowLeft")
        page.wait_for_url(f"{console.url}/review/{ids[0]}")
        page.keyboard.press("d")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Box 3")).to_be_focused()
        before = rects(page)[2]
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Shift+ArrowDown")
        after = rects(page)[2]
        assert after == [before[0] + 1, before[1] + 1, before[2] + 1, before[3] + 2]
        page.keyboard.press("a")
        page.wait_for_url(f"{console.url}/review/{ids[1]}?done=settled")
        page.keyboard.press("n")
        page.wait_for_url(f"{console.url}/review/{ids[2]}?done=clear")
        page.once("dialog", lambda dialog: dialog.dismiss())
        page.keyboard.press("r")
        page.once("dialog", lambda dialog: dialog.accept())
        page.keyboard.press("r")
        page.wait_for_url(f"{console.url}/review/{ids[3]}?done=rejected")
        page.get_by_text("Keys", exact=True).click()
        page.get_by_label("Letters act as keys").uncheck()
        page.reload()
        page.keyboard.press("a")
        page.wait_for_timeout(300)
    assert [console.state(one) for one in ids] == ["settled", "settled", "rejected", "flagged"]
    assert len(console.boxes(ids[0])) == 3
    assert console.boxes(ids[1]) == []


def test_the_frames_of_an_image_each_show_their_own_boxes(console: Console, browser: Browser) -> None:
    held = hold(console.node, ultrasound(1, frames=6), size=(480, 640, 6), boxes=(NAME, Box(300, 5, 330, 90, 2)))
    with opened(browser) as page:
        sign_in(page, console.url, NORA)
        page.goto(f"{console.url}/review/{held}")
        expect(page.locator("[data-number]")).to_have_text("1 / 6")
        assert len(rects(page)) == 1
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        expect(page.locator("[data-number]")).to_have_text("3 / 6")
        expect(page.locator("#desk img")).to_have_attribute("src", f"/review/{held}/frames/3")
        assert len(rects(page)) == 2
        page.get_by_label("this frame only").check()
        page.get_by_role("button", name="Draw a box").click()
        drag(page, Box(200, 280, 220, 330))
        assert len(rects(page)) == 3
        page.get_by_label("Frame", exact=True).fill("6")
        expect(page.locator("#desk img")).to_have_attribute("alt", "US image, 6 frames, frame 6")
        assert len(rects(page)) == 1
        page.get_by_role("button", name="Blank 3 boxes and pass").click()
        page.wait_for_url(f"{console.url}/review?done=settled")
    assert sorted(str(box[4]) for box in console.boxes(held)) == ["2", "2", "None"]


def test_without_javascript_readers_accept_and_reject(console: Console, browser: Browser) -> None:
    first, second = (hold(console.node, ultrasound(number, 3), size=(480, 640, 3)) for number in (1, 2))
    with opened(browser, java_script_enabled=False) as page:
        sign_in(page, console.url, NORA)
        page.goto(f"{console.url}/review/{first}")
        expect(page.get_by_role("button", name="Draw a box")).to_be_hidden()
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#desk img")).to_be_visible()
        page.get_by_label("Box 2").uncheck()
        page.get_by_role("button", name="and pass").click()
        page.wait_for_url(f"{console.url}/review/{second}?done=settled")
        page.get_by_role("button", name="Reject").click()
        page.wait_for_url(f"{console.url}/review?done=rejected")
    assert (console.state(first), console.state(second)) == ("settled", "rejected")
    assert console.boxes(first) == [[NAME.top, NAME.left, NAME.bottom, NAME.right, None]]


def test_two_people_agree_in_two_browsers(console: Console, browser: Browser) -> None:
    held = hold(console.node, ultrasound(1), readers=2)
    with opened(browser) as page:
        sign_in(page, console.url, NORA)
        page.goto(f"{console.url}/review/{held}")
        page.keyboard.press("a")
        page.wait_for_url(f"{console.url}/review?done=waits")
        expect(page.get_by_text("Waits for another reader")).to_be_visible()
    assert console.state(held) == "flagged"
    with opened(browser) as page:
        sign_in(page, console.url, BEN)
        page.goto(f"{console.url}/review/{held}")
        expect(page.get_by_text("You are the second reader.")).to_be_visible()
        page.keyboard.press("a")
        page.wait_for_url(f"{console.url}/review?done=settled")
    assert console.state(held) == "settled"


def test_a_picture_that_cannot_be_drawn_says_so(console: Console, browser: Browser) -> None:
    held = hold(console.node, b"no DICOM file at all")
    with opened(browser) as page:
        sign_in(page, console.url, NORA)
        page.goto(f"{console.url}/review/{held}")
        expect(page.get_by_text("This picture cannot be drawn.")).to_be_visible()


def test_axe_finds_nothing_and_nothing_is_wider_than_a_phone(console: Console, browser: Browser) -> None:
    two = hold(
        console.node, ultrasound(2, 12), size=(480, 640, 12), readers=2, boxes=(NAME, DATE, Box(9, 9, 30, 30, 4))
    )
    review.decide(console.node, "ben", two, "accept", [NAME], seen=0)
    three = hold(console.node, ct(), size=(32, 32, 1), boxes=())
    hold(console.node, b"x", state="waiting")
    found: list[str] = []
    with opened(browser) as page:
        sign_in(page, console.url, NORA)
        for path in ("/review", f"/review/{two}?frame=5", f"/review/{three}/header?all=1"):
            page.emulate_media(color_scheme="light")
            page.set_viewport_size({"width": 1280, "height": 900})
            page.goto(console.url + path)
            checked = [Axe().run(page)]
            page.emulate_media(color_scheme="dark")
            checked.append(Axe().run(page, options={"runOnly": ["color-contrast"]}))
            found += [f"{path}: {one.generate_report()}" for one in checked if one.violations_count]
            page.set_viewport_size({"width": 360, "height": 740})
            if page.evaluate("document.documentElement.scrollWidth") > 360:
                found.append(f"{path}: wider than 360 px")
    assert found == []
