"""The permits that a node holds: visas of its hubs, what the hubs say of them now, and its own data manager's word.

A visa is kept as the text that came, and opened anew each time: a row that somebody has changed opens nothing. Whether
an access is allowed is for `node.authorise` alone.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Connection, RowMapping, func, insert, or_, select, update

from carina.errors import BadInput, Conflict, InvalidMessage, NotFound, PermitDenied
from carina.federation import wire
from carina.federation.papers import (
    LEEWAY,
    Countersignature,
    StatusList,
    check_times,
    countersigns,
    make_countersignature,
    open_status,
    open_visa,
    visa_digest,
)
from carina.federation.signing import Jwk
from carina.model.clock import now as present
from carina.model.clock import parse_stamp, stamp
from carina.model.ids import HubId
from carina.model.permit import NodeState, Visa
from carina.node import membership
from carina.node.membership import JoinedHub
from carina.node.site import Node
from carina.storage.schema import permit_states, permit_use
from carina.storage.schema import permits as table

STATES_GOOD_FOR = timedelta(seconds=60)
"""How long a hub's list of permit states is believed; without a younger one every access is refused."""

LONGEST_REASON = 200
MOST_TOLD = 2_000
"""Permits in one message to a hub; the newest of them."""
MOST_HELD = 10_000
"""Permits of one hub that are kept: of those that have not expired, or came within a day."""

HubState = Literal["valid", "ended"]
_DAY = timedelta(days=1)
_AN_HOUR = timedelta(hours=1)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldPermit:
    """A permit of this node.

    state      what holds at this node: `waiting` for its data manager, `in-force`, `declined`, `withdrawn`
    hub_state  what the hub said last; None when it never named it. Of a list that may be old: see `node.authorise`
    reason     why the data manager declined or withdrew it
    """

    hub: HubId
    hub_title: str
    visa: Visa
    state: NodeState
    received_at: str
    decided_at: str | None
    decided_by: str | None
    reason: str
    use: wire.Use
    hub_state: HubState | None


@dataclass(frozen=True)
class HubWord:
    """What a hub's newest list says of one permit, and when it was issued and received."""

    issued: datetime
    received: datetime
    state: HubState | None

    def recent(self, now: datetime) -> bool:
        """Whether the list is young enough to be believed; one from the future is not."""
        ages = (now - self.issued, now - self.received)
        return all(-LEEWAY <= age < STATES_GOOD_FOR for age in ages)


# --- what the hubs say --------------------------------------------------------------------------------------------


def take_states(node: Node, hub: str, paper: str, *, now: datetime | None = None) -> None:
    """Believe a hub's list of permit states from now on; durable, and so is its number.

    Raises `InvalidMessage`, which the caller audits: malformed, forged, misaddressed, `replayed` when its number is
    not above the last one's, `expired` when it was issued more than 60 s ago or more than 30 s ahead, or when its
    number is more than a day of seconds ahead: after such a one, no list of an honest hub would count.
    """
    known, at = membership.get_hub(node, hub), now or present()
    status = open_status(paper, _key(known), hub=known.id, node=node.id)
    issued = datetime.fromtimestamp(status.issued, UTC)
    if not -LEEWAY <= at - issued < STATES_GOOD_FOR or status.number > (at + _DAY).timestamp():
        raise InvalidMessage("The list of permit states is too old, or from the future.", reason="expired")
    row = {
        "number": status.number,
        "issued_at": stamp(issued),
        "received_at": stamp(at),
        "states": dict(status.permits),
    }
    with node.engine.begin() as connection:
        before = connection.execute(select(permit_states).where(permit_states.c.hub == hub)).mappings().one_or_none()
        if before is None:
            connection.execute(insert(permit_states), {"hub": hub, **row})
        elif status.number <= before["number"]:
            raise InvalidMessage("The list of permit states is not newer than the last one.", reason="replayed")
        else:
            connection.execute(update(permit_states).where(permit_states.c.hub == hub).values(**row))
        _note_ends(node, connection, status, before["states"] if before is not None else {})


def _note_ends(node: Node, connection: Connection, status: StatusList, before: dict[str, str]) -> None:
    """Audit each held permit that the hub has ended since its last list."""
    ended = [item for item, state in status.permits.items() if state == "ended" and before.get(item) != "ended"]
    for start in range(0, len(ended), 500):
        held = select(table.c.id).where(table.c.hub == status.hub, table.c.id.in_(ended[start : start + 500]))
        for permit in connection.execute(held).scalars():
            node.audit.append("permit-ended", status.hub, permit, connection, reason="revoked")


