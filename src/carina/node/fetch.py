"""What rests at a hub for this node: visas and orders. The node asks for them, and tells what became of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from sqlalchemy import func, select

from carina.errors import BadInput, CarinaError, InvalidMessage
from carina.federation import wire
from carina.federation.messages import Sealed
from carina.node import jobs, membership, permits
from carina.node.answer import refuse
from carina.node.site import Node
from carina.storage.schema import permits as records

_HELD_AT_ONCE = 500
_WANTED_AT_ONCE = 50
"""Permits in one message, so that it stays far below the largest that is sent; `wire.Visas` holds as many."""

_log = logging.getLogger(__name__)


def word(node: Node, hub: str) -> tuple[int, str | None]:
    """How many of the hub's permits are here, and when the last was decided on: another word is one to be told."""
    wanted = select(func.count(), func.max(records.c.decided_at)).where(records.c.hub == hub)
    with node.engine.connect() as connection:
        held, decided = connection.execute(wanted).one()
    return int(held), decided


def questions(node: Node, hub: str) -> list[wire.Permits]:
    """What to tell the hub of its permits, and which visas to ask for; none when there is nothing of either."""
    held, wanted = list(permits.held(node, hub).items()), permits.wanted(node, hub)
    parts = max(-(-len(held) // _HELD_AT_ONCE), -(-len(wanted) // _WANTED_AT_ONCE))
    return [
        wire.Permits(
            held=dict(held[part * _HELD_AT_ONCE : (part + 1) * _HELD_AT_ONCE]),
            wanted=wanted[part * _WANTED_AT_ONCE : (part + 1) * _WANTED_AT_ONCE],
        )
        for part in range(parts)
    ]


def take_visas(node: Node, hub: str, question: wire.Permits, asked: Sealed, answer: bytes) -> wire.Permits | None:
    """Take in the visas of the hub's answer, and give the question for those that did not fit into it, if any.

    A visa that is refused hinders no other. Raises `InvalidMessage`, or `BadInput` with the hub's word of refusal.
    """
    body = _open(node, hub, asked, answer)
    if not isinstance(body, wire.Visas):
        raise InvalidMessage("The hub's answer is none to a question for permits.")
    _take_each(node, hub, body.visas, permits.take_visa, "visa-not-taken")
    if not 0 < len(body.visas) < len(question.wanted):
        return None
    missing = set(permits.wanted(node, hub))
    left = tuple(permit for permit in question.wanted if permit in missing)
    return wire.Permits(held={}, wanted=left) if len(left) < len(question.wanted) and left else None


def take_orders(node: Node, hub: str, asked: Sealed, answer: bytes) -> frozenset[str]:
    """Take the jobs of the hub's answer that are new, and stop those that it names. Which jobs wait or run then.

    An order that is refused hinders no other. Raises `InvalidMessage`, or `BadInput` with the hub's word of refusal.
    """
    body = _open(node, hub, asked, answer)
    if not isinstance(body, wire.Open):
        raise InvalidMessage("The hub's answer is none to a question for jobs.")
    _take_each(node, hub, body.orders, jobs.take, "order-not-taken")
    if body.stop:
        jobs.stop(node, hub, body.stop)
    return frozenset(jobs.progress(node, hub))


def settle(node: Node, hub: str, outcome: wire.Outcome, asked: Sealed, answer: bytes) -> bool:
    """Note that the hub knows an outcome. One that it refuses is audited, and not sent again either.

    Raises `InvalidMessage` when the answer is none: then the outcome is still to be delivered.
    """
    body = membership.open_from(node, membership.get_hub(node, hub), answer, answers=asked.nonce).body
    if isinstance(body, wire.Refusal):
        node.audit.append("outcome-refused", hub, outcome.job, reason=body.reason)
        _log.warning("outcome-refused", extra={"hub": hub, "job": outcome.job, "reason": body.reason})
    elif not isinstance(body, wire.Done):
        raise InvalidMessage("The hub's answer is none to an outcome.")
    jobs.delivered(node, hub, outcome.job)
    return True


def _open(node: Node, hub: str, asked: Sealed, answer: bytes) -> wire.Body:
    body = membership.open_from(node, membership.get_hub(node, hub), answer, answers=asked.nonce).body
    if isinstance(body, wire.Refusal):
        raise BadInput(f"The hub refuses the message: {body.reason}.", "Ask the hub's operator what it does not take.")
    return body


def _take_each(
    node: Node, hub: str, papers: Iterable[str], take: Callable[[Node, str, str], object], event: str
) -> None:
    for paper in papers:
        try:
            take(node, hub, paper)
        except InvalidMessage as refused:
            refuse(node, hub, refused)
        except CarinaError as refused:  # written down by the service that refuses
            _log.warning(event, extra={"hub": hub, "error": refused.message})
        except Exception as error:  # noqa: BLE001  one paper must not be able to hold up the others
            _log.error(event, extra={"hub": hub, "error": type(error).__name__}, exc_info=error)
