"""What arrives: each source with its pace, what became of what it sent, and whether it is silent unusually long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

from sqlalchemy import func, select

from carina.model.clock import now, parse_stamp, stamp
from carina.model.ids import ProjectId
from carina.model.instance import Source
from carina.node.site import Node
from carina.storage import arrivals as records
from carina.storage import reception
from carina.storage.arrivals import Arrival, StudyProgress, Tally
from carina.storage.reception import Backlog
from carina.storage.schema import instances, patients, series, studies

LOOK_BACK = 28  # days before its last image in which a source's usual pauses are looked for
ENOUGH = 3  # days with images in them that a source needs to have usual pauses


@dataclass(frozen=True)
class Archive:
    """How much the archive holds, over all projects."""

    patients: int
    studies: int
    series: int
    instances: int


@dataclass(frozen=True)
class SourceRow:
    """One source. `expected`: it stands in the settings; `minute`, `quarter`: images of the last 1 and 15 minutes."""

    source: Source
    project: ProjectId | None
    tally: Tally
    last_seen: str | None
    minute: int
    quarter: int

    @property
    def quarantined(self) -> int:
        """Images of it that wait in quarantine or were discarded there."""
        return sum(self.tally.quarantined.values())

    @property
    def percent(self) -> int:
        """How much of what it sent has been dealt with."""
        total = self.tally.total
        return 100 * (total - self.tally.received) // total if total else 0


@dataclass(frozen=True)
class Arriving:
    """One look at what happens, at an instant of UTC."""

    at: str
    backlog: Backlog
    sources: tuple[SourceRow, ...]

    @property
    def heard_today(self) -> int:
        """How many sources have sent something since midnight, UTC."""
        return sum(1 for row in self.sources if row.last_seen is not None and row.last_seen >= self.at[:10])


@dataclass(frozen=True)
class Silence:
    """A source that has sent nothing for longer than it used to; in days, as its longest pause was in four weeks."""

    source: Source
    days: int
    longest: int


def arriving(node: Node) -> Arriving:
    """What each source has sent. Reads an index of all arrivals: half a second for some millions."""
    at = now()
    tallies = {tally.source: tally for tally in records.tally(node.engine)}
    known = sorted({*tallies, *node.project_of}, key=lambda source: (source.kind, source.name))
    paces = reception.paces(node.engine, known, at)
    rows = [
        SourceRow(
            source=source,
            project=node.project_of.get(source),
            tally=tallies.get(source, Tally(source, 0, 0, 0, {})),
            last_seen=paces[source].last_seen,
            minute=paces[source].minute,
            quarter=paces[source].quarter,
        )
        for source in known
    ]
    return Arriving(stamp(at), reception.backlog(node.engine, node.most_waiting + 1), tuple(rows))


def latest(node: Node, source: Source | None = None, limit: int = 20) -> list[Arrival]:
    """The newest arrivals, of one source or all, newest first."""
    return records.latest(node.engine, limit, source)


def growing(node: Node, limit: int = 20) -> list[StudyProgress]:
    """The studies that grew last, newest first."""
    return records.progress(node.engine, limit)


def silences(node: Node, seen: Arriving, at: datetime) -> list[Silence]:
    """The sources that are silent for more than twice their longest pause, the longest silence first."""
    found = []
    for row in seen.sources:
        if row.project is None or row.last_seen is None:
            continue
        last = parse_stamp(row.last_seen)
        days = (at.date() - last.date()).days
        if days < 2:
            continue
        longest = longest_pause(reception.active_days(node.engine, row.source, last - timedelta(days=LOOK_BACK)))
        if longest is not None and days > 2 * longest:
            found.append(Silence(row.source, days, longest))
    return sorted(found, key=lambda one: -one.days)


def longest_pause(days: Sequence[str]) -> int | None:
    """The most days from one day with images to the next, at least 1; None when there are too few to tell."""
    if len(days) < ENOUGH:
        return None
    found = [date.fromisoformat(day) for day in days]
    return max(1, *((later - earlier).days for earlier, later in pairwise(found)))


def archive(node: Node) -> Archive:
    """Count what is archived; patients are those with images."""
    with node.engine.connect() as connection:
        numbers = [
            int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in (patients, studies, series, instances)
        ]
    return Archive(*numbers)
