"""A real nats-server as a child: who may say and hear what, and what becomes of it."""

import asyncio
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from carina.errors import Busy, Unreachable
from carina.federation.brokerkeys import broker_name, broker_seed
from carina.federation.invitation import fingerprint
from carina.interfaces.nats.broker import Broker, BrokerSite, admissible, configuration, prepare, server_binary
from carina.interfaces.nats.transport import NatsTransport

HUB, FIRST, SECOND = "h-" + "a" * 26, "n-" + "b" * 26, "n-" + "c" * 26
SEEDS = {party: broker_seed(party[2].encode() * 32) for party in (HUB, FIRST, SECOND)}
NODES = {party: broker_name(SEEDS[party]) for party in (FIRST, SECOND)}


@asynccontextmanager
async def running(folder: Path, **callbacks: Callable[[], None]) -> AsyncIterator[Broker]:
    broker = Broker(prepare(folder), HUB, broker_name(SEEDS[HUB]), **callbacks)
    await broker.start(NODES)
    try:
        yield broker
    finally:
        await broker.stop()


def line(site: BrokerSite, party: str, **changes: object) -> NatsTransport:
    usual = {"address": f"127.0.0.1:{site.port}", "ca": site.ca, "seed": SEEDS[party], "hub": HUB, "me": party}
    return NatsTransport(**{**usual, **changes})  # type: ignore[arg-type]


@asynccontextmanager
async def raw(site: BrokerSite, party: str, errors: list[str]) -> AsyncIterator[Client]:
    """A client that does as it likes with a node's nkey."""

    async def note(error: Exception) -> None:
        errors.append(str(error))

    client = await nats.connect(
        f"tls://localhost:{site.port}",
        tls=ssl.create_default_context(cadata=site.ca),
        tls_handshake_first=True,
        nkeys_seed_str=SEEDS[party],
        allow_reconnect=False,
        error_cb=note,
    )
    try:
        yield client
    finally:
        await client.close()


async def until(condition: Callable[[], bool], within: float = 8.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.02)


async def echo(sender: str, message: bytes) -> bytes:
    return sender.encode() + b" " + message


