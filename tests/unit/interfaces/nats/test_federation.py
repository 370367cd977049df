"""A hub and its nodes at work, over the exchange in memory and once over a real broker."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update
from tests.federating import described, open_joined_node, open_test_hub, post_to, refusals
from tests.stored import LUNG, clean, index
from tests.support import open_test_node, ring

from carina.errors import InvalidQuery
from carina.federation.brokerkeys import broker_name, broker_seed
from carina.federation.signing import SigningKey, peek
from carina.federation.transport import MemoryExchange
from carina.hub import catalogue, nodes
from carina.hub.centre import Hub
from carina.hub.receive import receive
from carina.interfaces.nats.broker import Broker, prepare
from carina.interfaces.nats.hub_exchange import run_exchange, search
from carina.interfaces.nats.node_exchange import change_key, greet, run_membership, run_memberships, send_description
from carina.interfaces.nats.transport import NatsTransport
from carina.model.clock import now
from carina.model.cohort import All, OneOf
from carina.model.search import NodeAnswer
from carina.node import datasets, membership
from carina.node.site import Node
from carina.storage.hub_schema import nodes as table
from carina.storage.schema import permit_states

CT = OneOf("modality", ("CT",))


@contextmanager
def filled(node: Node, patients: int) -> AsyncIterator[str]:  # type: ignore[misc]
    """The node with a published dataset of so many patients, each with two CT studies."""
    with node.engine.begin() as connection:
        for number in range(patients):
            for study in (1, 2):
                index(connection, clean(study=10 * number + study, patient=f"P{number:016}"))
    iri = datasets.create(node, "maria", LUNG, "Lung CT").iri
    datasets.publish(node, "maria", iri)
    yield iri


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(*tasks: Awaitable[None]) -> AsyncIterator[None]:
    started = [asyncio.ensure_future(task) for task in tasks]
    try:
        yield
    finally:
        for task in started:
            task.cancel()
        for outcome in await asyncio.gather(*started, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome


def states_of(node: Node) -> int:
    """The number of the newest list of permit states that the node has."""
    with node.engine.connect() as connection:
        return connection.execute(select(permit_states.c.number)).scalar() or 0


async def asked(hub: Hub, within: float = 5.0) -> dict[str, NodeAnswer]:
    return {answer.node: answer async for answer in search(hub, CT, within)}


async def listening(hub: Hub) -> None:
    async def handle(sender: str, message: bytes) -> bytes | None:
        return await asyncio.to_thread(receive, hub, sender, message)

    await hub.transport.serve(handle)


def test_each_node_answers_a_search_from_its_own_records(tmp_path: Path) -> None:
    async def scene(hub: Hub, exchange: MemoryExchange, full: Node, empty: Node, silent: Node) -> None:
        await listening(hub)
        lines = [
            run_membership(node, membership.get_hub(node, hub.id), transport=exchange.transport(node.id))
            for node in (full, empty)
        ]
        async with running(*lines):
            await until(lambda: sum(node.online() for node in nodes.list_nodes(hub)) == 2)
            answers = await asked(hub)
        assert {node: answer.state for node, answer in answers.items()} == {
            full.id: "counted",
            empty.id: "below-threshold",
            silent.id: "silent",
        }
        counts = answers[full.id].counts
        assert counts is not None and (counts.patients, counts.studies) == (12, 24)

    with open_test_hub(tmp_path / "hub") as plain:
        exchange = MemoryExchange(plain.id)
        hub = replace(plain, transport=exchange.transport(plain.id))
        with (
            open_joined_node(tmp_path / "a", hub, seed=1) as (full, _),
            open_joined_node(tmp_path / "b", hub, seed=2) as (empty, _),
            open_joined_node(tmp_path / "c", hub, seed=3) as (silent, _),
            filled(full, 12),
        ):
            asyncio.run(scene(hub, exchange, full, empty, silent))


def test_a_published_dataset_is_described_to_the_hub_and_withdrawn_from_it(tmp_path: Path) -> None:
    async def scene(hub: Hub, exchange: MemoryExchange, node: Node, iri: str) -> None:
        await listening(hub)
        line = exchange.transport(node.id)
        async with running(run_membership(node, membership.get_hub(node, hub.id), transport=line)):
            await until(lambda: len(catalogue.list_datasets(hub)) == 1)
            [entry] = catalogue.list_datasets(hub)
            assert (entry.dataset.iri, entry.dataset.patients, entry.dataset.studies) == (iri, 12, 24)
            datasets.withdraw(node, "maria", iri)
            await until(lambda: catalogue.list_datasets(hub) == [])

    with open_test_hub(tmp_path / "hub") as plain:
        exchange = MemoryExchange(plain.id)
        hub = replace(plain, transport=exchange.transport(plain.id))
        with open_joined_node(tmp_path / "a", hub) as (node, _), filled(node, 12) as iri:
            asyncio.run(scene(hub, exchange, node, iri))


def test_a_node_that_leaves_says_good_bye(tmp_path: Path) -> None:
    async def scene(hub: Hub, exchange: MemoryExchange, node: Node) -> None:
        await listening(hub)
        async with running(
            run_membership(node, membership.get_hub(node, hub.id), transport=exchange.transport(node.id))
        ):
            await until(lambda: nodes.get_node(hub, node.id).online())
            membership.leave(node, hub.id)
            await until(lambda: nodes.get_node(hub, node.id).state == "left")

    with open_test_hub(tmp_path / "hub") as plain:
        exchange = MemoryExchange(plain.id)
        hub = replace(plain, transport=exchange.transport(plain.id))
        with open_joined_node(tmp_path / "a", hub) as (node, _):
            asyncio.run(scene(hub, exchange, node))


def test_a_nodes_next_key_is_told_to_the_hub_and_then_used(tmp_path: Path) -> None:
    async def scene(hub: Hub, exchange: MemoryExchange, node: Node) -> None:
        await listening(hub)
        line, joined, master = exchange.transport(node.id), membership.get_hub(node, hub.id), b"m" * 32
        following = replace(node, signing=SigningKey.from_seed(master), keys=replace(node.keys, signing=master))
        assert await greet(node, joined, line)
        assert await change_key(node, joined, line, membership.key_change(node, hub.id, master))
        assert not await greet(node, joined, line)
        assert await greet(following, joined, line)

    with open_test_hub(tmp_path / "hub") as plain:
        exchange = MemoryExchange(plain.id)
        hub = replace(plain, transport=exchange.transport(plain.id))
        with open_joined_node(tmp_path / "a", hub) as (node, _):
            asyncio.run(scene(hub, exchange, node))


def test_what_the_hub_refuses_is_said_to_be_refused(tmp_path: Path) -> None:
    async def scene(hub: Hub, exchange: MemoryExchange, first: Node, second: Node) -> None:
        await listening(hub)
        one, other = (membership.get_hub(node, hub.id) for node in (first, second))
        assert await send_description(first, one, exchange.transport(first.id), described(first))
        assert not await send_description(second, other, exchange.transport(second.id), described(second))
        assert not await send_description(first, one, exchange.transport(first.id), described(first, patients=3))
        assert [entry.dataset for entry in catalogue.list_datasets(hub)] == [described(first)]

    with open_test_hub(tmp_path / "hub") as plain:
        exchange = MemoryExchange(plain.id)
        hub = replace(plain, transport=exchange.transport(plain.id))
        with (
            open_joined_node(tmp_path / "a", hub, seed=1) as (first, _),
            open_joined_node(tmp_path / "b", hub, seed=2) as (second, _),
        ):
            asyncio.run(scene(hub, exchange, first, second))


def test_terms_without_meaning_are_named_before_a_node_is_asked(tmp_path: Path) -> None:
    async def scene(hub: Hub) -> None:
        async for _ in search(hub, All((OneOf("pirads", ("5",)),)), 1.0):
            raise AssertionError("a node was asked")

    with open_test_hub(tmp_path / "hub") as hub, pytest.raises(InvalidQuery, match="pirads"):
        asyncio.run(scene(hub))


def test_a_federation_over_a_real_broker(tmp_path: Path) -> None:
    """Joining while all runs, searching, a broker that dies, a node that is removed."""

    async def scene(hub: Hub, broker: Broker, first: Node, second: Node) -> None:
        async with running(run_exchange(hub, broker), run_memberships(first), run_memberships(second)):
            for node in (first, second):
                membership.join(node, nodes.invite(hub, 1), post_to(hub))
            await until(lambda: sum(node.online() for node in nodes.list_nodes(hub)) == 2)
            await until(lambda: len(catalogue.list_datasets(hub)) == 1)
            answers = await asked(hub)
            assert (answers[first.id].state, answers[second.id].state) == ("counted", "below-threshold")
            await until(lambda: all(states_of(node) for node in (first, second)))

            child = broker._child
            assert child is not None
            child.kill()
            await child.wait()
            await asyncio.sleep(0.3)
            async with asyncio.timeout(15):
                while (await asked(hub, 1.0))[first.id].state != "counted":
                    await asyncio.sleep(0.1)

            await until(lambda: len(hub.audit.entries(5, action="broker-restarted")) == 1)

            nodes.remove(hub, first.id)
            await until(lambda: membership.get_hub(first, hub.id).state == "removed")
            assert set(await asked(hub)) == {second.id}
        assert set(refusals(hub.audit)) <= {"unknown-sender"}  # what the removed node said last
        assert refusals(first.audit) == []

    site = prepare(tmp_path / "hub" / "broker")
    seed = broker_seed(b"h" * 32)
    with (
        open_test_hub(tmp_path / "hub", broker=site.local, broker_ca=site.ca) as plain,
        open_test_node(tmp_path / "a", keys=ring(1)) as first,
        open_test_node(tmp_path / "b", keys=ring(2)) as second,
        filled(first, 12),
    ):
        line = NatsTransport(address=site.local, ca=site.ca, seed=seed, hub=plain.id, me=plain.id)
        hub = replace(plain, transport=line)
        asyncio.run(scene(hub, Broker(site, hub.id, broker_name(seed)), first, second))


def crafted(node: Node, hub: Hub, asked_with: bytes, **changes: object) -> bytes:
    """An answer that the node signs, with whatever it likes in it."""
    second = int(now().timestamp())
    body = {"of": "search", "state": "below-threshold", "patients": None, "studies": None, "threshold": 10}
    usual = {"v": 1, "hub": hub.id, "iss": node.id, "aud": hub.id, "iat": second, "exp": second + 60, "kind": "answer"}
    more = {"nonce": f"{second:030}", "re": peek(asked_with)[1]["nonce"], "body": {**body, "unknown": []}}
    return node.signing.sign({**usual, **more, **changes})


def unsigned(payload: bytes) -> bytes:
    parts = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"none"}', payload))
    return b".".join(parts) + b".x"


HOSTILE: dict[str, Callable[[Node, Hub, bytes], bytes]] = {
    "a time beyond the calendar": lambda node, hub, asked: crafted(node, hub, asked, iat=2**40, exp=2**40),
    "the end of the calendar": lambda node, hub, asked: crafted(node, hub, asked, iat=253402300799, exp=253402300799),
    "half a letter for a sender": lambda *_: unsigned(b'{"iss":"\\ud800"}'),
    "nothing for a sender": lambda *_: unsigned(b'{"iss":"\\u0000"}'),
    "a number of many digits": lambda *_: unsigned(b'{"iss":' + b"9" * 5000 + b"}"),
    "brackets without end": lambda *_: unsigned(b"[" * 100_000),
    "noise": lambda *_: b"\xff.\xff.\xff",
    "a kind of answer that is no text": lambda node, hub, asked: crafted(node, hub, asked, body={"of": {"a": 1}}),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_hostile_answer_is_refused_and_the_search_goes_on(tmp_path: Path, trick: str) -> None:
    async def scene(hub: Hub, exchange: MemoryExchange, good: Node, bad: Node) -> None:
        async def honest(_: str, message: bytes) -> bytes:
            return crafted(good, hub, message)

        async def hostile(_: str, message: bytes) -> bytes:
            return HOSTILE[trick](bad, hub, message)

        await exchange.transport(good.id).serve(honest)
        await exchange.transport(bad.id).serve(hostile)
        answers = await asked(hub)
        assert {node: answer.state for node, answer in answers.items()} == {
            good.id: "below-threshold",
            bad.id: "refused",
        }

    play_with_two(tmp_path, scene)


def test_an_answer_that_the_hub_fails_at_is_refused_and_the_search_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong with one node's answer, here its way: the others' are given."""

    async def scene(hub: Hub, exchange: MemoryExchange, good: Node, bad: Node) -> None:
        async def honest(_: str, message: bytes) -> bytes:
            return crafted(good, hub, message)

        class Failing:
            async def send(self, to: str, message: bytes, within: float) -> bytes | None:
                if to == bad.id:
                    raise ValueError("secret")
                return await hub.transport.send(to, message, within)

            async def serve(self, handler: object) -> None: ...

            async def close(self) -> None: ...

        await exchange.transport(good.id).serve(honest)
        answers = await asked(replace(hub, transport=Failing()))
        assert (answers[good.id].state, answers[bad.id].state) == ("below-threshold", "refused")
        assert answers[bad.id].reason == "unreadable"
        assert "secret" not in caplog.text
        assert "answer-unreadable" in caplog.text

    play_with_two(tmp_path, scene)


