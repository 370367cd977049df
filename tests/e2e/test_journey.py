"""The whole journey of a researcher in a browser: find, ask, be permitted, look, run, be cut off."""

from __future__ import annotations

import io
import re
import time
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_modality_lut
from tests.e2e.conftest import Demo, opened, sign_in

from carina.interfaces.client.connection import LoopbackTransport
from carina.model.clock import new_id, now

pytestmark = pytest.mark.browser

SOON = 30_000  # milliseconds that a change may take to come round
CUT_OFF = 60.0  # seconds from a revocation until the open page is closed
PROJECT = f"Journey of <b>one</b> browser {new_id()[-6:]}"
REAL = "CT_small.dcm"  # a slice of a scanner, which pydicom carries and the demonstration sends


def real_slice(demo: Demo) -> tuple[dict[str, Any], dict[str, str], Dataset]:
    """The node that holds the real CT slice, its UIDs there, and the slice as pydicom carries it."""
    original = dcmread(str(get_testdata_file(REAL)))
    pixels = original.pixel_array
    for node in demo.nodes:
        headers = {"Authorization": f"Bearer {node['staff_token']}", "Accept": "application/dicom+json"}
        with httpx2.Client(transport=LoopbackTransport(), timeout=20, headers=headers) as client:
            wanted = {"00280010": "128", "00280011": "128", "Modality": "CT"}
            answer = client.get(f"{node['url']}/dicom-web/instances", params=wanted)
            for row in answer.json() if answer.status_code == 200 else ():
                uids = {name: row[tag]["Value"][0] for name, tag in TAGS.items()}
                path = "/dicom-web/studies/{study}/series/{series}/instances/{instance}".format(**uids)
                file = client.get(node["url"] + path, headers={"Accept": "application/dicom; transfer-syntax=*"})
                if np.array_equal(dcmread(io.BytesIO(file.content)).pixel_array, pixels):
                    return node, uids, original
    raise LookupError("no node holds the real slice")


TAGS = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}


def windowed(image: Dataset, center: float, width: float) -> np.ndarray:
    """What PS3.3 section C.11.2.1.2.1 makes of the slice, in 8 bits."""
    values = apply_modality_lut(image.pixel_array, image).astype(float)
    grey = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.rint(np.clip(grey, 0, 255)).astype(np.uint8)


def test_the_whole_journey_from_the_first_page_to_the_end_of_the_permit(full_demo: Demo, browser: Browser) -> None:
    demo = full_demo
    first, uids, original = real_slice(demo)
    others = [node for node in demo.nodes if node["key"] != first["key"]]
    second, third = others
    with ExitStack() as pages:
        page = pages.enter_context(opened(browser))
        find_and_ask(demo, page, [first, second, third])
        member = pages.enter_context(opened(browser))
        decide(demo, member, first, "grant")
        refusing = pages.enter_context(opened(browser))
        decide(demo, refusing, second, "refuse")
        with opened(browser) as page_of_third:
            decide(demo, page_of_third, third, "grant")
        for node in (first, third):
            countersign(browser, demo, node)
        see_partly_granted(demo, page)
        study = look(demo, page, first, uids, original)
        run_over_two(demo, browser, [first, third], second)
        revoke_and_be_cut_off(demo, member, study, first)


