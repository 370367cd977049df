"""Builders for tests of access: people at a hub, datasets in its catalogue, requests, permits, and their way to a node.

with open_scene(tmp_path) as scene:             # a hub, a joined node, Rosa, Clara of its committee, a dataset
    permit = permit_for(scene)                  # asked for and granted; the node has not heard of it
    deliver(scene.hub, scene.node)              # states and visas to the node, its word to the hub
    countersign(scene, permit)                  # by the node's data manager; the hub hears of it
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import insert, select
from tests.federating import described, open_joined_node, open_test_hub
from tests.support import LUNG

from carina.federation import wire
from carina.hub import catalogue, committee, permits, requests
from carina.hub.centre import Hub
from carina.hub.permits import Permit
from carina.hub.requests import AccessRequest, Decision, Draft
from carina.model.clock import now, stamp
from carina.model.ids import DatasetIri
from carina.model.permit import LIVE, Action, Terms
from carina.model.principal import Principal, Role
from carina.node import datasets, membership
from carina.node import permits as node_permits
from carina.node.membership import JoinedHub
from carina.node.site import Node
from carina.storage.hub_schema import hub_permits, hub_tables

PASSWORD = "correct horse battery"
IMAGES_URL = "http://images.localhost:8722"
BAD_ADDRESSES = (
    "https://[",
    "https://[::1%;]",
    "https://images.example.org:99999",
    "https://hub.example.org@images.example.org",
    "https://images.example.org;sandbox",
    "https://images.example.org,*",
    "https://*",
    "https://images.example.org/permits?x=",
    "https://images.example.org/#",
    "javascript://images.example.org",
)
"""Where a node may say that its images are, and nobody may be sent."""
MANAGER = "dora"


@dataclass(frozen=True)
class Scene:
    """A hub and one node of it; `rosa` asks for `dataset`, on which `clara` decides."""

    hub: Hub
    node: Node
    joined: JoinedHub
    rosa: Principal
    clara: Principal
    dataset: DatasetIri


@contextmanager
def open_scene(
    folder: Path, *, real: bool = False, terms: Terms | None = None, hub_threshold: int = 10, **changes: Any
) -> Iterator[Scene]:
    """A scene in `folder`, closed at the end; the node's images are at `IMAGES_URL`.

    real     the dataset is also published at the node itself: all of its project lung
    terms    of the dataset in the catalogue, unless it is real
    hub_threshold  below which the hub itself shows no number of patients
    changes  of the node
    """
    with (
        open_test_hub(folder / "hub", threshold=hub_threshold) as hub,
        open_joined_node(folder / "node", hub, **{"public_url": IMAGES_URL, **changes}) as (node, joined),
    ):
        dataset = share(hub, node) if real else publish(hub, node, terms=terms or Terms())
        yield Scene(hub, node, joined, person(hub, "rosa"), member(hub, node.id, "clara"), dataset)


# --- people -------------------------------------------------------------------------------------------------------


def person(hub: Hub, name: str, role: Role = "researcher", shown: str = "") -> Principal:
    """A new account at the hub, with `PASSWORD`, and who signs in with it."""
    shown = shown or name.capitalize()
    row = {"name": name, "display_name": shown, "password_hash": _hashed(), "roles": [role], "created_at": stamp()}
    with hub.engine.begin() as connection:
        connection.execute(insert(hub_tables.tables["accounts"]), {**row, "disabled": False})
    return Principal(name, hub.id, frozenset({role}), shown)


@cache
def _hashed() -> str:
    """The hash of `PASSWORD`, which takes its time, once for all people."""
    return PasswordHasher().hash(PASSWORD)


def member(hub: Hub, node: str, name: str) -> Principal:
    """A new account on the committee of a node."""
    made = person(hub, name)
    committee.add(hub, node, name)
    return made


def in_days(days: int) -> str:
    """The day so many days from today, as 2027-03-01."""
    return (now() + timedelta(days=days)).date().isoformat()


# --- datasets -----------------------------------------------------------------------------------------------------


def iri(number: int) -> DatasetIri:
    """A dataset's IRI, another for each number."""
    return DatasetIri(f"urn:uuid:00000000-0000-4000-8000-{number:012}")


