"""Asking every node how many patients and studies match."""

from __future__ import annotations

from dataclasses import dataclass

from carina.errors import InvalidMessage
from carina.federation import wire
from carina.federation.disclosure import release
from carina.federation.messages import seal_message
from carina.hub.centre import Hub
from carina.hub.nodes import HubNode, list_nodes
from carina.hub.receive import open_from, refuse
from carina.model.cohort import Query, to_json
from carina.model.search import AnswerState, Counts, NodeAnswer
from carina.model.variables import require_known


@dataclass(frozen=True)
class Ask:
    """A question to one node, signed; `nonce` is what its answer must name."""

    node: HubNode
    message: bytes
    nonce: str


def ask(hub: Hub, query: Query) -> list[Ask]:
    """The question to each joined node. Raises `InvalidQuery` that names the terms without meaning here."""
    require_known(query)
    asks = []
    for node in list_nodes(hub):
        sealed = seal_message(hub.signing, wire.Search(query=to_json(query)), hub=hub.id, sender=hub.id, to=node.id)
        asks.append(Ask(node, sealed.data, sealed.nonce))
    return asks


def read_answer(hub: Hub, asked: Ask, answer: bytes | None, seconds: float) -> NodeAnswer:
    """What a node's answer says; silent without one, and refused (and audited) when it is not genuine.

    The hub's own threshold counts too: where it is higher than the node's, fewer patients are not shown either.
    """
    if answer is None:
        return _answer(asked, "silent", seconds)
    try:
        body = open_from(hub, asked.node.id, answer, answers=asked.nonce).body
    except InvalidMessage as refused:
        refuse(hub, asked.node.id, refused)
        return _answer(asked, "refused", seconds, reason=refused.reason)
    match body:
        case wire.Found(state="unknown-terms", unknown=unknown):
            return _answer(asked, "unknown-terms", seconds, unknown=unknown)
        case wire.Found(patients=patients, studies=studies, threshold=threshold):
            counts = release(patients or 0, studies or 0, max(threshold, hub.threshold))
            return _answer(asked, "below-threshold" if counts.patients is None else "counted", seconds, counts=counts)
        case wire.Refusal(reason=reason):
            return _answer(asked, "refused", seconds, reason=reason)
    return _answer(asked, "refused", seconds, reason="not-understood")


def unreadable(asked: Ask, seconds: float) -> NodeAnswer:
    """In place of an answer that could not be dealt with."""
    return _answer(asked, "refused", seconds, reason="unreadable")


def _answer(
    asked: Ask,
    state: AnswerState,
    seconds: float,
    *,
    counts: Counts | None = None,
    unknown: tuple[str, ...] = (),
    reason: str = "",
) -> NodeAnswer:
    node = asked.node
    return NodeAnswer(node.id, node.title, node.country, state, counts, unknown, reason, seconds)