def find_and_ask(demo: Demo, page: Page, nodes: list[dict[str, Any]]) -> None:
    """Home → explorer → dataset → request over three datasets."""
    sign_in(page, demo.hub, demo.account("hub", "researcher"))
    page.locator(".steps a").first.click()
    expect(page.get_by_role("heading", name="Explorer")).to_be_visible()
    rows = page.locator("#results tbody tr")
    expect(rows.get_by_text("Answered")).to_have_count(3, timeout=SOON)
    rows.first.get_by_role("link").first.click()
    if "/datasets?" in page.url:
        page.locator(".entry h2 a").first.click()
    expect(page.get_by_role("link", name="Request access")).to_be_visible()
    page.get_by_role("link", name="Request access").click()
    page.get_by_role("link", name="Choose others").click()
    for box in page.locator("main input[type=checkbox][name=dataset]").all():
        box.check()
    page.get_by_role("button", name="Request access").click()
    expect(page.get_by_role("heading", name=f"{len(nodes)} datasets")).to_be_visible()
    page.get_by_label("Title").fill(PROJECT)
    page.get_by_label("Organisation").fill("University of <script>alert(1)</script>")
    page.get_by_label("Purpose").fill("Noise in CT")
    for action in ("Look at images", "Fetch images", "Run analyses"):
        page.get_by_label(action).check()
    page.get_by_label("Last day").fill((now() + timedelta(days=20)).date().isoformat())
    page.get_by_role("button", name="Send the request").click()
    expect(page).to_have_url(re.compile("/requests/[0-9a-v]{26}"))
    expect(page.get_by_role("heading", name=PROJECT)).to_be_visible()  # a text, not markup


def decide(demo: Demo, page: Page, node: dict[str, Any], step: str) -> None:
    """As the committee of a node; the page stays on the decision."""
    account = next(item for item in demo.state["accounts"] if item["name"] == f"committee-{node['key']}")
    sign_in(page, demo.hub, (account["name"], account["password"]))
    page.get_by_role("link", name="Committee", exact=True).click()
    page.get_by_role("link", name=PROJECT).first.click()
    if step == "grant":
        form = page.get_by_role("form", name="Grant")
        form.get_by_label("Reason").fill("Fits our terms")
        form.get_by_role("button", name="Grant access").click()
    else:
        form = page.get_by_role("form", name="Refuse")
        form.get_by_label("Reason").fill("Our board did not agree")
        page.once("dialog", lambda dialog: dialog.accept())
        form.get_by_role("button", name="Refuse").click()
    expect(page.get_by_text("Granted" if step == "grant" else "Refused").first).to_be_visible()


def countersign(browser: Browser, demo: Demo, node: dict[str, Any]) -> None:
    """As the node's data manager; nothing to do where the node trusts its hub."""
    with opened(browser) as page:
        sign_in(page, node["url"], demo.account(node["key"], "data-manager"))
        page.get_by_role("link", name="Permits", exact=True).click()
        expect(page.get_by_text(PROJECT).first).to_be_visible(timeout=SOON)
        sign = page.get_by_role("link", name="Sign or decline").last
        if not sign.is_visible():
            expect(page.get_by_text("Permits are in force as they come.")).to_be_visible()
            return
        sign.click()
        page.get_by_role("button", name="Sign", exact=True).click()
        expect(page.get_by_text("In force").first).to_be_visible()


def see_partly_granted(demo: Demo, page: Page) -> None:
    """The request's page says what became of each dataset, and why."""
    page.get_by_role("link", name="Requests", exact=True).click()
    page.get_by_role("link", name=PROJECT).first.click()
    expect(page.get_by_text("Our board did not agree").first).to_be_visible()
    expect(page.get_by_text("Fits our terms").first).to_be_visible()


def open_images(demo: Demo, page: Page, node: dict[str, Any]) -> None:
    """From the permit's page at the hub to the node's own."""
    end = time.monotonic() + SOON / 1000
    while True:
        page.goto(f"{demo.hub}/permits")
        row = page.locator("tr", has_text=node["title"]).filter(has_text=PROJECT).first
        row.get_by_role("link").first.click()
        button = page.get_by_role("button", name="Open the images")
        if button.is_visible():
            break
        assert time.monotonic() < end, "the permit did not come into force"
        page.wait_for_timeout(1_000)
    button.click()
    expect(page).to_have_url(re.compile(re.escape(node["public_url"]) + "/datasets/urn:uuid:"))


