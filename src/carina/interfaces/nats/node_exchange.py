"""A node's part in the exchange: one connection to each hub it has joined. Services run in threads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from carina.errors import CarinaError, InvalidMessage
from carina.federation import wire
from carina.federation.messages import Sealed
from carina.federation.transport import Transport
from carina.interfaces.nats.ending import end_tasks
from carina.interfaces.nats.transport import NatsTransport
from carina.model.dataset import DatasetDescription
from carina.node import answer, datasets, fetch, jobs, membership
from carina.node.membership import JoinedHub
from carina.node.site import Node

GREET_EVERY = 20.0
GREET_AGAIN = 2.0
FETCH_EVERY = 30.0
FETCH_AGAIN = 2.0
FETCH_LEAST = 1.0
PROGRESS_EVERY = 2.0
DELIVER_EVERY = 1.0
DELIVER_AGAIN = 5.0
ANSWER_WITHIN = 10.0
LOOK_EVERY = 0.5
"""Seconds: between greetings, and before the next when the hub was silent; between questions for permits and jobs,
before the next when the hub was silent, and at least, however often it rings; between words of progress; between
deliveries of outcomes, and before the next when one failed; for a hub to answer a node; between looks into the records
for a change."""

OnStatus = Callable[[str, bool], None]
"""Told a hub's id and whether it is connected."""
OnJobs = Callable[[], None]
"""Told that new jobs were taken."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


async def run_memberships(node: Node, on_status: OnStatus | None = None, on_jobs: OnJobs | None = None) -> None:
    """Keep one connection to each hub that is joined, until cancelled; hubs joined or left meanwhile are noticed."""
    running: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            for hub_id in [hub_id for hub_id, task in running.items() if task.done()]:
                _note_end(hub_id, running.pop(hub_id))
            for hub in await asyncio.to_thread(membership.list_hubs, node):
                if hub.id not in running:
                    running[hub.id] = asyncio.create_task(run_membership(node, hub, on_status, on_jobs))
            await asyncio.sleep(LOOK_EVERY)
    finally:
        await end_tasks(running.values())


def _note_end(hub: str, task: asyncio.Task[None]) -> None:
    """One hub's trouble is no other's: it is logged, and the connection is made again while the hub is joined."""
    error = task.exception()
    if error is not None:
        _log.error("membership-failed", extra={"hub": hub, "error": type(error).__name__}, exc_info=error)


async def run_membership(
    node: Node,
    hub: JoinedHub,
    on_status: OnStatus | None = None,
    on_jobs: OnJobs | None = None,
    transport: Transport | None = None,
) -> None:
    """Serve one hub until the membership ends or a broker key changes: answer, greet, describe, fetch, deliver.

    transport   in place of a connection to the hub's broker
    """
    look, news, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

    def status(connected: bool) -> None:
        look.set()
        if connected:
            news.set()
        if on_status is not None:
            on_status(hub.id, connected)

    def tell_news() -> None:
        loop.call_soon_threadsafe(news.set)

    async def handle(_: str, message: bytes) -> bytes | None:
        return await asyncio.to_thread(answer.answer, node, hub.id, message, tell_news)

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
        fetching = _fetch(node, hub, line, news, on_jobs)
        await _first_end(_stay(node, hub, line, look), fetching, _deliver(node, hub, line))
    finally:
        await line.close()


async def _first_end(*parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts until one ends; then the others end too, and what it raised is raised."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_tasks(tasks)
    for task in done:
        task.result()


# --- greeting -----------------------------------------------------------------------------------------------------


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
    def read(asked: Sealed, reply: bytes) -> bool:
        membership.read_done(node, hub, asked, reply)
        return True

    _, taken = await _send(node, hub, line, sealed, read)
    return taken is True


async def _send(
    node: Node, hub: JoinedHub, line: Transport, sealed: Sealed, read: Callable[[Sealed, bytes], T]
) -> tuple[bool, T | None]:
    """Whether the hub answered, and what `read` gives of its answer: None for one that is refused, and written down."""
    reply = await line.send(hub.id, sealed.data, ANSWER_WITHIN)
    if reply is None:
        return False, None
    try:
        return True, await asyncio.to_thread(read, sealed, reply)
    except InvalidMessage as refused:
        await asyncio.to_thread(answer.refuse, node, hub.id, refused)
    except CarinaError as error:
        _log.warning("hub-refused", extra={"hub": hub.id, "error": error.message})
    return True, None


# --- permits and jobs ---------------------------------------------------------------------------------------------


async def _fetch(node: Node, hub: JoinedHub, line: Transport, news: asyncio.Event, on_jobs: OnJobs | None) -> None:
    """Ask for permits and jobs on connecting, when news come, after a decision here, every `FETCH_EVERY` seconds.

    And tell the progress of jobs every `PROGRESS_EVERY` seconds while there are any.
    """
    fetched, asked, told = -FETCH_EVERY, 0.0, None
    while True:
        begun = time.monotonic()
        word = await asyncio.to_thread(fetch.word, node, hub.id)
        if news.is_set() or word != told or time.monotonic() - fetched >= FETCH_EVERY:
            news.clear()
            heard = await fetch_permits(node, hub, line) and await fetch_jobs(node, hub, line, on_jobs)
            fetched, told = time.monotonic() - (0 if heard else FETCH_EVERY - FETCH_AGAIN), word
            asked = time.monotonic()
            await asyncio.sleep(begun + FETCH_LEAST - asked)
        elif time.monotonic() - asked >= PROGRESS_EVERY:
            if await asyncio.to_thread(jobs.progress, node, hub.id):
                await fetch_jobs(node, hub, line, on_jobs)
            asked = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await news.wait()


async def fetch_permits(node: Node, hub: JoinedHub, line: Transport) -> bool:
    """Tell the hub of the permits held here, and take in those wanted. Whether the hub answered."""
    questions = await asyncio.to_thread(fetch.questions, node, hub.id)
    while questions:
        question = questions.pop(0)
        sealed = membership.seal(node, hub.id, question)
        heard, left = await _send(node, hub, line, sealed, partial(fetch.take_visas, node, hub.id, question))
        if not heard:
            return False
        if left is not None:
            questions.insert(0, left)
    return True


async def fetch_jobs(node: Node, hub: JoinedHub, line: Transport, on_jobs: OnJobs | None = None) -> bool:
    """Tell the progress of jobs, take the new ones, and stop those that the hub ends. Whether the hub answered."""
    before = await asyncio.to_thread(jobs.progress, node, hub.id)
    sealed = membership.seal(node, hub.id, wire.Jobs(progress=before))
    heard, after = await _send(node, hub, line, sealed, partial(fetch.take_orders, node, hub.id))
    if on_jobs is not None and after is not None and after - before.keys():
        on_jobs()
    return heard


async def _deliver(node: Node, hub: JoinedHub, line: Transport) -> None:
    """Send the outcome of each job that has ended, again and again until the hub has taken it."""
    while True:
        wait = DELIVER_EVERY
        for outcome in await asyncio.to_thread(jobs.undelivered, node, hub.id):
            sealed = membership.seal(node, hub.id, outcome)
            heard, taken = await _send(node, hub, line, sealed, partial(fetch.settle, node, hub.id, outcome))
            if not heard:
                break
            wait = wait if taken else DELIVER_AGAIN
        await asyncio.sleep(wait)
