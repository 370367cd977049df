"""OHIF, opened from a study's page with that study: images, segmentations and structures, and its end."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import cycle

import numpy as np
import pydicom
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Response, expect
from sqlalchemy import select
from tests.contoured import RED, structure_set
from tests.e2e.conftest import opened
from tests.looking import Looking, open_looking, sample_files
from tests.support import LUNG

from carina.deid.profile import load_profile
from carina.dicom.transcode import transcoded
from carina.interfaces.web.ohif import viewer
from carina.model.clock import now
from carina.node.site import Project
from carina.storage.schema import studies

CHROMIUM = os.environ.get("CARINA_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update")
# A drawing surface without a graphics card.
GRAPHICS = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
COMPRESSED = (
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.80",  # JPEG-LS
    "1.2.840.10008.1.2.4.90",  # JPEG 2000
)
WITHIN = 60_000  # ms; the first image takes some 15 s where there is no graphics card

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("npm") is None, reason="OHIF is built where npm is"),
]


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looking]:
    """A CT, its slices compressed in turns, with a segmentation and a structure set; another segmentation of images
    that are elsewhere."""
    files = list(sample_files(1, "CT", "SEG"))
    kinds = [pydicom.dcmread(BytesIO(data), specific_tags=["Modality"]).Modality for data in files]
    slices = [data for data, kind in zip(files, kinds, strict=True) if kind == "CT"]
    packed = [transcoded(data, syntax) for data, syntax in zip(slices, cycle(COMPRESSED), strict=False)]
    others = [data for data, kind in zip(files, kinds, strict=True) if kind != "CT"]
    sent = [*packed, *others, structure_set(slices), _of_elsewhere(others[0])]
    research = {LUNG: Project(LUNG, "Lung", load_profile("research"), "HOSPITAL")}
    with open_looking(tmp_path_factory.mktemp("site"), sent, projects=research) as site:
        yield site


def _of_elsewhere(data: bytes) -> bytes:
    """The segmentation as a series of its own, of images that nobody has sent."""
    made = pydicom.dcmread(BytesIO(data))
    made.SeriesInstanceUID += ".9"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"{made.SOPInstanceUID}.9"
    made.SeriesNumber, made.FrameOfReferenceUID = 900, f"{made.FrameOfReferenceUID}.9"
    for series in made.ReferencedSeriesSequence:
        series.SeriesInstanceUID += ".9"
        for image in series.ReferencedInstanceSequence:
            image.ReferencedSOPInstanceUID += ".9"
    for frame in made.PerFrameFunctionalGroupsSequence:
        for source in (one for image in frame.DerivationImageSequence for one in image.SourceImageSequence):
            source.ReferencedSOPInstanceUID += ".9"
    written = BytesIO()
    made.save_as(written)
    return written.getvalue()


def test_images_are_hidden_when_the_node_says_nothing_for_forty_seconds(looking: Looking, browser: Browser) -> None:
    with opened(browser) as page:
        looking.enter(page)
        page.goto(f"{looking.dataset}/studies/{_study(looking)}")
        action = page.locator("form[action$='/ohif']").get_attribute("action")
        page.evaluate("document.querySelector(\"form[action$='/ohif']\").removeAttribute('target')")
        page.clock.install()
        page.route("**/*.bundle.*.js", lambda route: route.abort())  # what the node adds is enough for this
        page.get_by_role("button", name="Open in OHIF").click()
        page.wait_for_url(f"**{str(action).removesuffix('/ohif').split('/studies/')[1]}/viewer**")
        heading = page.get_by_role("heading", name="The images are closed")
        _goes_by(page, 60)  # the node answers
        expect(heading).to_have_count(0)
        page.route("**/access", lambda route: route.abort())
        _goes_by(page, 30)
        expect(heading).to_have_count(0)
        _goes_by(page, 20)
        expect(heading).to_be_visible()
        expect(page.get_by_role("link", name="Load the page again")).to_be_visible()


def _goes_by(page: Page, seconds: int) -> None:
    """Time by the page's clock, with a moment of the real one for each request to be answered."""
    for _ in range(0, seconds, 5):
        page.clock.run_for(5_000)
        page.wait_for_timeout(100)


