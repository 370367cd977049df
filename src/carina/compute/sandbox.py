"""Run a function in a process of its own, within bounds, and say in one word how that ended.

What goes wrong in there (a crash in a decoder, memory without end, a loop) ends that process only, and what it has
started with it. The process has no standard output, leaves no core file behind, and does not outlive the one that
started it. This bounds honest code that breaks. It does not hold code that means harm: the process may read and write
what the node may, and could leave its session.

The kernel counts what the process may write to (RLIMIT_DATA: heap, stacks of threads and private maps, but not
libraries), and, more widely, all that it maps, shared memory too (RLIMIT_AS). No file grows beyond as many bytes as the
memory (RLIMIT_FSIZE); a bound much smaller would stop SQLite from sorting and from tidying the node's records up.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import logging
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from carina.model.job import Failure

_DONE, _OUT_OF_MEMORY, _CRASHED = 43, 44, 45
"""Exit codes. Not 0, with which anything may end that calls `exit`."""
_FAILURES: dict[int, Failure] = {_OUT_OF_MEMORY: "out-of-memory", -signal.SIGKILL: "out-of-memory"}
_PR_SET_PDEATHSIG = 1
_LIBRARIES = 1 << 30
"""Bytes of addresses beside the memory: libraries map about 160 MB, and each thread reserves up to 128 MB unused."""
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_log = logging.getLogger(__name__)


def run(
    function: Callable[..., None],
    args: tuple[Any, ...],
    *,
    memory: int,
    seconds: float,
    should_stop: Callable[[], str | None],
    poll: float = 0.5,
) -> str:
    """Call `function(*args)` in another process: "" when it returned, else why not.

    function     of a module, where the other process finds it by its name; it returns nothing
    memory       bytes that the process may have, about 100 MB of them for Python and its libraries
    seconds      that it may take, its start included
    should_stop  asked every `poll` seconds in this process; a word ends the other one, and is given back

    Gives "crashed", "out-of-memory" (also when the kernel killed it, which it does when the machine has no more),
    "out-of-time", or the word of `should_stop`. However this function ends, the process has ended before.
    """
    name = (function.__module__, function.__qualname__)
    process = multiprocessing.get_context("spawn").Process(
        target=_child, args=(os.getpid(), memory, *name, args), name="job", daemon=True
    )
    until = time.monotonic() + seconds
    process.start()
    try:
        while process.exitcode is None:
            process.join(max(0.0, min(poll, until - time.monotonic())))
            if process.exitcode is not None:
                break
            if time.monotonic() >= until:
                return "out-of-time"
            word = should_stop()
            if word:
                return word
        return "" if process.exitcode == _DONE else _FAILURES.get(process.exitcode, "crashed")
    finally:
        _end(process)


def _end(process: BaseProcess) -> None:
    """Kill the process and, by its session's group, what it has started."""
    group = process.pid
    process.kill()
    process.join()
    if group is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left of it
            os.killpg(group, signal.SIGKILL)
    process.close()


def _child(parent: int, memory: int, module: str, function: str, args: tuple[Any, ...]) -> None:
    os.setsid()
    _end_with(parent)
    _bound(resource.RLIMIT_DATA, memory)
    _bound(resource.RLIMIT_AS, memory + _LIBRARIES)
    _bound(resource.RLIMIT_FSIZE, memory)
    _bound(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # read when numpy is imported, which is only now
    os._exit(_call(module, function, args))


def _bound(limit: int, most: int) -> None:
    with contextlib.suppress(ValueError):  # a lower bound holds already
        resource.setrlimit(limit, (most, most))


def _call(module: str, function: str, args: tuple[Any, ...]) -> int:
    """The exit code; nothing is printed of an error but the name of its class, since its words may quote values."""
    try:
        target: Any = importlib.import_module(module)
        for part in function.split("."):
            target = getattr(target, part)
        target(*args)
    except MemoryError:
        return _OUT_OF_MEMORY
    except BaseException as error:  # noqa: BLE001  SystemExit too: only a return is an end as it should be
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return _OUT_OF_MEMORY
        _log.error("job-crashed", extra={"error": type(error).__name__})
        return _CRASHED
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
    return _DONE


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone: at once where the kernel sees to it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(_CRASHED)

    threading.Thread(target=watch, daemon=True, name="parent").start()
