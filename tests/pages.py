"""Hubs and nodes with something on their pages: three made-up sites, their datasets and answers, images that arrive."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.support import FOLDER, SCANNER, ct

from carina.federation import wire
from carina.hub import catalogue
from carina.hub.centre import Hub
from carina.interfaces.api.identity import Identity
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.api.security import Rules, middleware
from carina.interfaces.web.hub import hub_frame, hub_pages
from carina.interfaces.web.node import node_frame, node_pages
from carina.model.clock import now, stamp
from carina.model.cohort import Query
from carina.model.ids import NodeId
from carina.model.instance import Source
from carina.model.search import Counts, NodeAnswer
from carina.node.ingest import receive
from carina.node.site import Node
from carina.storage.hub_schema import nodes

PASSWORD = "correct horse battery"
A, B, C = (NodeId(f"n-{letter * 26}") for letter in "abc")
IRI_A = "urn:uuid:11111111-1111-4111-8111-111111111111"
IRI_B = "urn:uuid:22222222-2222-4222-8222-222222222222"
IRI_C = "urn:uuid:33333333-3333-4333-8333-333333333333"

ANSWERS = (
    NodeAnswer(A, "Hospital Santa Aurelia", "ES", "counted", Counts(1184, 1533, 10), seconds=0.21),
    NodeAnswer(B, "Waterland Medisch Centrum", "NL", "below-threshold", Counts(None, None, 10), seconds=0.34),
    NodeAnswer(C, "Banksia Cancer Centre", "AU", "counted", Counts(57, 80, 10), seconds=0.88),
)

_SITES = (
    (A, "Hospital Santa Aurelia", "Fundación Santa Aurelia", "ES", 5),
    (B, "Waterland Medisch Centrum", "Stichting Waterland", "NL", 3),
    (C, "Banksia Cancer Centre", "Banksia Health Network", "AU", 7200),
)

_GROUPS: dict[str, list[tuple[str, int | None]]] = {
    "sex": [("F", 520), ("M", 664)],
    "age": [
        ("30-39", None),
        ("40-49", 96),
        ("50-59", 281),
        ("60-69", 433),
        ("70-79", 290),
        ("80-89", 72),
        ("90+", None),
    ],
    "modality": [("CT", 1102), ("PT", 388), ("MR", 140), ("SEG", 612)],
    "body_part": [("CHEST", 1050), ("ABDOMEN", 210), ("BRAIN", None)],
    "manufacturer": [("SIEMENS", 640), ("GE", 402), ("PHILIPS", 188), ("CANON", None)],
    "diagnosis": [("C34", 1010), ("C71", 44), ("C50", None)],
}


def fill_hub(hub: Hub) -> None:
    """Three joined nodes, the third one silent for two hours, and three datasets, the third one too small to show."""
    for number, (node, title, institution, country, seconds) in enumerate(_SITES):
        row = {
            "id": node,
            "title": title,
            "institution": institution,
            "country": country,
            "key": {},
            "nkey": f"U{number}",
        }
        times = {"joined_at": stamp(now() - timedelta(days=12)), "last_seen": stamp(now() - timedelta(seconds=seconds))}
        with hub.engine.begin() as connection:
            connection.execute(insert(nodes), {**row, **times, "public_url": None, "state": "joined"})
    _publish(hub, A, IRI_A, "Lung cancer: CT and PET over time", "lung", 1184, _GROUPS)
    _publish(
        hub,
        B,
        IRI_B,
        "Breast MR before and after therapy",
        "breast",
        212,
        {"sex": [("F", 212)], "modality": [("MR", 212)]},
    )
    _publish(
        hub,
        C,
        IRI_C,
        "Paediatric brain tumours",
        "brain",
        None,
        {"sex": [("F", None), ("M", None)], "modality": [("MR", None)]},
    )


def _publish(
    hub: Hub, node: str, iri: str, title: str, project: str, patients: int | None, groups: dict[str, Any]
) -> None:
    site = next(site for site in _SITES if site[0] == node)
    sums = {"studies": 1533, "series": 6210, "instances": 48211}
    body = {
        "iri": iri,
        "node": node,
        "project": project,
        "title": title,
        "description": "Images of people with cancer, from diagnosis to the last follow-up, as they were taken in the "
        "clinic. Segmentations of the primary lesion where a radiologist has drawn them.",
        "institution": site[2],
        "country": site[3],
        "threshold": 10,
        "patients": patients,
        **(sums if patients else dict.fromkeys(sums)),
        "groups": {
            name: [{"value": value, "patients": count} for value, count in values] for name, values in groups.items()
        },
        "digest": "0" * 64,
        "computed": stamp(now() - timedelta(minutes=4)),
        "terms": {"actions": ["view", "retrieve", "analyse"], "longest_days": 365, "versions": [], "countersign": True},
    }
    catalogue.accept(hub, node, wire.read(wire.Description, body))


def fill_node(node: Node, patients: int = 3) -> None:
    """Images at the door: some good, one twice, one cut short, one that is no DICOM, one from an unknown source."""
    for number in range(patients):
        for slice_number in (1, 2):
            receive(node, ct(f"MRN-{number:04}", number=slice_number), SCANNER)
    receive(node, ct("MRN-0000"), FOLDER)
    receive(node, ct("MRN-0009")[:900], SCANNER)
    receive(node, b"This is a letter, not an image. " * 20, FOLDER)
    receive(node, ct("MRN-0010"), Source("aet", "STRANGER"))
    receive(node, ct("MRN-0011", elements={"Modality": "US"}), SCANNER)


class Answers:
    """What a search brings: the answers as given, each after a pause (s), or an error after them."""

    def __init__(self, pause: float = 0.0) -> None:
        self.given = list(ANSWERS)
        self.error: Exception | None = None
        self.asked: list[Query] = []
        self.pause = pause

    async def __call__(self, query: Query) -> AsyncIterator[NodeAnswer]:
        self.asked.append(query)
        for answer in self.given:
            await asyncio.sleep(self.pause)
            yield answer
        if self.error is not None:
            raise self.error


def hub_app(hub: Hub, identity: Identity, search: Any, limit: RateLimit | None = None) -> Starlette:
    """The hub's pages behind the middleware they have in service."""
    error = hub_frame(hub, identity).error
    return Starlette(
        routes=hub_pages(hub, identity, search, limit or RateLimit(60, 60)),
        middleware=middleware(Rules(hub.url), identity, error),
        exception_handlers=exception_handlers(error),  # type: ignore[arg-type]
    )


def node_app(node: Node, identity: Identity, url: str) -> Starlette:
    """The node's console behind the middleware it has in service."""
    error = node_frame(node, identity).error
    return Starlette(
        routes=node_pages(node, identity),
        middleware=middleware(Rules(url), identity, error),
        exception_handlers=exception_handlers(error),  # type: ignore[arg-type]
    )


def exhaust(limit: RateLimit, name: str = "rosa") -> None:
    """Ask for something new as often as the person may."""
    for _ in range(limit.times):
        limit.spend(name)


def csrf(page: str) -> str:
    """The token of a page's form."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def sign_in(client: TestClient, name: str, password: str = PASSWORD, back: str = "/") -> Any:
    """What the form of the sign-in page brings."""
    token = csrf(client.get("/sign-in", params={"next": back}).text)
    return client.post("/sign-in", data={"csrf": token, "name": name, "password": password, "next": back})
