"""`/design`: every piece that pages are made of, in each of its states, for whoever makes or reviews pages."""

from __future__ import annotations

from functools import cache
from xml.etree import ElementTree

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.errors import Full
from carina.interfaces.api.identity import STAFF
from carina.interfaces.language import mark
from carina.interfaces.web.assets import STATIC
from carina.interfaces.web.pages import Pages
from carina.model.clock import now, stamp

COLOURS = (
    ("paper", mark("the ground of a page")),
    ("card", mark("what stands on it")),
    ("sunk", mark("code, hover")),
    ("ink", mark("text")),
    ("muted", mark("second text")),
    ("line", mark("hairlines")),
    ("edge", mark("edges of controls")),
    ("accent", mark("what can be pressed")),
    ("accent-soft", mark("what is chosen")),
    ("bar", mark("bars")),
    ("good", mark("well")),
    ("warn", mark("wants attention")),
    ("bad", mark("trouble")),
    ("head", mark("a hub's header")),
    ("head-node", mark("a console's header")),
)
"""The stylesheet's variables, each with what it is for."""


@cache
def icon_names() -> tuple[str, ...]:
    """The symbols of `icons.svg`, in its order."""
    root = ElementTree.parse(STATIC / "icons.svg").getroot()  # noqa: S314  a file of ours
    return tuple(symbol.attrib["id"] for symbol in root)


def design_routes(pages: Pages) -> list[Route]:
    """`/design`: open at a hub, for staff at a node."""

    async def design(request: Request) -> Response:
        if pages.kind != "hub":
            await pages.identity.identify(request, STAFF)
        return await pages.render(
            request,
            "design.html",
            colours=COLOURS,
            icons=icon_names(),
            moment=stamp(now()),
            full=Full("There is no room left on the disk."),
        )

    return [Route("/design", design)]