def fetched(page: Page, address: str) -> tuple[int, str, bytes]:
    """Status, Cache-Control and body of what the page itself gets at an address."""
    answer = page.evaluate(
        """async (address) => {
            const answer = await fetch(address);
            const bytes = new Uint8Array(await answer.arrayBuffer());
            return [answer.status, answer.headers.get("Cache-Control"), [...bytes]];
        }""",
        address,
    )
    return answer[0], answer[1], bytes(answer[2])


def look(demo: Demo, page: Page, node: dict[str, Any], uids: dict[str, str], original: Dataset) -> Page:
    """A study's page; the picture of the real slice is what PS3.3 makes of pydicom's pixels."""
    open_images(demo, page, node)
    base = page.url
    assert "code" not in base
    page.goto(f"{base}/studies/{uids['study']}?series={uids['series']}")
    choice = page.get_by_label("Window")
    choice.select_option(choice.locator("option", has_text="Bone").get_attribute("value"))
    center, width = (page.get_by_label(name, exact=True).input_value() for name in ("Centre", "Width"))
    picture = page.locator("#stage img")
    expect(picture).to_have_attribute("src", re.compile("window=bone$"), timeout=SOON)
    address = str(picture.get_attribute("src"))
    assert uids["instance"] in address
    status, kept, data = fetched(page, address)
    assert (status, kept) == (200, "private, no-cache")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), windowed(original, float(center), float(width)))
    return page


def run_over_two(demo: Demo, browser: Browser, nodes: list[dict[str, Any]], refused: dict[str, Any]) -> None:
    """An analysis over the datasets that were granted; the pooled result, with a plot."""
    with opened(browser) as page:
        sign_in(page, demo.hub, demo.account("hub", "researcher"))
        page.goto(f"{demo.hub}/permits")
        rows = page.locator("tr", has_text=PROJECT)
        expect(rows).to_have_count(2)
        assert refused["title"] not in " ".join(rows.all_inner_texts())
        links = [str(link.get_attribute("href")) for link in rows.get_by_role("link").all()]
        asked = "&".join(f"permit={link.rpartition('/')[2]}" for link in links)
        page.goto(f"{demo.hub}/runs/new?{asked}")
        expect(page.locator("input[name=permit]:checked")).to_have_count(2)
        page.get_by_label("Title").fill("From the browser")
        page.get_by_role("button", name="Start").click()
        expect(page.get_by_role("heading", name="From the browser")).to_be_visible()
        expect(page.get_by_role("link", name="CSV")).to_be_visible(timeout=3 * SOON)
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=3 * SOON)
        expect(page.get_by_text("A person known to two nodes counts twice").first).to_be_visible()
        expect(page.locator("svg.plot, .plot svg").first).to_be_visible()
        titles = [node["title"] for node in nodes]
        table = fetched(page, f"{page.url.split('?')[0]}.csv")[2].decode()
        for title in titles:
            assert title in table
        assert refused["title"] not in table


def revoke_and_be_cut_off(demo: Demo, member: Page, open_page: Page, node: dict[str, Any]) -> None:
    """The committee ends the permit; the page that is open closes by itself, and its pictures are refused."""
    address = str(open_page.locator("#stage img").get_attribute("src"))
    member.get_by_role("link", name="Committee", exact=True).click()
    member.locator("tr", has_text=PROJECT).get_by_role("link").first.click()
    member.get_by_label("Reason").fill("The project is over")
    member.once("dialog", lambda dialog: dialog.accept())
    member.get_by_role("button", name="End the permit").click()
    began = time.monotonic()
    expect(open_page.get_by_role("heading", name="The images are closed")).to_be_visible(timeout=CUT_OFF * 1000)
    expect(open_page.locator("#stage img")).to_have_count(0)
    status, _, said = fetched(open_page, address)
    assert status == 403
    assert b"The permit was ended" in said
    assert time.monotonic() - began < CUT_OFF