def publish(hub: Hub, node: Node, number: int = 1, *, terms: Terms | None = None, **changes: Any) -> DatasetIri:
    """A made-up dataset of the node in the hub's catalogue; the node itself has none such (see `share`)."""
    made = described(node, iri=iri(number), terms=terms or Terms(), **changes)
    catalogue.accept(hub, node.id, membership.description(made))
    return made.iri


def share(hub: Hub, node: Node, title: str = "Lung CT", **changes: Any) -> DatasetIri:
    """A dataset that the node really publishes, with what its project lung holds, in the hub's catalogue."""
    made = datasets.create(node, MANAGER, LUNG, title, **changes)
    catalogue.accept(hub, node.id, membership.description(datasets.publish(node, MANAGER, made.iri)))
    return made.iri


# --- requests and permits -----------------------------------------------------------------------------------------


def draft(*wanted: str, **changes: Any) -> Draft:
    """A request for these datasets, for everything, for a month."""
    plain = Draft(
        project="Lung nodules",
        purpose="To train and test a detector.",
        description="A study of two years.",
        organisation="University of Example",
        people=("Rosa Researcher", "Rafael Reader"),
        actions=("view", "retrieve", "analyse"),
        last_day=in_days(30),
        datasets=tuple(wanted),
    )
    return replace(plain, **changes)


def decision(**changes: Any) -> Decision:
    """A grant of everything, for a month."""
    actions: tuple[Action, ...] = ("view", "retrieve", "analyse")
    plain = Decision(actions=actions, last_day=in_days(30), version=LIVE, reason="A sound study.")
    return replace(plain, **changes)


def ask_for(hub: Hub, who: Principal, *wanted: str, **changes: Any) -> AccessRequest:
    """Submit `draft`."""
    return requests.submit(hub, who, draft(*wanted, **changes))


def grant(hub: Hub, who: Principal, item: str, **changes: Any) -> Permit:
    """Grant an item, as `decision` says."""
    return requests.grant(hub, who, item, decision(**changes))


def permit_for(scene: Scene, **changes: Any) -> Permit:
    """A permit of Rosa's for the scene's dataset; `changes` of the decision. Ask and grant again for another."""
    asked = ask_for(scene.hub, scene.rosa, scene.dataset)
    return grant(scene.hub, scene.clara, asked.items[0].id, **changes)


def own_permit(scene: Scene, permit: Permit) -> Permit:
    """The permit as it stands now."""
    return permits.get(scene.hub, scene.rosa, permit.id)


def hear(hub: Hub, permit: Permit, state: str = "in-force", reason: str = "", **use: Any) -> None:
    """Let the hub hear the node's word on a permit, without a node."""
    held = {"state": state, "reason": reason, "use": use}
    permits.report(hub, permit.node, wire.read(wire.Permits, {"held": {permit.id: held}, "wanted": []}))


def visa_of(hub: Hub, permit: str) -> str:
    """A permit's visa, as its node gets it."""
    with hub.engine.connect() as connection:
        return str(connection.execute(select(hub_permits.c.visa).where(hub_permits.c.id == permit)).scalar_one())


# --- to the node --------------------------------------------------------------------------------------------------


def tell_states(hub: Hub, node: Node) -> str:
    """Hand the node the hub's next list of permit states, and give it back."""
    paper = permits.status_list(hub, node.id)
    node_permits.take_states(node, hub.id, paper)
    return paper


def deliver(hub: Hub, node: Node) -> None:
    """All that messages carry: the states, the visas that the node then wants, and its word on them."""
    tell_states(hub, node)
    wanted = node_permits.wanted(node, hub.id)
    answer = permits.report(hub, node.id, wire.Permits(held=node_permits.held(node, hub.id), wanted=wanted))
    for visa in answer.visas:
        node_permits.take_visa(node, hub.id, visa)
    permits.report(hub, node.id, wire.Permits(held=node_permits.held(node, hub.id), wanted=()))


def countersign(scene: Scene, permit: Permit) -> None:
    """Let the node's data manager sign the permit, which was delivered; the hub hears of it."""
    node_permits.countersign(scene.node, MANAGER, scene.hub.id, permit.id)
    deliver(scene.hub, scene.node)


def permit_in_force(scene: Scene, **changes: Any) -> Permit:
    """A permit of Rosa's that opens the scene's dataset, which must be real; `changes` of the decision."""
    made = permit_for(scene, **changes)
    deliver(scene.hub, scene.node)
    countersign(scene, made)
    return own_permit(scene, made)
