"""What could not pass: encrypted, with the reason, until somebody tries it again or discards it.

The bytes stay where they are while they are tried again, so that no crash can lose them; the worker removes them when
they have reached the archive. What is discarded rests sealed for `GRACE`, and can be taken back; see `node.discarded`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal, Self, cast

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, case, func, insert, select, update

from carina.errors import BadInput, NotFound
from carina.model.clock import now, parse_stamp, stamp
from carina.model.ids import ProjectId
from carina.model.instance import Reason, Source
from carina.node.alternatives import require_offered
from carina.node.parcel import Parcel, recorded
from carina.node.remedies import REMEDIES, Remedy
from carina.node.site import Node
from carina.storage import arrivals
from carina.storage.audit import AuditRow
from carina.storage.schema import arrivals as rows
from carina.storage.schema import node_tables, pixel_checks
from carina.storage.schema import quarantine as table

log = logging.getLogger(__name__)

State = Literal["waiting", "retried", "discarded", "destroyed"]
"""`discarded`: its bytes rest a while, and it can be taken back; `destroyed`: its bytes are gone, or about to be."""

GRACE = timedelta(hours=24)
"""For so long what was discarded can be taken back."""
_AT_ONCE = 200  # entries of one transaction


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
    discarded_at: str | None = None

    @property
    def kept_until(self) -> str | None:
        """The instant until which it can be taken back; None for what is not discarded, and for what is destroyed."""
        return (
            stamp(parse_stamp(self.discarded_at) + GRACE) if self.state == "discarded" and self.discarded_at else None
        )

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


@dataclass(frozen=True)
class Wanted:
    """Which entries: of a reason, a source as `aet:NAME`, a project, a modality; empty: any.

    days   received at least so long ago; 0: at any time
    """

    reason: Reason | None = None
    source: str = ""
    project: str = ""
    modality: str = ""
    days: int = 0

    def where(self) -> ColumnElement[bool]:
        """As a condition on the table."""
        parts: list[ColumnElement[bool]] = []
        if self.reason is not None:
            parts.append(table.c.reason == self.reason)
        if self.source:
            kind, _, name = self.source.partition(":")
            parts.append((table.c.source_kind == kind) & (table.c.source_name == name))
        if self.project:
            parts.append(table.c.project == self.project)
        if self.modality:
            parts.append(table.c.modality == self.modality)
        if self.days:
            parts.append(table.c.received_at < stamp(now() - timedelta(days=self.days)))
        return and_(True, *parts)


ALL = Wanted()


@dataclass(frozen=True)
class Batch:
    """What was given back at once. `first` and `last`: its rows of the audit trail, by which `progress` finds it."""

    count: int
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Progress:
    """What became of a batch: still to be tried, taken in, back in quarantine, discarded since."""

    waits: int
    through: int
    back: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.waits + self.through + self.back


def heaps(node: Node, wanted: Wanted = ALL) -> list[Heap]:
    """What waits, by reason, the largest heap first."""
    by = (table.c.reason, table.c.modality)
    sums = (func.count(), func.sum(table.c.size), func.min(table.c.received_at), func.max(table.c.received_at))
    found: dict[Reason, list[tuple[str, int, int, str, str]]] = {}
    with node.engine.connect() as connection:
        for reason, modality, *numbers in connection.execute(_in(select(*by, *sums), wanted).group_by(*by)):
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


def entries(
    node: Node,
    reason: Reason | None = None,
    limit: int = 100,
    after: str = "",
    *,
    wanted: Wanted = ALL,
    state: State = "waiting",
) -> list[Held]:
    """What waits, of one reason or all, in order of arrival, beginning after the id `after`."""
    found = _in(select(table), wanted, state).where(table.c.id > after).order_by(table.c.id).limit(limit)
    if reason is not None:
        found = found.where(table.c.reason == reason)
    with node.engine.connect() as connection:
        return [_held(row) for row in connection.execute(found).mappings()]


def count(node: Node, wanted: Wanted = ALL, state: State = "waiting") -> int:
    """How many there are."""
    with node.engine.connect() as connection:
        return int(connection.execute(_in(select(func.count()).select_from(table), wanted, state)).scalar_one())


def ids(node: Node, wanted: Wanted = ALL, state: State = "waiting") -> list[str]:
    """Of all of them, in order of arrival."""
    with node.engine.connect() as connection:
        return list(connection.scalars(_in(select(table.c.id), wanted, state).order_by(table.c.id)))


def choices(node: Node) -> dict[str, list[str]]:
    """What lists may be narrowed to: the sources, projects and modalities of what waits or is discarded."""
    kept = table.c.state.in_(("waiting", "discarded"))
    columns = {"source": table.c.source_kind + ":" + table.c.source_name, "project": table.c.project}
    columns["modality"] = table.c.modality
    with node.engine.connect() as connection:
        return {
            name: sorted(value for value in connection.scalars(select(column).where(kept).distinct()) if value)
            for name, column in columns.items()
        }


def get(node: Node, arrival_id: str) -> Held:
    """One entry, in whatever state, or `NotFound`."""
    with node.engine.connect() as connection:
        row = connection.execute(select(table).where(table.c.id == arrival_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("Nothing with this id is in quarantine.")
    return _held(row)


def retry(
    node: Node,
    actor: str,
    *,
    ids: Iterable[str] = (),
    reason: Reason | None = None,
    wanted: Wanted | None = None,
    profile: str = "",
) -> Batch:
    """Give these, and all of one reason or of what is `wanted`, back to the workers. An id that does not wait:
    `NotFound`.

    profile   a word of `alternatives.offered`: by which they are de-identified instead of by their project's own;
              `BadInput` where it is not offered for one of them
    """
    chosen = _chosen(node, ids, reason, wanted)
    _require(chosen, "profile" if profile else "retry")
    if profile:
        for project in {held.project for held in chosen}:
            require_offered(node, project, profile)
    numbers: list[int] = []
    for some in _portions(chosen):
        with node.engine.begin() as connection:
            given = _given_back(node, connection, actor, some, profile)
            arrivals.choose_profile(connection, given.keys(), profile or None)  # not of those where others were quicker
            numbers += given.values()
    return Batch(len(numbers), min(numbers, default=0), max(numbers, default=0))


def discard(
    node: Node,
    actor: str,
    *,
    ids: Iterable[str] = (),
    reason: Reason | None = None,
    wanted: Wanted | None = None,
) -> int:
    """Give these, and all of one reason or of what is `wanted`, up; how many. An id that does not wait: `NotFound`.

    For `GRACE` their bytes stay, sealed, and `restore` takes them back. Their rows stay.
    """
    chosen = _chosen(node, ids, reason, wanted)
    done = 0
    for some in _portions(chosen):
        with node.engine.begin() as connection:
            done += _given_up(node, connection, actor, some)
    return done


def restore(node: Node, actor: str, *, ids: Iterable[str] = (), wanted: Wanted | None = None) -> int:
    """Take discarded ones back: they wait again, as before; how many. One that is not kept any more: `NotFound`.

    What was discarded longer than `GRACE` ago is kept no more, whether or not a sweep has destroyed it yet.
    """
    chosen = _chosen(node, ids, None, wanted, "discarded")
    done = 0
    for some in _portions(chosen):
        with node.engine.begin() as connection:
            moved = _move(connection, some, "waiting", of="discarded", discarded_at=None)
            _look_again(connection, moved)
            node.audit.append_all([AuditRow("quarantine-restored", actor, one) for one in moved], connection)
            done += len(moved)
    return done


def _look_again(connection: Connection, moved: Collection[str]) -> None:
    """Their pixels, which nobody was to look at any more, are looked at as before; readers decide on them anew."""
    flagged = select(table.c.id).where(table.c.id.in_(moved), table.c.reason == Reason.TEXT_IN_PIXELS)
    ended = pixel_checks.c.id.in_(moved) & (pixel_checks.c.state == "rejected")
    again = case((pixel_checks.c.id.in_(flagged), "flagged"), else_="waiting")
    values: dict[str, Any] = {"sample": False, "claimed_by": None, "decided_at": None, "decisions": []}
    connection.execute(update(pixel_checks).where(ended).values(state=again, **values))


def progress(node: Node, batch: Batch) -> Progress:
    """What has become of what was given back at once."""
    audit = node_tables.tables["audit"]
    those = audit.c.seq.between(batch.first, batch.last) & (audit.c.action == "quarantine-retried")
    sums = select(rows.c.state, func.count()).join(audit, audit.c.subject == rows.c.id).where(those)
    with node.engine.connect() as connection:
        states = {state: int(number) for state, number in connection.execute(sums.group_by(rows.c.state))}
    waits, back = states.pop("received", 0), states.pop("quarantined", 0)
    return Progress(waits, sum(states.values()), back)


def give_back(node: Node, connection: Connection, actor: str, arrival_id: str, profile: str = "") -> int:
    """`retry` of one, in the caller's transaction: the number of its row in the audit trail.

    0, and nothing happens, when it waits no more, since somebody else was quicker. `profile`: for the trail.
    """
    return _given_back(node, connection, actor, [arrival_id], profile).get(arrival_id, 0)


def _given_back(
    node: Node, connection: Connection, actor: str, some: Collection[str], profile: str = ""
) -> dict[str, int]:
    """`give_back` of those that still wait: the numbers of their rows in the audit trail, by id."""
    moved = _move(connection, some, "retried")
    arrivals.requeue(connection, moved)
    said = {"profile": profile} if profile else {}
    told = [AuditRow("quarantine-retried", actor, one, said) for one in moved]
    return dict(zip(moved, node.audit.append_all(told, connection), strict=True))


def give_up(node: Node, connection: Connection, actor: str, arrival_id: str) -> bool:
    """`discard` of one, in the caller's transaction."""
    return _given_up(node, connection, actor, [arrival_id]) == 1


