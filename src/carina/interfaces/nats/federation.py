"""A hub's and a node's part in the exchange: who asks when, and what runs where. Services run in threads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

from carina.errors import CarinaError, InvalidMessage
from carina.federation import wire
from carina.federation.messages import Sealed, seal_message
from carina.federation.transport import Transport
from carina.hub import nodes
from carina.hub.centre import Hub
from carina.hub.receive import receive
from carina.hub.search import Ask, ask, read_answer, unreadable
from carina.interfaces.nats.broker import Broker
from carina.interfaces.nats.transport import NatsTransport
from carina.model.cohort import Query
from carina.model.dataset import DatasetDescription
from carina.model.search import NodeAnswer
from carina.node import answer, datasets, membership
from carina.node.membership import JoinedHub
from carina.node.site import Node

GREET_EVERY = 20.0
GREET_AGAIN = 2.0
ANSWER_WITHIN = 10.0
LOOK_EVERY = 0.5
"""Seconds: between greetings, before the next when the hub was silent, for a hub to answer a node, between looks into
the records for a change."""

_log = logging.getLogger(__name__)


# --- hub ----------------------------------------------------------------------------------------------------------


async def run_exchange(hub: Hub, broker: Broker) -> None:
    """Run the hub's side until cancelled: the broker, its list of nodes, and answers to their messages.

    Raises `Busy` or `Unreachable` when the broker cannot start.
    """

    async def handle(sender: str, message: bytes) -> bytes | None:
        return await asyncio.to_thread(receive, hub, sender, message)

    members = await asyncio.to_thread(_members, hub)
    await broker.start(members)
    restarts, left_out = 0, frozenset[str]()
    try:
        await hub.transport.serve(handle)
        while True:
            await asyncio.sleep(LOOK_EVERY)
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
    finally:
        await hub.transport.close()
        await broker.stop()


def _members(hub: Hub) -> dict[str, str]:
    return {node.id: node.nkey for node in nodes.list_nodes(hub)}


async def _tell_removed(hub: Hub, node: str) -> None:
    known = await asyncio.to_thread(nodes.get_node, hub, node)
    if known.state == "removed":
        farewell = seal_message(hub.signing, wire.Bye(), hub=hub.id, sender=hub.id, to=node)
        await hub.transport.send(node, farewell.data, 1.0)


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


# --- node ---------------------------------------------------------------------------------------------------------


async def run_memberships(node: Node, on_status: Callable[[str, bool], None] | None = None) -> None:
    """Keep one connection to each hub that is joined, until cancelled; hubs joined or left meanwhile are noticed.

    on_status   told a hub's id and whether it is connected
    """
    running: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            for hub_id in [hub_id for hub_id, task in running.items() if task.done()]:
                _note_end(hub_id, running.pop(hub_id))
            for hub in await asyncio.to_thread(membership.list_hubs, node):
                if hub.id not in running:
                    running[hub.id] = asyncio.create_task(run_membership(node, hub, on_status))
            await asyncio.sleep(LOOK_EVERY)
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


def _note_end(hub: str, task: asyncio.Task[None]) -> None:
    """One hub's trouble is no other's: it is logged, and the connection is made again while the hub is joined."""
    error = task.exception()
    if error is not None:
        _log.error("membership-failed", extra={"hub": hub, "error": type(error).__name__}, exc_info=error)


async def run_membership(
    node: Node,
    hub: JoinedHub,
    on_status: Callable[[str, bool], None] | None = None,
    transport: Transport | None = None,
) -> None:
    """Serve one hub until the membership ends or a broker key changes: answer it, greet it, describe to it.

    transport   in place of a connection to the hub's broker
    """
    look = asyncio.Event()

    def status(connected: bool) -> None:
        look.set()
        if on_status is not None:
            on_status(hub.id, connected)

    async def handle(_: str, message: bytes) -> bytes | None:
        return await asyncio.to_thread(answer.answer, node, hub.id, message)

    line = transport or NatsTransport(
        address=hub.broker,
        ca=hub.broker_ca,
        seed=membership.seed_for(node, hub.id),
        hub=hub.id,
        me=node.id,
        on_status=status,
    )
    try:
        await line.serve(handle)
        await _stay(node, hub, line, look)
    finally:
        await line.close()


async def _stay(node: Node, joined: JoinedHub, line: Transport, look: asyncio.Event) -> None:
    """Greet on connecting, every `GREET_EVERY` seconds, and when a dataset is published or withdrawn."""
    greeted, marks = 0.0, None
    while True:
        hub = await asyncio.to_thread(membership.get_hub, node, joined.id)
        if hub.state != "joined" or (hub.broker, hub.broker_ca) != (joined.broker, joined.broker_ca):
            if hub.state == "left":
                await line.send(hub.id, membership.seal(node, hub.id, wire.Bye()).data, 2.0)
            return
        present = await asyncio.to_thread(membership.published_marks, node)
        if look.is_set() or present != marks or time.monotonic() - greeted >= GREET_EVERY:
            look.clear()
            heard = await greet(node, hub, line)
            greeted, marks = time.monotonic() - (0 if heard else GREET_EVERY - GREET_AGAIN), present
        await asyncio.sleep(LOOK_EVERY)


async def greet(node: Node, hub: JoinedHub, line: Transport) -> bool:
    """Say hello, and describe what the hub asks for. Whether the hub answered."""
    published = await asyncio.to_thread(datasets.published, node)
    greeting = await asyncio.to_thread(membership.hello, node, hub, published)
    reply = await line.send(hub.id, greeting.data, ANSWER_WITHIN)
    if reply is None:
        _log.info("hub-silent", extra={"hub": hub.id})
        return False
    try:
        welcome = await asyncio.to_thread(membership.read_welcome, node, hub, greeting, reply)
    except InvalidMessage as refused:
        await asyncio.to_thread(answer.refuse, node, hub.id, refused)
        return False
    current = await asyncio.to_thread(membership.get_hub, node, hub.id)
    for dataset in published:
        if dataset.iri in welcome.wanted:
            await send_description(node, current, line, dataset)
    return True


async def send_description(node: Node, hub: JoinedHub, line: Transport, dataset: DatasetDescription) -> bool:
    """Tell the hub what a published dataset holds. Whether the hub took it in; one it cannot be told is logged."""
    try:
        body = membership.description(dataset)
    except InvalidMessage:
        _log.error("description-unsendable", extra={"hub": hub.id, "dataset": dataset.iri})
        return False
    sealed = membership.seal(node, hub.id, body)
    return await _tell(node, hub, line, sealed)


async def change_key(node: Node, hub: JoinedHub, line: Transport, change: Sealed) -> bool:
    """Tell the hub this node's next key (`membership.key_change`). Whether the hub took it."""
    return await _tell(node, hub, line, change)


async def _tell(node: Node, hub: JoinedHub, line: Transport, sealed: Sealed) -> bool:
    reply = await line.send(hub.id, sealed.data, ANSWER_WITHIN)
    if reply is None:
        return False
    try:
        await asyncio.to_thread(membership.read_done, node, hub, sealed, reply)
    except InvalidMessage as refused:
        await asyncio.to_thread(answer.refuse, node, hub.id, refused)
        return False
    except CarinaError as error:
        _log.warning("hub-refused", extra={"hub": hub.id, "error": error.message})
        return False
    return True
