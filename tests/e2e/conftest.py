"""A federation that runs, and a browser.

`demo` starts `carina demo` in a folder of its own; with CARINA_DEMO the tests use the one that runs in that folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from carina.interfaces.client.connection import LoopbackTransport

CHROMIUM = os.environ.get("CARINA_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FOUNDED_WITHIN, READY_WITHIN = 90.0, 240.0  # seconds; the machine may run other tests too


@dataclass(frozen=True)
class Demo:
    """A demonstration that answers."""

    folder: Path

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / "demo.json").read_text(encoding="utf-8"))
        return state

    @property
    def hub(self) -> str:
        return str(self.state["hub"]["url"])

    @property
    def nodes(self) -> list[dict[str, Any]]:
        return list(self.state["nodes"])

    def account(self, service: str, *roles: str) -> tuple[str, str]:
        """Name and password of somebody at the hub (`hub`) or a node (its key)."""
        for account in self.state["accounts"]:
            if account["service"] == service and (not roles or account["role"] in roles):
                return account["name"], account["password"]
        raise LookupError(f"no account at {service}")


def _until(what: str, seconds: float, ready: Callable[[], bool], process: subprocess.Popen[bytes] | None) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if process is not None and process.poll() is not None:
            pytest.fail(f"the demonstration ended with {process.returncode} before {what}")
        if time.monotonic() > end:
            pytest.fail(f"the demonstration took more than {seconds:.0f} s until {what}")
        time.sleep(0.3)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demonstration, from the moment its hub and all its nodes answer; images still arrive."""
    running = os.environ.get("CARINA_DEMO")
    if running:
        yield Demo(Path(running))
        return
    folder = tmp_path_factory.mktemp("demo")
    log = (folder.parent / "demo.log").open("wb")
    command = [sys.executable, "-m", "carina", "demo", "--fresh", "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        demo = Demo(folder)
        _until("it was founded", FOUNDED_WITHIN, lambda: _founded(demo), process)
        urls = [demo.hub, *(node["url"] for node in demo.nodes)]
        _until("hub and nodes answered", FOUNDED_WITHIN, lambda: all(_answers(url) for url in urls), process)
        yield demo
    finally:
        process.terminate()  # as Ctrl-C; SIGINT is deaf where the tests run in the background
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        log.close()


@pytest.fixture(scope="session")
def full_demo(demo: Demo) -> Demo:
    """The demonstration once everything is searchable."""
    _until("it was ready", READY_WITHIN, lambda: bool(demo.state["ready"]), None)
    return demo


def _founded(demo: Demo) -> bool:
    return (demo.folder / "demo.json").exists() and bool(demo.state["founded"])


def _answers(url: str) -> bool:
    try:
        with httpx2.Client(transport=LoopbackTransport(), timeout=2.0) as client:
            return client.get(f"{url}/sign-in").status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail("there is no Chromium; `make setup` brings it as root, or set CARINA_CHROMIUM")
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page of its own context that fails the test when it asks another machine, or reports an error of a script."""
    context: BrowserContext = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    page = context.new_page()
    elsewhere: list[str] = []
    errors: list[str] = []
    context.on("request", lambda request: _local(request.url) or elsewhere.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: "Content Security Policy" in line.text and errors.append(line.text))
    try:
        yield page
        assert elsewhere == [], "a request left the machine"
        assert errors == []
    finally:
        context.close()


def _local(url: str) -> bool:
    host = httpx2.URL(url).host
    return url.startswith(("data:", "blob:")) or host == "localhost" or host.endswith(".localhost")


def sign_in(page: Page, url: str, account: tuple[str, str]) -> None:
    """By the form, as a person does."""
    page.goto(f"{url}/sign-in")
    page.get_by_label("Name", exact=True).fill(account[0])
    page.get_by_label("Password").fill(account[1])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/")


def press_until(page: Page, key: str, selector: str) -> None:
    """Press a key until that element has the focus, which must be visible."""
    for _ in range(80):
        page.keyboard.press(key)
        if page.locator(f"{selector} >> nth=0").evaluate("element => element === document.activeElement"):
            outline = page.evaluate(
                "['outlineStyle', 'outlineWidth'].map(name => getComputedStyle(document.activeElement)[name]).join(' ')"
            )
            assert not outline.startswith("none") and not outline.endswith(" 0px"), f"the focus on {selector} is unseen"
            return
    pytest.fail(f"the keyboard does not reach {selector}")
