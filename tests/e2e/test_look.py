"""A researcher looks at images in a browser: slices, windows, outlines, the sheet, the header."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect
from tests.archive import keep
from tests.e2e.conftest import opened, sign_in
from tests.looking import NORA, Looking, open_looking, sample_files
from tests.support import ct

pytestmark = pytest.mark.browser

DIFFERENCE = """async () => {
    const drawn = document.querySelector("[data-canvas]");
    const series = JSON.parse(document.getElementById("stage").dataset.look);
    const [uid, frame] = series.slices[Number(document.getElementById("slice").value) - 1];
    const picture = new Image();
    picture.src = `${series.base}/frames/${series.uids[uid]}/${frame}.png?window=${drawn.dataset.window}`;
    await picture.decode();
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [picture.naturalWidth, picture.naturalHeight];
    const pixels = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    copy.getContext("2d").drawImage(picture, 0, 0);
    const [theirs, ours] = [pixels(copy), pixels(drawn)];
    return theirs.length === ours.length ? theirs.filter((shade, place) => shade !== ours[place]).length : -1;
}"""
"""Of how many pixels the canvas and the node's picture for the same window are not the same; −1: of another size."""

PLAYED = """() => new Promise((done) => {
    const [shown, frames] = [document.querySelector("[data-number]"), []];
    new MutationObserver((_, watch) => {
        frames.push(Number.parseInt(shown.textContent));
        if (frames.length < 15) return;
        watch.disconnect();
        done(frames);
    }).observe(shown, { childList: true });
})"""
"""The numbers of the next 15 frames that are shown."""


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looking]:
    with open_looking(tmp_path_factory.mktemp("look"), sample_files(1, "CT", "SEG")) as made:
        yield made


def study_of(page: Page, looking: Looking) -> str:
    """The address of the study, with its images open."""
    looking.enter(page)
    page.goto(looking.dataset)
    page.locator("tbody th a").first.click()
    expect(page.locator("#stage")).to_have_class(re.compile("live"))
    return page.url


def number(page: Page) -> str:
    return str(page.locator("[data-number]").text_content())


def test_slices_go_by_keys_wheel_and_slider_and_the_address_keeps_them(looking: Looking, browser: Browser) -> None:
    with opened(browser) as page:
        study_of(page, looking)
        stage = page.locator("#stage")
        stage.focus()
        for key, shown in (("Home", "1 / 10"), ("ArrowDown", "2 / 10"), ("ArrowUp", "1 / 10"), ("End", "10 / 10")):
            page.keyboard.press(key)
            assert number(page) == shown
        stage.hover()
        page.mouse.wheel(0, -80)
        expect(page.locator("[data-number]")).to_have_text("8 / 10")
        page.get_by_role("slider", name="Slice").fill("3")
        expect(page.locator("[data-number]")).to_have_text("3 / 10")
        page.wait_for_url(re.compile("slice=3"))
        page.reload()
        expect(page.locator("[data-number]")).to_have_text("3 / 10")


def test_a_window_set_by_hand_has_the_pixels_that_the_node_draws(looking: Looking, browser: Browser) -> None:
    with opened(browser) as page:
        study_of(page, looking)
        canvas = page.locator("[data-canvas]")
        for center, width in (("-600", "1500"), ("40.5", "7.25"), ("-123.4", "1"), ("0", "0.5")):
            page.get_by_label("Centre", exact=True).fill(center)
            page.get_by_label("Width", exact=True).fill(width)
            expect(canvas).to_have_attribute("data-window", re.compile(f"^{center},{width}(,linear-exact)?$"))
            expect(canvas).to_be_visible()
            assert page.evaluate(DIFFERENCE) == 0
        page.locator("#stage").focus()
        page.keyboard.press("2")
        expect(canvas).to_be_hidden()
        page.keyboard.press("]")
        expect(page.get_by_label("Window")).to_have_value("custom")
        page.keyboard.press("ArrowDown")
        expect(canvas).to_be_visible()
        expect(page.locator("#stage[aria-busy]")).to_have_count(0)
        assert page.evaluate(DIFFERENCE) == 0


def test_the_value_under_the_pointer_is_told_in_its_unit(looking: Looking, browser: Browser) -> None:
    with opened(browser) as page:
        study_of(page, looking)
        page.locator("#stage").hover()
        expect(page.locator("[data-readout]")).to_have_text(re.compile(r"x \d+ +y \d+ +\u2212?\d+\u202fHU"))


def test_outlines_are_drawn_over_their_slices_and_can_be_left_out(looking: Looking, browser: Browser) -> None:
    with opened(browser) as page:
        study_of(page, looking)
        paths = page.locator("#stage .outlines path")
        page.locator("#stage").focus()
        page.keyboard.press("Home")
        for _ in range(10):
            page.wait_for_timeout(250)
            if paths.count():
                break
            page.keyboard.press("ArrowDown")
        expect(paths).to_have_count(1)
        box = page.locator("#stage .plane").bounding_box()
        drawn = paths.first.bounding_box()
        assert box is not None
        assert drawn is not None
        assert box["x"] < drawn["x"] < drawn["x"] + drawn["width"] < box["x"] + box["width"]
        page.locator(".legend input").first.uncheck()
        expect(paths).to_have_count(0)


