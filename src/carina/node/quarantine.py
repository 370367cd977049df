"""What could not pass: encrypted, with the reason, until somebody tries it again or discards it.

The bytes stay where they are while they are tried again, so that no crash can lose them; the worker removes them when
they have reached the archive.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, cast

from sqlalchemy import Connection, RowMapping, and_, func, insert, select, update

from carina.errors import NotFound
from carina.model.ids import ProjectId
from carina.model.instance import Reason, Source
from carina.node.parcel import Parcel, recorded
from carina.node.site import Node
from carina.storage import arrivals
from carina.storage.schema import quarantine as table

log = logging.getLogger(__name__)

State = Literal["waiting", "retried", "discarded"]


@dataclass(frozen=True)
class Held:
    """One thing in quarantine. No field holds a free header value: modality and SOP class are known words or None.

    id      the arrival's
    size    bytes, as received
    detail  constant words that narrow the reason down
    """

    id: str
    reason: Reason
    source: Source
    size: int
    received_at: str
    detail: str = ""
    project: ProjectId | None = None
    modality: str | None = None
    sop_class_uid: str | None = None
    state: State = "waiting"

    @classmethod
    def of(
        cls,
        node: Node,
        arrival_id: str,
        parcel: Parcel,
        reason: Reason,
        *,
        detail: str = "",
        project: ProjectId | None = None,
        kind: tuple[str | None, str | None] = (None, None),
    ) -> Self:
        """The entry for a parcel; `kind` is its modality and SOP class."""
        where = (recorded(parcel.source, node.project_of), len(parcel.data), parcel.received_at)
        return cls(arrival_id, reason, *where, detail or reason.sentence, project, *kind)


@dataclass(frozen=True)
class Heap:
    """All that waits for one reason. `modalities`: how many of each; "" where it is not known."""

    reason: Reason
    sentence: str
    count: int
    size: int
    oldest: str
    newest: str
    modalities: dict[str, int]


def note(node: Node, connection: Connection, held: Held) -> None:
    """Write the row, in the caller's transaction; the bytes are in quarantine already."""
    row = {key: value for key, value in asdict(held).items() if key != "source"}
    row |= {"source_kind": held.source.kind, "source_name": held.source.name}
    again = update(table).where(table.c.id == held.id).values(**{key: row[key] for key in row if key != "id"})
    if connection.execute(again).rowcount == 0:
        connection.execute(insert(table), row)
    details: dict[str, Any] = {"reason": held.reason, "project": held.project}
    node.audit.append("quarantined", str(held.source)[:200], held.id, connection=connection, **details)


def heaps(node: Node) -> list[Heap]:
    """What waits, by reason, the largest heap first."""
    by = (table.c.reason, table.c.modality)
    sums = (func.count(), func.sum(table.c.size), func.min(table.c.received_at), func.max(table.c.received_at))
    found: dict[Reason, list[tuple[str, int, int, str, str]]] = {}
    with node.engine.connect() as connection:
        for reason, modality, *numbers in connection.execute(_waiting(select(*by, *sums)).group_by(*by)):
            found.setdefault(Reason(reason), []).append((modality or "", *numbers))
    result = [
        Heap(
            reason=reason,
            sentence=reason.sentence,
            count=sum(part[1] for part in parts),
            size=sum(int(part[2]) for part in parts),
            oldest=min(part[3] for part in parts),
            newest=max(part[4] for part in parts),
            modalities={part[0]: part[1] for part in sorted(parts)},
        )
        for reason, parts in found.items()
    ]
    return sorted(result, key=lambda heap: (-heap.count, heap.reason))


def entries(node: Node, reason: Reason | None = None, limit: int = 100, after: str = "") -> list[Held]:
    """What waits, of one reason or all, in order of arrival, beginning after the id `after`."""
    wanted = _waiting(select(table)).where(table.c.id > after).order_by(table.c.id).limit(limit)
    if reason is not None:
        wanted = wanted.where(table.c.reason == reason)
    with node.engine.connect() as connection:
        return [_held(row) for row in connection.execute(wanted).mappings()]


