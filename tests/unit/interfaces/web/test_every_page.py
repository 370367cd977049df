"""The list of pages that browsers look at (`tests.whole`) leaves none out."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.routing import BaseRoute, Route
from tests.pages import Answers
from tests.support import open_test_node
from tests.whole import PAGES, PARTS, Place

from carina.hub.centre import Hub
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.visitors import entries, visitors
from carina.interfaces.web.hub import hub_pages
from carina.interfaces.web.node import node_pages
from carina.interfaces.web.outside import outside_pages

NOWHERE = "/no-such-page"


@pytest.mark.parametrize("place", ["inside", "outside", "hub"])
def test_every_address_that_gives_a_page_is_looked_at(
    place: Place, hub: Hub, identity: Identity, tmp_path: Path
) -> None:
    with open_test_node(tmp_path / "node") as node:
        staff = Identity(LocalAccounts(node.engine, node.id), node.id, secure=False)
        routes: dict[Place, list[BaseRoute]] = {
            "inside": [*node_pages(node, staff)],
            "outside": [*outside_pages(node, visitors(node, False), entries())],
            "hub": [*hub_pages(hub, identity, Answers(), RateLimit(60, 60))],
        }
    served = {one.path for one in routes[place] if isinstance(one, Route) and "GET" in (one.methods or ())}
    pages = {path for path in served if "/series/" not in path} - PARTS[place]
    assert pages == {one.route for one in PAGES if one.place == place} - {NOWHERE}
    assert PARTS[place] < served
