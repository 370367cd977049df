"""SIGKILL of a node amid a C-STORE run loses nothing that was acknowledged, and leaves records and files that agree."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import socket
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE
from sqlalchemy import select
from tests.integration import processes
from tests.support import LUNG, ct, make_node

from carina.deid.pseudonyms import ProjectKeys, new_uid
from carina.model.instance import Reason
from carina.node import worker
from carina.node.parcel import unwrap
from carina.node.recovery import recover
from carina.node.site import Node
from carina.storage import arrivals, index
from carina.storage.files import ASIDE
from carina.storage.schema import arrivals as rows
from carina.storage.schema import instances
from carina.storage.schema import quarantine as held

PRELOAD = ["numpy", "pydicom", "pynetdicom", "carina.interfaces.dimse.server", "carina.node.worker"]


@pytest.fixture(scope="module")
def context() -> multiprocessing.context.ForkServerContext:
    """Processes that start at once, since all they need is imported already."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOAD)
    return made


def images() -> Iterator[Dataset]:
    """CT slices without end; each eighth waits in quarantine, as its pixels must be checked."""
    number = 0
    while True:
        number += 1
        derived = {"ImageType": ["DERIVED", "SECONDARY"]} if number % 8 == 0 else {}
        data = ct(f"MRN-{number // 50}", study=1 + number // 25, number=number, elements=derived)
        yield dcmread(BytesIO(data))


def send(port: int, source: Iterator[Dataset], acknowledged: list[str], at_most: int) -> None:
    """Store one image after the other until the node is gone; note the UID of each that it acknowledged."""
    entity = AE("SCANNER")
    entity.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    entity.network_timeout = entity.dimse_timeout = 1.5  # pynetdicom may not notice that the other side is gone
    association = entity.associate("127.0.0.1", port)
    connection = association.dul.socket.socket  # pynetdicom leaves it open when the other side is gone
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(at_most):
        if not association.is_established:
            break
        image = next(source)
        try:
            status = association.send_c_store(image)
        except RuntimeError:  # the association ended between the question and the call
            break
        if status and status.Status == 0:
            acknowledged.append(str(image.SOPInstanceUID))
    if association.is_established:
        association.release()
    connection.close()


def one_life(
    context: multiprocessing.context.ForkServerContext,
    folder: Path,
    source: Iterator[Dataset],
    acknowledged: list[str],
    chance: random.Random,
) -> Iterator[None]:
    """Start a node and a worker, send to it, and kill the node at some moment; kill the worker when asked to go on."""
    mine, theirs = context.Pipe()
    node = context.Process(target=processes.serve, args=(folder, theirs), daemon=True)
    work = context.Process(target=processes.work, args=(folder, "worker-1"), daemon=True)
    node.start()
    assert mine.poll(60), "the node did not start"
    work.start()
    sender = threading.Thread(target=send, args=(mine.recv(), source, acknowledged, 200))
    enough, end = len(acknowledged) + chance.randint(1, 12), time.monotonic() + 20
    sender.start()
    while len(acknowledged) < enough and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.02))
    node.kill()
    yield
    work.kill()
    for process in (node, work):
        process.join()
    sender.join(30)
    assert not sender.is_alive()


def kill_often(
    context: multiprocessing.context.ForkServerContext, folder: Path, times: int, seed: int
) -> tuple[Node, list[str]]:
    """Kill a node `times` times; afterwards, put it in order and let it finish.

    Each fourth time, the worker outlives its node and meets the next one's start.
    """
    chance, source, acknowledged = random.Random(seed), images(), []
    make_node(folder).engine.dispose()
    before: Iterator[None] = iter(())
    for number in range(times):
        life = one_life(context, folder, source, acknowledged, chance)
        next(life)
        for _ in before:
            pass
        if number % 4 < 3:
            for _ in life:
                pass
        before = life
    for _ in before:
        pass
    node = make_node(folder)
    recover(node)
    while worker.work(node, "last"):
        pass
    return node, acknowledged


def check(node: Node, acknowledged: list[str]) -> None:
    """Nothing acknowledged is missing, and records and files agree."""
    keys = ProjectKeys.of(node.keys.pseudonym, LUNG)
    with node.engine.connect() as connection:
        archived = set(connection.execute(select(instances.c.uid)).scalars())
        wanted = index.contents(connection)
        states = dict(connection.execute(select(rows.c.id, rows.c.state)).all())
        reasons = dict(connection.execute(select(held.c.id, held.c.reason).where(held.c.state == "waiting")).all())
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    kept = {str(_uid(node, name)) for name in node.quarantine.names()}
    lost = [uid for uid in acknowledged if uid not in kept and new_uid(keys, uid) not in archived]
    assert lost == []
    assert set(states.values()) <= {"archived", "unchanged", "quarantined"}
    assert set(reasons.values()) <= {Reason.PIXELS_NOT_CHECKED}
    assert set(node.quarantine.names()) == set(reasons)
    assert {name for name, state in states.items() if state == "quarantined"} == set(reasons)
    assert node.spool.names() == []
    files = {path.stem: path for path in (node.folder / "store").rglob("*.dcm")}
    assert set(files) == wanted and len(archived) == len(wanted)
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == content for content, path in files.items())
    assert list(node.folder.rglob(f"{ASIDE}*")) == []
    [tally] = arrivals.tally(node.engine)
    assert node.audit.verify() >= tally.archived + len(reasons)


def _uid(node: Node, name: str) -> str:
    return str(dcmread(BytesIO(unwrap(node.quarantine.read(name)).data), stop_before_pixels=True).SOPInstanceUID)


def test_twenty_kills_lose_nothing_acknowledged(
    context: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    node, acknowledged = kill_often(context, tmp_path / "node", times=20, seed=1)
    assert len(acknowledged) > 100
    check(node, acknowledged)
    node.engine.dispose()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_kills_lose_nothing_acknowledged(
    context: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    node, acknowledged = kill_often(context, tmp_path / "node", times=200, seed=2)
    assert len(acknowledged) >= 1000
    check(node, acknowledged)
    node.engine.dispose()
