"""The processes of the demonstration: started, watched, restarted when one dies, ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from carina.app.http import http_client
from carina.errors import Unreachable

_RESTARTS = 5  # within a minute; then the service is left down and the demonstration says so


@dataclass
class Service:
    """One process: `arguments` of `carina`, and the address that says when it is ready."""

    name: str
    arguments: tuple[str, ...]
    ready_url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)


class Supervisor:
    """Starts services and keeps them running until `stop`. `say` gets a sentence for each thing that happens."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._services: list[Service] = []
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def start(self, service: Service) -> None:
        """Start `service` and watch it from now on."""
        with self._lock:
            if self._ending.is_set():
                return
            self._launch(service)
            self._services.append(service)
        if not self._watcher.is_alive():
            self._watcher.start()

    def wait_ready(self, service: Service, within: float) -> None:
        """Return when it answers; `Unreachable` when it does not within that many seconds."""
        end = time.monotonic() + within
        while time.monotonic() < end and service.process is not None:
            if answers(service.ready_url):
                return
            if self._ending.wait(0.1):
                break
        raise Unreachable(f"{service.name} did not start.", f"Its log says why: {service.log}")

    def given_up(self) -> Service | None:
        """A service that keeps ending and was left down, if there is one."""
        with self._lock:
            return next((item for item in self._services if item.process is None), None)

    def stop(self) -> None:
        """End every service: politely, then after 8 seconds for good. Safe to call twice."""
        self._ending.set()
        with self._lock:
            running = [item.process for item in self._services if item.process is not None]
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 8
        for process in running:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _launch(self, service: Service) -> None:
        service.starts.append(time.monotonic())
        service.log.parent.mkdir(parents=True, exist_ok=True)
        with service.log.open("ab") as log:
            service.process = subprocess.Popen(  # noqa: S603 - our own program, arguments made here
                [sys.executable, "-m", "carina", *service.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "CARINA_END_WITH_PARENT": str(os.getpid())},
            )

    def _watch(self) -> None:
        while not self._ending.wait(0.5):
            with self._lock:
                for service in self._services:
                    if self._ending.is_set() or service.process is None or service.process.poll() is None:
                        continue
                    self._revive(service)

    def _revive(self, service: Service) -> None:
        recent = [at for at in service.starts if at > time.monotonic() - 60]
        if len(recent) >= _RESTARTS:
            service.process = None
            self._say(f"{service.name} keeps ending and stays down; its log says why: {service.log}")
            return
        self._say(f"{service.name} ended unexpectedly and is started again")
        self._launch(service)


def answers(url: str) -> bool:
    """Whether a service answers there with success now."""
    try:
        with http_client(url, timeout=2) as client:
            return client.get(url).status_code == 200
    except httpx2.HTTPError:
        return False
