"""Datasets: what a site shows of a project to the world, once a data manager publishes it.

A dataset belongs to one project and is a cohort query on it, or its whole intake. Its IRI is given once. Publishing
marks it; whoever serves the node sends `describe` of it to each hub, and again when the digest has changed.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import cast

from sqlalchemy import RowMapping, insert, select, update

from carina.errors import BadInput, Conflict, NotFound
from carina.federation.disclosure import hide_small
from carina.model.clock import stamp
from carina.model.cohort import All, Query, from_json, to_json
from carina.model.dataset import DatasetDescription, DatasetState
from carina.model.ids import DatasetIri, ProjectId
from carina.model.permit import ACTIONS, Action, Terms
from carina.model.permit import actions as known_actions
from carina.model.variables import require_known
from carina.node.site import Node
from carina.storage import cohort
from carina.storage.schema import datasets as table
from carina.storage.schema import snapshots

WHOLE: Query = All(())
LONGEST_TITLE = 200
LONGEST_DESCRIPTION = 4000


@dataclass(frozen=True)
class Dataset:
    """One dataset as its site keeps it. `published_digest`: of its description when it was published.

    actions       that permits may be for; None: all that the node allows
    longest_days  of a permit; None: as the node allows
    """

    iri: DatasetIri
    project: ProjectId
    title: str
    description: str
    query: Query
    state: DatasetState
    created_at: str
    published_at: str | None
    published_digest: str | None
    actions: tuple[Action, ...] | None = None
    longest_days: int | None = None


def create(
    node: Node,
    actor: str,
    project: ProjectId,
    title: str,
    *,
    description: str = "",
    query: Query = WHOLE,
    actions: Collection[str] | None = None,
    longest_days: int | None = None,
) -> Dataset:
    """A new draft; `actions` and `longest_days` narrow what permits may be for (`Dataset`).

    Raises `NotFound` for a project this node does not have, `InvalidQuery` for unknown terms, `BadInput` for a text
    that is too long and for more than the node's own policy allows.
    """
    if project not in node.projects:
        raise NotFound("This node has no such project.")
    if not 0 < len(title.strip()) <= LONGEST_TITLE or len(description) > LONGEST_DESCRIPTION:
        raise BadInput(
            "The dataset's title or description is empty or too long.",
            f"A title has 1 to {LONGEST_TITLE} characters, a description at most {LONGEST_DESCRIPTION}.",
        )
    require_known(query)
    narrowed = _narrowed(node, actions, longest_days)
    iri = DatasetIri(uuid.uuid4().urn)
    row = {
        "iri": iri,
        "project": project,
        "title": title.strip(),
        "description": description.strip(),
        "query": to_json(query),
        "state": "draft",
        "created_at": stamp(),
        "actions": narrowed,
        "longest_days": longest_days,
    }
    with node.engine.begin() as connection:
        connection.execute(insert(table), row)
        node.audit.append("dataset-created", actor, iri, connection=connection, project=project)
    return get(node, iri)


def _narrowed(node: Node, chosen: Collection[str] | None, longest_days: int | None) -> list[Action] | None:
    """The actions that a dataset's permits may be for, as they are kept; `BadInput` beyond the node's policy."""
    if longest_days is not None and not 1 <= longest_days <= node.policy.longest_days:
        raise BadInput(
            "A permit cannot last so many days here.",
            f"Choose 1 to {node.policy.longest_days} days; the node's settings allow no more.",
        )
    if chosen is None:
        return None
    named = known_actions(list(chosen))
    if not set(named) <= set(node.policy.actions):
        raise BadInput(
            "The node does not allow such an action to anybody.",
            f"Choose among {', '.join(node.policy.actions)}, or change `access` in node.toml.",
        )
    return list(named)


def listed(node: Node, state: DatasetState | None = None) -> list[Dataset]:
    """All datasets, or those in one state, oldest first."""
    wanted = select(table).order_by(table.c.created_at, table.c.iri)
    if state is not None:
        wanted = wanted.where(table.c.state == state)
    with node.engine.connect() as connection:
        return [_dataset(row) for row in connection.execute(wanted).mappings()]


def get(node: Node, iri: str) -> Dataset:
    """One dataset, or `NotFound`."""
    with node.engine.connect() as connection:
        row = connection.execute(select(table).where(table.c.iri == iri)).mappings().one_or_none()
    if row is None:
        raise NotFound("This node has no such dataset.")
    return _dataset(row)


def publish(node: Node, actor: str, iri: str) -> DatasetDescription:
    """Show it to the world from now on; what the hubs are to be told. Publishing again brings it up to date."""
    description = describe(node, get(node, iri))
    values = {"state": "published", "published_at": stamp(), "published_digest": description.digest}
    with node.engine.begin() as connection:
        connection.execute(update(table).where(table.c.iri == iri).values(**values))
        node.audit.append("dataset-published", actor, iri, connection=connection, digest=description.digest)
    return description


def withdraw(node: Node, actor: str, iri: str) -> Dataset:
    """Show it no longer; searches leave it out at once. Raises `Conflict` when it is not published."""
    get(node, iri)
    published = (table.c.iri == iri) & (table.c.state == "published")
    with node.engine.begin() as connection:
        if connection.execute(update(table).where(published).values(state="withdrawn")).rowcount == 0:
            raise Conflict("This dataset is not published.", "Only a published dataset can be withdrawn.")
        node.audit.append("dataset-withdrawn", actor, iri, connection=connection)
    return get(node, iri)


def describe(node: Node, dataset: Dataset) -> DatasetDescription:
    """The dataset in sums, computed from the index now; what fewer than the threshold of patients have is hidden."""
    with node.engine.connect() as connection:
        sums = cohort.groups(connection, [dataset.project], dataset.query)
        membership = cohort.membership_digest(connection, [dataset.project], dataset.query)
    allows = terms(node, dataset)
    enough = sums.patients >= node.threshold
    return DatasetDescription(
        iri=dataset.iri,
        node=node.id,
        project=dataset.project,
        title=dataset.title,
        description=dataset.description,
        institution=node.institution,
        country=node.country,
        threshold=node.threshold,
        patients=sums.patients if enough else None,
        studies=sums.studies if enough else None,
        series=sums.series if enough else None,
        instances=sums.instances if enough else None,
        groups={name: hide_small(values, sums.patients, node.threshold) for name, values in sums.groups.items()},
        digest=_digest(membership, allows),
        computed=stamp(),
        terms=allows,
    )


def _digest(membership: str, allows: Terms) -> str:
    """SHA-256 of a membership's digest and the terms."""
    return hashlib.sha256(json.dumps([membership, asdict(allows)], sort_keys=True).encode()).hexdigest()