async def answered(asker: NatsTransport, to: str, within: float = 8.0) -> bytes:
    end = time.monotonic() + within
    while time.monotonic() < end:
        reply = await asker.send(to, b"hi", 1.0)
        if reply is not None:
            return reply
        await asyncio.sleep(0.05)
    raise AssertionError("no answer")


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def test_a_node_cannot_publish_under_anothers_prefix(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(tmp_path) as broker:
            hub, errors, heard = line(broker.site, HUB), list[str](), list[str]()

            async def listen(sender: str, _: bytes) -> bytes:
                heard.append(sender)
                return b"ok"

            await hub.serve(listen)
            async with raw(broker.site, FIRST, errors) as client:
                await client.publish(f"carina.{HUB}.from.{SECOND}", b"I am the second")
                await client.publish(f"carina.{HUB}.to.{SECOND}", b"I am the hub")
                await client.publish(f"_INBOX.{SECOND}.x", b"I answer unasked")
                await client.flush()
                await until(lambda: len(errors) == 3)
            assert all("permissions violation" in error.lower() for error in errors)
            assert heard == []
            await hub.close()

    play(scene)


def test_a_node_cannot_listen_to_others(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(tmp_path) as broker:
            errors: list[str] = []
            subjects = [
                ">",
                "carina.>",
                f"carina.{HUB}.to.*",
                f"carina.{HUB}.to.{SECOND}",
                f"carina.{HUB}.from.{SECOND}",
                f"_INBOX.{SECOND}.>",
                f"_INBOX.{HUB}.>",
                "_INBOX.>",
            ]
            async with raw(broker.site, FIRST, errors) as client:
                for subject in subjects:
                    await client.subscribe(subject)
                await client.flush()
                await until(lambda: len(errors) == len(subjects))
            assert all("permissions violation for subscription" in error.lower() for error in errors)

    play(scene)


def test_a_node_that_was_not_asked_cannot_answer_in_anothers_place(tmp_path: Path) -> None:
    """It knows neither the hub's inbox nor may it write there."""

    async def scene() -> None:
        async with running(tmp_path) as broker:
            errors: list[str] = []
            async with raw(broker.site, FIRST, errors) as client:
                await client.publish(f"_INBOX.{HUB}.guess", b"99 patients")
                await client.flush()
                await until(lambda: len(errors) == 1)

    play(scene)


def test_the_hub_does_not_answer_into_anothers_inbox(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(tmp_path) as broker:
            hub, second, heard = line(broker.site, HUB), line(broker.site, SECOND), list[bytes]()

            async def listen(_: str, message: bytes) -> bytes:
                heard.append(message)
                return b"ok"

            await hub.serve(echo)
            await second.serve(listen)
            assert await answered(hub, SECOND) == b"ok"
            async with raw(broker.site, FIRST, []) as client:
                await client.publish(f"carina.{HUB}.from.{FIRST}", b"trick", reply=f"carina.{HUB}.to.{SECOND}")
                await client.flush()
                await asyncio.sleep(0.3)
            assert b"trick" not in b"".join(heard)
            await hub.close()
            await second.close()

    play(scene)


def test_without_an_admitted_nkey_nobody_connects(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(tmp_path) as broker:
            stranger = line(broker.site, FIRST, seed=broker_seed(b"?" * 32))
            hub, first = line(broker.site, HUB), line(broker.site, FIRST)
            await hub.serve(echo)
            assert await answered(first, HUB)
            assert await stranger.send(HUB, b"hi", 1.0) is None
            for each in (stranger, hub, first):
                await each.close()

    play(scene)


def test_a_node_talks_to_no_broker_of_another_ca(tmp_path: Path) -> None:
    async def scene() -> None:
        other = prepare(tmp_path / "other")
        async with running(tmp_path / "broker") as broker:
            hub, wary = line(broker.site, HUB), line(broker.site, FIRST, ca=other.ca)
            await hub.serve(echo)
            assert await wary.send(HUB, b"hi", 1.0) is None
            await hub.close()
            await wary.close()

    play(scene)


def test_a_node_says_nothing_to_a_broker_that_offers_no_tls(tmp_path: Path) -> None:
    async def scene() -> None:
        heard = bytearray()

        async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576,"nonce":"abc"}\r\n')
            heard.extend(await reader.read(4096))
            writer.close()

        server = await asyncio.start_server(pretend, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        site = prepare(tmp_path)
        node = line(site, FIRST, address=f"127.0.0.1:{port}")
        assert await node.send(HUB, b"a secret", 1.0) is None
        await node.close()
        server.close()
        await server.wait_closed()
        assert heard[:1] == b"\x16"  # a TLS handshake record
        assert b"CONNECT" not in heard and NODES[FIRST].encode() not in heard

    play(scene)


def test_members_come_and_go_while_it_runs(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(tmp_path) as broker:
            states: list[bool] = []
            hub = line(broker.site, HUB)
            first, second = line(broker.site, FIRST, on_status=states.append), line(broker.site, SECOND)
            await hub.serve(echo)
            assert await answered(first, HUB) and await answered(second, HUB)
            assert await broker.admit({SECOND: NODES[SECOND]})
            await until(lambda: states[-1:] == [False])
            assert await first.send(HUB, b"hi", 0.5) is None
            assert await answered(second, HUB)
            assert await broker.admit(NODES)
            assert not await broker.admit(NODES)
            assert await answered(first, HUB)
            for each in (hub, first, second):
                await each.close()

    play(scene)


def test_killed_it_is_started_again_and_everyone_returns(tmp_path: Path) -> None:
    async def scene() -> None:
        restarts: list[bool] = []
        async with running(tmp_path, on_restart=lambda: restarts.append(True)) as broker:
            hub, first = line(broker.site, HUB), line(broker.site, FIRST)
            await hub.serve(echo)
            await first.serve(echo)
            assert await answered(first, HUB)
            child = broker._child
            assert child is not None
            child.send_signal(signal.SIGKILL)
            await until(lambda: restarts == [True])
            assert await answered(first, HUB) == f"{FIRST} hi".encode()
            assert await answered(hub, FIRST) == f"{HUB} hi".encode()
            for each in (hub, first):
                await each.close()

    play(scene)


def test_it_ends_with_the_hub_even_when_that_is_killed(tmp_path: Path) -> None:
    program = f"""
        import asyncio
        from pathlib import Path
        from carina.interfaces.nats.broker import Broker, prepare
        async def main():
            broker = Broker(prepare(Path({str(tmp_path)!r})), {HUB!r}, {broker_name(SEEDS[HUB])!r})
            await broker.start({{}})
            print(broker._child.pid, flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
        end = time.monotonic() + 5
        while time.monotonic() < end and _lives(child):
            time.sleep(0.02)
    assert not _lives(child)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def test_it_keeps_its_port_and_ca_over_starts(tmp_path: Path) -> None:
    first, again = prepare(tmp_path), prepare(tmp_path)
    assert first == again
    assert len(fingerprint(first.ca)) == 64


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")]
)
def test_this_machine_reaches_it_by_loopback_wherever_it_listens(tmp_path: Path, host: str, local: str) -> None:
    assert prepare(tmp_path, host=host, port=4222).local == f"{local}:4222"


def test_another_name_makes_another_server_certificate_under_the_same_ca(tmp_path: Path) -> None:
    before = prepare(tmp_path).ca, (tmp_path / "server.pem").read_bytes()
    after = prepare(tmp_path, names=["broker.example.org"]).ca, (tmp_path / "server.pem").read_bytes()
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_its_folder_holds_no_secret_but_the_keys_that_only_the_owner_reads(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(tmp_path):
            pass

    play(scene)
    for file in tmp_path.iterdir():
        if file.suffix == ".key":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        else:
            text = file.read_text()
            assert "PRIVATE KEY" not in text
            assert not any(seed in text for seed in SEEDS.values())


def test_a_port_that_is_taken_is_said_to_be(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        site = prepare(tmp_path, port=other.getsockname()[1])
        with pytest.raises(Busy, match="port"):
            asyncio.run(Broker(site, HUB, broker_name(SEEDS[HUB])).start(NODES))


def test_a_broker_that_does_not_start_is_said_to_be_unreachable(tmp_path: Path) -> None:
    site = prepare(tmp_path)
    (tmp_path / "server.key").write_text("no key")
    with pytest.raises(Unreachable, match="does not start"):
        asyncio.run(Broker(site, HUB, broker_name(SEEDS[HUB])).start(NODES))


def test_the_server_takes_the_configuration_as_it_is_meant(tmp_path: Path) -> None:
    site = prepare(tmp_path / 'a "quoted" folder')
    file = tmp_path / "nats.conf"
    file.write_text(configuration(site, HUB, broker_name(SEEDS[HUB]), NODES))
    checked = subprocess.run([server_binary(), "-t", "-c", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


THIRD = "n-" + "d" * 26
SEEDS[THIRD] = broker_seed(b"d" * 32)


@pytest.mark.parametrize("bad", ["U" + "A" * 55, NODES[FIRST], broker_name(SEEDS[HUB]), "}]}"])
def test_a_node_whose_nkey_is_none_or_anothers_keeps_nobody_else_out(tmp_path: Path, bad: str) -> None:
    async def scene() -> None:
        async with running(tmp_path) as broker:
            hub, first, third = (line(broker.site, party) for party in (HUB, FIRST, THIRD))
            await hub.serve(echo)
            assert await answered(first, HUB)
            later = {**NODES, SECOND: bad, THIRD: broker_name(SEEDS[THIRD])}
            assert await broker.admit(later)
            assert broker.left_out == {SECOND}
            assert await answered(third, HUB)
            assert await answered(first, HUB)
            assert await broker.admit({node: nkey for node, nkey in later.items() if node != THIRD})
            await until(lambda: third._client is None)
            assert await third.send(HUB, b"hi", 0.5) is None
            assert broker._child is not None
            broker._child.kill()
            await until(lambda: broker.restarts == 1)
            assert await answered(first, HUB)
            for each in (hub, first, third):
                await each.close()

    play(scene)


def test_of_two_nodes_with_one_nkey_it_stays_with_the_one_that_had_it() -> None:
    nkey = NODES[SECOND]
    assert admissible({FIRST: nkey, SECOND: nkey}, {SECOND: nkey}, broker_name(SEEDS[HUB])) == {SECOND: nkey}


def test_a_configuration_that_the_server_refuses_does_not_take_the_last_ones_place(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(tmp_path) as broker:
            before = (tmp_path / "nats.conf").read_text()
            hub, first = line(broker.site, HUB), line(broker.site, FIRST)
            await hub.serve(echo)
            (tmp_path / "server.pem").rename(tmp_path / "away.pem")
            assert not await broker.admit({FIRST: NODES[FIRST]})
            assert (tmp_path / "nats.conf").read_text() == before
            assert await answered(first, HUB)
            for each in (hub, first):
                await each.close()

    play(scene)


def test_a_broker_that_does_not_take_a_change_is_started_again_with_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(tmp_path) as broker:
            assert broker._child is not None
            broker._child.send_signal(signal.SIGSTOP)  # it hears no SIGHUP
            hub, second = line(broker.site, HUB), line(broker.site, SECOND)
            assert await broker.admit({SECOND: NODES[SECOND]})
            await until(lambda: broker.restarts == 1)
            await hub.serve(echo)
            assert await answered(second, HUB)
            for each in (hub, second):
                await each.close()

    play(scene)