def test_a_study_shows_in_ohif_with_its_segmentation_and_structures_until_the_permit_ends(
    looking: Looking, browser: Browser
) -> None:
    assert viewer() is not None, "`make viewer` brings it"
    flags = [*FLAGS, *GRAPHICS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    drawing = browser.browser_type.launch(executable_path=CHROMIUM, args=flags)
    try:
        page = drawing.new_context(viewport={"width": 1280, "height": 800}).new_page()
        asked, missing = _watched(page)
        looking.enter(page)
        page.goto(f"{looking.dataset}/studies/{_study(looking)}")
        with page.expect_popup() as popup:
            page.get_by_role("button", name="Open in OHIF").click()
        shown = popup.value
        more, gone = _watched(shown)
        frames, barred = _told(shown)
        assert _until(looking, shown, lambda picture: _greys(picture) > 60), "no slice with many greys"
        assert not shown.get_by_text("Skip all").is_visible()  # no tour

        shown.mouse.move(640, 400)
        for _ in range(4):  # through the compressed slices
            shown.mouse.wheel(0, 100)
            shown.wait_for_timeout(700)
            assert _until(looking, shown, lambda picture: _greys(picture) > 60)
        assert _syntaxes(shown, frames) == set(COMPRESSED)

        shown.get_by_text("SEG", exact=True).first.dblclick()
        assert _until(looking, shown, lambda picture: _reddish(picture) > 40), "no segmentation in colour"
        assert not shown.get_by_text("Error loading").count()

        shown.get_by_text("RTSTRUCT", exact=True).first.dblclick()
        assert _until(looking, shown, lambda picture: _near(picture, RED) > 60), "no contour"

        shown.get_by_text("SEG", exact=True).nth(1).dblclick()
        notice = shown.get_by_text("The images to which this series belongs are not in the study.")
        expect(notice).to_be_visible(timeout=15_000)

        elsewhere = {url for url in [*asked, *more] if not url.startswith((looking.outside, "blob:", "data:"))}
        assert elsewhere == set()
        assert missing == gone == barred == []
        _ends(looking, shown)
    finally:
        drawing.close()


def _ends(looking: Looking, shown: Page) -> None:
    """All is closed once the hub has ended the permit."""
    place = shown.evaluate("window.config.dataSources[0].configuration.wadoRoot")
    permit = list(looking.site.states)[-1]
    looking.site.states[permit] = "ended"
    looking.site.say(now())
    shown.wait_for_url("**/ended", timeout=20_000)
    assert "ended" in shown.inner_text("body").lower()
    assert shown.locator("canvas").count() == 0
    asked = [f"{place}/studies", f"{place}/studies/{_study(looking)}/metadata"]
    answers = shown.evaluate("paths => Promise.all(paths.map(async (path) => (await fetch(path)).status))", asked)
    assert answers == [403, 403]


def _study(looking: Looking) -> str:
    with looking.site.node.engine.connect() as connection:
        return str(connection.execute(select(studies.c.study_uid)).scalar_one())


def _watched(page: Page) -> tuple[list[str], list[str]]:
    asked: list[str] = []
    missing: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda response: response.status == 404 and missing.append(response.url))
    return asked, missing


def _told(page: Page) -> tuple[dict[str, str], list[str]]:
    """The frames that OHIF asked for, with what it accepts, and what the content policy barred."""
    frames: dict[str, str] = {}
    barred: list[str] = []

    def came(response: Response) -> None:
        if "/frames/" in response.url and response.ok:
            frames[response.url] = response.request.headers["accept"]

    page.on("response", came)
    page.on("console", lambda said: "Content Security Policy" in said.text and barred.append(said.text))
    return frames, barred


def _syntaxes(page: Page, frames: dict[str, str]) -> set[str]:
    """The transfer syntaxes in which the node answers what OHIF asked."""
    ask = "([url, accept]) => fetch(url, {headers: {accept}}).then((answer) => answer.text())"
    starts = [page.evaluate(ask, [url, accept])[:300] for url, accept in frames.items()]
    return {found[1] for text in starts if (found := re.search(r"transfer-syntax=([0-9.]+)", text))}


def _until(looking: Looking, page: Page, fits: Callable[[np.ndarray], bool]) -> bool:
    """Whether the viewport comes to show it, while the hub says that the permit is good."""
    for _ in range(WITHIN // 1000):
        looking.site.say(now())
        if fits(_picture(page)):
            return True
        page.wait_for_timeout(1000)
    return False


def _picture(page: Page) -> np.ndarray:
    """What stands in the viewport now; nothing but black while it is being made."""
    place = page.evaluate(
        """() => { const box = document.querySelector(".viewport-element")?.getBoundingClientRect();
                   return box?.width ? { x: box.x, y: box.y, width: box.width, height: box.height } : null; }"""
    )
    if place is None:
        return np.zeros((12, 12, 3), np.int16)
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=place))).convert("RGB"), np.int16)


def _greys(picture: np.ndarray) -> int:
    even = (picture.max(axis=2) - picture.min(axis=2)) == 0
    return int(np.unique(picture[even][:, 0]).size)


def _reddish(picture: np.ndarray) -> int:
    """Pixels of the first segment's colour in the upper middle of the viewport, where no message of OHIF's own lies;
    its progress bar is blue."""
    rows, columns = picture.shape[:2]
    middle = picture[rows // 6 : rows * 3 // 4, columns // 6 : -columns // 6]
    return int(((middle[..., 0] - middle[..., 1:].max(axis=2)) > 60).sum())


def _near(picture: np.ndarray, colour: list[int]) -> int:
    return int((np.abs(picture - np.array(colour)).max(axis=2) < 70).sum())
