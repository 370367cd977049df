"""Requests for access: a researcher asks for datasets, and the committee of each dataset's node decides on it.

A request has one item per dataset. Each step compares the item's state and changes it in one transaction with its event
and its audit row, so that of two decisions at once one stands and the other is told so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, insert, or_, select, update

from carina.errors import BadInput, Conflict, NotAllowed, NotFound, TooMany
from carina.hub import committee, permits, terms, texts
from carina.hub.catalogue import Entry
from carina.hub.centre import Hub
from carina.hub.events import Step, record_step
from carina.hub.permits import Permit
from carina.hub.visas import new_permit
from carina.model.clock import new_id, stamp
from carina.model.ids import DatasetIri, NodeId
from carina.model.permit import LIVE, Action, ItemState, Turn
from carina.model.permit import actions as known_actions
from carina.model.principal import Principal
from carina.storage.hub_schema import committees, hub_permits, hub_tables, nodes, request_events, request_items
from carina.storage.hub_schema import requests as table

MOST_DATASETS, MOST_PEOPLE = 50, 50
MOST_OPEN = 50
"""Requests of one person of which something is not decided."""
LONGEST_LINE, LONGEST_PURPOSE, LONGEST_DESCRIPTION = 200, 2_000, 10_000
LONGEST_WORDS = 2_000
"""Of a question, an answer, a reason or conditions, in characters; with the purpose they go into a visa."""

_accounts = hub_tables.tables["accounts"]
_OPEN: tuple[ItemState, ...] = ("waiting", "asked")
_STEPS: dict[Step, tuple[tuple[ItemState, ...], ItemState]] = {
    "asked": (("waiting",), "asked"),
    "answered": (("asked",), "waiting"),
    "granted": (_OPEN, "granted"),
    "refused": (_OPEN, "refused"),
    "withdrawn": (_OPEN, "withdrawn"),
}
"""From which states each step leads to which. A committee need not wait for an answer for ever."""


@dataclass(frozen=True)
class Draft:
    """What a researcher asks. `people`: names of those who will work with the data; `last_day` as 2027-03-01."""

    project: str
    purpose: str
    description: str
    organisation: str
    people: tuple[str, ...]
    actions: tuple[Action, ...]
    last_day: str
    datasets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a committee grants: no more than was asked for. `conditions` in words, for people to read."""

    actions: tuple[Action, ...]
    last_day: str
    version: str = LIVE
    reason: str
    conditions: str = ""


@dataclass(frozen=True)
class Event:
    """A step of an item. `step`: submitted, asked, answered, granted, refused, withdrawn or revoked."""

    at: str
    actor: str
    step: Step
    words: str


@dataclass(frozen=True)
class Item:
    """One dataset of a request. `title`: the dataset's, when it was asked for; `since`: when it became this `turn`."""

    id: str
    request: str
    dataset: DatasetIri
    node: NodeId
    node_title: str
    title: str
    state: ItemState
    since: str
    turn: Turn
    events: tuple[Event, ...]
    permit: str | None


@dataclass(frozen=True)
class AccessRequest:
    """A request as one person may see it: members of a committee see the items of their nodes only."""

    id: str
    account: str
    account_name: str
    project: str
    purpose: str
    description: str
    organisation: str
    people: tuple[str, ...]
    actions: tuple[Action, ...]
    last_day: str
    created_at: str
    items: tuple[Item, ...]


# --- asking -------------------------------------------------------------------------------------------------------


def submit(hub: Hub, who: Principal, draft: Draft) -> AccessRequest:
    """Ask for datasets.

    Raises `BadInput`, `NotFound` for a dataset that is not in the catalogue, `NotAllowed`, `TooMany`.
    """
    entries = _entries(hub, draft.datasets)
    row = _request_row(who, draft, entries)
    items = [
        {
            "id": new_id(),
            "request": row["id"],
            "dataset": entry.dataset.iri,
            "node": entry.dataset.node,
            "title": entry.dataset.title,
            "state": "waiting",
            "since": row["created_at"],
        }
        for entry in entries
    ]
    with hub.engine.begin() as connection:
        _require_account(connection, who)
        _require_room(connection, who)
        connection.execute(insert(table), row)
        connection.execute(insert(request_items), items)
        for item in items:
            record_step(connection, str(item["id"]), who.subject, "submitted", words="", at=row["created_at"])
        named = {"datasets": [entry.dataset.iri for entry in entries], "actions": row["actions"]}
        hub.audit.append("request-submitted", who.subject, row["id"], connection, **named)
    return get(hub, who, row["id"])


