"""A node's two listeners as they are in service, and all addresses that they serve."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route
from tests.visiting import URL

from carina.app.node import inside_application, outside_application
from carina.node.site import Node
from carina.settings import NodeSettings

CONSOLE = "http://node.localhost:8721"


def applications(node: Node) -> tuple[Starlette, Starlette]:
    """Inside and outside, at `CONSOLE` and `URL`."""
    given: dict[str, Any] = {
        name: about.default for name, about in NodeSettings.model_fields.items() if not about.is_required()
    }
    given |= {"id": node.id, "title": node.title, "public_url": URL, "console_url": CONSOLE}
    settings = NodeSettings.model_construct(**given)
    return inside_application(node, settings), outside_application(node, settings)


def addresses(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[str]:
    """Each as `METHOD path`; what serves a whole folder ends with `/*`."""
    for route in routes:
        if isinstance(route, Route):
            yield from (f"{method} {prefix}{route.path}" for method in (route.methods or {"GET"}) - {"HEAD"})
        else:
            assert isinstance(route, Mount)
            inner = list(addresses(route.routes or (), prefix + route.path))
            yield from inner or [f"GET {prefix}{route.path}/*"]


def filled(path: str, values: Mapping[str, str]) -> str:
    """The path with a value for each of its names."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda found: values[found[1]], path.replace("/*", "/x"))