def test_the_sheet_opens_a_slice_and_the_header_is_searched(looking: Looking, browser: Browser) -> None:
    with opened(browser) as page:
        study_of(page, looking)
        page.get_by_role("link", name="All slices").click()
        expect(page.locator(".mosaic img")).to_have_js_property("complete", True)
        late: list[Route] = []
        page.route(re.compile("quicklook"), lambda route: late.insert(0, route))
        page.get_by_role("link", name="Slice 4").focus()
        page.keyboard.press("Enter")
        expect(page.locator("[data-number]")).to_have_text("4 / 10")
        page.locator("#header summary").click()  # before the page's script has come
        late[0].continue_()
        rows = page.locator("#header tbody tr:visible")
        expect(rows.first).to_be_visible()
        page.get_by_label("Find in the header").fill("pixel spacing")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("PixelSpacing")


def film(looking: Looking) -> str:
    """The address of a study inside that is a film of 12 frames, each brighter than the one before."""
    pixels = np.repeat(np.arange(12, dtype="<i2") * 100, 16 * 16).tobytes()
    elements = {"NumberOfFrames": 12, "FrameTime": 50, "PixelData": pixels, "WindowCenter": -500, "WindowWidth": 1200}
    study, series, _ = keep(looking.site.node, ct("FILM", size=16, elements=elements))
    return f"{looking.inside}/studies/{study}?series={series}"


def touches(page: Page, *steps: tuple[str, list[tuple[float, float]]]) -> None:
    """Fingers on the screen: `touchStart`, `touchMove` or `touchEnd`, and where they all are."""
    session = page.context.new_cdp_session(page)
    for kind, points in steps:
        places = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})


def test_a_film_plays_and_fingers_go_through_enlarge_and_fit(tmp_path: Path, browser: Browser) -> None:
    with open_looking(tmp_path, [ct(size=8)]) as looking, opened(browser, has_touch=True) as page:
        sign_in(page, looking.inside, NORA)
        page.goto(film(looking))
        stage, shown = page.locator("#stage"), page.locator("[data-number]")
        expect(stage).to_have_class(re.compile("live"))
        play = page.get_by_role("button", name="Play")
        seen = number(page)
        expect(page.locator("[data-rate]")).to_have_value("20")
        play.click()
        expect(shown).not_to_have_text(seen)
        expect(page.get_by_role("button", name="Pause")).to_have_attribute("aria-pressed", "true")
        frames = page.evaluate(PLAYED)
        assert set(frames) == set(range(1, 13))
        assert {(after - before) % 12 for before, after in itertools.pairwise(frames)} == {1}
        stage.focus()
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Play")).to_have_attribute("aria-pressed", "false")
        page.keyboard.press("Home")
        expect(shown).to_have_text("1 / 12")

        box = stage.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        down: list[tuple[str, list[tuple[float, float]]]] = [("touchMove", [(x, y + 10 * n)]) for n in range(1, 9)]
        touches(page, ("touchStart", [(x, y)]), *down, ("touchEnd", []))
        expect(shown).to_have_text("4 / 12")
        wide = page.locator(".plane").bounding_box()
        apart: list[tuple[str, list[tuple[float, float]]]] = [
            ("touchMove", [(x - n, y), (x + n, y)]) for n in range(40, 85, 5)
        ]
        touches(page, ("touchStart", [(x - 40, y), (x + 40, y)]), *apart, ("touchEnd", []))
        large = page.locator(".plane").bounding_box()
        assert wide is not None
        assert large is not None
        assert large["width"] == pytest.approx(2 * wide["width"], rel=0.05)
        expect(shown).to_have_text("4 / 12")
        for _ in range(2):
            touches(page, ("touchStart", [(x, y)]), ("touchEnd", []))
        expect(stage).not_to_have_class(re.compile("large"))

        page.keyboard.press("f")
        expect(page.locator(":fullscreen #stage")).to_be_visible()
        stage.focus()
        page.keyboard.press("f")
        expect(page.locator(":fullscreen")).to_have_count(0)


def test_without_javascript_slices_windows_sheet_and_header_work(looking: Looking, browser: Browser) -> None:
    with opened(browser, java_script_enabled=False) as page:
        looking.enter(page)
        page.goto(looking.dataset)
        page.locator("tbody th a").first.click()
        page.get_by_label("Window").select_option("lung")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.locator("#stage img")).to_have_attribute("src", re.compile("window=lung$"))
        page.locator("#header summary").click()
        page.get_by_label("Find in the header").fill("spacing")
        page.get_by_role("button", name="Show the header").click()
        expect(page.locator("#header tbody")).to_contain_text("PixelSpacing")
        page.get_by_role("link", name="All slices").click()
        page.get_by_role("link", name="Slice 2", exact=True).click()
        expect(page.locator("[data-number]")).to_have_text("2 / 10")


def test_axe_finds_nothing_in_light_and_dark_and_nothing_is_wider_than_a_phone(
    looking: Looking, browser: Browser
) -> None:
    found: list[str] = []
    with opened(browser) as page:
        study = study_of(page, looking)
        sign_in(page, looking.inside, NORA)
        inside = f"{looking.inside}/studies"
        same = f"{inside}/{study.split('/studies/')[1].split('?')[0]}"
        for path in (looking.dataset, f"{study}?header=1", f"{study}?mosaic=1", inside, same):
            page.emulate_media(color_scheme="light")
            page.set_viewport_size({"width": 1280, "height": 900})
            page.goto(path)
            checked = [Axe().run(page)]
            page.emulate_media(color_scheme="dark")
            checked.append(Axe().run(page, options={"runOnly": ["color-contrast"]}))
            found += [f"{path}: {one.generate_report()}" for one in checked if one.violations_count]
            for width, height in ((360, 740), (640, 450)):  # a phone; a desk's screen at 200 %
                page.set_viewport_size({"width": width, "height": height})
                if page.evaluate("document.documentElement.scrollWidth") > width:
                    found.append(f"{path}: wider than {width} px")
    assert found == []
