"""Builders for tests of permits at a node: what a hub would send, signed with a test hub's key, at any time."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from tests.federating import open_joined_node, open_test_hub
from tests.support import LUNG

from carina.federation.papers import StatusList, make_code, make_status, make_visa
from carina.federation.permitkeys import PermitKey
from carina.hub.centre import Hub
from carina.model.clock import new_id, now
from carina.model.ids import DatasetIri
from carina.model.permit import ACTIONS, Visa
from carina.model.principal import Principal
from carina.node import datasets, permits
from carina.node.membership import JoinedHub
from carina.node.site import Node, Policy

AT = now().replace(microsecond=0)
"""When these tests take place: what one does earlier or later, it says."""
TRUSTING = Policy(countersign=False)


def visa_of(hub: Hub, node: Node, dataset: str, /, **changes: Any) -> Visa:
    """A visa of the researcher `rosa` for everything, for thirty days."""
    plain = Visa(
        id=new_id(),
        issuer=hub.url,
        hub=hub.id,
        subject="rosa",
        name="Rosa Investigadora",
        dataset=DatasetIri(dataset),
        node=node.id,
        source=f"{hub.url}/nodes/{node.id}",
        asserted=AT,
        issued=AT,
        expires=AT + timedelta(days=30),
        actions=ACTIONS,
        purpose="To find out",
        project="Lungs",
        organisation="University",
    )
    return replace(plain, **changes)


@dataclass
class Site:
    """A hub, a node that has joined it, and the node's published dataset."""

    hub: Hub
    node: Node
    joined: JoinedHub
    dataset: DatasetIri
    number: int = 0
    states: dict[str, Literal["valid", "ended"]] = field(default_factory=dict)

    def grant(self, *, signed: bool = True, **changes: Any) -> Visa:
        """A permit as after its whole way: the hub's list names it, the node holds it, its data manager agreed."""
        visa = visa_of(self.hub, self.node, changes.pop("dataset", self.dataset), **changes)
        self.states[visa.id], at = "valid", max(AT, visa.issued)
        self.say(at)
        permits.take_visa(self.node, self.hub.id, make_visa(self.hub.permit_key, visa), now=at)
        if signed:
            permits.countersign(self.node, "ana", self.hub.id, visa.id, now=at)
        return visa

    def end(self, visa: Visa) -> None:
        """The hub ends a permit and tells the node."""
        self.states[visa.id] = "ended"
        self.say()

    def list(self, at: datetime = AT, *, key: PermitKey | None = None, **changes: Any) -> str:
        """The hub's next list of states, as it would send it at `at`."""
        self.number += 1
        plain = StatusList(
            hub=self.hub.id,
            node=self.node.id,
            number=self.number,
            issued=int(at.timestamp()),
            permits=self.states,
        )
        return make_status(key or self.hub.permit_key, plain.model_copy(update=changes))

    def say(self, at: datetime = AT) -> None:
        """The node takes the hub's next list at `at`."""
        permits.take_states(self.node, self.hub.id, self.list(at), now=at)

    def code(self, visa: Visa, **changes: Any) -> str:
        """A one-time code for the visa's person."""
        said = {
            "hub": self.hub.id,
            "node": self.node.id,
            "permit": visa.id,
            "dataset": visa.dataset,
            "subject": visa.subject,
            "name": visa.name,
            "now": AT,
        }
        return make_code(changes.pop("key", self.hub.permit_key), **{**said, **changes})

    def rosa(self, **changes: Any) -> Principal:
        """The researcher, as the hub's people are known at the node."""
        plain = Principal("rosa", self.hub.id, frozenset({"researcher"}), "Rosa Investigadora")
        return replace(plain, **changes)

    def audited(self, action: str) -> list[dict[str, Any]]:
        """The details of the node's audit rows of this action, newest first."""
        return [dict(entry.details) for entry in self.node.audit.entries(50, action=action)]


@contextmanager
def open_site(folder: Path, **changes: Any) -> Iterator[Site]:
    """A node with an outside address, joined, with one published dataset."""
    changes.setdefault("public_url", "https://node.example.org")
    with open_test_hub(folder / "hub") as hub, open_joined_node(folder / "node", hub, **changes) as (node, joined):
        made = datasets.create(node, "ana", LUNG, "Lung CT")
        datasets.publish(node, "ana", made.iri)
        yield Site(hub, node, joined, made.iri)


def segment(value: object) -> str:
    """A part of a JWS: JSON, base64url without padding."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def opened_segment(part: str) -> dict[str, Any]:
    """The JSON of a part of a JWS."""
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def with_payload(paper: str, **changes: Any) -> str:
    """The paper with other words under the same signature."""
    head, payload, signature = paper.split(".")
    return f"{head}.{segment({**opened_segment(payload), **changes})}.{signature}"


def unsigned(paper: str) -> str:
    """The paper with `alg: none` and no signature."""
    head, payload, _ = paper.split(".")
    return f"{segment({**opened_segment(head), 'alg': 'none'})}.{payload}."
