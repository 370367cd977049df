"""Write pictures of every page into docs/screens, from a demonstration: one that runs, or one that is started here.

    python scripts/screenshots.py [--folder FOLDER] [--out FOLDER]

Names are the same each time; pictures are WebP, so that medical images keep their greys and all of them stay small.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from carina.demo import folder as memory
from carina.demo.access import use

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("CARINA_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
READY_WITHIN = 300.0  # s
LARGEST, LARGEST_ALL = 130_000, 5_000_000  # bytes of one picture, of all
TALLEST = 2400  # CSS pixels; a longer page is cut
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass(frozen=True)
class Shot:
    """One page in the manuals of looks: where, what it is called, and in which looks besides light and wide."""

    name: str
    path: str
    title: str
    looks: tuple[str, ...] = ("phone",)


HUB_OPEN = (
    Shot("hub-home", "/", "Hub: home", ("phone", "dark", "german")),
    Shot("hub-datasets", "/datasets", "Hub: catalogue"),
    Shot("hub-explorer", "/explorer", "Hub: explorer", ("phone", "dark")),
    Shot("hub-nodes", "/nodes", "Hub: nodes"),
    Shot("sign-in", "/sign-in", "Sign-in", ("phone", "german")),
    Shot("design", "/design", "Every piece of the pages", ("phone", "dark")),
)
HUB_RESEARCHER = (
    Shot("hub-requests", "/requests", "Hub: a researcher's requests"),
    Shot("hub-permits", "/permits", "Hub: permits"),
    Shot("hub-runs", "/runs", "Hub: analyses"),
    Shot("account", "/account", "An account"),
)
HUB_COMMITTEE = (Shot("hub-committee", "/committee", "Hub: an access committee"),)


@dataclass(frozen=True)
class Behind:
    """The page behind the first such link of another, or of the page behind the first `via` of that."""

    name: str
    at: str
    link: str
    title: str
    via: str = ""


OF_DATASET = "a[href^='/datasets/urn']"
RESEARCHER_BEHIND = (
    Behind("hub-request-new", "/datasets", "a[href^='/requests/new']", "Hub: asking for access", OF_DATASET),
    Behind("hub-request", "/requests", "main a[href^='/requests/']:not([href*='new'])", "Hub: a request"),
    Behind("hub-permit", "/permits", "main a[href^='/permits/']", "Hub: a permit"),
    Behind("hub-run-new", "/runs", "main a[href^='/runs/new']", "Hub: starting an analysis"),
    Behind("hub-run", "/runs", "main a[href^='/runs/']:not([href*='new'])", "Hub: an analysis"),
)
COMMITTEE_BEHIND = (Behind("hub-decision", "/committee", "main a[href^='/committee/']", "Hub: a decision"),)
CONSOLE_BEHIND = (
    Behind("console-study", "/studies", "main th a[href^='/studies/']", "Console: a study"),
    Behind("console-heap", "/quarantine", "main h2 a[href^='/quarantine/']", "Console: what waits for one reason"),
    Behind("console-discarded", "/quarantine", "main a[href='/quarantine/discarded']", "Console: what was discarded"),
    Behind("console-reading", "/review", "main a[href^='/review/']", "Console: reading an image"),
    Behind("console-dataset", "/datasets", "main a[href^='/datasets/urn']", "Console: a dataset"),
    Behind("console-dataset-new", "/datasets", "main a[href='/datasets/new']", "Console: a new dataset"),
    Behind("console-forget", "/datasets", "main a[href='/forget']", "Console: forgetting a person"),
    Behind("console-permit", "/permits", "main a[href^='/permits/']", "Console: a permit"),
    Behind("console-permit-use", "/asked", "main a[href^='/asked/permits/']", "Console: what left under a permit"),
)


def console_shots(page: Page, url: str) -> list[Shot]:
    """The pages of the console's menu, as it is."""
    page.goto(url)
    links = page.locator("header nav a").evaluate_all("all => all.map(a => [a.getAttribute('href'), a.textContent])")
    found = [Shot("console-home", "/", "Console: first page", ("phone", "dark", "german"))]
    for path, text in links:
        if path != "/":
            found.append(Shot(f"console-{path.strip('/').replace('/', '-')}", path, f"Console: {text.strip()}"))
    return found


