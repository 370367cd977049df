"""What every process of a service does: end on a signal or with its parent, and be the only one in its folder."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from carina.errors import Busy
from carina.model.clock import stamp

LOCK = "server.lock"
PARENT = "CARINA_END_WITH_PARENT"
"""Environment: the process id of whoever started this process and wants it to end with them."""


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for one server; `Busy` while another has it. The hold ends with the process, however it ends."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy("A server already runs on this folder.", "Stop it first, or use another folder.") from None
        yield


def end_with_parent(end: Callable[[], None], parent: int | None = None) -> None:
    """Call `end` soon after the process that started this one is gone, if it asked for that."""
    expected = parent if parent is not None else int(os.environ.get(PARENT, "0"))
    if not expected:
        return

    def watch() -> None:
        while os.getppid() == expected:
            pause.wait(0.5)
        end()

    pause = threading.Event()
    threading.Thread(target=watch, daemon=True, name="parent").start()


def stop_at_sigterm() -> threading.Event:
    """For a process that its server ends: an event that SIGTERM sets. SIGINT is left to the server."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    return stop


def stop_event() -> asyncio.Event:
    """An event of the running loop that SIGINT, SIGTERM or the parent's end sets."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, event.set)

    def end() -> None:
        loop.call_soon_threadsafe(event.set)

    end_with_parent(end)
    return event


_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Lines(logging.Formatter):
    """One line for each event: time, level, room, event, then its ids as `name=value`."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line with what was given by `extra`, in the order of its names."""
        extras = sorted((name, value) for name, value in vars(record).items() if name not in _OWN_FIELDS)
        return " ".join([super().formatMessage(record), *(f"{name}={value}" for name, value in extras)])


class JsonLines(logging.Formatter):
    """A JSON object in each line: `at` (UTC), `level`, `room`, `event` and `process`, and what was given with it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; an error's own words and places are left out, for they may quote values."""
        line = {
            "at": stamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "room": record.name,
            "event": record.getMessage(),
            "process": record.process,
        }
        given = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS and name not in line}
        if record.exc_info and record.exc_info[0] is not None:
            given["error"] = record.exc_info[0].__name__
        return json.dumps({**line, **dict(sorted(given.items()))}, default=str, ensure_ascii=False)


def give_memory_back() -> None:
    """Let the C library's allocator, where it is glibc's, return large blocks to the system as soon as they are free.

    Else each of a service's threads keeps what its largest instance took.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_ARENA_MAX, 2)
        library.mallopt(_MMAP_THRESHOLD, 1 << 20)
        library.mallopt(_TRIM_THRESHOLD, 1 << 22)


_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""


def start_logs(form: Literal["text", "json"] = "text") -> None:
    """Log to standard error, as lines for people or for programs. Libraries speak only when something is wrong.

    A process that was forked from one that logs already does so in the form that is asked for here.
    """
    handler = logging.StreamHandler()
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for one in logging.getLogger().handlers:
        if one is handler or isinstance(one.formatter, Lines | JsonLines):
            one.setFormatter(JsonLines() if form == "json" else Lines())
    logging.getLogger("carina").setLevel(logging.INFO)
    logging.getLogger("asyncio").addFilter(lambda record: "eof_received() has no effect" not in record.getMessage())
