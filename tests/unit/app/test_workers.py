"""The processes beside a server: they start, start again, and end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path
from carina.app.processes import stop_at_sigterm
from carina.app.workers import Workers

def work(folder, name):
    stop = stop_at_sigterm()
    (folder / f"{name}.{os.getpid()}").write_text(str(os.getppid()))
    stop.wait(60)
    (folder / f"{name}.{os.getpid()}").write_text("ended in order")

with Workers(Path(sys.argv[1]), {"worker": work}) as workers:
    workers.start(["worker-1", "worker-2"])
    sys.stdin.readline()
"""


def until(true: Callable[[], object], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.05)


def pids(folder: Path, name: str) -> list[int]:
    return [int(path.suffix[1:]) for path in folder.glob(f"{name}.*")]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def server(tmp_path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdin=subprocess.PIPE)
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    return process


def test_a_worker_that_dies_is_started_again(server: subprocess.Popen[bytes], tmp_path: Path) -> None:
    [first] = pids(tmp_path, "worker-1")
    os.kill(first, signal.SIGKILL)
    until(lambda: len(pids(tmp_path, "worker-1")) == 2)
    assert len(pids(tmp_path, "worker-2")) == 1
    server.communicate(b"\n", 15)


def test_all_end_in_order_with_the_server(server: subprocess.Popen[bytes], tmp_path: Path) -> None:
    server.communicate(b"\n", 15)
    assert server.returncode == 0
    assert [path.read_text() for path in tmp_path.iterdir()] == ["ended in order"] * 2
    assert not any(alive(int(path.suffix[1:])) for path in tmp_path.iterdir())


def test_none_outlives_a_server_that_is_killed(server: subprocess.Popen[bytes], tmp_path: Path) -> None:
    server.kill()
    server.communicate(timeout=15)
    until(lambda: not any(alive(int(path.suffix[1:])) for path in tmp_path.iterdir()))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["ended in order"] * 2
