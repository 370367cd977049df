"""Permits at the hub: what committees have granted, what nodes say of them, and how they end before their time.

The proof of a permit is its visa (`hub.visas`), which its node fetches; whether it still holds, the node learns from
the numbered list of states (`status_list`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, insert, or_, select, update

from carina.errors import Conflict, NotAllowed, NotFound, PermitDenied, TooMany, Unreachable
from carina.federation import wire
from carina.federation.papers import StatusList, make_code, make_status
from carina.hub import committee, texts
from carina.hub.centre import Hub
from carina.hub.events import record_step
from carina.hub.nodes import get_node
from carina.model.address import web_address
from carina.model.clock import now, parse_stamp, stamp
from carina.model.ids import DatasetIri, NodeId
from carina.model.permit import Action, Denial, NodeState, PermitState
from carina.model.principal import Principal
from carina.storage.hub_schema import committees, hub_tables, nodes, request_items, requests, status_lists
from carina.storage.hub_schema import hub_permits as table

Condition = Literal["in force", "waits for the node", "refused by the node", "ended", "expired"]

MOST_OF_A_NODE = 10_000
"""Permits of one node that have not expired: the list of their states must go into one message."""
MOST_VISAS, MOST_BYTES = 50, 600_000
"""Of visas in one answer."""
LONGEST_WHY = 2_000
NOTED_EVERY = timedelta(minutes=1)
"""The audit trail takes a node's word on a permit down at most so often. The word itself is kept at once."""

_accounts = hub_tables.tables["accounts"]


@dataclass(frozen=True)
class Permit:
    """What one person may do with one dataset. Instants are UTC, as `model.clock.stamp` writes them.

    expires_at    the day after the last one, 00:00
    ended_why     the words of who ended it before its time
    node_state    what the node says, since `node_since`; `node_reason`: its data manager's sentence, or empty
    use           how often it was used at the node: view, retrieve, analyse; `last` when
    shut_out      its person's account is disabled, which ends it as long as that lasts
    node_joined   the node is still in this federation
    """

    id: str
    item: str
    request: str
    account: str
    account_name: str
    node: NodeId
    node_title: str
    public_url: str | None
    dataset: DatasetIri
    title: str
    actions: tuple[Action, ...]
    version: str
    conditions: str
    purpose: str
    project: str
    issued_at: str
    issued_by: str
    expires_at: str
    state: PermitState
    ended_at: str | None
    ended_by: str | None
    ended_why: str
    node_state: NodeState
    node_reason: str
    node_since: str
    use: dict[str, Any]
    shut_out: bool
    node_joined: bool

    @property
    def last_day(self) -> str:
        """The last day on which it holds, as 2027-03-01."""
        return (parse_stamp(self.expires_at) - timedelta(days=1)).date().isoformat()

    @property
    def usable(self) -> bool:
        """Whether, as far as the hub knows, its node lets its person in now."""
        return self.condition_of() == "in force"

    def condition_of(self, at: datetime | None = None) -> Condition:
        """How it stands, in words for people."""
        if self.state == "revoked" or self.shut_out:
            return "ended"
        if parse_stamp(self.expires_at) <= (at or now()):
            return "expired"
        if self.node_state in ("declined", "withdrawn"):
            return "refused by the node"
        return "in force" if self.node_state == "in-force" and self.node_joined else "waits for the node"


@dataclass(frozen=True)
class Handover:
    """Where a person is handed over to, and the one-time code for it, which goes into a form's body.

    url  a checked web address (`model.address`), without a slash at its end
    """

    url: str
    code: str


# --- making and reading -------------------------------------------------------------------------------------------