def get(node: Node, arrival_id: str) -> Held:
    """One entry, in whatever state, or `NotFound`."""
    with node.engine.connect() as connection:
        row = connection.execute(select(table).where(table.c.id == arrival_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("Nothing with this id is in quarantine.")
    return _held(row)


def retry(node: Node, actor: str, *, ids: Iterable[str] = (), reason: Reason | None = None) -> int:
    """Give these, and all of one reason, back to the workers; how many. An id that does not wait: `NotFound`."""
    return sum(_retry(node, actor, arrival_id) for arrival_id in _chosen(node, ids, reason))


def discard(node: Node, actor: str, *, ids: Iterable[str] = (), reason: Reason | None = None) -> int:
    """Destroy these, and all of one reason; how many. Their rows stay. An id that does not wait: `NotFound`."""
    return sum(_discard(node, actor, arrival_id) for arrival_id in _chosen(node, ids, reason))


def _retry(node: Node, actor: str, arrival_id: str) -> int:
    with node.engine.begin() as connection:
        return int(give_back(node, connection, actor, arrival_id))


def _discard(node: Node, actor: str, arrival_id: str) -> int:
    with node.engine.begin() as connection:
        if not give_up(node, connection, actor, arrival_id):
            return 0
    node.quarantine.remove(arrival_id)
    return 1


def give_back(node: Node, connection: Connection, actor: str, arrival_id: str) -> bool:
    """`retry` of one, in the caller's transaction; False when it waits no more, since somebody else was quicker."""
    if not _move(connection, arrival_id, "retried"):
        return False
    arrivals.requeue(connection, arrival_id)
    node.audit.append("quarantine-retried", actor, arrival_id, connection=connection)
    return True


def give_up(node: Node, connection: Connection, actor: str, arrival_id: str) -> bool:
    """`discard` of one, in the caller's transaction; when that has committed, the caller removes the bytes."""
    if not _move(connection, arrival_id, "discarded"):
        return False
    node.audit.append("quarantine-discarded", actor, arrival_id, connection=connection)
    return True


def change_reason(connection: Connection, arrival_id: str, reason: Reason, detail: str = "") -> None:
    """Let one that waits do so for another reason, in the caller's transaction; `detail` in constant words."""
    waits = and_(table.c.id == arrival_id, table.c.state == "waiting")
    connection.execute(update(table).where(waits).values(reason=reason, detail=(detail or reason.sentence)[:200]))
    arrivals.change_reason(connection, arrival_id, reason)


def _move(connection: Connection, arrival_id: str, state: State) -> bool:
    """From waiting to `state`; False when it waits no more, since somebody else was quicker."""
    waits = and_(table.c.id == arrival_id, table.c.state == "waiting")
    return connection.execute(update(table).where(waits).values(state=state)).rowcount == 1


def _chosen(node: Node, ids: Iterable[str], reason: Reason | None) -> list[str]:
    named = list(dict.fromkeys(ids))
    with node.engine.connect() as connection:
        waiting = set(connection.execute(_waiting(select(table.c.id)).where(table.c.id.in_(named))).scalars())
        if len(waiting) < len(named):
            raise NotFound("Not all of these wait in quarantine.")
        if reason is not None:
            of_reason = _waiting(select(table.c.id)).where(table.c.reason == reason).order_by(table.c.id)
            named += [one for one in connection.execute(of_reason).scalars() if one not in waiting]
    return named


def _waiting(wanted: Any) -> Any:
    return wanted.where(table.c.state == "waiting")


def _held(row: RowMapping) -> Held:
    return Held(
        id=row["id"],
        reason=Reason(row["reason"]),
        source=Source(row["source_kind"], row["source_name"]),
        size=row["size"],
        received_at=row["received_at"],
        detail=row["detail"],
        project=row["project"],
        modality=row["modality"],
        sop_class_uid=row["sop_class_uid"],
        state=cast(State, row["state"]),
    )