def terms(node: Node, dataset: Dataset) -> Terms:
    """What permits for the dataset may be, as hubs are told."""
    return Terms(
        actions=allowed(node, dataset),
        longest_days=longest_days(node, dataset),
        versions=versions(node, dataset.iri),
        countersign=node.policy.countersign,
    )


def allowed(node: Node, dataset: Dataset) -> tuple[Action, ...]:
    """The actions that node and dataset allow. Nobody can look at images of a node without an outside address."""
    own = node.policy.actions if dataset.actions is None else dataset.actions
    offered = node.policy.actions if node.public_url is not None else ("analyse",)
    return tuple(action for action in ACTIONS if action in own and action in offered and action in node.policy.actions)


def longest_days(node: Node, dataset: Dataset) -> int:
    """How many days a permit for the dataset may last."""
    return min(node.policy.longest_days, dataset.longest_days or node.policy.longest_days)


def versions(node: Node, iri: str) -> tuple[int, ...]:
    """The numbers of the dataset's snapshots, oldest first."""
    numbers = select(snapshots.c.number).where(snapshots.c.dataset == iri).order_by(snapshots.c.number)
    with node.engine.connect() as connection:
        return tuple(connection.execute(numbers).scalars())


def published(node: Node) -> list[DatasetDescription]:
    """What hubs should know now: a description of each published dataset."""
    return [describe(node, dataset) for dataset in listed(node, state="published")]


def _dataset(row: RowMapping) -> Dataset:
    return Dataset(
        iri=DatasetIri(row["iri"]),
        project=ProjectId(row["project"]),
        title=row["title"],
        description=row["description"],
        query=from_json(row["query"]),
        state=cast(DatasetState, row["state"]),
        created_at=row["created_at"],
        published_at=row["published_at"],
        published_digest=row["published_digest"],
        actions=None if row["actions"] is None else known_actions(row["actions"]),
        longest_days=row["longest_days"],
    )
