"""A hub's part in the exchange: it answers its nodes, searches them, tells them news. Services run in threads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from carina.errors import BadInput, InvalidMessage
from carina.federation import wire
from carina.federation.messages import Sealed, seal_message
from carina.hub import nodes, tell
from carina.hub.centre import Hub
from carina.hub.receive import receive, refuse
from carina.hub.search import Ask, ask, read_answer, unreadable
from carina.interfaces.nats.broker import Broker
from carina.interfaces.nats.ending import end_tasks
from carina.model.cohort import Query
from carina.model.search import NodeAnswer

LOOK_EVERY = 0.5
STATES_EVERY = 20.0
STATES_AGAIN = 2.0
TELL_WITHIN = 5.0
"""Seconds: between looks into the records for a change, between lists of permit states to a node, before the next when
it was silent, for a node to answer."""

_log = logging.getLogger(__name__)


async def run_exchange(hub: Hub, broker: Broker) -> None:
    """Run the hub's side until cancelled: the broker, its list of nodes, answers to their messages, and their states.

    Raises `Busy` or `Unreachable` when the broker cannot start.
    """

    async def handle(sender: str, message: bytes) -> bytes | None:
        return await asyncio.to_thread(receive, hub, sender, message)

    members = await asyncio.to_thread(_members, hub)
    await broker.start(members)
    telling: asyncio.Task[None] | None = None
    try:
        await hub.transport.serve(handle)
        telling = asyncio.create_task(tell_nodes(hub))
        await _keep_broker(hub, broker, members, telling)
    finally:
        if telling is not None:
            await end_tasks([telling])
        await hub.transport.close()
        await broker.stop()


async def _keep_broker(hub: Hub, broker: Broker, members: dict[str, str], telling: asyncio.Task[None]) -> None:
    """Let the broker know who belongs here, and note what becomes of it; raise what `telling` raises."""
    restarts, left_out = 0, frozenset[str]()
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if telling.done():
            telling.result()
        now = await asyncio.to_thread(_members, hub)
        for node in members.keys() - now.keys():
            await _tell_removed(hub, node)
        members = now
        await broker.admit(members)
        for node in sorted(broker.left_out - left_out):
            await asyncio.to_thread(hub.audit.append, "broker-key-refused", hub.id, node)
        left_out = broker.left_out
        if broker.restarts != restarts:
            restarts = broker.restarts
            await asyncio.to_thread(hub.audit.append, "broker-restarted", hub.id, hub.id)


def _members(hub: Hub) -> dict[str, str]:
    return {node.id: node.nkey for node in nodes.list_nodes(hub)}


async def _tell_removed(hub: Hub, node: str) -> None:
    known = await asyncio.to_thread(nodes.get_node, hub, node)
    if known.state == "removed":
        farewell = seal_message(hub.signing, wire.Bye(), hub=hub.id, sender=hub.id, to=node)
        await hub.transport.send(node, farewell.data, 1.0)


# --- permits and jobs ---------------------------------------------------------------------------------------------


@dataclass
class _Listener:
    """A node as it was last told. `tried`: the mark then; `rung`: that of the last ring, if it has heard all since.

    tasks   the one that tells it now, if any
    due     when it is told again without a change, on the monotonic clock
    """

    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    tried: tell.Mark | None = None
    rung: tell.Mark | None = None
    due: float = 0.0


async def tell_nodes(hub: Hub) -> None:
    """Send each joined node the states of its permits every `STATES_EVERY` seconds, until cancelled.

    And at once, with a ring, when permits or runs have changed, whichever process wrote that. Each node is told in a
    task of its own, so that a silent one delays no other.
    """
    listeners: dict[str, _Listener] = {}
    try:
        while True:
            marks = await asyncio.to_thread(tell.marks, hub)
            for node in listeners.keys() - marks.keys():
                await end_tasks(listeners.pop(node).tasks)
            for node, mark in marks.items():
                one = listeners.setdefault(node, _Listener())
                idle = all(task.done() for task in one.tasks)
                if idle and (mark != one.tried or time.monotonic() >= one.due):
                    one.tried = mark
                    one.tasks = [asyncio.create_task(_tell(hub, node, mark, one))]
            await asyncio.sleep(LOOK_EVERY)
    finally:
        await end_tasks(task for one in listeners.values() for task in one.tasks)


async def _tell(hub: Hub, node: str, mark: tell.Mark, one: _Listener) -> None:
    """Tell one node its states, and ring if anything changed since the last ring, or it was silent."""
    try:
        heard = await _send(hub, node, await asyncio.to_thread(tell.states, hub, node))
        if heard and mark != one.rung:
            heard = await _send(hub, node, await asyncio.to_thread(tell.ring, hub, node))
            one.rung = mark
    except Exception as error:  # noqa: BLE001  what is wrong with one node must not end the telling of all
        _log.error("node-not-told", extra={"node": node, "error": type(error).__name__}, exc_info=error)
        heard = False
    if not heard:
        one.rung = None
    one.due = time.monotonic() + (STATES_EVERY if heard or not mark.online else STATES_AGAIN)


async def _send(hub: Hub, node: str, sealed: Sealed) -> bool:
    """Whether the node took the message in. One that it refuses is heard all the same: it would refuse it again."""
    reply = await hub.transport.send(node, sealed.data, TELL_WITHIN)
    if reply is None:
        return False
    try:
        await asyncio.to_thread(tell.read_done, hub, node, sealed, reply)
    except InvalidMessage as refused:
        await asyncio.to_thread(refuse, hub, node, refused)
        return False
    except BadInput as refused:
        _log.warning("node-refused", extra={"node": node, "error": refused.message})
    return True


# --- search -------------------------------------------------------------------------------------------------------


async def search(hub: Hub, query: Query, within: float) -> AsyncIterator[NodeAnswer]:
    """Every joined node's answer as it arrives; one that is silent for `within` seconds comes as `silent`.

    Raises `InvalidQuery` that names the terms without meaning here, before any node is asked.
    """
    asks = await asyncio.to_thread(ask, hub, query)
    pending = [asyncio.create_task(_one(hub, asked, within)) for asked in asks]
    try:
        for finished in asyncio.as_completed(pending):
            yield await finished
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _one(hub: Hub, asked: Ask, within: float) -> NodeAnswer:
    """One node's answer. Whatever is wrong with it is that node's trouble, and no other's."""
    began = time.monotonic()
    try:
        reply = await hub.transport.send(asked.node.id, asked.message, within)
        return await asyncio.to_thread(read_answer, hub, asked, reply, time.monotonic() - began)
    except Exception as error:  # noqa: BLE001  a node must not be able to end the search of all
        _log.error("answer-unreadable", extra={"node": asked.node.id, "error": type(error).__name__})
        return unreadable(asked, time.monotonic() - began)
