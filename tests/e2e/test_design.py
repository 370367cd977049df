"""The page of all pieces, in the console: nothing for axe to find, in each look, and fit for paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from starlette.applications import Starlette
from tests.archive import served
from tests.e2e.conftest import opened, sign_in
from tests.pages import PASSWORD, fill_node, node_app
from tests.support import open_test_node

from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.node.site import Node
from carina.storage.accounts import add_account

STYLE = Path(__file__).parents[2] / "src/carina/interfaces/web/static/carina.css"
PAIRS = [(ink, ground) for ink in ("ink", "muted", "accent") for ground in ("paper", "card", "sunk")]
PAIRS += [(state, f"{state}-soft") for state in ("good", "warn", "bad")]
PAIRS += [("on-accent", "accent"), ("on-head", "head"), ("on-head-muted", "head"), ("on-head-muted", "head-node")]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[str]:
    """The address of a console with something on its pages."""

    def made(node: Node, url: str) -> Starlette:
        return node_app(node, Identity(LocalAccounts(node.engine, node.id), node.id, secure=False), url)

    with open_test_node(tmp_path / "node", title="Hospital Santa Aurelia") as node:
        add_account(node.engine, "nora", PASSWORD, {"data-manager"})
        fill_node(node)
        with served(node, made) as url:
            yield url.replace("127.0.0.1", "localhost")


def test_every_piece_is_accessible_light_dark_and_narrow_and_prints_without_its_frame(
    console: str, browser: Browser
) -> None:
    looks: list[dict[str, object]] = [{"color_scheme": "light"}, {"color_scheme": "dark"}]
    for look in looks:
        with opened(browser, **look) as page:
            sign_in(page, console, ("nora", PASSWORD))
            page.goto(f"{console}/design")
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
            page.set_viewport_size({"width": 360, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            for path in ("/design", "/quarantine"):
                page.goto(f"{console}{path}")
                page.emulate_media(media="print")
                assert not page.locator("header nav").is_visible()
                colours = page.evaluate(
                    "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"
                )
                assert colours == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
                assert page.pdf().startswith(b"%PDF")
                page.emulate_media(media="screen")


def test_each_colour_of_text_stands_out_from_its_ground_by_the_ratio_of_wcag() -> None:
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    light = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[0]))
    dark = {**light, **dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[1]))}
    for scheme in (light, dark):
        for ink, ground in PAIRS:
            assert ratio(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)
        assert ratio(scheme["edge"], scheme["card"]) >= 3.0


def ratio(one: str, other: str) -> float:
    """Contrast of two colours, WCAG 2.2."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