def _entries(hub: Hub, datasets: tuple[str, ...]) -> list[Entry]:
    if not datasets:
        raise BadInput("A request needs a dataset.", "Choose one or more in the catalogue.")
    if len(datasets) > MOST_DATASETS:
        raise BadInput(f"A request is for at most {MOST_DATASETS} datasets.", "Make another request for the rest.")
    entries = [terms.entry_of(hub, iri) for iri in datasets]
    if len({entry.dataset.iri for entry in entries}) < len(entries):
        raise BadInput("A dataset is in the request twice.", "Name each dataset once.")
    return entries


def _request_row(who: Principal, draft: Draft, entries: list[Entry]) -> dict[str, Any]:
    """The request as it is kept, once everything in it is as it should be."""
    if len(draft.people) > MOST_PEOPLE:
        raise BadInput(f"A request names at most {MOST_PEOPLE} people.")
    row = {
        "id": new_id(),
        "account": who.subject,
        "project": texts.line(draft.project, "The project's title", LONGEST_LINE),
        "purpose": texts.prose(draft.purpose, "The purpose", LONGEST_PURPOSE),
        "description": texts.prose(draft.description, "The description", LONGEST_DESCRIPTION, least=0),
        "organisation": texts.line(draft.organisation, "The organisation", LONGEST_LINE),
        "people": [texts.line(name, "The name of a person", LONGEST_LINE) for name in draft.people],
        "created_at": stamp(),
    }
    actions, last_day = known_actions(draft.actions), terms.last_day(draft.last_day)
    for entry in entries:
        terms.require_actions(entry, actions)
        terms.require_day(entry, last_day)
    return {**row, "actions": list(actions), "last_day": last_day.isoformat()}


def _require_account(connection: Connection, who: Principal) -> None:
    if connection.execute(select(_accounts.c.name).where(_accounts.c.name == who.subject)).first() is None:
        raise NotAllowed("Only a person with an account here can ask for access.", "Sign in with your account.")


def _require_room(connection: Connection, who: Principal) -> None:
    mine = (table.c.account == who.subject) & request_items.c.state.in_(_OPEN)
    undecided = select(func.count(request_items.c.request.distinct())).join(
        table, table.c.id == request_items.c.request
    )
    if connection.execute(undecided.where(mine)).scalar_one() >= MOST_OPEN:
        raise TooMany(
            f"You have {MOST_OPEN} requests that are not decided.", "Wait for the committees, or withdraw some of them."
        )


# --- reading ------------------------------------------------------------------------------------------------------


def own(hub: Hub, who: Principal) -> list[AccessRequest]:
    """A person's requests, newest first."""
    with hub.engine.connect() as connection:
        return _requests(connection, table.c.account == who.subject)


def get(hub: Hub, who: Principal, request: str) -> AccessRequest:
    """A request, for its person, for operators, and, with their items only, for committees; else `NotFound`."""
    with hub.engine.connect() as connection:
        return _get(connection, who, request)


def queue(hub: Hub, who: Principal, *, all: bool = False) -> list[tuple[AccessRequest, Item]]:
    """What the committees that `who` is on have to decide: what waits for them first, the oldest on top.

    all  also what is decided or withdrawn
    """
    mine = request_items.c.node.in_(select(committees.c.node).where(committees.c.account == who.subject))
    wanted = mine if all else mine & request_items.c.state.in_(_OPEN)
    with hub.engine.connect() as connection:
        found = _requests(connection, table.c.id.in_(select(request_items.c.request).where(wanted)), wanted)
    pairs = [(request, item) for request in found for item in request.items]
    return sorted(pairs, key=lambda pair: (pair[1].turn != "committee", pair[1].state not in _OPEN, pair[1].since))


def item(hub: Hub, who: Principal, item_id: str) -> tuple[AccessRequest, Item]:
    """An item and its request, for the same people as `get`; else `NotFound`."""
    with hub.engine.connect() as connection:
        return _item(connection, who, item_id)


def _get(connection: Connection, who: Principal, request: str) -> AccessRequest:
    found = _requests(connection, table.c.id == request, _visible(who))
    if not found or not found[0].items:
        raise NotFound("There is no such request.", "See the list of your requests.")
    return found[0]


def _item(connection: Connection, who: Principal, item_id: str) -> tuple[AccessRequest, Item]:
    of = select(request_items.c.request).where(request_items.c.id == item_id)
    for request in _requests(connection, table.c.id.in_(of), _visible(who)):
        for one in request.items:
            if one.id == item_id:
                return request, one
    raise NotFound("There is no such item of a request.", "See the list of requests.")


