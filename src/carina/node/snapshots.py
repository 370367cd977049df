"""Snapshots: numbered memberships of a dataset, which never change, so that an analysis can name what it was of."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import func, insert, literal, select

from carina.errors import BadInput, Conflict
from carina.model.clock import stamp
from carina.model.ids import DatasetIri
from carina.node import datasets
from carina.node.site import Node
from carina.storage.cohort import membership_digest
from carina.storage.members import Members, instances_within
from carina.storage.schema import instances, snapshot_members
from carina.storage.schema import snapshots as table

MOST = 1_000
"""Of one dataset: as many as its terms can name."""


@dataclass(frozen=True)
class Snapshot:
    """What a dataset held when it was taken. `digest`: SHA-256 of its instances and their versions."""

    number: int
    digest: str
    instances: int
    created_at: str
    created_by: str


def take(node: Node, actor: str, iri: str) -> Snapshot:
    """Keep what the dataset holds now under the next number. Hubs are told of it with the dataset's terms.

    Raises `NotFound`, `BadInput` for a dataset without images, `Conflict` when nothing has changed since the last one.
    """
    dataset = datasets.get(node, iri)
    with node.engine.begin() as connection:
        digest = membership_digest(connection, [dataset.project], dataset.query)
        newest = select(table).where(table.c.dataset == iri).order_by(table.c.number.desc()).limit(1)
        last = connection.execute(newest).one_or_none()
        if last is not None and last.digest == digest:
            raise Conflict(f"Nothing has changed since snapshot {last.number}.", "Use that one.")
        number = 1 if last is None else last.number + 1
        if number > MOST:
            raise Conflict(f"A dataset has at most {MOST} snapshots.", "Make a new dataset of the same query.")
        within = instances_within(Members(dataset.project, query=dataset.query))
        held = connection.execute(select(func.count()).select_from(instances).where(within)).scalar_one()
        if held == 0:
            raise BadInput("The dataset holds no images now.", "Take a snapshot when it does.")
        taken = Snapshot(number, digest, held, stamp(), actor)
        connection.execute(insert(table), {"dataset": dataset.iri, **asdict(taken)})
        rows = select(literal(dataset.iri), literal(number), instances.c.uid, instances.c.content).where(within)
        connection.execute(insert(snapshot_members).from_select(["dataset", "number", "uid", "content"], rows))
        node.audit.append("snapshot-taken", actor, iri, connection, number=number, instances=held, digest=digest)
    return taken


def listed(node: Node, iri: str) -> list[Snapshot]:
    """The dataset's snapshots, oldest first. Raises `NotFound`."""
    dataset: DatasetIri = datasets.get(node, iri).iri
    wanted = select(table).where(table.c.dataset == dataset).order_by(table.c.number)
    with node.engine.connect() as connection:
        return [
            Snapshot(row.number, row.digest, row.instances, row.created_at, row.created_by)
            for row in connection.execute(wanted)
        ]
