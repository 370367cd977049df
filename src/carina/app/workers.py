"""The processes that work beside a node's server, forked from one that has imported what they need and does nothing.

So they start at once, and the memory of what they import is there once. The nursery is forked while the service has no
thread, no open records and no connection; it starts again whoever dies, and ends with the server, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

log = logging.getLogger(__name__)

Work = Callable[[Path, str], None]
"""What a process does, given the node's folder and its own name, until SIGTERM."""

GRACE = 5.0  # s in which each may finish what it has begun; then it is killed: an instance's journey can be repeated
AGAIN = 1.0  # s until one that died is started again
_LONGEST = 1 << 16  # bytes of a message


class Workers:
    """The server's side. Make it before the service opens anything, for it forks.

    kinds   what processes do, by the first part of their names: `worker` of `worker-1`
    """

    def __init__(self, folder: Path, kinds: Mapping[str, Work]) -> None:
        self._mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._alive: dict[str, int] = {}
        gc.freeze()  # the collector would write to each page, and so copy it
        self._pid = os.fork()
        if self._pid == 0:
            self._mine.close()
            _leave(_Nursery(folder, kinds, theirs).run)
        theirs.close()
        self._mine.setblocking(False)

    def __enter__(self) -> Self:
        """Itself; at the end all are stopped."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `stop`."""
        self.stop()

    def start(self, names: Sequence[str]) -> None:
        """Start these, and keep them running."""
        self._mine.send(json.dumps(list(names)).encode())

    def alive(self) -> dict[str, int]:
        """The names of those that run, each with its process id; none when whoever keeps them running is gone."""
        with contextlib.suppress(OSError):
            while True:
                message = self._mine.recv(_LONGEST)
                self._alive = json.loads(message) if message else {}
                if not message:
                    break
        return {name: pid for name, pid in self._alive.items() if Path(f"/proc/{pid}").exists()}

    async def keep(self) -> None:
        """Look after them until cancelled. Raises `ChildProcessError` when the process that starts them has ended."""
        while os.waitpid(self._pid, os.WNOHANG)[0] == 0:
            await asyncio.sleep(AGAIN)
        raise ChildProcessError("The process that keeps the workers running has ended.")

    def stop(self) -> None:
        """Let each finish what it has begun; after 5 s, kill. Returns when all are gone."""
        self._mine.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _leave(run: Callable[[], None]) -> None:
    """Do this and end the process, without a way back into the code of whoever forked it."""
    status = 70
    try:
        run()
        status = 0
    except BaseException as error:  # noqa: BLE001  the process ends here; the words of an error may quote values
        log.error("process-failed", extra={"error": type(error).__name__})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class _Nursery:
    """The process that forks the others and knows of their ends."""

    def __init__(self, folder: Path, kinds: Mapping[str, Work], server: socket.socket) -> None:
        self._folder = folder
        self._kinds = kinds
        self._server = server
        self._names: list[str] = []
        self._running: dict[int, str] = {}
        self._ended = False

    def run(self) -> None:
        """Keep the processes running until the server closes its end, or SIGTERM."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda _number, _frame: setattr(self, "_ended", True))
        while not self._ended:
            self._listen()
            if self._bury():
                time.sleep(AGAIN)
            if not self._ended:
                self._complete()
        self._end()

    def _listen(self) -> None:
        """Wait for a word of the server, a second at most."""
        ready, _, _ = select.select([self._server], [], [], AGAIN)
        if not ready:
            return
        message = b""
        with contextlib.suppress(ConnectionResetError):  # it was killed with words of ours unread
            message = self._server.recv(_LONGEST)
        self._ended = self._ended or not message
        if message:
            self._names = json.loads(message)

    def _bury(self) -> bool:
        """Forget those that have ended; whether there were any."""
        ended = False
        while self._running:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            name = self._running.pop(pid, None)
            if name is not None:
                ended = True
                log.error("worker-died", extra={"worker": name})
        return ended

    def _complete(self) -> None:
        """Start those that do not run, and tell the server."""
        missing = [name for name in self._names if name not in self._running.values()]
        for name in missing:
            pid = os.fork()
            if pid == 0:
                self._server.close()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                work = self._kinds[name.rpartition("-")[0]]
                _leave(lambda: work(self._folder, name))  # noqa: B023  called at once
            self._running[pid] = name
        if missing:
            with contextlib.suppress(OSError):  # the server is gone; the next look says so
                self._server.send(json.dumps({name: pid for pid, name in self._running.items()}).encode())

    def _end(self) -> None:
        for pid in self._running:
            _signal(pid, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while self._running and time.monotonic() < until:
            self._bury_quietly()
            time.sleep(0.02)
        for pid in self._running:
            _signal(pid, signal.SIGKILL)
        while self._running:
            self._running.pop(os.waitpid(-1, 0)[0], None)

    def _bury_quietly(self) -> None:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        self._running.pop(pid, None)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
