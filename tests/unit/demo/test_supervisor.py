"""Processes that are watched, restarted and ended together: real ones."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from carina.app.found import NewHub, found_hub
from carina.demo.supervisor import Service, Supervisor
from carina.errors import Unreachable


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    made = Supervisor(said.append)
    yield made
    made.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hub_service(folder: Path) -> Service:
    port, broker = free_port(), free_port()
    found_hub(folder / "hub", folder / "keys" / "hub.json", NewHub("Test", f"http://127.0.0.1:{port}", port, broker))
    ready = f"http://127.0.0.1:{port}/health/ready"
    return Service("The hub", ("hub", "serve", str(folder / "hub")), ready, folder / "hub.log")


@pytest.mark.timeout(120)
def test_a_service_that_is_killed_is_started_again_and_said_so(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    service = hub_service(tmp_path)
    supervisor.start(service)
    supervisor.wait_ready(service, within=60)
    assert service.process is not None
    first = service.process.pid
    os.kill(first, signal.SIGKILL)
    end = time.monotonic() + 60
    while service.process is not None and service.process.pid == first and time.monotonic() < end:
        time.sleep(0.1)
    supervisor.wait_ready(service, within=60)
    assert said == ["The hub ended unexpectedly and is started again"]
    process = service.process
    supervisor.stop()
    assert process is not None and process.poll() is not None


@pytest.mark.timeout(120)
def test_a_service_that_keeps_ending_is_given_up_with_its_log_named(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    service = Service("The node", ("node", "serve", str(tmp_path / "nowhere")), "http://127.0.0.1:9/", tmp_path / "log")
    supervisor.start(service)
    with pytest.raises(Unreachable):
        supervisor.wait_ready(service, within=90)
    assert supervisor.given_up() is service
    assert "keeps ending" in said[-1] and str(tmp_path / "log") in said[-1]
    assert "There is no node.toml" in (tmp_path / "log").read_text()
