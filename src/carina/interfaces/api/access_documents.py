"""The JSON of requests and permits, both ways: the hub writes it, the client reads it. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from carina.interfaces.api.documents import Json, actions_from_json
from carina.model.permit import Action, ItemState, NodeState, PermitState, Turn

if TYPE_CHECKING:  # the client has no database
    from carina.hub import permits as hub_permits
    from carina.hub import requests as hub_requests

    AnyItem: TypeAlias = "hub_requests.Item | Item"
    AnyRequest: TypeAlias = "hub_requests.AccessRequest | AccessRequest"
    AnyPermit: TypeAlias = "hub_permits.Permit | Permit"

_EVENT = ("at", "actor", "step", "words")
_ITEM = ("id", "request", "dataset", "node", "node_title", "title", "state", "since", "turn", "permit")
_REQUEST = (
    *("id", "account", "account_name", "project", "purpose", "description", "organisation"),
    *("last_day", "created_at"),
)
_PERMIT = (
    *("id", "item", "request", "account", "account_name", "node", "node_title", "public_url", "dataset", "title"),
    *("version", "conditions", "purpose", "project", "issued_at", "issued_by", "expires_at"),
    *("state", "ended_at", "ended_by", "ended_why", "node_state", "node_reason", "node_since"),
)


@dataclass(frozen=True)
class Event:
    """A step of an item, with its words; `at` is UTC, ISO 8601."""

    at: str
    actor: str
    step: str
    words: str


@dataclass(frozen=True)
class Item:
    """One dataset of a request, which the committee of its node decides.

    turn     who has to do something now, `since` when
    permit   the permit's id, once it is granted
    """

    id: str
    request: str
    dataset: str
    node: str
    node_title: str
    title: str
    state: ItemState
    since: str
    turn: Turn
    events: tuple[Event, ...] = field(repr=False)
    permit: str | None


@dataclass(frozen=True)
class AccessRequest:
    """What a researcher asks for. `items` are those that the reader may see; `last_day` as 2027-03-01."""

    id: str
    account: str
    account_name: str
    project: str
    purpose: str
    description: str = field(repr=False)
    organisation: str
    people: tuple[str, ...] = field(repr=False)
    actions: tuple[Action, ...]
    last_day: str
    created_at: str
    items: tuple[Item, ...] = field(repr=False)


@dataclass(frozen=True)
class Permit:
    """What one person may do with one dataset, until when.

    public_url   the node's address; None: it takes part in search and analysis only
    usable       granted, not over, and in force at the node
    condition    `in force`, `waits for the node`, `refused by the node`, `ended` or `expired`
    last_day     the last one on which it is good, UTC
    use          how often it was used at the node, by action; `last`: when
    """

    id: str
    item: str
    request: str
    account: str
    account_name: str
    node: str
    node_title: str
    public_url: str | None
    dataset: str
    title: str
    actions: tuple[Action, ...]
    version: str
    conditions: str
    purpose: str = field(repr=False)
    project: str
    issued_at: str
    issued_by: str
    expires_at: str
    last_day: str
    state: PermitState
    ended_at: str | None
    ended_by: str | None
    ended_why: str
    node_state: NodeState
    node_reason: str
    node_since: str
    usable: bool
    condition: str
    use: Mapping[str, Any]


def item_to_json(item: AnyItem) -> Json:
    """An item with its steps, oldest first."""
    steps = [{name: getattr(event, name) for name in _EVENT} for event in item.events]
    return {**{name: getattr(item, name) for name in _ITEM}, "events": steps}


def item_from_json(value: Json) -> Item:
    """The item of `item_to_json`; `KeyError`, `TypeError` or `ValueError` for another shape."""
    return Item(
        **_texts(value, ("id", "request", "dataset", "node", "node_title", "title", "since")),
        state=_one_of(ItemState, value["state"]),
        turn=_one_of(Turn, value["turn"]),
        events=tuple(Event(**_texts(event, _EVENT)) for event in value["events"]),
        permit=_text(value["permit"]),
    )


def request_to_json(request: AnyRequest) -> Json:
    """A request with those of its items that the reader may see."""
    return {
        **{name: getattr(request, name) for name in _REQUEST},
        "people": list(request.people),
        "actions": list(request.actions),
        "items": [item_to_json(item) for item in request.items],
    }


def request_from_json(value: Json) -> AccessRequest:
    """The request of `request_to_json`; `KeyError`, `TypeError` or `ValueError` for another shape."""
    return AccessRequest(
        **_texts(value, _REQUEST),
        people=tuple(str(person) for person in value["people"]),
        actions=actions_from_json(value["actions"]),
        items=tuple(item_from_json(item) for item in value["items"]),
    )


def permit_to_json(permit: AnyPermit) -> Json:
    """A permit with its condition now; the visa itself is for the node alone."""
    return {
        **{name: getattr(permit, name) for name in _PERMIT},
        "actions": list(permit.actions),
        "last_day": str(permit.last_day),
        "usable": permit.usable,
        "condition": permit.condition if isinstance(permit, Permit) else permit.condition_of(),
        "use": dict(permit.use),
    }


def permit_from_json(value: Json) -> Permit:
    """The permit of `permit_to_json`; `KeyError`, `TypeError` or `ValueError` for another shape."""
    others = ("public_url", "ended_at", "ended_by", "state", "node_state")
    return Permit(
        **_texts(value, [name for name in (*_PERMIT, "last_day", "condition") if name not in others]),
        public_url=_text(value["public_url"]),
        ended_at=_text(value["ended_at"]),
        ended_by=_text(value["ended_by"]),
        state=_one_of(PermitState, value["state"]),
        node_state=_one_of(NodeState, value["node_state"]),
        actions=actions_from_json(value["actions"]),
        usable=bool(value["usable"]),
        use=dict(value["use"]),
    )


def _texts(value: Json, names: Iterable[str]) -> dict[str, Any]:
    return {name: str(value[name]) for name in names}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _one_of(words: Any, value: Any) -> Any:
    if value not in get_args(words):
        raise ValueError("a word that is not known here")
    return value
