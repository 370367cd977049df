"""What a node does with a hub's message: it answers from its own records, and decides alone what leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from carina.errors import InvalidMessage, InvalidQuery
from carina.federation import wire
from carina.federation.disclosure import release
from carina.model.cohort import from_json, variables_of
from carina.model.variables import unknown_terms
from carina.node import membership, permits
from carina.node import search as records
from carina.node.site import Node

_log = logging.getLogger(__name__)


def answer(node: Node, hub: str, data: bytes, on_news: Callable[[], None] | None = None) -> bytes | None:
    """The answer to a message that came over this hub's exchange, or None for one that is refused and audited.

    hub       the id of the hub whose connection it came by; only its own key counts
    on_news   called when something rests at the hub that this node should ask for
    """
    try:
        message = membership.open_from(node, membership.get_hub(node, hub), data)
    except InvalidMessage as refused:
        refuse(node, hub, refused)
        return None
    body = _answer(node, hub, message.body, on_news or _nobody)
    return membership.seal(node, hub, body, re=message.nonce).data


def refuse(node: Node, hub: str, refused: InvalidMessage) -> None:
    """Write down that a message was refused, and why; repeats once a minute."""
    node.refusals.note(node.audit, "message-refused", hub, node.id, reason=refused.reason)
    _log.warning("message-refused", extra={"sender": hub, "reason": refused.reason})


def _nobody() -> None:
    """Nobody waits for news."""


def _answer(node: Node, hub: str, body: wire.Body, on_news: Callable[[], None]) -> wire.Body:
    match body:
        case wire.Search(query=query):
            return _search(node, hub, query)
        case wire.Status(paper=paper):
            return _take_states(node, hub, paper, on_news)
        case wire.Ring():
            on_news()
            return wire.Done()
        case wire.Bye():
            membership.end(node, hub, "removed", hub)
            return wire.Done()
    return wire.Refusal(reason="not-understood")


def _take_states(node: Node, hub: str, paper: str, on_news: Callable[[], None]) -> wire.Body:
    """A list that is refused leaves the one before in force, for as long as that is recent."""
    try:
        permits.take_states(node, hub, paper)
    except InvalidMessage as refused:
        refuse(node, hub, refused)
        return wire.Refusal(reason=refused.reason)
    if permits.wanted(node, hub):
        on_news()
    return wire.Done()


def _search(node: Node, hub: str, asked: dict[str, object]) -> wire.Body:
    """Terms that mean nothing here are named, never dropped; counts pass this node's own threshold."""
    try:
        query = from_json(asked)
    except InvalidQuery:
        return wire.Refusal(reason="no-such-query")
    variables = sorted(set(variables_of(query)))
    unknown = tuple(dict.fromkeys(_printable(term) for term in unknown_terms(query)))[:100]
    if unknown:
        node.audit.append("search-answered", hub, node.id, state="unknown-terms")
        return wire.Found(state="unknown-terms", patients=None, studies=None, threshold=node.threshold, unknown=unknown)
    counts = records.count(node, query)
    released = release(counts.patients or 0, counts.studies or 0, node.threshold)
    state: Literal["below-threshold", "counted"] = "below-threshold" if released.patients is None else "counted"
    node.audit.append("search-answered", hub, node.id, state=state, variables=variables)
    return wire.Found(state=state, patients=released.patients, studies=released.studies, threshold=node.threshold)


def _printable(term: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in term)[:200]
