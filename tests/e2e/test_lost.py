"""A search whose connection breaks, in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.pages import PASSWORD, Answers, fill_hub, hub_app
from tests.unit.interfaces.client.conftest import served
from tests.unit.interfaces.conftest import hub, hub_records, identity  # noqa: F401  fixtures
from tests.unit.interfaces.web.conftest import answers  # noqa: F401  a fixture

from carina.hub.centre import Hub
from carina.interfaces.api.identity import Identity


class Breaking:
    """The application; its connections of answers break off after the first node's row."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/explorer/answers":
            await self.app(scope, receive, send)
            return
        self.asked += 1
        parts = 0

        async def breaking(message: Any) -> None:
            nonlocal parts
            parts += message["type"] == "http.response.body"
            if parts > 2:
                raise ConnectionError("the line is cut here")
            await send(message)

        await self.app(scope, receive, breaking)


@pytest.fixture
def breaking(hub: Hub, identity: Identity, answers: Answers) -> Breaking:
    fill_hub(hub)
    return Breaking(hub_app(hub, identity, answers))


@pytest.fixture
def address(breaking: Breaking) -> Iterator[str]:
    with served(breaking) as port:
        yield f"http://hub.localhost:{port}"


def test_a_broken_search_says_so_and_asks_nobody_again(
    breaking: Breaking, address: str, hub: Hub, caplog: pytest.LogCaptureFixture, browser: Browser
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{address}/sign-in?next=/explorer%3Fmodality%3DCT")
        page.get_by_label("Name", exact=True).fill("rosa")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("The connection to the hub was lost.")
        expect(page.locator("#results tbody").get_by_text("Answered")).to_have_count(1)
        expect(page.locator("#results tbody").get_by_text("Not heard")).to_have_count(2)
        expect(page.locator("#results").get_by_text("Asking")).to_have_count(0)
        page.wait_for_timeout(4_000)  # a browser asks again after three seconds
        assert breaking.asked == 1
        page.get_by_role("link", name="Ask again").click()
        expect(page.get_by_role("alert")).to_contain_text("lost")
        assert page.url == f"{address}/explorer?modality=CT"
        assert breaking.asked == 2
    assert len(hub.audit.entries(9, action="searched")) == 2
