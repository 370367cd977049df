"""Processes that draw: the same pictures, and one that is killed is replaced."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset
from tests.support import ct

from carina.app.drawing import WAITING, Drawers
from carina.dicom.parse import parse
from carina.dicom.rendering import Window
from carina.errors import Busy, InvalidInstance
from carina.interfaces.api.problems import problem
from carina.node.pictures import draw_here


@pytest.fixture(scope="module")
def drawers() -> Iterator[Drawers]:
    made = Drawers(1)
    yield made
    made.close()


def image() -> tuple[Dataset, bytes]:
    dataset = parse(ct())
    return dataset, dataset.PixelData


def test_pictures_are_those_that_the_server_draws(drawers: Drawers) -> None:
    header, stored = image()
    for window in (None, Window(40, 400)):
        assert drawers.draw(header, stored, 1, {"window": window}) == draw_here(header, stored, 1, {"window": window})


def test_errors_are_told_as_the_servers_own(drawers: Drawers) -> None:
    header, stored = image()
    with pytest.raises(InvalidInstance):
        drawers.draw(header, stored[:10], 1, {})


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does it")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_the_kernel_refuses_a_process_that_draws_sockets(drawers: Drawers, family: socket.AddressFamily) -> None:
    with pytest.raises(PermissionError):
        drawers._pool.submit(socket.socket, family).result()


def test_a_killed_process_is_replaced_and_the_picture_drawn(drawers: Drawers) -> None:
    header, stored = image()
    drawn = drawers.draw(header, stored, 1, {})
    for pid in list(drawers._pool._processes):
        os.kill(pid, signal.SIGKILL)
    assert drawers.draw(header, stored, 1, {}) == drawn


def test_more_pictures_than_wait_are_refused(drawers: Drawers) -> None:
    header, stored = image()
    taken = [drawers._room.acquire(blocking=False) for _ in range(WAITING)]
    assert all(taken)
    try:
        with pytest.raises(Busy) as refused:
            drawers.draw(header, stored, 1, {})
        answer = problem(refused.value)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    finally:
        for _ in taken:
            drawers._room.release()
    assert drawers.draw(header, stored, 1, {})


SERVER = """
import sys, time
from carina.app.drawing import Drawers
if __name__ == "__main__":
    made = Drawers(1)
    made._pool.submit(time.sleep, 0).result()
    print(*made._pool._processes, flush=True)
    time.sleep(60)
"""


def test_processes_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        [pid] = map(int, server.stdout.readline().split())
        server.kill()
        for _ in range(100):
            if not alive(pid):
                break
            time.sleep(0.1)
        assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
