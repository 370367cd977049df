"""The catalogue: the datasets that nodes have published, as they describe them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from carina.errors import Conflict, NotFound, TooMany
from carina.federation import wire
from carina.federation.disclosure import hide_small
from carina.hub.centre import Hub
from carina.model.clock import stamp
from carina.model.dataset import DatasetDescription, Group
from carina.model.ids import DatasetIri, NodeId, ProjectId
from carina.model.permit import Terms
from carina.storage.hub_schema import catalogue, nodes

MOST_OF_A_NODE = 1_000
"""Datasets that the catalogue takes from one node, withdrawn ones included."""


@dataclass(frozen=True)
class Entry:
    """A dataset with its node's name and address; `received_at` is when this description came (UTC)."""

    dataset: DatasetDescription
    node_title: str
    public_url: str | None
    received_at: str


def accept(hub: Hub, node: str, body: wire.Description) -> None:
    """Take a description in, in place of the one before.

    Raises `Conflict` when the dataset is another node's, `TooMany` when the node has described 1,000 others.
    """
    _require_own(hub, node, body.iri)
    if body.node != node:
        raise Conflict("The dataset is another node's.")
    row = {"description": wire.write(body), "state": "published", "received_at": stamp()}
    with hub.engine.begin() as connection:
        changed = connection.execute(update(catalogue).where(catalogue.c.iri == body.iri).values(**row))
        if changed.rowcount == 0:
            _require_room(connection, node)
            connection.execute(insert(catalogue), {"iri": body.iri, "node": node, **row})
        hub.audit.append("dataset-described", node, body.iri, connection, digest=body.digest)


def _require_room(connection: Connection, node: str) -> None:
    of_node = select(func.count()).select_from(catalogue).where(catalogue.c.node == node)
    if connection.execute(of_node).scalar_one() >= MOST_OF_A_NODE:
        raise TooMany(f"The catalogue takes at most {MOST_OF_A_NODE} datasets of one node.")


def withdraw(hub: Hub, node: str, iri: str) -> None:
    """Take a dataset out of the catalogue. `Conflict` when it is another node's; one not listed is no error."""
    _require_own(hub, node, iri)
    with hub.engine.begin() as connection:
        listed = (catalogue.c.iri == iri) & (catalogue.c.state == "published")
        if connection.execute(update(catalogue).where(listed).values(state="withdrawn")).rowcount:
            hub.audit.append("dataset-withdrawn", node, iri, connection)


def reconcile(hub: Hub, node: str, published: Mapping[str, str]) -> tuple[str, ...]:
    """Withdraw what a node no longer publishes; give the datasets of which the hub needs a new description.

    published   the digest of each dataset that the node has published
    """
    of_node = (catalogue.c.node == node) & (catalogue.c.state == "published")
    with hub.engine.connect() as connection:
        rows = connection.execute(select(catalogue.c.iri, catalogue.c.description).where(of_node)).all()
    known = {row.iri: row.description["digest"] for row in rows}
    for iri in sorted(known.keys() - published.keys()):
        withdraw(hub, node, iri)
    return tuple(iri for iri, digest in sorted(published.items()) if known.get(iri) != digest)


def list_datasets(hub: Hub) -> list[Entry]:
    """What is published, by title."""
    entries = _entries(hub, catalogue.c.state == "published")
    return sorted(entries, key=lambda entry: (entry.dataset.title.casefold(), entry.dataset.iri))


def get_dataset(hub: Hub, iri: str) -> Entry:
    """One published dataset. `NotFound` when it is not, or no longer, in the catalogue."""
    entries = _entries(hub, (catalogue.c.state == "published") & (catalogue.c.iri == iri))
    if not entries:
        raise NotFound("The catalogue has no such dataset.", "It may have been withdrawn; see the catalogue's list.")
    return entries[0]


def _entries(hub: Hub, condition: Any) -> list[Entry]:
    wanted = (
        select(catalogue.c.description, catalogue.c.received_at, nodes.c.title, nodes.c.public_url)
        .join(nodes, nodes.c.id == catalogue.c.node)
        .where(condition)
    )
    with hub.engine.connect() as connection:
        rows = connection.execute(wanted).all()
    return [Entry(_dataset(row.description, hub.threshold), row.title, row.public_url, row.received_at) for row in rows]


def _dataset(value: dict[str, Any], threshold: int) -> DatasetDescription:
    """The description as the hub shows it: what is below the hub's own `threshold` is hidden too, if that is higher."""
    body = wire.read(wire.Description, value)
    threshold = max(threshold, body.threshold)
    patients = body.patients if body.patients is not None and body.patients >= threshold else None
    hidden = () if patients is not None else ("studies", "series", "instances")
    shown = body.model_dump(exclude={"iri", "node", "project", "threshold", "patients", "groups", "terms"})
    return DatasetDescription(
        iri=DatasetIri(body.iri),
        node=NodeId(body.node),
        project=ProjectId(body.project),
        threshold=threshold,
        patients=patients,
        groups={name: _released(groups, patients or 0, threshold) for name, groups in body.groups.items()},
        terms=Terms(**body.terms.model_dump()),
        **{**shown, **dict.fromkeys(hidden)},
    )


def _released(groups: tuple[wire.Group, ...], patients: int, threshold: int) -> tuple[Group, ...]:
    shown = {group.value: group.patients for group in groups if group.patients is not None}
    return hide_small(shown, patients, threshold)


def _require_own(hub: Hub, node: str, iri: str) -> None:
    with hub.engine.connect() as connection:
        owner = connection.execute(select(catalogue.c.node).where(catalogue.c.iri == iri)).scalar_one_or_none()
    if owner not in (None, node):
        raise Conflict("The dataset is another node's.")