def hub_word(connection: Connection, hub: str, permit: str) -> HubWord | None:
    """What the hub's newest list says of one permit; None when there is no list."""
    said = permit_states.c.states[permit].as_string().label("said")
    wanted = select(permit_states.c.issued_at, permit_states.c.received_at, said).where(permit_states.c.hub == hub)
    row = connection.execute(wanted).one_or_none()
    if row is None:
        return None
    state = cast(HubState, row.said) if row.said in ("valid", "ended") else None
    return HubWord(parse_stamp(row.issued_at), parse_stamp(row.received_at), state)


def wanted(node: Node, hub: str) -> tuple[str, ...]:
    """The permits that are valid in the hub's newest list and of which this node has no visa yet."""
    with node.engine.connect() as connection:
        states = connection.execute(select(permit_states.c.states).where(permit_states.c.hub == hub)).scalar()
        held = set(connection.execute(select(table.c.id).where(table.c.hub == hub)).scalars())
    missing = sorted(item for item, state in (states or {}).items() if state == "valid" and item not in held)
    return tuple(missing[-MOST_TOLD:])


def take_visa(node: Node, hub: str, text: str, *, now: datetime | None = None) -> None:
    """Keep a visa that a hub sent; its data manager's word comes later. The same again: nothing happens.

    Raises `PermitDenied` for one that is forged, of another issuer or node, or not in its time, or that is another
    than the one held under its id; audited, repeats once an hour. Raises `InvalidMessage`, which the caller audits:
    `not-wanted` when the hub's newest list does not name it as valid, `too-many` when `MOST_HELD` are held.
    """
    known, at = membership.get_hub(node, hub), now or present()
    try:
        visa = _opened(known, text, node=node.id)
        _check_issuer(node, known, visa)
        check_times(visa, at)
        _keep(node, known, visa, text, at)
    except PermitDenied as refused:
        node.refusals.note(node.audit, "visa-refused", hub, node.id, every=_AN_HOUR, now=at, reason=refused.reason)
        raise


def _check_issuer(node: Node, hub: JoinedHub, visa: Visa) -> None:
    """Refuse a visa that bears the address of another hub of this node's. An address that nobody has may be old."""
    others = {_plain(other.url) for other in membership.list_hubs(node) if other.id != hub.id}
    if _plain(visa.issuer) in others - {_plain(hub.url)}:
        raise PermitDenied("The permit bears the address of another hub.", reason="wrong-issuer")


def _plain(url: str) -> str:
    return url.rstrip("/").lower()


def _keep(node: Node, hub: JoinedHub, visa: Visa, text: str, at: datetime) -> None:
    row = {
        "hub": hub.id,
        "id": visa.id,
        "visa": text,
        "dataset": visa.dataset,
        "subject": visa.subject,
        "expires_at": stamp(visa.expires),
        "received_at": stamp(at),
        "state": "waiting",
        "reason": "",
    }
    with node.engine.begin() as connection:
        held = connection.execute(select(table.c.visa).where(_this(hub.id, visa.id))).scalar()
        if held == text:
            return
        if held is not None:
            raise PermitDenied("This node holds another visa of the same id.", reason="forged")
        _check_room(connection, hub.id, visa.id, at)
        connection.execute(insert(table), row)
        said = {"dataset": visa.dataset, "account": visa.subject, "expires": stamp(visa.expires)}
        node.audit.append(
            "permit-received", hub.id, visa.id, connection, actions=list(visa.actions), version=visa.version, **said
        )


def _check_room(connection: Connection, hub: str, permit: str, at: datetime) -> None:
    """Raise `InvalidMessage` (not-wanted, too-many) unless this node has asked for the permit and may hold it."""
    word = hub_word(connection, hub, permit)
    if word is None or word.state != "valid":
        raise InvalidMessage("The hub sends a permit that is not in its list.", reason="not-wanted")
    lately = or_(table.c.expires_at > stamp(at), table.c.received_at > stamp(at - _DAY))
    counted = select(func.count()).select_from(table).where(table.c.hub == hub, lately)
    if connection.execute(counted).scalar_one() >= MOST_HELD:
        raise InvalidMessage("This node holds as many of the hub's permits as it takes.", reason="too-many")


# --- what is held -------------------------------------------------------------------------------------------------


