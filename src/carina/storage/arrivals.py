"""What was received, and what became of it. The bytes rest in the spool, or in quarantine, under the arrival's id."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, and_, bindparam, func, insert, or_, select, update

from carina.errors import NotFound
from carina.model.clock import now, stamp
from carina.model.ids import ProjectId, Uid
from carina.model.instance import Reason, Source
from carina.storage.schema import arrivals, studies

State = Literal["received", "archived", "unchanged", "quarantined", "forgotten"]
End = Literal["archived", "unchanged", "quarantined", "forgotten"]
CLAIM = timedelta(minutes=5)  # after which a claim is taken for that of a dead worker


@dataclass(frozen=True)
class Arrival:
    """One thing received, `size` in bytes. `attempts` counts how often a worker has claimed it, this time included.

    profile   by which it is to be de-identified instead of its project's own: a word of `node.alternatives`
    """

    id: str
    source: Source
    received_at: str
    size: int
    state: State
    reason: Reason | None
    project: ProjectId | None
    study_uid: Uid | None
    uid: Uid | None
    attempts: int
    finished_at: str | None
    profile: str | None = None


@dataclass(frozen=True)
class Tally:
    """What became of all that one source has sent; `received` still waits for a worker."""

    source: Source
    received: int
    archived: int
    unchanged: int
    quarantined: dict[Reason, int]
    forgotten: int = 0

    @property
    def total(self) -> int:
        """All that arrived."""
        return self.received + self.archived + self.unchanged + self.forgotten + sum(self.quarantined.values())


@dataclass(frozen=True)
class StudyProgress:
    """One study in the archive, as it fills.

    state      "receiving", or "complete" after a quiet time
    reopened   how often images came after that
    """

    project: ProjectId
    study_uid: Uid
    modalities: tuple[str, ...]
    series: int
    instances: int
    first_at: str
    last_at: str
    state: str
    reopened: int


@dataclass(frozen=True)
class Received:
    """What is noted of one thing received, `size` in bytes. `sent` is a keyed digest of how its sender names it."""

    id: str
    source: Source
    received_at: str
    size: int
    sent: str = ""


_ADD = insert(arrivals)


def add_all(connection: Connection, received: Sequence[Received]) -> None:
    """Note what was received; the bytes are in the spool already. Durable when the caller commits."""
    rows = [
        {
            "id": one.id,
            "source_kind": one.source.kind,
            "source_name": one.source.name,
            "received_at": one.received_at,
            "size": one.size,
            "state": "received",
            "attempts": 0,
            "sent": one.sent or None,
        }
        for one in received
    ]
    connection.execute(_ADD, rows)


def add(connection: Connection, arrival_id: str, source: Source, size: int) -> None:
    """`add_all` of one that arrives now."""
    add_all(connection, [Received(arrival_id, source, stamp(), size)])


def claim(engine: Engine, worker: str) -> Arrival | None:
    """The oldest arrival that nobody works on, now claimed by `worker`; None when there is none.

    A claim ends with `finish`, `release_claims` or after five minutes; who then still works on it repeats what another
    does, which is harmless.
    """
    return next(iter(claim_batch(engine, worker, 1, 1)), None)


def claim_batch(engine: Engine, worker: str, most: int, most_bytes: int) -> list[Arrival]:
    """The oldest free arrivals, now claimed by `worker` in one transaction; empty when nothing waits.

    At most `most` of them and about `most_bytes` bytes. What was tried before comes alone, for it may be what killed
    its worker, and shall take no other with it.
    """
    oldest = (
        select(arrivals.c.id, arrivals.c.size, arrivals.c.attempts)
        .where(_free(stamp(now() - CLAIM)))
        .order_by(arrivals.c.id)
        .limit(most)
    )
    with engine.connect() as connection:  # an idle worker leaves the write lock alone
        if connection.execute(oldest.limit(1)).first() is None:
            return []
    with engine.begin() as connection:
        chosen: list[str] = []
        total = 0
        for row in connection.execute(oldest.with_for_update(skip_locked=True)):
            if chosen and (row.attempts > 0 or total >= most_bytes):
                break
            chosen.append(row.id)
            total += row.size
            if row.attempts > 0:
                break
        taken = (
            update(arrivals)
            .where(arrivals.c.id.in_(chosen))
            .values(claimed_by=worker, claimed_at=stamp(), attempts=arrivals.c.attempts + 1)
        )
        connection.execute(taken)
        mine = select(arrivals).where(arrivals.c.id.in_(chosen)).order_by(arrivals.c.id)
        return [_arrival(row) for row in connection.execute(mine).mappings()]


def _free(dead_before: str) -> ColumnElement[bool]:
    unclaimed = or_(arrivals.c.claimed_at.is_(None), arrivals.c.claimed_at < dead_before)
    return and_(arrivals.c.state == "received", unclaimed)


def release_claims(engine: Engine, worker: str | None = None) -> int:
    """End the claims of `worker`, or of all, for the start of a node, when nobody can hold one; how many."""
    held = and_(arrivals.c.state == "received", arrivals.c.claimed_by.is_not(None))
    if worker is not None:
        held = and_(held, arrivals.c.claimed_by == worker)
    with engine.begin() as connection:
        return connection.execute(update(arrivals).where(held).values(claimed_by=None, claimed_at=None)).rowcount


@dataclass(frozen=True)
class Finished:
    """What became of one arrival."""

    id: str
    state: End
    reason: Reason | None = None
    project: ProjectId | None = None
    study_uid: Uid | None = None
    uid: Uid | None = None


_FINISH = (
    update(arrivals)
    .where(arrivals.c.id == bindparam("arrival"), arrivals.c.state == "received")
    .values(
        state=bindparam("end"),
        reason=bindparam("why"),
        project=bindparam("into"),
        study_uid=bindparam("study"),
        uid=bindparam("instance"),
        claimed_by=None,
        claimed_at=None,
        finished_at=bindparam("at"),
    )
)


def finish_all(connection: Connection, ends: Sequence[Finished]) -> set[str]:
    """Note what became of each, in the caller's transaction; then their bytes may leave the spool.

    The ids of those that were not finished before, by another worker; of the others nothing is noted.
    """
    mine = unfinished(connection, [one.id for one in ends])
    at = stamp()
    rows = [
        {
            "arrival": one.id,
            "end": one.state,
            "why": one.reason,
            "into": one.project,
            "study": one.study_uid,
            "instance": one.uid,
            "at": at,
        }
        for one in ends
        if one.id in mine
    ]
    if rows:
        connection.execute(_FINISH, rows)
    return mine


def unfinished(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those that still wait to be finished; no other worker finishes them before the caller's transaction ends."""
    waits = select(arrivals.c.id).where(arrivals.c.id.in_(ids), arrivals.c.state == "received").with_for_update()
    return set(connection.execute(waits).scalars())


