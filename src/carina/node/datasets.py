"""Datasets: what a site shows of a project to the world, once a data manager publishes it.

A dataset belongs to one project and is a cohort query on it, or its whole intake. Its IRI is given once. Publishing
marks it; whoever serves the node sends `describe` of it to each hub, and again when the digest has changed.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import cast

from sqlalchemy import RowMapping, insert, select, update

from carina.errors import BadInput, Conflict, NotFound
from carina.federation.disclosure import hide_small
from carina.model.clock import stamp
from carina.model.cohort import All, Query, from_json, to_json
from carina.model.dataset import DatasetDescription, DatasetState
from carina.model.ids import DatasetIri, ProjectId
from carina.model.variables import require_known
from carina.node.site import Node
from carina.storage import cohort
from carina.storage.schema import datasets as table

WHOLE: Query = All(())
LONGEST_TITLE = 200
LONGEST_DESCRIPTION = 4000


@dataclass(frozen=True)
class Dataset:
    """One dataset as its site keeps it. `published_digest`: of its description when it was published."""

    iri: DatasetIri
    project: ProjectId
    title: str
    description: str
    query: Query
    state: DatasetState
    created_at: str
    published_at: str | None
    published_digest: str | None


def create(
    node: Node, actor: str, project: ProjectId, title: str, *, description: str = "", query: Query = WHOLE
) -> Dataset:
    """A new draft. Raises `NotFound` for a project this node does not have, `InvalidQuery` for unknown terms."""
    if project not in node.projects:
        raise NotFound("This node has no such project.")
    if not 0 < len(title.strip()) <= LONGEST_TITLE or len(description) > LONGEST_DESCRIPTION:
        raise BadInput(
            "The dataset's title or description is empty or too long.",
            f"A title has 1 to {LONGEST_TITLE} characters, a description at most {LONGEST_DESCRIPTION}.",
        )
    require_known(query)
    iri = DatasetIri(uuid.uuid4().urn)
    row = {
        "iri": iri,
        "project": project,
        "title": title.strip(),
        "description": description.strip(),
        "query": to_json(query),
        "state": "draft",
        "created_at": stamp(),
    }
    with node.engine.begin() as connection:
        connection.execute(insert(table), row)
        node.audit.append("dataset-created", actor, iri, connection=connection, project=project)
    return get(node, iri)


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
        digest = cohort.membership_digest(connection, [dataset.project], dataset.query)
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
        digest=digest,
        computed=stamp(),
    )


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
    )