def open_held(node: Node, hub: JoinedHub, row: RowMapping) -> Visa:
    """The visa of a row of permits, verified again. Raises `PermitDenied`: forged, wrong-issuer, misaddressed."""
    visa = _opened(hub, row["visa"], node=node.id)
    if visa.id != row["id"]:
        raise PermitDenied("The visa is not the one that this permit had.", reason="forged")
    return visa


def agreed(node: Node, row: RowMapping) -> bool:
    """Whether this node's own key has signed exactly this visa, verified again."""
    text = row["countersignature"]
    held = {"hub": row["hub"], "permit": row["id"], "visa": row["visa"]}
    return (
        row["state"] == "agreed"
        and text is not None
        and countersigns(text, node.permit_key.public_jwk, node=node.id, **held)
    )


def state_of(node: Node, row: RowMapping) -> NodeState:
    """What holds at this node for a row of permits."""
    if row["state"] in ("declined", "withdrawn"):
        return cast(NodeState, row["state"])
    return "in-force" if not node.policy.countersign or agreed(node, row) else "waiting"


def listed(node: Node) -> list[HeldPermit]:
    """The permits of joined hubs, newest first. One whose visa does not open is left out, and logged."""
    found = [permit for hub in membership.list_hubs(node) for permit in _of_hub(node, hub)]
    return sorted(found, key=lambda permit: permit.received_at, reverse=True)


def get(node: Node, hub: str, permit: str) -> HeldPermit:
    """One permit, or `NotFound`. Raises `PermitDenied` when its visa does not open."""
    known = membership.get_hub(node, hub)
    with node.engine.connect() as connection:
        row = _row(connection, hub, permit)
        word, use = hub_word(connection, hub, permit), _uses(connection, hub)
    return _held(node, known, row, word.state if word else None, use)


def held(node: Node, hub: str, *, now: datetime | None = None) -> dict[str, wire.Held]:
    """What the hub is told of its permits that have not expired: state, reason and use; of the newest 2,000."""
    newest = select(table.c.id).where(table.c.hub == hub, table.c.expires_at > stamp(now))
    newest = newest.order_by(table.c.received_at.desc(), table.c.id.desc()).limit(MOST_TOLD)
    current = _of_hub(node, membership.get_hub(node, hub), table.c.id.in_(newest))
    return {permit.visa.id: _said(permit) for permit in current}


def _said(permit: HeldPermit) -> wire.Held:
    state = cast(Literal["waiting", "in-force", "declined", "withdrawn"], permit.state)
    return wire.Held(state=state, reason=permit.reason, use=permit.use)


def _of_hub(node: Node, hub: JoinedHub, *which: ColumnElement[bool]) -> list[HeldPermit]:
    """Newest first."""
    of_hub = select(table).where(table.c.hub == hub.id, *which)
    of_hub = of_hub.order_by(table.c.received_at.desc(), table.c.id.desc())
    with node.engine.connect() as connection:
        rows = connection.execute(of_hub).mappings().all()
        states = connection.execute(select(permit_states.c.states).where(permit_states.c.hub == hub.id)).scalar() or {}
        uses = _uses(connection, hub.id)
    found = []
    for row in rows:
        try:
            found.append(_held(node, hub, row, states.get(row["id"]), uses))
        except PermitDenied as refused:
            _log.warning("permit-unreadable", extra={"permit": row["id"], "reason": refused.reason})
    return found


def _held(node: Node, hub: JoinedHub, row: RowMapping, said: HubState | None, uses: dict[str, wire.Use]) -> HeldPermit:
    return HeldPermit(
        hub=hub.id,
        hub_title=hub.title,
        visa=open_held(node, hub, row),
        state=state_of(node, row),
        received_at=row["received_at"],
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
        reason=row["reason"],
        use=uses.get(row["id"], wire.Use()),
        hub_state=said,
    )


def _uses(connection: Connection, hub: str) -> dict[str, wire.Use]:
    counted: dict[str, dict[str, Any]] = {}
    for row in connection.execute(select(permit_use).where(permit_use.c.hub == hub)):
        use = counted.setdefault(row.permit, {"last": row.last_at})
        use.update({row.action: row.times, "last": max(use["last"], row.last_at)})
    return {permit: wire.Use(**use) for permit, use in counted.items()}


# --- the data manager's word --------------------------------------------------------------------------------------


