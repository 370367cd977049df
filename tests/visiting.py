"""The outside listener of a test site, as it is in service, and a browser that a hub has handed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.permitting import Site, open_site
from tests.support import SCANNER

from carina.interfaces.api.node import outside_routes
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware
from carina.interfaces.api.visitors import entries, visitors
from carina.interfaces.dicomweb.outside import dataset_dicomweb_routes
from carina.interfaces.web.ohif import ohif_routes
from carina.interfaces.web.outside import outside_frame, outside_pages
from carina.model.clock import now
from carina.model.permit import Visa
from carina.node import datasets
from carina.node.ingest import receive
from carina.node.worker import work

URL = "http://images.localhost:8722"
HUB = "http://hub.localhost:8700"
PAGE = {"Accept": "text/html"}


@contextmanager
def open_images(folder: Path, files: Iterable[bytes], **changes: Any) -> Iterator[Site]:
    """A site whose dataset holds these files, and whose images are at `URL`."""
    with open_site(folder, public_url=URL, title="Hospital Santa Aurelia", **changes) as site:
        for data in files:
            receive(site.node, data, SCANNER)
        while work(site.node, "test"):
            pass
        datasets.publish(site.node, "ana", site.dataset)
        yield site


def outside_app(site: Site, url: str = URL) -> Starlette:
    """Pages, API and DICOMweb for visitors behind the middleware they have in service."""
    rules = Rules(url, open_paths=("/enter",))
    identity = visitors(site.node, rules.secure)
    error, limit = outside_frame(site.node, identity).error, entries()
    return Starlette(
        routes=[
            *outside_routes(site.node, limit),
            *dataset_dicomweb_routes(site.node, identity.cookie, url),
            *ohif_routes(site.node, identity, outside_frame(site.node, identity), url),
            *outside_pages(site.node, identity, limit),
        ],
        middleware=middleware(rules, identity, error),
        exception_handlers=exception_handlers(error),  # type: ignore[arg-type]
    )


def browser(site: Site, url: str = URL) -> TestClient:
    """A browser at the outside listener, not let in."""
    return TestClient(
        outside_app(site, url),
        base_url=url,
        client=("127.0.0.1", 5),
        raise_server_exceptions=False,
        follow_redirects=False,
        headers=PAGE,
    )


def enter(client: TestClient, site: Site, visa: Visa, origin: str = HUB) -> Any:
    """What the hub's form brings, which its page has the browser send; the node knows the permits' states now."""
    return client.post("/enter", data={"code": fresh_code(site, visa)}, headers={"Origin": origin})


def fresh_code(site: Site, visa: Visa) -> str:
    """A code of this moment, at which the node hears the permits' states: listeners go by the clock."""
    site.say(now())
    return site.code(visa, now=now())