def issue(hub: Hub, connection: Connection, row: dict[str, Any]) -> None:
    """Keep a new permit, in the transaction of the decision that makes it. `TooMany` when the node has too many.

    row  what the decision says of it; the node's word is added here
    """
    unexpired = select(func.count()).where(table.c.node == row["node"], table.c.expires_at > stamp())
    if connection.execute(unexpired).scalar_one() >= MOST_OF_A_NODE:
        raise TooMany(
            f"The node has {MOST_OF_A_NODE} permits that have not expired.", "Wait until some of them have expired."
        )
    unheard = {"state": "granted", "ended_why": "", "node_state": "unknown", "node_reason": "", "use": {}}
    connection.execute(insert(table), {**unheard, "node_since": row["issued_at"], **row})
    details = {name: row[name] for name in ("node", "dataset", "actions", "version", "expires_at", "item")}
    hub.audit.append("permit-issued", row["issued_by"], row["id"], connection, account=row["account"], **details)


def listed(hub: Hub, who: Principal) -> list[Permit]:
    """A person's own permits, newest first."""
    return _permits(hub, table.c.account == who.subject)


def get(hub: Hub, who: Principal, permit: str) -> Permit:
    """A permit, for its person, the committee of its node, and operators; `NotFound` for all others."""
    found = _permits(hub, (table.c.id == permit) & _visible(who))
    if not found:
        raise NotFound("There is no such permit.", "See the list of your permits.")
    return found[0]


def of_node(hub: Hub, who: Principal, node: str) -> list[Permit]:
    """The permits of a node's datasets, newest first, for its committee and operators. `NotAllowed` for all others."""
    known = get_node(hub, node)
    if "operator" not in who.roles:
        with hub.engine.connect() as connection:
            committee.require_member(connection, known.id, who.subject)
    return _permits(hub, table.c.node == known.id)


def _visible(who: Principal) -> ColumnElement[bool]:
    if "operator" in who.roles:
        return table.c.id.is_not(None)
    decides = select(committees.c.node).where(committees.c.account == who.subject)
    return or_(table.c.account == who.subject, table.c.node.in_(decides))


def _permits(hub: Hub, condition: ColumnElement[bool]) -> list[Permit]:
    with hub.engine.connect() as connection:
        rows = connection.execute(_query().where(condition).order_by(table.c.issued_at.desc(), table.c.id)).mappings()
        return [_permit(row) for row in rows]


def _query() -> Select[Any]:
    own = [column for column in table.c if column.name not in ("visa", "noted_at")]
    return (
        select(
            *own,
            request_items.c.request,
            request_items.c.title,
            requests.c.purpose,
            requests.c.project,
            nodes.c.title.label("node_title"),
            nodes.c.public_url,
            (nodes.c.state == "joined").label("node_joined"),
            _accounts.c.display_name,
            _accounts.c.disabled.label("shut_out"),
        )
        .join_from(table, request_items, request_items.c.id == table.c.item)
        .join(requests, requests.c.id == request_items.c.request)
        .join(nodes, nodes.c.id == table.c.node)
        .join(_accounts, _accounts.c.name == table.c.account)
    )


def _permit(row: RowMapping) -> Permit:
    plain = {name: value for name, value in row.items() if name != "display_name"}
    return Permit(
        **{
            **plain,
            "actions": tuple(row["actions"]),
            "account_name": texts.shown(row["display_name"]) or row["account"],
            "shut_out": bool(row["shut_out"]),
            "node_joined": bool(row["node_joined"]),
        }
    )


# --- ending -------------------------------------------------------------------------------------------------------