def finish(
    connection: Connection,
    arrival_id: str,
    state: End,
    *,
    reason: Reason | None = None,
    project: ProjectId | None = None,
    study_uid: Uid | None = None,
    uid: Uid | None = None,
) -> bool:
    """`finish_all` of one. False, and nothing is noted, when another worker has finished it before."""
    return bool(finish_all(connection, [Finished(arrival_id, state, reason, project, study_uid, uid)]))


def requeue(connection: Connection, ids: Collection[str]) -> None:
    """Let those of these that are quarantined be tried again, in the caller's transaction."""
    again = (
        update(arrivals)
        .where(arrivals.c.id.in_(ids), arrivals.c.state == "quarantined")
        .values(state="received", reason=None, finished_at=None, claimed_by=None, claimed_at=None, attempts=0)
    )
    connection.execute(again)


def choose_profile(connection: Connection, ids: Collection[str], profile: str | None) -> None:
    """Let arrivals be de-identified by another profile than their project's, or by that again (None)."""
    others = arrivals.c.id.in_(ids) & arrivals.c.profile.is_distinct_from(profile)
    connection.execute(update(arrivals).where(others).values(profile=profile))


def change_reason(connection: Connection, arrival_id: str, reason: Reason) -> None:
    """Let a quarantined arrival wait for another reason, in the caller's transaction."""
    waits = and_(arrivals.c.id == arrival_id, arrivals.c.state == "quarantined")
    connection.execute(update(arrivals).where(waits).values(reason=reason))


def get(connection: Connection, arrival_id: str) -> Arrival:
    """The arrival of this id, or `NotFound`."""
    row = connection.execute(select(arrivals).where(arrivals.c.id == arrival_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("Nothing with this id has arrived.")
    return _arrival(row)


def waiting(engine: Engine, at_most: int | None = None) -> int:
    """How many arrivals no worker has finished yet; counted no further than `at_most`."""
    found = select(arrivals.c.id).where(arrivals.c.state == "received").limit(at_most).subquery()
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(found)).scalar_one())


def tally(engine: Engine) -> list[Tally]:
    """What became of what each source has sent, in the order of their names."""
    by = (arrivals.c.source_kind, arrivals.c.source_name, arrivals.c.state, arrivals.c.reason)
    sums: dict[Source, dict[str, Any]] = {}
    with engine.connect() as connection:
        rows = connection.execute(select(*by, func.count().label("number")).group_by(*by).order_by(*by[:2])).all()
    for row in rows:
        mine = sums.setdefault(Source(row.source_kind, row.source_name), {"quarantined": {}})
        if row.state == "quarantined":
            mine["quarantined"][Reason(row.reason)] = row.number
        else:
            mine[row.state] = row.number
    return [
        Tally(
            source,
            received=some.get("received", 0),
            archived=some.get("archived", 0),
            unchanged=some.get("unchanged", 0),
            quarantined=some["quarantined"],
            forgotten=some.get("forgotten", 0),
        )
        for source, some in sums.items()
    ]


def latest(engine: Engine, limit: int = 20, source: Source | None = None) -> list[Arrival]:
    """The newest arrivals, of one source or all, newest first."""
    wanted = select(arrivals).order_by(arrivals.c.id.desc()).limit(limit)
    if source is not None:
        mine = and_(arrivals.c.source_kind == source.kind, arrivals.c.source_name == source.name)
        wanted = select(arrivals).where(mine).order_by(arrivals.c.received_at.desc()).limit(limit)
    with engine.connect() as connection:
        return [_arrival(row) for row in connection.execute(wanted).mappings()]


def progress(engine: Engine, limit: int = 50) -> list[StudyProgress]:
    """The studies that grew last, newest first."""
    with engine.connect() as connection:
        rows = connection.execute(select(studies).order_by(studies.c.last_at.desc()).limit(limit))
        return [
            StudyProgress(
                project=ProjectId(row.project),
                study_uid=Uid(row.study_uid),
                modalities=tuple(row.modalities),
                series=row.series_count,
                instances=row.instance_count,
                first_at=row.first_at,
                last_at=row.last_at,
                state=row.state,
                reopened=row.reopened,
            )
            for row in rows
        ]


def _arrival(row: RowMapping) -> Arrival:
    return Arrival(
        id=row["id"],
        source=Source(row["source_kind"], row["source_name"]),
        received_at=row["received_at"],
        size=row["size"],
        state=cast(State, row["state"]),
        reason=Reason(row["reason"]) if row["reason"] else None,
        project=row["project"],
        study_uid=row["study_uid"],
        uid=row["uid"],
        attempts=row["attempts"],
        finished_at=row["finished_at"],
        profile=row["profile"],
    )
