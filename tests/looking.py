"""A site that serves its images to browsers: outside to a researcher whom a hub hands over, inside to its staff."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from playwright.sync_api import Page
from pydicom import dcmread
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.pages import PASSWORD
from tests.permitting import Site
from tests.visiting import HUB, PAGE, fresh_code, open_images, outside_app

from carina.interfaces import listener
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware
from carina.interfaces.dicomweb.opening import by_staff
from carina.interfaces.dicomweb.routes import dicomweb_routes
from carina.interfaces.web.node import node_frame, node_pages
from carina.node.site import Node
from carina.sample.cohort import patients, studies
from carina.sample.sites import site as sample_site
from carina.sample.writing import stream
from carina.storage.accounts import add_account

NORA = ("nora", PASSWORD)


@dataclass(frozen=True)
class Looking:
    """A site whose pages answer: `outside` for researchers, `inside` for staff."""

    site: Site
    outside: str
    inside: str

    @property
    def dataset(self) -> str:
        """Where the dataset is."""
        return f"{self.outside}/datasets/{self.site.dataset}"

    def enter(self, page: Page, **changes: Any) -> None:
        """Open the dataset in a browser, as the hub's form does."""
        cookie = enter_by_code(self, **changes)
        page.context.add_cookies([{"url": self.dataset, **cookie}])  # type: ignore[list-item]


def enter_by_code(looking: Looking, **changes: Any) -> dict[str, str]:
    """The cookie that a code brings."""
    from starlette.testclient import TestClient

    client = TestClient(
        outside_app(looking.site, looking.outside),
        base_url=looking.outside,
        follow_redirects=False,
        client=("127.0.0.1", 5),
        headers=PAGE,
    )
    code = fresh_code(looking.site, looking.site.grant(**changes))
    answer = client.post("/enter", data={"code": code}, headers={"Origin": HUB})
    name, _, value = answer.headers["set-cookie"].partition(";")[0].partition("=")
    return {"name": name, "value": value}


def sample_files(count: int = 3, *modalities: str) -> Iterator[bytes]:
    """Studies of the made-up cohort whose images have these modalities (all: of any), at most `count`."""
    people = patients(sample_site("valdeluna"))
    of_people = (study for person in people for study in studies(person))
    for files in islice(filter(_has(modalities), map(list, map(stream, of_people))), count):
        yield from files


def _has(modalities: tuple[str, ...]) -> Callable[[list[bytes]], bool]:
    wanted = set(modalities)

    def fits(files: list[bytes]) -> bool:
        return wanted <= {str(dcmread(BytesIO(data), specific_tags=["Modality"]).Modality) for data in files}

    return fits


@contextmanager
def open_looking(folder: Path, files: Iterable[bytes], **changes: Any) -> Iterator[Looking]:
    """A site with these images, served on two ports of this machine."""
    with open_images(folder, files, **changes) as site, ExitStack() as stack:
        add_account(site.node.engine, "nora", PASSWORD, {"data-manager"}, "Nora Vidal")
        outside = stack.enter_context(served_on("images.localhost", lambda url: outside_app(site, url)))
        inside = stack.enter_context(served_on("node.localhost", lambda url: inside_app(site.node, url)))
        yield Looking(site, outside, inside)


def inside_app(node: Node, url: str) -> Starlette:
    """The console with the archive's DICOMweb, as in service."""
    identity = Identity(LocalAccounts(node.engine, node.id), node.id, secure=False)
    error = node_frame(node, identity).error
    archive = Mount("/dicom-web", routes=dicomweb_routes(node, by_staff(node, identity), url))
    return Starlette(
        routes=[archive, *node_pages(node, identity)],
        middleware=middleware(Rules(url), identity, error),
        exception_handlers=exception_handlers(error),  # type: ignore[arg-type]
    )


@contextmanager
def served_on(host: str, made: Callable[[str], Starlette]) -> Iterator[str]:
    """The application on a port of this machine, by this name of it; its address."""
    bound = listener.bind("127.0.0.1", 0, "test")
    url = f"http://{host}:{bound.getsockname()[1]}"
    server = listener.server(made(url))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])), daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()
