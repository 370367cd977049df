"""Builders for tests of the federation: a hub in a folder, and nodes that join it without HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.records import new_records
from tests.support import open_test_node, ring

from carina.federation.brokerkeys import broker_name, broker_seed
from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey, party_id
from carina.federation.transport import MemoryExchange
from carina.hub import nodes
from carina.hub.centre import Hub
from carina.interfaces.nats.certificates import certify
from carina.model.dataset import DatasetDescription, Group
from carina.model.ids import DatasetIri, HubId, ProjectId
from carina.node import membership
from carina.node.membership import JoinedHub
from carina.node.site import Node
from carina.storage.audit import AuditTrail

IRI = DatasetIri("urn:uuid:00000000-0000-4000-8000-000000000001")


@contextmanager
def open_test_hub(folder: Path, *, seed: int = 99, **changes: Any) -> Iterator[Hub]:
    """A hub in `folder` with an exchange in memory, closed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    engine = new_records(folder / "records.sqlite", "hub")
    signing = SigningKey.from_seed(ring(seed).signing)
    me = HubId(party_id(signing.public_jwk, "h"))
    (folder / "ca").mkdir(exist_ok=True)
    hub = Hub(
        id=me,
        title="Test hub",
        url="http://hub.localhost:8700",
        threshold=10,
        answer_within=2.0,
        folder=folder,
        signing=signing,
        permit_key=PermitKey.from_master(ring(seed).permits),
        engine=engine,
        audit=AuditTrail(engine),
        transport=MemoryExchange(me).transport(me),
        broker="127.0.0.1:8701",
        broker_ca=certify(folder / "ca", ["localhost"]),
        nkey=broker_name(broker_seed(b"h" * 32)),
    )
    try:
        yield replace(hub, **changes)
    finally:
        engine.dispose()


def post_to(hub: Hub) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """What carries a join request to this hub, as text, whatever the address."""

    def post(_: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(json.loads(json.dumps(nodes.accept_join(hub, json.loads(json.dumps(body))))))

    return post


@contextmanager
def open_joined_node(folder: Path, hub: Hub, *, seed: int = 1, **changes: Any) -> Iterator[tuple[Node, JoinedHub]]:
    """A node that has joined the hub."""
    with open_test_node(folder, keys=ring(seed), **changes) as node:
        yield node, membership.join(node, nodes.invite(hub, 1), post_to(hub))


def described(node: Node, **changes: Any) -> DatasetDescription:
    """A dataset of 40 patients, as the node would describe it."""
    plain = DatasetDescription(
        iri=IRI,
        node=node.id,
        project=ProjectId("lung"),
        title="Lung CT",
        description="Two lines\nof text",
        institution=node.institution,
        country=node.country,
        threshold=10,
        patients=40,
        studies=80,
        series=160,
        instances=1600,
        groups={"modality": (Group("CT", 40),), "sex": (Group("F", 22), Group("M", 18)), "age": (Group("60-69", 40),)},
        digest="d" * 64,
        computed="2026-01-02T03:04:05.678901Z",
    )
    return replace(plain, **changes)


def refusals(trail: AuditTrail) -> list[str]:
    """Why messages were refused, latest first."""
    return [entry.details["reason"] for entry in trail.entries(50, action="message-refused")]