def _given_up(node: Node, connection: Connection, actor: str, some: Collection[str]) -> int:
    moved = _move(connection, some, "discarded", discarded_at=stamp())
    node.audit.append_all([AuditRow("quarantine-discarded", actor, one) for one in moved], connection)
    return len(moved)


def change_reason(connection: Connection, arrival_id: str, reason: Reason, detail: str = "") -> None:
    """Let one that waits do so for another reason, in the caller's transaction; `detail` in constant words."""
    waits = and_(table.c.id == arrival_id, table.c.state == "waiting")
    connection.execute(update(table).where(waits).values(reason=reason, detail=(detail or reason.sentence)[:200]))
    arrivals.change_reason(connection, arrival_id, reason)


def _move(
    connection: Connection, some: Collection[str], state: State, *, of: State = "waiting", **values: Any
) -> list[str]:
    """Those of these that were in one state and are in the other now, in order; with others somebody was quicker."""
    there = and_(table.c.id.in_(some), _is(of))
    moved = update(table).where(there).values(state=state, **values).returning(table.c.id)
    return sorted(connection.execute(moved).scalars())


def _is(state: State) -> ColumnElement[bool]:
    """In this state; of what is discarded, only what can still be taken back."""
    if state != "discarded":
        return table.c.state == state
    return (table.c.state == state) & (table.c.discarded_at >= stamp(now() - GRACE))


