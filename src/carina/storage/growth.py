"""How the archive has grown: a sum for each day that is over, kept, and what there is now by project and modality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Connection, Engine, delete, func, insert, select

from carina.storage.schema import arrivals, growth, instances, quarantine, series


@dataclass(frozen=True)
class Day:
    """What one day (UTC) has brought into one project's archive; `size` in bytes, as received."""

    day: date
    project: str
    images: int
    size: int


@dataclass(frozen=True)
class Heap:
    """What the archive holds of one project and modality; `size` in bytes, as stored."""

    project: str
    modality: str
    images: int
    size: int


def days(engine: Engine, today: date, count: int) -> list[Day]:
    """What each of the last `count` days brought, today included, in order; a day without images has no row.

    Of days that are kept no arrival is read; see `keep`.
    """
    first = today - timedelta(days=count - 1)
    kept = select(growth).where(growth.c.day >= first.isoformat(), growth.c.day < today.isoformat())
    with engine.connect() as connection:
        rows = connection.execute(kept).all()
        past = (row for row in rows if row.project)
        found = [Day(date.fromisoformat(row.day), row.project, row.images, int(row.size)) for row in past]
        for day in _missing({row.day for row in rows}, first, today):
            found += _sum(connection, day)
        found += _sum(connection, today)
    return sorted(found, key=lambda one: (one.day, one.project))


def keep(engine: Engine, today: date, count: int) -> int:
    """Sum up the days before today that are over and not kept yet, `count` of them at most; how many."""
    first = today - timedelta(days=count)
    with engine.connect() as connection:  # a long look, before the short transaction that writes
        known = set(connection.execute(select(growth.c.day).where(growth.c.day >= first.isoformat())).scalars())
        missing = _missing(known, first, today)
        found = [one for day in missing for one in _sum(connection, day)]
    if missing:
        marks = [Day(day, "", 0, 0) for day in missing]
        rows = [{**vars(one), "day": one.day.isoformat()} for one in (*marks, *found)]
        with engine.begin() as connection:
            connection.execute(delete(growth).where(growth.c.day.in_([day.isoformat() for day in missing])))
            connection.execute(insert(growth), rows)
    return len(missing)


def _missing(known: set[str], first: date, today: date) -> list[date]:
    every = (first + timedelta(days=number) for number in range((today - first).days))
    return [day for day in every if day.isoformat() not in known]


def _sum(connection: Connection, day: date) -> list[Day]:
    """What a day brought, of an index that holds all it needs."""
    end = arrivals.c.finished_at
    wanted = (
        select(arrivals.c.project, func.count(), func.sum(arrivals.c.size))
        .where(end >= day.isoformat(), end < (day + timedelta(days=1)).isoformat())
        .where(arrivals.c.state == "archived", arrivals.c.project.is_not(None))
        .group_by(arrivals.c.project)
        .order_by(arrivals.c.project)
    )
    return [Day(day, project, int(images), int(size)) for project, images, size in connection.execute(wanted)]


def heaps(engine: Engine) -> list[Heap]:
    """What there is by project and modality, the largest first. Reads an index of all instances: ask seldom."""
    each = (
        select(instances.c.series_uid, func.count().label("images"), func.sum(instances.c.size).label("size"))
        .group_by(instances.c.series_uid)
        .subquery()
    )
    by = (series.c.project, series.c.modality)
    wanted = (
        select(*by, func.sum(each.c.images), func.sum(each.c.size))
        .join_from(each, series, series.c.series_uid == each.c.series_uid)
        .group_by(*by)
    )
    with engine.connect() as connection:
        rows = connection.execute(wanted).all()
    found = [Heap(project, modality, int(images), int(size)) for project, modality, images, size in rows]
    return sorted(found, key=lambda heap: (-heap.size, heap.project, heap.modality))


def held(engine: Engine, state: str = "waiting") -> dict[str, tuple[int, int]]:
    """How many wait in quarantine, or rest there in another state, and their bytes, by reason."""
    sums = (func.count(), func.sum(quarantine.c.size))
    wanted = select(quarantine.c.reason, *sums).where(quarantine.c.state == state).group_by(quarantine.c.reason)
    with engine.connect() as connection:
        return {reason: (int(count), int(size)) for reason, count, size in connection.execute(wanted)}


def total(found: Sequence[Day], since: date) -> tuple[int, int]:
    """Images and bytes of the days from `since` on."""
    mine = [day for day in found if day.day >= since]
    return sum(day.images for day in mine), sum(day.size for day in mine)
