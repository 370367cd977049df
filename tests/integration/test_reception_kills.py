"""SIGKILL while many senders store at once: what was acknowledged is there, whole, and nothing is half visible."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support import SCANNER, ct, make_node

from carina.node.ingest import arriving
from carina.node.parcel import unwrap
from carina.node.recovery import recover
from carina.storage.files import ASIDE
from carina.storage.schema import arrivals as rows

SENDERS = 8
_PATTERN = ct("MRN-KILL", size=700)  # 1 MiB with a little room for more


def instance(number: int) -> bytes:
    """Of an instance in four some bytes more than are kept in memory."""
    return _PATTERN + number.to_bytes(8, "big") * (20_000 if number % 4 == 0 else 1)


def take_in(folder: Path, told: Connection, seed: int) -> None:
    """Receive from many senders at once, without end; tell of each that is acknowledged."""
    node = make_node(folder)

    def sender(first: int) -> None:
        number = first
        while True:
            one, data = arriving(node, SCANNER, str(number)), instance(number)
            for start in range(0, len(data), 200_000):
                one.write(data[start : start + 200_000])
            receipt = one.finish()
            told.send((receipt.id, hashlib.sha256(data).hexdigest()))
            number += SENDERS

    with ThreadPoolExecutor(SENDERS) as threads:
        for first in range(SENDERS):
            threads.submit(sender, seed * 10**6 + first)


def check(folder: Path, acknowledged: dict[str, str]) -> None:
    """Each acknowledged one is there as it was sent; rows and files agree; nothing is half written."""
    node = make_node(folder)
    try:
        recover(node)
        with node.engine.connect() as connection:
            known = {row.id: row for row in connection.execute(select(rows))}
        assert set(node.spool.names()) == set(known)
        assert acknowledged.keys() <= known.keys()
        for name, row in known.items():
            data = unwrap(node.spool.read(name)).data
            assert len(data) == row.size and row.sent
            assert acknowledged.get(name) in (None, hashlib.sha256(data).hexdigest())
        assert not [path for path in folder.rglob("*") if path.name.startswith(ASIDE)]
        node.spool.remove_all(known)
        with node.engine.begin() as connection:
            connection.execute(rows.delete())
    finally:
        node.engine.dispose()


def kill_often(folder: Path, times: int, seed: int) -> int:
    """Kill a reception at a random moment, again and again; how many were acknowledged."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support", "carina.node.ingest"])
    make_node(folder).engine.dispose()
    chance, count = random.Random(seed), 0
    for number in range(times):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=take_in, args=(folder, theirs, number), daemon=True)
        process.start()
        theirs.close()
        assert mine.poll(60), "nothing was taken in"
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        process.join()
        acknowledged: dict[str, str] = {}
        while mine.poll():
            try:
                name, digest = mine.recv()
            except EOFError:
                break
            acknowledged[name] = digest
        check(folder, acknowledged)
        count += len(acknowledged)
    return count


def test_five_kills_amid_many_receptions_lose_nothing_acknowledged(tmp_path: Path) -> None:
    assert kill_often(tmp_path / "node", 5, seed=1) >= 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_kills_amid_many_receptions_lose_nothing_acknowledged(tmp_path: Path) -> None:
    assert kill_often(tmp_path / "node", 100, seed=2) >= 1000