def revoke(hub: Hub, who: Principal, permit: str, why: str = "") -> Permit:
    """End a permit before its time. Its node refuses from its next list of states on.

    why   what its person and committee read; the person who gives their own back need not say

    Raises `NotFound`, `NotAllowed`, `BadInput` without words, `Conflict` when it has ended or expired already.
    """
    found = get(hub, who, permit)
    words = texts.prose(why, "The reason", LONGEST_WHY, least=0 if found.account == who.subject else 1)
    at = stamp()
    this = (table.c.id == permit) & (table.c.state == "granted") & (table.c.expires_at > at)
    ended = {"state": "revoked", "ended_at": at, "ended_by": who.subject, "ended_why": words}
    with hub.engine.begin() as connection:
        if connection.execute(update(table).where(this).values(**ended)).rowcount == 0:
            raise Conflict("The permit is over already.", "There is nothing to end.")
        record_step(connection, found.item, who.subject, "revoked", words=words, at=at)
        hub.audit.append("permit-revoked", who.subject, permit, connection, node=found.node, account=found.account)
    return get(hub, who, permit)


def status_list(hub: Hub, node: str) -> str:
    """The next list of the states of a node's permits, signed. Its number is durable before anyone sees the list.

    A number is the second of the clock, or one more than the last: higher than each before, also after the hub's
    records were restored from a back-up. `NotFound` for a node that the hub never had.
    """
    get_node(hub, node)
    this = status_lists.c.node == node
    with hub.engine.begin() as connection:
        at = now()
        moved = update(status_lists).where(this).values(number=status_lists.c.number + 1, issued_at=stamp(at))
        last = connection.execute(moved.returning(status_lists.c.number)).scalar_one_or_none()
        number = max(last or 1, int(at.timestamp()))
        if last is None:
            connection.execute(insert(status_lists), {"node": node, "number": number, "issued_at": stamp(at)})
        elif number != last:
            connection.execute(update(status_lists).where(this).values(number=number))
        states = _states(connection, node, at)
    paper = StatusList(hub=hub.id, node=node, number=number, issued=int(at.timestamp()), permits=states)
    return make_status(hub.permit_key, paper)


def _states(connection: Connection, node: str, at: datetime) -> dict[str, Literal["valid", "ended"]]:
    """By permit. An account that is shut out ends its permits."""
    wanted = (
        select(table.c.id, table.c.state, _accounts.c.disabled)
        .join(_accounts, _accounts.c.name == table.c.account)
        .where(table.c.node == node, table.c.expires_at > stamp(at))
        .order_by(table.c.id)
    )
    rows = connection.execute(wanted)
    return {row.id: "valid" if row.state == "granted" and not row.disabled else "ended" for row in rows}


# --- what nodes say -----------------------------------------------------------------------------------------------


def report(hub: Hub, node: str, body: wire.Permits, *, at: datetime | None = None) -> wire.Visas:
    """Take a node's word on its permits, and give it the visas that it wants, or the first of them.

    Permits of other nodes and unknown ones are passed over; so are wanted ones that have ended or expired. A word that
    changes again within a minute is audited with a report after it, once and as it stands then.
    """
    at = at or now()
    with hub.engine.connect() as connection:
        news = _news(connection, node, body.held, at)
    if news:  # nearly always there is none, and nothing to write
        with hub.engine.begin() as connection:
            for permit, values in _news(connection, node, body.held, at).items():
                connection.execute(update(table).where(table.c.id == permit).values(**values))
                if "noted_at" in values:
                    hub.audit.append(f"permit-{body.held[permit].state}", node, permit, connection)
    return wire.Visas(visas=_visas(hub, node, body.wanted))


def _news(connection: Connection, node: str, held: Mapping[str, wire.Held], at: datetime) -> dict[str, dict[str, Any]]:
    """What is new in a node's word, by permit, as values of columns; with `noted_at` when it is to be audited now."""
    columns = (table.c.id, table.c.node_state, table.c.node_reason, table.c.node_since, table.c.noted_at, table.c.use)
    rows = connection.execute(select(*columns).where(table.c.node == node, table.c.id.in_(list(held))))
    news: dict[str, dict[str, Any]] = {}
    for row in rows:
        said = held[row.id]
        values: dict[str, Any] = {}
        if said.state != row.node_state:
            values |= {"node_state": said.state, "node_since": stamp(at)}
        if said.reason != row.node_reason:
            values["node_reason"] = said.reason
        if (use := wire.write(said.use)) != row.use:
            values["use"] = use
        if _is_due(row.noted_at, values.get("node_since", row.node_since), at):
            values["noted_at"] = stamp(at)
        if values:
            news[row.id] = values
    return news


