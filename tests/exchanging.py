"""Builders for tests of the exchange: a hub and nodes that come and go over one exchange in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy import select
from tests.access import Scene

from carina.federation.transport import MemoryExchange, Transport
from carina.hub.centre import Hub
from carina.hub.receive import receive
from carina.interfaces.nats.hub_exchange import tell_nodes
from carina.interfaces.nats.node_exchange import run_membership
from carina.node import membership
from carina.node.site import Node
from carina.storage.schema import permit_states


async def until(condition: Callable[[], object], within: float = 12.0) -> None:
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.03)


def line_of(hub: Hub, party: str) -> Transport:
    """A party's connection to the exchange of the scene's hub, as after a restart."""
    exchange: MemoryExchange = hub.transport._exchange  # type: ignore[attr-defined]
    return exchange.transport(party)


@asynccontextmanager
async def running(*tasks: Awaitable[None]) -> AsyncIterator[None]:
    started = [asyncio.ensure_future(task) for task in tasks]
    try:
        yield
    finally:
        for task in started:
            task.cancel()
        await asyncio.wait(started, timeout=10)
        assert all(task.done() for task in started)
        for outcome in await asyncio.gather(*started, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome


@asynccontextmanager
async def hub_up(hub: Hub) -> AsyncIterator[None]:
    async def handle(sender: str, message: bytes) -> bytes | None:
        return await asyncio.to_thread(receive, hub, sender, message)

    line = line_of(hub, hub.id)
    await line.serve(handle)
    try:
        async with running(tell_nodes(replace(hub, transport=line))):
            yield
    finally:
        await line.close()


@asynccontextmanager
async def node_up(hub: Hub, node: Node, on_jobs: Callable[[], None] | None = None) -> AsyncIterator[None]:
    joined, line = membership.get_hub(node, hub.id), line_of(hub, node.id)
    async with running(run_membership(node, joined, on_jobs=on_jobs, transport=line)):
        yield


@asynccontextmanager
async def both_up(scene: Scene) -> AsyncIterator[None]:
    async with hub_up(scene.hub), node_up(scene.hub, scene.node):
        yield


def number(node: Node) -> int:
    """Of the newest list of states that the node has."""
    with node.engine.connect() as connection:
        return connection.execute(select(permit_states.c.number)).scalar() or 0