def main() -> None:
    """Take all pictures and write the index."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="of a demonstration that runs; else one is started")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screens")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with demonstration(given.folder) as state, sync_playwright() as playwright:
        flags = [*FLAGS, *WEBGL, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        taken = take_all(browser, state, given.out)
        browser.close()
    made = {_file(given.out, name) for name, _ in taken}
    for old in {*given.out.glob("*.png"), *given.out.glob("*.webp")} - made:
        old.unlink()
    write_index(given.out, taken)
    total = sum(file.stat().st_size for file in made)
    print(f"{len(taken)} pictures, {total / 1e6:.2f} MB, in {given.out}")
    if total > LARGEST_ALL:
        sys.exit("The pictures are too large together.")


@contextmanager
def demonstration(folder: Path | None) -> Iterator[dict[str, Any]]:
    """The state of a demonstration that is ready, in which a researcher has permits and has run an analysis: the one in
    `folder`, or one of our own that ends afterwards."""
    if folder is not None:
        yield _used(folder, _ready(folder, None))
        return
    with tempfile.TemporaryDirectory(prefix="carina-screens-") as place:
        command = [sys.executable, "-m", "carina", "demo", "--fresh", "--folder", place]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            yield _used(Path(place), _ready(Path(place), process))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _ready(folder: Path, process: subprocess.Popen[bytes] | None) -> dict[str, Any]:
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end and (process is None or process.poll() is None):
        if (folder / "demo.json").exists():
            state: dict[str, Any] = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
            if state["ready"]:
                return state
        time.sleep(1)
    sys.exit("The demonstration did not become ready.")


def _used(folder: Path, ready: dict[str, Any]) -> dict[str, Any]:
    state = memory.load(folder)
    if state is None:
        sys.exit("The demonstration has no state.")
    return {**ready, "permit": use(state)}


def take_all(browser: Browser, state: dict[str, Any], out: Path) -> list[tuple[str, str]]:
    """Each page in each of its looks; gives the pictures' names with their titles, in the order of the index."""
    hub, node = state["hub"]["url"], state["nodes"][0]
    researcher, committee = (_account(state, "hub", role) for role in ("researcher", "committee"))
    manager = _account(state, node["key"], "data-manager")
    behind = (Behind("hub-dataset", "/datasets", OF_DATASET, "Hub: a dataset"),)
    taken = _tour(browser, out, hub, None, [*HUB_OPEN, *_behind(browser, hub, None, behind)])
    for account, shots, more in (
        (researcher, HUB_RESEARCHER, RESEARCHER_BEHIND),
        (committee, HUB_COMMITTEE, COMMITTEE_BEHIND),
    ):
        taken += _tour(browser, out, hub, account, [*shots, *_behind(browser, hub, account, more)])
    taken += _images(browser, state, out)
    with _signed_in(browser, node["url"], manager) as page:
        shown = console_shots(page, node["url"])
    return taken + _tour(
        browser, out, node["url"], manager, shown + _behind(browser, node["url"], manager, CONSOLE_BEHIND)
    )


def _behind(browser: Browser, url: str, account: tuple[str, str] | None, all_of: tuple[Behind, ...]) -> list[Shot]:
    """Where these pages are now; one without a link is told and left out."""
    found: list[Shot] = []
    with _signed_in(browser, url, account) as page:
        for one in all_of:
            at = _first(page, f"{url}{one.at}", one.via) if one.via else one.at
            if path := _first(page, f"{url}{at}", one.link):
                found.append(Shot(one.name, path, one.title))
            else:
                print(f"{one.name}: {one.at} has no link to such a page now.")
    return found


def _images(browser: Browser, state: dict[str, Any], out: Path) -> list[tuple[str, str]]:
    """A dataset's pages for a researcher whom the hub has handed over, and OHIF where it is installed."""
    looks: dict[str, dict[str, Any]] = {"": {}, "phone": {"viewport": PHONE}, "dark": {"color_scheme": "dark"}}
    taken: list[tuple[str, str]] = []
    hub = state["hub"]["url"]
    for look, options in looks.items():
        with _signed_in(browser, hub, _account(state, "hub", "researcher"), **options) as page:
            page.goto(f"{hub}/permits/{state['permit']}")
            page.locator("form[action$='/open'] button").click()
            page.wait_for_url("**/datasets/urn:*")
            dataset = page.url
            rows = page.locator("tr").filter(has_text=re.compile(r"\bCT, (PT, )?SEG\b"))
            study = rows.locator("th a").first
            address = dataset.partition("/datasets/")[0] + str(study.get_attribute("href"))
            for name, path, title in (
                ("images-dataset", dataset, "Images: a dataset"),
                ("images-study", address, "Images: a study"),
                ("images-sheet", f"{address}?mosaic=1", "Images: a sheet of slices"),
                ("images-header", f"{address}?header=1", "Images: a header"),
            ):
                file = f"{name}-{look}" if look else name
                _take(page, path, _file(out, file))
                taken.append((file, f"{title}, {look}" if look else title))
            button = page.get_by_role("button", name="Open in OHIF")
            if not look and button.count():
                with page.expect_popup() as opened:
                    button.click()
                opened.value.locator("canvas").first.wait_for(timeout=60_000)
                opened.value.wait_for_timeout(15_000)
                _keep(opened.value.screenshot(), _file(out, "images-ohif"))
                taken.append(("images-ohif", "Images: OHIF"))
    return sorted(taken)