def _is_due(noted_at: str | None, since: str, at: datetime) -> bool:
    """Whether a word that stands `since` then is to be audited at `at`."""
    return noted_at is None or (noted_at < since and parse_stamp(noted_at) + NOTED_EVERY <= at)


def _visas(hub: Hub, node: str, wanted: Sequence[str]) -> tuple[str, ...]:
    this = (table.c.node == node) & table.c.id.in_(list(wanted))
    good = (table.c.state == "granted") & (table.c.expires_at > stamp()) & _accounts.c.disabled.is_(False)
    query = select(table.c.visa).join(_accounts, _accounts.c.name == table.c.account).where(this, good)
    with hub.engine.connect() as connection:
        found = list(connection.execute(query.order_by(table.c.id)).scalars())
    sizes = accumulate(len(visa) for visa in found)
    return tuple(visa for visa, size in zip(found, sizes, strict=True) if size <= MOST_BYTES)[:MOST_VISAS]


# --- handing over -------------------------------------------------------------------------------------------------


def handover(hub: Hub, who: Principal, permit: str) -> Handover:
    """A one-time code with which the permit's person enters its node.

    Raises `NotFound`, `NotAllowed` for anybody else, `PermitDenied` with the reason when the node would not open, and
    `Unreachable` when its address leads nowhere.
    """
    found = get(hub, who, permit)
    if found.account != who.subject:
        raise NotAllowed("Only the person whose permit it is can open the images.")
    url = _require_open(found)
    code = make_code(
        hub.permit_key,
        hub=hub.id,
        node=found.node,
        permit=found.id,
        dataset=found.dataset,
        subject=found.account,
        name=found.account_name,
    )
    hub.audit.append("handover-made", who.subject, permit, node=found.node)
    return Handover(url, code)


_CLOSED: dict[Condition, tuple[Denial, str, str]] = {
    "ended": ("revoked", "The permit was ended.", "Ask for access again if you still need it."),
    "expired": ("expired", "The permit's last day is over.", "Ask for access again if you still need it."),
    "refused by the node": (
        "declined",
        "The data manager of the node does not agree to the permit.",
        "Ask the data holder why.",
    ),
    "waits for the node": (
        "not-countersigned",
        "The permit waits for the node, which has not put it in force.",
        "Wait until the node's data manager has signed it too.",
    ),
}


def _require_open(permit: Permit) -> str:
    """The address of the node that opens its images under this permit, as far as the hub knows, or `PermitDenied`."""
    if closed := _CLOSED.get(permit.condition_of()):
        reason, message, hint = closed
        raise PermitDenied(message, hint, reason=reason)
    if not {"view", "retrieve"} & set(permit.actions):
        raise PermitDenied(
            "The permit is for analyses only; it opens no images.",
            "Ask for “view” or “retrieve” if you need the images.",
            reason="action-not-granted",
        )
    if permit.public_url is None:
        raise PermitDenied(
            "The node offers no images from outside.", "Run an analysis instead.", reason="action-not-allowed"
        )
    try:
        return web_address(permit.public_url).rstrip("/")
    except ValueError:
        raise Unreachable(
            "The node names an address for its images that cannot be used.",
            "Tell its data manager: public_url must be a plain address, as https://images.example.org.",
        ) from None


def public_jwks(hub: Hub) -> dict[str, list[dict[str, str]]]:
    """The public key that signs permits, as a JWK set (RFC 7517), for whoever verifies a visa."""
    key = hub.permit_key
    return {"keys": [{**key.public_jwk, "kid": key.thumbprint, "use": "sig", "alg": "ES256"}]}