def countersign(node: Node, who: str, hub: str, permit: str, *, now: datetime | None = None) -> HeldPermit:
    """Agree to a permit: sign exactly its visa with this node's own key.

    Raises `Conflict` unless it waits or was declined, `PermitDenied` when the visa does not hold, or no longer.
    """
    known = membership.get_hub(node, hub)
    with node.engine.begin() as connection:
        row = _row(connection, hub, permit)
        check_times(open_held(node, known, row), now)
        _require(state_of(node, row) in ("waiting", "declined"), "waits for an agreement, or was declined")
        paper = Countersignature(
            node=node.id, hub=hub, permit=permit, visa=visa_digest(row["visa"]), by=who, at=stamp(now)
        )
        signed = make_countersignature(node.permit_key, paper)
        _decide(connection, row, state="agreed", by=who, signed=signed, now=now)
        node.audit.append("permit-countersigned", who, permit, connection, hub=hub, dataset=row["dataset"])
    return get(node, hub, permit)


def decline(node: Node, who: str, hub: str, permit: str, reason: str, *, now: datetime | None = None) -> HeldPermit:
    """Refuse to agree, for a reason that the researcher will read. Raises `Conflict` unless it waits."""
    return _end(node, who, hub, permit, state="declined", reason=reason, now=now)


def withdraw(node: Node, who: str, hub: str, permit: str, reason: str, *, now: datetime | None = None) -> HeldPermit:
    """Take the agreement back, for a reason that the researcher will read. Raises `Conflict` unless it is in force."""
    return _end(node, who, hub, permit, state="withdrawn", reason=reason, now=now)


def _end(
    node: Node,
    who: str,
    hub: str,
    permit: str,
    *,
    state: Literal["declined", "withdrawn"],
    reason: str,
    now: datetime | None,
) -> HeldPermit:
    reason = _reasoned(reason)
    needed: tuple[NodeState, str] = ("waiting", "waits") if state == "declined" else ("in-force", "is in force")
    with node.engine.begin() as connection:
        row = _row(connection, hub, permit)
        _require(state_of(node, row) == needed[0], needed[1])
        _decide(connection, row, state=state, by=who, reason=reason, now=now)
        node.audit.append(f"permit-{state}", who, permit, connection, hub=hub, dataset=row["dataset"])
    return get(node, hub, permit)


def _decide(
    connection: Connection,
    row: RowMapping,
    *,
    state: str,
    by: str,
    now: datetime | None,
    reason: str = "",
    signed: str | None = None,
) -> None:
    word = {"state": state, "reason": reason, "countersignature": signed, "decided_by": by, "decided_at": stamp(now)}
    as_read = _this(row["hub"], row["id"]) & (table.c.state == row["state"])
    _require(connection.execute(update(table).where(as_read).values(**word)).rowcount == 1, "is as it was read")


def _require(right: bool, needed: str) -> None:
    if not right:
        raise Conflict(f"This can be done only with a permit that {needed}.", "Look at the permit's state now.")


def _reasoned(reason: str) -> str:
    """A reason that can go into a message to the hub, or `BadInput`."""
    plain = reason.strip()
    if not 0 < len(plain) <= LONGEST_REASON or not plain.isprintable():
        raise BadInput(
            "A reason is missing, too long, or has characters that do not print.",
            f"Write one sentence of at most {LONGEST_REASON} characters for the researcher.",
        )
    return plain


# ------------------------------------------------------------------------------------------------------------------


def _this(hub: str, permit: str) -> Any:
    return (table.c.hub == hub) & (table.c.id == permit)


def _row(connection: Connection, hub: str, permit: str) -> RowMapping:
    row = connection.execute(select(table).where(_this(hub, permit))).mappings().one_or_none()
    if row is None:
        raise NotFound("This node holds no such permit.")
    return row


def _opened(hub: JoinedHub, text: str, *, node: str) -> Visa:
    if hub.state != "joined":
        raise PermitDenied("The permit is of a hub that this node has not joined.", reason="wrong-issuer")
    if hub.permit_key is None:
        raise PermitDenied("This node does not know the key of the hub's permits.", reason="forged")
    return open_visa(text, hub.permit_key, hub=hub.id, node=node)


def _key(hub: JoinedHub) -> Jwk:
    """The key of a joined hub's permits."""
    if hub.state != "joined" or hub.permit_key is None:
        raise InvalidMessage(
            "This node does not know the key of the hub's permits.", "Join the hub again.", reason="forged"
        )
    return hub.permit_key
