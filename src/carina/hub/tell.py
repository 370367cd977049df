"""What a hub tells its nodes unasked: the states of their permits, and that something rests here for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select

from carina.errors import BadInput, InvalidMessage
from carina.federation import wire
from carina.federation.messages import Sealed, seal_message
from carina.hub import permits
from carina.hub.centre import Hub
from carina.hub.nodes import list_nodes
from carina.hub.receive import open_from
from carina.model.clock import stamp
from carina.storage.hub_schema import hub_jobs, hub_permits, hub_tables, runs

_accounts = hub_tables.tables["accounts"]


@dataclass(frozen=True)
class Mark:
    """Another mark means that the node must be told something, whichever process wrote it.

    online    whether the node was heard of within the last minute
    permits   of those not expired: how many are granted and ended, of which of accounts in use, and when the last was
    jobs      how many wait or ran of late, and how many of them were cancelled
    """

    online: bool
    permits: tuple[tuple[Any, ...], ...] = ()
    jobs: tuple[int, int] = (0, 0)


def marks(hub: Hub) -> dict[str, Mark]:
    """The mark of each joined node, by two short queries."""
    found = {str(node.id): Mark(node.online()) for node in list_nodes(hub)}
    kinds = (hub_permits.c.node, hub_permits.c.state, _accounts.c.disabled)
    last = (func.count(), func.max(hub_permits.c.issued_at), func.max(hub_permits.c.ended_at))
    granted = select(*kinds, *last).join(_accounts, _accounts.c.name == hub_permits.c.account).group_by(*kinds)
    ordered = select(hub_jobs.c.node, func.count(), func.count(runs.c.cancelled_at)).join(
        runs, runs.c.id == hub_jobs.c.run
    )
    with hub.engine.connect() as connection:
        for row in connection.execute(granted.where(hub_permits.c.expires_at > stamp()).order_by(*kinds)):
            if row[0] in found:
                before = found[row[0]]
                found[row[0]] = replace(before, permits=(*before.permits, tuple(row[1:])))
        ordered = ordered.where(hub_jobs.c.expires_at > stamp()).group_by(hub_jobs.c.node)
        for node, jobs, cancelled in connection.execute(ordered):
            if node in found:
                found[node] = replace(found[node], jobs=(jobs, cancelled))
    return found


def states(hub: Hub, node: str) -> Sealed:
    """The message with the next list of the node's permits. Raises `BadInput` when it is too large to send."""
    return _seal(hub, node, wire.Status(paper=permits.status_list(hub, node)))


def ring(hub: Hub, node: str) -> Sealed:
    """The message that something rests here for the node."""
    return _seal(hub, node, wire.Ring())


def read_done(hub: Hub, node: str, asked: Sealed, answer: bytes) -> None:
    """Check that the node took a message in. Raises `InvalidMessage`, or `BadInput` with the node's word of refusal."""
    body = open_from(hub, node, answer, answers=asked.nonce).body
    if isinstance(body, wire.Refusal):
        raise BadInput(f"The node refuses the message: {body.reason}.", "Compare the clocks of hub and node.")
    if not isinstance(body, wire.Done):
        raise InvalidMessage("The node's answer is none to this message.")


def _seal(hub: Hub, node: str, body: wire.Body) -> Sealed:
    return seal_message(hub.signing, body, hub=hub.id, sender=hub.id, to=node)
