"""SIGTERM ends a node in order: what was acknowledged is there, nothing hangs, and the logs say so in one form."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx2
import pydicom
import pytest
from pynetdicom import AE
from sqlalchemy import func, select
from tests.support import ct

from carina.app.found import NewNode, found_node
from carina.app.site import open_node
from carina.storage.schema import arrivals

ENDS_WITHIN = 20.0  # s
pytestmark = [  # pynetdicom's sender leaves its socket to the collector when the other side ends the association
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning"),
]


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path, int, int]]:
    """A node's server with its folder, DICOM port and inside port; its standard error is in the file `log`."""
    inside, outside, dimse = free_port(), free_port(), free_port()
    new = NewNode(
        "Test",
        "Hospital Ficticio",
        "ES",
        inside_port=inside,
        outside_port=outside,
        dimse_port=dimse,
        sources=(("aet", "SCANNER"),),
    )
    folder = tmp_path / "node"
    found_node(folder, tmp_path / "keys" / "node.json", new)
    with (folder / "node.toml").open("a") as settings:
        settings.write('\n[logs]\nform = "json"\n')
    command = [sys.executable, "-m", "carina.cli.main", "node", "serve", str(folder)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", "from carina.cli.main import main; main()", *command[3:]], stderr=log, stdout=log
        )
    try:
        wait_until_ready(server, inside, tmp_path / "log")
        yield server, folder, dimse, inside
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def wait_until_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(log.read_text())


def send_until_refused(port: int, acknowledged: list[str]) -> None:
    entity = AE("SCANNER")
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", port, ae_title="CARINA")
    try:
        for number in range(1, 10_000):
            dataset = pydicom.dcmread(BytesIO(ct("MRN-1", number=number)))
            if not association.is_established or association.send_c_store(dataset).get("Status") != 0:
                return
            acknowledged.append(dataset.SOPInstanceUID)
    except RuntimeError:  # it ended between the look and the word
        pass
    finally:
        association.abort()
        association.join(10)


def children(pid: int) -> list[int]:
    """The processes below a process."""
    own = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return own + [below for one in own for below in children(one)]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_node_that_is_told_to_end_keeps_what_it_acknowledged_and_leaves_no_process(
    running: tuple[subprocess.Popen[bytes], Path, int, int], tmp_path: Path
) -> None:
    server, folder, dimse, inside = running
    acknowledged: list[str] = []
    sender = threading.Thread(target=send_until_refused, args=(dimse, acknowledged))
    sender.start()
    until = time.monotonic() + 30
    while len(acknowledged) < 10 and time.monotonic() < until:
        time.sleep(0.01)
    below = children(server.pid)
    assert below
    server.send_signal(signal.SIGTERM)
    assert server.wait(ENDS_WITHIN) == 0, (tmp_path / "log").read_text()
    sender.join(30)
    assert not sender.is_alive() and len(acknowledged) >= 10
    end = time.monotonic() + 5  # what Python runs beside its processes sees the server's end as that of a pipe
    while any(is_alive(pid) for pid in below) and time.monotonic() < end:
        time.sleep(0.05)
    assert [pid for pid in below if is_alive(pid)] == []
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"http://127.0.0.1:{inside}/health/live")
    with open_node(folder) as node, node.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(arrivals)).scalar_one() >= len(acknowledged)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events[-1] == "node-ended" and "node-started" in events
    assert "stop-failed" not in events
    assert len({line["process"] for line in lines}) >= 1 and all(line["at"].endswith("Z") for line in lines)


def test_a_request_under_way_ends_within_a_bound(running: tuple[subprocess.Popen[bytes], Path, int, int]) -> None:
    server, _, dimse, inside = running
    with (
        socket.create_connection(("127.0.0.1", inside)) as slow,
        socket.create_connection(("127.0.0.1", dimse)) as silent,
    ):
        slow.sendall(b"POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n")
        slow.sendall(b"Content-Type: multipart/related; type=application/dicom; boundary=x\r\n\r\n--x")
        silent.sendall(b"\x01")
        time.sleep(0.3)
        server.send_signal(signal.SIGTERM)
        assert server.wait(ENDS_WITHIN) == 0