def _visible(who: Principal) -> ColumnElement[bool]:
    """Which items a person may see."""
    if "operator" in who.roles:
        return request_items.c.id.is_not(None)
    decides = select(committees.c.node).where(committees.c.account == who.subject)
    own_ones = select(table.c.id).where(table.c.account == who.subject)
    return or_(request_items.c.node.in_(decides), request_items.c.request.in_(own_ones))


def _requests(
    connection: Connection, which: ColumnElement[bool], items: ColumnElement[bool] | None = None
) -> list[AccessRequest]:
    """Requests with those of their items, newest first."""
    of_these = request_items.c.request.in_(select(table.c.id).where(which))
    wanted = of_these if items is None else of_these & items
    events: dict[str, list[Event]] = {}
    of_wanted = request_events.c.item.in_(select(request_items.c.id).where(wanted))
    for event in connection.execute(
        select(request_events).where(of_wanted).order_by(request_events.c.at, request_events.c.id)
    ):
        events.setdefault(event.item, []).append(Event(event.at, event.actor, event.step, event.words))
    by_request: dict[str, list[Item]] = {}
    for row in connection.execute(
        _item_query().where(wanted).order_by(request_items.c.title, request_items.c.id)
    ).mappings():
        by_request.setdefault(row["request"], []).append(_read_item(row, tuple(events.get(row["id"], ()))))
    query = select(table, _accounts.c.display_name).join(_accounts, _accounts.c.name == table.c.account)
    rows = connection.execute(query.where(which).order_by(table.c.created_at.desc(), table.c.id)).mappings()
    return [_read_request(row, tuple(by_request.get(row["id"], ()))) for row in rows]


def _item_query() -> Select[Any]:
    permit = hub_permits.c
    said = (permit.state, permit.node_state, permit.node_since, permit.expires_at, permit.ended_at)
    return (
        select(
            request_items,
            nodes.c.title.label("node_title"),
            permit.id.label("permit"),
            *(column.label(f"permit_{column.name}") for column in said),
        )
        .join(nodes, nodes.c.id == request_items.c.node)
        .join(hub_permits, permit.item == request_items.c.id, isouter=True)
    )


def _read_item(row: RowMapping, events: tuple[Event, ...]) -> Item:
    turn, since = _turn(row)
    return Item(
        id=row["id"],
        request=row["request"],
        dataset=DatasetIri(row["dataset"]),
        node=NodeId(row["node"]),
        node_title=row["node_title"],
        title=row["title"],
        state=row["state"],
        since=since,
        turn=turn,
        events=events,
        permit=row["permit"],
    )


def _turn(row: RowMapping) -> tuple[Turn, str]:
    """Whose turn it is with an item, and since when."""
    if row["state"] == "waiting":
        return "committee", row["since"]
    if row["state"] == "asked":
        return "researcher", row["since"]
    if row["state"] != "granted":
        return "nobody", row["since"]
    if row["permit_state"] == "revoked":
        return "nobody", row["permit_ended_at"]
    if row["permit_expires_at"] <= stamp():
        return "nobody", row["permit_expires_at"]
    waits = row["permit_node_state"] in ("unknown", "waiting")
    return "data-manager" if waits else "nobody", row["permit_node_since"]


def _read_request(row: RowMapping, items: tuple[Item, ...]) -> AccessRequest:
    plain = {name: value for name, value in row.items() if name != "display_name"}
    return AccessRequest(
        **{
            **plain,
            "account_name": texts.shown(row["display_name"]) or row["account"],
            "people": tuple(row["people"]),
            "actions": tuple(row["actions"]),
            "items": items,
        }
    )


# --- the researcher's steps ---------------------------------------------------------------------------------------


def answer(hub: Hub, who: Principal, item_id: str, words: str) -> None:
    """Answer the committee's question; the item waits for it again."""
    said = texts.prose(words, "The answer", LONGEST_WORDS)
    with hub.engine.begin() as connection:
        _require_owner(connection, who, item_id)
        _step(hub, connection, who, item_id, "answered", words=said)


def withdraw(hub: Hub, who: Principal, item_id: str) -> None:
    """Take an item back before it is decided."""
    with hub.engine.begin() as connection:
        _require_owner(connection, who, item_id)
        _step(hub, connection, who, item_id, "withdrawn", words="")


