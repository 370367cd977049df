"""How a dataset stands now: what it holds, how it has grown, what the hubs know of it, and who may use it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from carina.model.clock import now
from carina.model.dataset import DatasetDescription
from carina.node import datasets, permits, snapshots
from carina.node.datasets import Dataset
from carina.node.membership import list_hubs
from carina.node.site import Node
from carina.storage.members import Members, instances_within
from carina.storage.schema import instances, studies

NEWEST = 6  # studies that are shown


@dataclass(frozen=True)
class Described:
    """A dataset in sums, as they were found together at `description.computed`.

    description   what hubs are told
    instances, studies, newest   as in `State`
    """

    description: DatasetDescription
    instances: int
    studies: int
    newest: tuple[str, ...]


def described(node: Node, dataset: Dataset) -> Described:
    """The dataset in sums now. It reads all of the dataset's rows in the index: keep it for a while."""
    within = instances_within(Members(dataset.project, query=dataset.query))
    its = select(instances.c.study_uid).where(within).distinct().subquery()
    newest = select(studies.c.study_uid).where(studies.c.study_uid.in_(select(its.c.study_uid)))
    with node.engine.connect() as connection:
        held = int(connection.execute(select(func.count()).select_from(instances).where(within)).scalar_one())
        several = int(connection.execute(select(func.count()).select_from(its)).scalar_one())
        last = connection.execute(newest.order_by(studies.c.last_at.desc()).limit(NEWEST)).scalars().all()
    return Described(datasets.describe(node, dataset), held, several, tuple(last))


@dataclass(frozen=True)
class Contact:
    """A hub that a published dataset is told to, and when it was last heard."""

    title: str
    last: str | None


@dataclass(frozen=True)
class State:
    """Exact numbers, for the site's own staff.

    since      images more (or fewer) than the last snapshot had; None without one
    in_step    whether what the hubs were told at the last publication is what would be told now; None: never published
    in_force   permits in force; `uses` of all its permits, by action
    newest     UIDs of the studies that grew last
    """

    instances: int
    studies: int
    since: int | None
    snapshot: int | None
    hubs: tuple[Contact, ...]
    in_step: bool | None
    in_force: int
    uses: dict[str, int]
    newest: tuple[str, ...]


def state_of(node: Node, dataset: Dataset, found: Described) -> State:
    """How the dataset stands, by the sums that were found, and by all else as it is now."""
    taken = snapshots.listed(node, dataset.iri)
    mine = [one for one in permits.listed(node) if one.visa.dataset == dataset.iri]
    published = dataset.state == "published"
    at = now()
    return State(
        instances=found.instances,
        studies=found.studies,
        since=found.instances - taken[-1].instances if taken else None,
        snapshot=taken[-1].number if taken else None,
        hubs=tuple(Contact(hub.title, hub.last_contact) for hub in list_hubs(node)) if published else (),
        in_step=dataset.published_digest == found.description.digest if published else None,
        in_force=sum(one.state == "in-force" and one.hub_state == "valid" and one.visa.expires > at for one in mine),
        uses={name: sum(getattr(one.use, name) for one in mine) for name in ("view", "retrieve", "analyse")},
        newest=found.newest,
    )
