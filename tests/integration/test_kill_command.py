"""The same with the command a site runs: `carina node serve`, killed while storescu sends, and started again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import select
from tests.support import ct

from carina.app.found import NewNode, found_node
from carina.app.site import open_node
from carina.deid.pseudonyms import ProjectKeys, new_uid
from carina.model.ids import ProjectId
from carina.node.site import Node
from carina.storage.schema import instances

COUNT, KILLS = 60, 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def serve(folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder.parent / "node.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "carina", "node", "serve", str(folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "CARINA_END_WITH_PARENT": str(os.getpid())},
        )  # fmt: skip
    end = time.monotonic() + 60
    while not listens(port):
        assert process.poll() is None, (folder.parent / "node.log").read_text()
        assert time.monotonic() < end, "the node did not start"
        time.sleep(0.1)
    return process


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    port = free_port()
    new = NewNode(
        title="Test", institution="Test", country="ES", project="lung", dimse_port=port,
        inside_port=free_port(), outside_port=free_port(), sources=(("aet", "SCANNER"),),
    )  # fmt: skip
    found_node(tmp_path / "node", tmp_path / "keys" / "node.json", new)
    yield tmp_path / "node", port


def sending(path: Path, port: int) -> subprocess.Popen[bytes]:
    """storescu with one file; it ends with 0 when the node has acknowledged it."""
    storescu = shutil.which("storescu")
    assert storescu, "dcmtk's storescu is missing; `make setup` brings it"
    command = [storescu, "-to", "5", "-ta", "10", "-td", "10", "-aet", "SCANNER", "127.0.0.1", str(port), str(path)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def archived(node: Node) -> set[str]:
    with node.engine.connect() as connection:
        return set(connection.execute(select(instances.c.uid)).scalars())


@pytest.mark.timeout(240)
def test_what_the_command_acknowledged_survives_its_being_killed(site: tuple[Path, int], tmp_path: Path) -> None:
    folder, port = site
    chance = random.Random(7)
    kills = set(chance.sample(range(5, COUNT - 5), KILLS))
    acknowledged: list[str] = []
    process = serve(folder, port)
    try:
        for number in range(1, COUNT + 1):
            data = ct(f"MRN-{number % 7}", study=number % 7, number=number)
            path = tmp_path / "image.dcm"
            path.write_bytes(data)
            sender = sending(path, port)
            if number in kills:
                time.sleep(chance.uniform(0.01, 0.12))
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if sender.wait(60) == 0:
                acknowledged.append(str(dcmread(BytesIO(data)).SOPInstanceUID))
            if number in kills:
                process = serve(folder, port)
        with open_node(folder) as node:
            keys = ProjectKeys.of(node.keys.pseudonym, ProjectId("lung"))
            wanted = {str(new_uid(keys, uid)) for uid in acknowledged}
            end = time.monotonic() + 60
            while not wanted <= archived(node) and time.monotonic() < end:
                time.sleep(0.2)
            assert len(acknowledged) >= COUNT - KILLS
            assert wanted - archived(node) == set()
            with node.engine.connect() as connection:
                for content in connection.execute(select(instances.c.content)).scalars():
                    node.instances.open(content).close()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
