"""SIGKILL of a node amid C-STORE and STOW-RS loses nothing acknowledged, and leaves records and files that agree."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import logging
import multiprocessing
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import AE
from sqlalchemy import select
from tests.archive import PACS, SENDER, message, served
from tests.support import LUNG, SCANNER, ct, make_node

from carina.deid.pseudonyms import ProjectKeys, new_uid
from carina.interfaces.dimse.server import start_dimse
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

PRELOAD = ["numpy", "pydicom", "pynetdicom", "carina.interfaces.dimse.server", "carina.node.worker", "tests.archive"]


@pytest.fixture(scope="module")
def context() -> multiprocessing.context.ForkServerContext:
    """Processes that start at once, since all they need is imported already."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(PRELOAD)
    return made


def serve(folder: Path, ready: Connection) -> None:
    """A node that receives over DIMSE and STOW-RS until it is killed; tells `ready` its DICOM port and its web port."""
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    node = make_site(folder)
    recover(node)
    with served(node) as url:
        ready.send((start_dimse(node, "127.0.0.1", 0, "CARINA").port, int(url.rpartition(":")[2])))
        threading.Event().wait()


def work(folder: Path, name: str) -> None:
    """A worker, until it is killed."""
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    worker.run(make_site(folder), threading.Event(), name)


def make_site(folder: Path) -> Node:
    """A node for whose project a scanner and a token send."""
    return make_node(folder, project_of={SCANNER: LUNG, PACS: LUNG})


def images(first: int, step: int) -> Iterator[bytes]:
    """CT slices without end; each eighth waits in quarantine, as its pixels must be checked."""
    for number in itertools.count(first, step):
        derived = {"ImageType": ["DERIVED", "SECONDARY"]} if number % 8 == 0 else {}
        yield ct(f"MRN-{number // 50}", study=1 + number // 25, number=number, elements=derived)


def uid_of(data: bytes) -> str:
    return str(dcmread(BytesIO(data), specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def send(port: int, source: Iterator[bytes], acknowledged: list[str], at_most: int) -> None:
    """Store one image after the other until the node is gone; note the UID of each that it acknowledged."""
    entity = AE("SCANNER")
    entity.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    entity.network_timeout = entity.dimse_timeout = 1.5  # pynetdicom may not notice that the other side is gone
    association = entity.associate("127.0.0.1", port)
    if association.dul.socket is None or association.dul.socket.socket is None:  # killed before the first word
        return
    connection = association.dul.socket.socket  # pynetdicom leaves it open when the other side is gone
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(at_most):
        if not association.is_established:
            break
        image = dcmread(BytesIO(next(source)))
        try:
            status = association.send_c_store(image)
        except RuntimeError:  # the association ended between the question and the call
            break
        if status and status.Status == 0:
            acknowledged.append(str(image.SOPInstanceUID))
    if association.is_established:
        association.release()
    connection.close()


def post(port: int, source: Iterator[bytes], acknowledged: list[str], at_most: int) -> None:
    """The same over the web, three images in each request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {
        "Authorization": f"Bearer {SENDER}",
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=edge',
    }
    for _ in range(at_most // 3):
        files = list(itertools.islice(source, 3))
        try:
            connection.request("POST", "/dicom-web/studies", message(files), headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            break
        assert answer.status == 200, answer.status
        acknowledged += [uid_of(data) for data in files]
    connection.close()


class Senders:
    """A scanner and a program that store without end, over all lives of a node.

    acknowledged   by each, the UIDs that the node said it has
    """

    def __init__(self) -> None:
        self.acknowledged: tuple[list[str], list[str]] = [], []
        self._sources = images(1, 2), images(2, 2)
        self._threads: list[threading.Thread] = []

    def start(self, ports: tuple[int, int]) -> None:
        made = zip((send, post), ports, self._sources, self.acknowledged, strict=True)
        self._threads = [threading.Thread(target=how, args=(*given, 200)) for how, *given in made]
        for thread in self._threads:
            thread.start()

    def count(self) -> int:
        return sum(map(len, self.acknowledged))

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def one_life(
    context: multiprocessing.context.ForkServerContext, folder: Path, senders: Senders, chance: random.Random
) -> Iterator[None]:
    """Start a node and a worker, send to it, and kill the node at some moment; kill the worker when asked to go on."""
    mine, theirs = context.Pipe()
    node = context.Process(target=serve, args=(folder, theirs), daemon=True)
    working = context.Process(target=work, args=(folder, "worker-1"), daemon=True)
    node.start()
    assert mine.poll(60), "the node did not start"
    working.start()
    enough, end = senders.count() + chance.randint(1, 20), time.monotonic() + 20
    senders.start(mine.recv())
    while senders.count() < enough and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.02))
    node.kill()
    node.join()
    senders.join()
    yield
    working.kill()
    working.join()


def kill_often(
    context: multiprocessing.context.ForkServerContext, folder: Path, times: int, seed: int
) -> tuple[Node, Senders]:
    """Kill a node `times` times; afterwards, put it in order and let it finish.

    Each fourth time, the worker outlives its node and meets the next one's start.
    """
    chance, senders = random.Random(seed), Senders()
    make_site(folder).engine.dispose()
    before: Iterator[None] = iter(())
    for number in range(times):
        life = one_life(context, folder, senders, chance)
        next(life)
        for _ in before:
            pass
        if number % 4 < 3:
            for _ in life:
                pass
        before = life
    for _ in before:
        pass
    node = make_site(folder)
    recover(node)
    while worker.work(node, "last"):
        pass
    return node, senders


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
    archivals = sum(tally.archived for tally in arrivals.tally(node.engine))
    assert node.audit.verify() >= archivals + len(reasons)


def _uid(node: Node, name: str) -> str:
    return str(dcmread(BytesIO(unwrap(node.quarantine.read(name)).data), stop_before_pixels=True).SOPInstanceUID)


def shown(context: multiprocessing.context.ForkServerContext, folder: Path, times: int, seed: int) -> None:
    """Kill, check, and say in a line what came of it."""
    node, senders = kill_often(context, folder, times, seed)
    by_dimse, by_web = senders.acknowledged
    check(node, by_dimse + by_web)
    node.engine.dispose()
    assert len(by_dimse) > times and len(by_web) > times
    line = (
        f"{times} kills: {len(by_dimse)} acknowledged by C-STORE, {len(by_web)} by STOW-RS, none lost, none half seen"
    )
    sys.stdout.write(f"\n{line}\n")


def test_twenty_kills_lose_nothing_acknowledged(
    context: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    shown(context, tmp_path / "node", times=20, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_hundred_kills_lose_nothing_acknowledged(
    context: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    shown(context, tmp_path / "node", times=500, seed=2)