def _account(state: dict[str, Any], service: str, role: str) -> tuple[str, str]:
    found = next(one for one in state["accounts"] if one["service"] == service and one["role"] == role)
    return found["name"], found["password"]


def _first(page: Page, url: str, link: str) -> str:
    """The address of the first such link of a page; empty when there is none."""
    page.goto(url)
    found = page.locator(link)
    return str(found.first.get_attribute("href")) if found.count() else ""


@contextmanager
def _signed_in(browser: Browser, url: str, account: tuple[str, str] | None, **options: Any) -> Iterator[Page]:
    context: BrowserContext = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
    page = context.new_page()
    try:
        if account is not None:
            page.goto(f"{url}/sign-in")
            page.locator("main input[name=name]").fill(account[0])
            page.locator("main input[name=password]").fill(account[1])
            page.locator("main form button").first.click()
            page.wait_for_url(f"{url}/")
        yield page
    finally:
        context.close()


def _tour(
    browser: Browser, out: Path, url: str, account: tuple[str, str] | None, shots: list[Shot]
) -> list[tuple[str, str]]:
    """These pages of one service, as one person sees them, look by look."""
    looks: dict[str, dict[str, Any]] = {
        "": {},
        "phone": {"viewport": PHONE},
        "dark": {"color_scheme": "dark"},
        "german": {"locale": "de-DE"},
    }
    taken: dict[str, str] = {}
    for look, options in looks.items():
        wanted = [shot for shot in shots if not look or look in shot.looks]
        if not wanted:
            continue
        with _signed_in(browser, url, account, **options) as page:
            for shot in wanted:
                name = f"{shot.name}-{look}" if look else shot.name
                _take(page, f"{url}{shot.path}", _file(out, name))
                taken[name] = f"{shot.title}, {look}" if look else shot.title
    return sorted(taken.items(), key=lambda one: next(i for i, s in enumerate(shots) if one[0].startswith(s.name)))


def _take(page: Page, url: str, file: Path) -> None:
    """One picture of the page, at most so tall."""
    answer = page.goto(url)
    if answer is None or answer.status >= 400:
        sys.exit(f"{url} answers with {answer.status if answer else 'nothing'}.")
    try:
        page.wait_for_load_state("networkidle", timeout=3000)
    except Error:
        page.wait_for_timeout(500)  # a live part goes on asking
    size = page.viewport_size or DESKTOP
    height = min(TALLEST, int(page.evaluate("document.documentElement.scrollHeight")))
    clip = {"x": 0, "y": 0, "width": size["width"], "height": max(size["height"], height)}
    _keep(page.screenshot(full_page=True, clip=clip), file)  # type: ignore[arg-type]


def _file(out: Path, name: str) -> Path:
    return out / f"{name}.webp"


def _keep(picture: bytes, file: Path) -> None:
    """Write a picture as WebP, as good as so many bytes let it be."""
    with Image.open(BytesIO(picture)) as opened:
        plain = opened.convert("RGB")
    for quality in (75, 60, 45, 30):
        plain.save(file, quality=quality, method=6)
        if file.stat().st_size <= LARGEST:
            return
    sys.exit(f"{file.name} stays larger than {LARGEST} bytes.")


def write_index(out: Path, taken: list[tuple[str, str]]) -> None:
    """README.md with all pictures."""
    lines = ["# What the pages look like", "", "Made by `make screenshots` from the demonstration; do not edit.", ""]
    lines += [f"## {title}\n\n![{title}]({name}.webp)\n" for name, title in taken]
    (out / "README.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
