"""Search over three nodes by a hub's HTTP interface, against bare requests over HTTP and over NATS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2
import nats
from benchmarks.services import BenchNode, running, wait
from benchmarks.table import Row

from carina.app.found import NewHub, found_hub
from carina.app.hub import open_hub
from carina.app.node import join
from carina.demo.folder import free_ports
from carina.hub.nodes import invite
from carina.interfaces.nats.broker import server_binary
from carina.storage import accounts

TERMS = ("modality=CT", "modality=MR&body_part=BRAIN", "modality=CT&body_part=CHEST&age=50-80", "sex=F", "")


def search(folder: Path, nodes: Sequence[BenchNode], count: int) -> list[Row]:
    """The rows of the table: `count` searches one after the other."""
    port, broker = free_ports([0, 0])
    url = f"http://127.0.0.1:{port}"
    place = folder / "hub"
    found_hub(place, folder / "keys" / "hub.json", NewHub("Benchmark", url, port, broker))
    settings = place / "hub.toml"
    settings.write_text(settings.read_text().replace("answer_within", "searches_a_minute = 1000000\nanswer_within", 1))
    with open_hub(place) as hub:
        accounts.add_account(hub.engine, "bench", "correct horse battery", {"researcher"})
        token = accounts.add_token(hub.engine, "bench", {"researcher"}, account="bench")
        invitations = [invite(hub, 1) for _ in nodes]
    with contextlib.ExitStack() as stack:
        stack.enter_context(running("hub", place, url))
        for node, invitation in zip(nodes, invitations, strict=True):
            join(node.folder, invitation)
            stack.enter_context(running("node", node.folder, node.url))
        client = stack.enter_context(
            httpx2.Client(timeout=30, trust_env=False, headers={"Authorization": f"Bearer {token}"})
        )
        wait(lambda: _online(client, url) == len(nodes), 60, every=0.5)
        time.sleep(2)  # let the start settle
        found = _times(lambda number: _search(client, url, number, len(nodes)), count)
        bare = _times(lambda _: _get(client, f"{url}/health/live"), count)
    return [
        Row("search over three nodes, median", _ms(found, 50), f"bare HTTP: {_ms(bare, 50)}", _ratio(found, bare, 50)),
        Row("search over three nodes, p95", _ms(found, 95), f"bare HTTP: {_ms(bare, 95)}", _ratio(found, bare, 95)),
        *_against_nats(found, folder, count),
    ]


def _search(client: httpx2.Client, url: str, number: int, nodes: int) -> None:
    answer = _get(client, f"{url}/api/search?{TERMS[number % len(TERMS)]}")
    states = [item["state"] for item in answer.json()["answers"]]
    if len(states) != nodes or not {"counted", "below-threshold"}.issuperset(states):
        raise SystemExit(f"a search was answered by {states}")


def _get(client: httpx2.Client, url: str) -> httpx2.Response:
    answer = client.get(url, headers={"Accept": "application/json"})
    if answer.status_code != 200:
        raise SystemExit(f"a request was answered with {answer.status_code}")
    return answer


def _online(client: httpx2.Client, url: str) -> int:
    return sum(node["online"] for node in _get(client, f"{url}/api/nodes").json()["nodes"])


def _times(request: Callable[[int], object], count: int) -> list[float]:
    """Seconds of each of `count` requests, after one that is not counted."""
    request(0)
    times = []
    for number in range(count):
        begun = time.perf_counter()
        request(number)
        times.append(time.perf_counter() - begun)
    return times


def _against_nats(found: list[float], folder: Path, count: int) -> list[Row]:
    """A broker of its own without TLS, and an echo: the least that asking another process over NATS costs."""
    [port] = free_ports([0])
    with (folder / "nats.log").open("wb") as log:
        broker = subprocess.Popen([server_binary(), "-a", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        wait(lambda: _listens(port), 20)
        bare = asyncio.run(_echoes(f"nats://127.0.0.1:{port}", count))
    finally:
        broker.terminate()
        broker.wait(10)
    return [
        Row("the same, median", _ms(found, 50), f"bare NATS: {_ms(bare, 50)}", _ratio(found, bare, 50)),
        Row("the same, p95", _ms(found, 95), f"bare NATS: {_ms(bare, 95)}", _ratio(found, bare, 95)),
    ]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _echoes(url: str, count: int) -> list[float]:
    there, here = await nats.connect(url), await nats.connect(url)

    async def echo(message: nats.aio.msg.Msg) -> None:
        await message.respond(message.data)

    await there.subscribe("echo", cb=echo)
    await there.flush()
    times = []
    for number in range(count + 1):
        begun = time.perf_counter()
        await here.request("echo", b"x" * 1000, timeout=10)
        if number:
            times.append(time.perf_counter() - begun)
    await here.close()
    await there.close()
    return times


def percentile(times: Sequence[float], percent: int) -> float:
    """The value that `percent` of the times do not exceed; 50 is the median."""
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]


def _ms(times: Sequence[float], percent: int) -> str:
    return f"{1000 * percentile(times, percent):.1f} ms"


def _ratio(times: Sequence[float], bare: Sequence[float], percent: int) -> float:
    return percentile(times, percent) / percentile(bare, percent)