def _require_owner(connection: Connection, who: Principal, item_id: str) -> None:
    request, _ = _item(connection, who, item_id)
    if request.account != who.subject:
        raise NotAllowed("Only the person who asked can do this.", "Sign in with the account that made the request.")


# --- the committee's steps ----------------------------------------------------------------------------------------


def ask(hub: Hub, who: Principal, item_id: str, words: str) -> None:
    """Ask the researcher something; the item waits for the answer."""
    said = texts.prose(words, "The question", LONGEST_WORDS)
    with hub.engine.begin() as connection:
        _deciding(connection, who, item_id)
        _step(hub, connection, who, item_id, "asked", words=said)


def refuse(hub: Hub, who: Principal, item_id: str, reason: str) -> None:
    """Refuse the item, for a reason that the researcher reads. An item whose question was not answered can be, too."""
    said = texts.prose(reason, "The reason", LONGEST_WORDS)
    with hub.engine.begin() as connection:
        _deciding(connection, who, item_id)
        _step(hub, connection, who, item_id, "refused", words=said)


def grant(hub: Hub, who: Principal, item_id: str, decision: Decision) -> Permit:
    """Grant the item, at most as it was asked for and as the data holder allows now: this makes the permit.

    Raises `BadInput` for a decision that goes further, `NotAllowed`, `Conflict` when it is decided already or the
    dataset is no longer in the catalogue.
    """
    with hub.engine.connect() as connection:
        asked, one = _deciding(connection, who, item_id)
    if one.state not in _OPEN:
        raise _decided()
    agreed = _checked(hub, asked, one, decision)
    row = new_permit(
        hub,
        account=asked.account,
        name=asked.account_name,
        node=one.node,
        dataset=one.dataset,
        actions=agreed.actions,
        last_day=date.fromisoformat(agreed.last_day),
        version=agreed.version,
        conditions=agreed.conditions,
        purpose=asked.purpose,
        project=asked.project,
        organisation=asked.organisation,
    )
    with hub.engine.begin() as connection:
        _deciding(connection, who, item_id)
        _step(hub, connection, who, item_id, "granted", words=agreed.reason)
        permits.issue(hub, connection, {**row, "item": item_id, "issued_by": who.subject})
    return permits.get(hub, who, row["id"])


def _deciding(connection: Connection, who: Principal, item_id: str) -> tuple[AccessRequest, Item]:
    """The item, if `who` may decide on it. Raises `NotFound` for whoever may not see it, else `NotAllowed`."""
    asked, one = _item(connection, who, item_id)
    if asked.account == who.subject:
        raise NotAllowed("You cannot decide on your own request.", "Another member of the committee can.")
    committee.require_member(connection, one.node, who.subject)
    return asked, one


def _checked(hub: Hub, asked: AccessRequest, one: Item, decision: Decision) -> Decision:
    """The decision in its normal form, if it goes no further than the request and the dataset's terms of today."""
    try:
        entry = terms.entry_of(hub, one.dataset)
    except NotFound:
        raise Conflict(
            "The dataset is no longer in the catalogue.", "Refuse the item, or wait until it is published again."
        ) from None
    actions, last_day = known_actions(decision.actions), terms.last_day(decision.last_day)
    if not set(actions) <= set(asked.actions):
        raise BadInput("This grants more than was asked for.", f"Asked for: {', '.join(asked.actions)}.")
    if last_day.isoformat() > asked.last_day:
        raise BadInput("This grants longer than was asked for.", f"Asked for: until {asked.last_day}.")
    terms.require_actions(entry, actions)
    terms.require_day(entry, last_day)
    return Decision(
        actions=actions,
        last_day=last_day.isoformat(),
        version=terms.version_of(entry, decision.version),
        reason=texts.prose(decision.reason, "The reason", LONGEST_WORDS),
        conditions=texts.prose(decision.conditions, "The text of the conditions", LONGEST_WORDS, least=0),
    )


def _step(hub: Hub, connection: Connection, who: Principal, item_id: str, step: Step, *, words: str) -> None:
    """Take an item a step on, with its event and audit row; `Conflict` when its state does not allow it."""
    before, after = _STEPS[step]
    at = stamp()
    this = (request_items.c.id == item_id) & request_items.c.state.in_(before)
    if connection.execute(update(request_items).where(this).values(state=after, since=at)).rowcount == 0:
        raise _decided()
    record_step(connection, item_id, who.subject, step, words=words, at=at)
    hub.audit.append(f"request-{step}", who.subject, item_id, connection)


def _decided() -> Conflict:
    return Conflict("This step is not open any more: the item is in another state.", "Load the page again to see it.")
