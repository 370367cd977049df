"""What every transport does, and each of the two that there are: in memory, and over a real NATS broker with TLS."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from carina.errors import BadInput
from carina.federation.brokerkeys import broker_name, broker_seed
from carina.federation.transport import MAX_MESSAGE_BYTES, MemoryExchange, Transport
from carina.interfaces.nats.broker import Broker, prepare
from carina.interfaces.nats.transport import NatsTransport

HUB, FIRST, SECOND = "h-" + "a" * 26, "n-" + "b" * 26, "n-" + "c" * 26
SEEDS = {party: broker_seed(party[2].encode() * 32) for party in (HUB, FIRST, SECOND)}

Parties = dict[str, Transport]
Open = Callable[[], AbstractAsyncContextManager[Parties]]


async def echo(sender: str, message: bytes) -> bytes:
    return sender.encode() + b" said " + message


async def patiently(line: Transport, to: str, message: bytes) -> bytes:
    """Send until there is an answer: the other side may still be connecting."""
    for _ in range(100):
        answer = await line.send(to, message, 2.0)
        if answer is not None:
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError("no answer")


class TransportContract:
    """Every transport passes this."""

    open: Open

    def run(self, scene: Callable[[Parties], Awaitable[None]]) -> None:
        async def play() -> None:
            async with self.open() as parties:
                await scene(parties)

        asyncio.run(play())

    def test_a_hub_is_answered_by_the_node_it_asks(self) -> None:
        async def scene(parties: Parties) -> None:
            await parties[FIRST].serve(echo)
            assert await patiently(parties[HUB], FIRST, b"hi") == f"{HUB} said hi".encode()

        self.run(scene)

    def test_a_node_is_answered_by_its_hub_which_knows_who_asked(self) -> None:
        async def scene(parties: Parties) -> None:
            await parties[HUB].serve(echo)
            assert await patiently(parties[FIRST], HUB, b"hi") == f"{FIRST} said hi".encode()
            assert await patiently(parties[SECOND], HUB, b"hi") == f"{SECOND} said hi".encode()

        self.run(scene)

    def test_who_does_not_listen_is_silent(self) -> None:
        async def scene(parties: Parties) -> None:
            assert await parties[HUB].send(FIRST, b"hi", 0.3) is None

        self.run(scene)

    def test_who_answers_too_late_is_silent(self) -> None:
        async def slow(_: str, message: bytes) -> bytes:
            if message == b"slow":
                await asyncio.sleep(5)
            return b"late"

        async def scene(parties: Parties) -> None:
            await parties[FIRST].serve(slow)
            await patiently(parties[HUB], FIRST, b"quick")
            assert await parties[HUB].send(FIRST, b"slow", 0.2) is None

        self.run(scene)

    def test_a_message_without_an_answer_is_silence(self) -> None:
        heard: list[bytes] = []

        async def quiet(_: str, message: bytes) -> bytes | None:
            heard.append(message)
            return b"yes" if message == b"there?" else None

        async def scene(parties: Parties) -> None:
            await parties[FIRST].serve(quiet)
            await patiently(parties[HUB], FIRST, b"there?")
            assert await parties[HUB].send(FIRST, b"forged", 0.3) is None

        self.run(scene)
        assert b"forged" in heard

    def test_a_fault_while_answering_is_logged_and_heard_as_silence(self, caplog: pytest.LogCaptureFixture) -> None:
        async def faulty(_: str, message: bytes) -> bytes:
            if message == b"there?":
                return b"yes"
            raise RuntimeError("a fault")

        async def scene(parties: Parties) -> None:
            await parties[FIRST].serve(faulty)
            await patiently(parties[HUB], FIRST, b"there?")
            assert await parties[HUB].send(FIRST, b"now fail", 0.5) is None
            assert await parties[HUB].send(FIRST, b"there?", 2.0) == b"yes"

        self.run(scene)
        assert "answer-failed" in [record.message for record in caplog.records]

    def test_one_slow_answer_keeps_no_other_waiting(self) -> None:
        async def uneven(_: str, message: bytes) -> bytes:
            if message == b"slow":
                await asyncio.sleep(1)
            return message

        async def scene(parties: Parties) -> None:
            await parties[FIRST].serve(uneven)
            await patiently(parties[HUB], FIRST, b"there?")
            slow = asyncio.create_task(parties[HUB].send(FIRST, b"slow", 5))
            await asyncio.sleep(0.05)
            assert await parties[HUB].send(FIRST, b"quick", 0.8) == b"quick"
            assert await slow == b"slow"

        self.run(scene)

    def test_a_message_that_is_too_large_is_not_sent(self) -> None:
        async def scene(parties: Parties) -> None:
            await parties[FIRST].serve(echo)
            with pytest.raises(BadInput):
                await parties[HUB].send(FIRST, b"x" * (MAX_MESSAGE_BYTES + 1), 1)

        self.run(scene)

    def test_a_message_of_the_largest_size_arrives(self) -> None:
        async def measure(_: str, message: bytes) -> bytes:
            return str(len(message)).encode()

        async def scene(parties: Parties) -> None:
            await parties[FIRST].serve(measure)
            assert await patiently(parties[HUB], FIRST, b"x" * MAX_MESSAGE_BYTES) == b"1000000"

        self.run(scene)

    def test_a_node_cannot_reach_another_node(self) -> None:
        async def scene(parties: Parties) -> None:
            heard: list[str] = []

            async def listen(sender: str, _: bytes) -> bytes:
                heard.append(sender)
                return b"heard"

            await parties[SECOND].serve(listen)
            await patiently(parties[HUB], SECOND, b"there?")
            assert await parties[FIRST].send(SECOND, b"psst", 0.3) is None
            assert heard == [HUB]

        self.run(scene)

    def test_after_close_every_send_is_silence(self) -> None:
        async def scene(parties: Parties) -> None:
            await parties[FIRST].serve(echo)
            await patiently(parties[HUB], FIRST, b"hi")
            await parties[FIRST].close()
            assert await parties[HUB].send(FIRST, b"hi", 0.3) is None
            assert await parties[FIRST].send(HUB, b"hi", 0.3) is None

        self.run(scene)


class TestInMemory(TransportContract):
    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Parties]:
        exchange = MemoryExchange(HUB)
        yield {party: exchange.transport(party) for party in (HUB, FIRST, SECOND)}

    @pytest.fixture(autouse=True)
    def _arrange(self) -> None:
        self.open = self._open


class TestOverNats(TransportContract):
    @pytest.fixture(autouse=True)
    def _arrange(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "broker"
        self.open = self._open

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Parties]:
        site = prepare(self.folder)
        broker = Broker(site, HUB, broker_name(SEEDS[HUB]))
        await broker.start({party: broker_name(SEEDS[party]) for party in (FIRST, SECOND)})
        parties = {
            party: NatsTransport(address=f"127.0.0.1:{site.port}", ca=site.ca, seed=SEEDS[party], hub=HUB, me=party)
            for party in (HUB, FIRST, SECOND)
        }
        try:
            yield dict(parties)
        finally:
            for line in parties.values():
                await line.close()
            await broker.stop()
