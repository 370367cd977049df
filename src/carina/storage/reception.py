"""Who sends, when, and how much: what the console asks again and again, answered from indexes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, select

from carina.model.clock import stamp
from carina.model.instance import Source
from carina.storage.schema import arrivals


@dataclass(frozen=True)
class Pace:
    """How much one source has sent in the last minute and the last 15 minutes, and when last; None: never."""

    last_seen: str | None
    minute: int
    quarter: int


@dataclass(frozen=True)
class Backlog:
    """What waits for a worker: how many (counted no further than asked), their bytes, since when the oldest."""

    waiting: int
    size: int
    oldest: str | None


def paces(engine: Engine, sources: Sequence[Source], now: datetime) -> dict[Source, Pace]:
    """The pace of each source; reads no more rows than came in the last 15 minutes."""
    with engine.connect() as connection:
        return {source: _pace(connection, source, now) for source in sources}


def _pace(connection: Connection, source: Source, now: datetime) -> Pace:
    at, mine = arrivals.c.received_at, _of(source)
    last = connection.execute(select(func.max(at)).where(mine)).scalar()
    quarter, minute = stamp(now - timedelta(minutes=15)), stamp(now - timedelta(minutes=1))
    if last is None or last < quarter:
        return Pace(last, 0, 0)
    count = select(func.count()).select_from(arrivals)
    numbers = [connection.execute(count.where(mine, at >= since)).scalar_one() for since in (minute, quarter)]
    return Pace(last, int(numbers[0]), int(numbers[1]))


def active_days(engine: Engine, source: Source, since: datetime) -> list[str]:
    """The days (UTC, `2026-01-02`) since then on which the source sent something; one look into the index for each."""
    days: list[str] = []
    after = stamp(since)
    with engine.connect() as connection:
        first = select(func.min(arrivals.c.received_at)).where(_of(source), arrivals.c.received_at >= after)
        while (found := connection.execute(first).scalar()) is not None:
            days.append(found[:10])
            next_day = datetime.fromisoformat(found[:10]) + timedelta(days=1)
            beyond = f"{next_day:%Y-%m-%d}T00:00:00.000000Z"
            first = select(func.min(arrivals.c.received_at)).where(_of(source), arrivals.c.received_at >= beyond)
    return days


def backlog(engine: Engine, at_most: int) -> Backlog:
    """What waits for a worker, counted up to `at_most`."""
    waits = (
        select(arrivals.c.size, arrivals.c.received_at)
        .where(arrivals.c.state == "received")
        .order_by(arrivals.c.id)
        .limit(at_most)
        .subquery()
    )
    sums = select(func.count(), func.coalesce(func.sum(waits.c.size), 0), func.min(waits.c.received_at))
    with engine.connect() as connection:
        count, size, oldest = connection.execute(sums).one()
    return Backlog(int(count), int(size), oldest)


def sources(engine: Engine) -> list[Source]:
    """All that ever sent something, by name; one look into the index for each."""
    found: list[Source] = []
    key = (arrivals.c.source_kind, arrivals.c.source_name)
    with engine.connect() as connection:
        while True:
            wanted = select(*key).order_by(*key).limit(1)
            if found:
                wanted = wanted.where(_beyond(found[-1]))
            row = connection.execute(wanted).one_or_none()
            if row is None:
                return found
            found.append(Source(row.source_kind, row.source_name))


def _beyond(last: Source) -> ColumnElement[bool]:
    kind, name = arrivals.c.source_kind, arrivals.c.source_name
    return (kind > last.kind) | and_(kind == last.kind, name > last.name)


def _of(source: Source) -> ColumnElement[bool]:
    return and_(arrivals.c.source_kind == source.kind, arrivals.c.source_name == source.name)