def _chosen(
    node: Node, ids: Iterable[str], reason: Reason | None, wanted: Wanted | None, state: State = "waiting"
) -> list[Held]:
    named = list(dict.fromkeys(ids))
    found: dict[str, Held] = {}
    with node.engine.connect() as connection:
        for start in range(0, len(named), _AT_ONCE):
            some = _in(select(table), ALL, state).where(table.c.id.in_(named[start : start + _AT_ONCE]))
            found |= {row["id"]: _held(row) for row in connection.execute(some).mappings()}
        if len(found) < len(named):
            raise NotFound("Not all of these are in quarantine any more.", "Load the list again.")
        if reason is not None or wanted is not None:
            those = _in(select(table), wanted or Wanted(reason), state).order_by(table.c.id)
            found |= {row["id"]: _held(row) for row in connection.execute(those).mappings()}
    return list(found.values())


def _require(chosen: Iterable[Held], remedy: Remedy) -> None:
    """Raise `BadInput` unless this can be done for the reasons of all of them."""
    for reason in {held.reason for held in chosen}:
        if remedy not in REMEDIES[reason].actions:
            raise BadInput(f"This cannot be done with what waits as {reason}.", REMEDIES[reason].advice)


def _portions(chosen: list[Held]) -> Iterator[list[str]]:
    """Their ids, as many at once as one transaction takes."""
    for start in range(0, len(chosen), _AT_ONCE):
        yield [held.id for held in chosen[start : start + _AT_ONCE]]


def _in(found: Any, wanted: Wanted, state: State = "waiting") -> Any:
    return found.where(_is(state), wanted.where())


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
        discarded_at=row["discarded_at"],
    )
