"""What a hub does with a node's message."""

from __future__ import annotations

import logging

from carina.errors import Conflict, InvalidMessage, NotFound, TooMany
from carina.federation import wire
from carina.federation.messages import Message, open_message, seal_message
from carina.hub import catalogue, nodes, permits, runs
from carina.hub.centre import Hub
from carina.storage.seen import first_time

_log = logging.getLogger(__name__)


def receive(hub: Hub, sender: str, data: bytes) -> bytes | None:
    """The answer to a node's message, or None for one that is refused: it is audited and gets no answer.

    sender  the node that the transport says sent it
    """
    try:
        message = open_from(hub, sender, data)
        answer = _answer(hub, message)
    except InvalidMessage as refused:
        refuse(hub, sender, refused)
        return None
    return seal_message(hub.signing, answer, hub=hub.id, sender=hub.id, to=message.sender, re=message.nonce).data


def open_from(hub: Hub, sender: str, data: bytes, answers: str | None = None) -> Message:
    """A node's message, genuine and new. Raises `InvalidMessage`."""
    return open_message(
        data,
        me=hub.id,
        hub=hub.id,
        sender=sender,
        keys_of=lambda party: nodes.key_of(hub, party),
        first_time=lambda party, nonce, expires: first_time(hub.engine, party, nonce, expires),
        answers=answers,
    )


def refuse(hub: Hub, sender: str, refused: InvalidMessage) -> None:
    """Write down that a message was refused, and why."""
    hub.audit.append("message-refused", sender, hub.id, reason=refused.reason)
    _log.warning("message-refused", extra={"sender": sender, "reason": refused.reason})


def _answer(hub: Hub, message: Message) -> wire.Body:
    match message.body:
        case wire.Hello() as hello:
            return _welcome(hub, message.sender, hello)
        case wire.Permits() as held:
            return permits.report(hub, message.sender, held)
        case wire.Jobs() as jobs:
            return runs.open_jobs(hub, message.sender, jobs)
        case wire.Outcome() as outcome:
            return _take_outcome(hub, message.sender, outcome)
    return _take_in(hub, message)


def _take_in(hub: Hub, message: Message) -> wire.Body:
    try:
        match message.body:
            case wire.Description() as description:
                catalogue.accept(hub, message.sender, description)
            case wire.Withdraw(iri=iri):
                catalogue.withdraw(hub, message.sender, iri)
            case wire.KeyChange() as change:
                nodes.replace_node_key(hub, message.sender, change)
            case wire.Bye():
                nodes.left(hub, message.sender)
            case _:
                return wire.Refusal(reason="not-understood")
    except Conflict:
        return _refusal(hub, message.sender, "not-yours")
    except TooMany:
        return _refusal(hub, message.sender, "too-many")
    return wire.Done()


def _take_outcome(hub: Hub, node: str, outcome: wire.Outcome) -> wire.Body:
    """A refused outcome is answered all the same, because a node sends it again until it has an answer."""
    try:
        runs.outcome(hub, node, outcome)
    except InvalidMessage as refused:
        return _refusal(hub, node, refused.reason)
    except NotFound:
        return _refusal(hub, node, "no-such-job")
    except Conflict:
        return _refusal(hub, node, "not-yours")
    return wire.Done()


def _refusal(hub: Hub, sender: str, reason: str) -> wire.Refusal:
    hub.audit.append("message-refused", sender, hub.id, reason=reason)
    return wire.Refusal(reason=reason)


def _welcome(hub: Hub, node: str, hello: wire.Hello) -> wire.Welcome:
    nodes.seen(hub, node, hello)
    chain = () if hello.knows == hub.signing.thumbprint else nodes.key_chain(hub)
    wanted = catalogue.reconcile(hub, node, hello.datasets)
    return wire.Welcome(title=hub.title, url=hub.url, chain=chain, wanted=wanted)
