"""What arrives, in numbers, for the console and the status."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from carina.node.site import Node
from carina.storage import arrivals as records
from carina.storage.arrivals import Arrival, StudyProgress, Tally
from carina.storage.schema import instances, patients, series, studies


@dataclass(frozen=True)
class Archive:
    """How much the archive holds, over all projects."""

    patients: int
    studies: int
    series: int
    instances: int


@dataclass(frozen=True)
class Overview:
    """One look at what happens. `sources` sums up what each has sent; lists begin with the newest."""

    waiting: int
    archive: Archive
    sources: tuple[Tally, ...]
    latest: tuple[Arrival, ...]
    studies: tuple[StudyProgress, ...]


def overview(node: Node, limit: int = 20) -> Overview:
    """The present state; `limit` bounds each list."""
    return Overview(
        waiting=records.waiting(node.engine),
        archive=archive(node),
        sources=tuple(records.tally(node.engine)),
        latest=tuple(records.latest(node.engine, limit)),
        studies=tuple(records.progress(node.engine, limit)),
    )


def archive(node: Node) -> Archive:
    """Count what is archived; patients are those with images."""
    with node.engine.connect() as connection:
        numbers = [
            int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in (patients, studies, series, instances)
        ]
    return Archive(*numbers)