def test_a_node_that_the_broker_cannot_admit_is_written_down_once(tmp_path: Path) -> None:
    async def scene(hub: Hub, broker: Broker, node: Node) -> None:
        async with running(run_exchange(hub, broker)):
            await until(lambda: hub.audit.entries(9, action="broker-key-refused") != [], 8)
            await asyncio.sleep(1.2)  # two more looks
            [entry] = hub.audit.entries(9, action="broker-key-refused")
            assert entry.subject == node.id

    with open_test_hub(tmp_path / "hub") as plain:
        site, seed = prepare(tmp_path / "broker"), broker_seed(b"h" * 32)
        line = NatsTransport(address=site.local, ca=site.ca, seed=seed, hub=plain.id, me=plain.id)
        hub = replace(plain, transport=line)
        with open_joined_node(tmp_path / "a", hub) as (node, _):
            with hub.engine.begin() as connection:
                connection.execute(update(table).values(nkey="U" + "A" * 55))
            asyncio.run(scene(hub, Broker(site, hub.id, hub.nkey), node))


def play_with_two(tmp_path: Path, scene: Callable[[Hub, MemoryExchange, Node, Node], Awaitable[None]]) -> None:
    with open_test_hub(tmp_path / "hub") as plain:
        exchange = MemoryExchange(plain.id)
        hub = replace(plain, transport=exchange.transport(plain.id))
        with (
            open_joined_node(tmp_path / "a", hub, seed=1) as (first, _),
            open_joined_node(tmp_path / "b", hub, seed=2) as (second, _),
        ):
            asyncio.run(scene(hub, exchange, first, second))  # type: ignore[arg-type]
