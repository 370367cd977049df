"""Processes that read foreign bytes get no network: what takes one of them over can send nothing anywhere."""

from __future__ import annotations

import ctypes
import platform
import signal
import struct
import sys

_DEATH_SIGNAL, _NO_NEW_PRIVILEGES, _SECCOMP = 1, 38, 22  # prctl(2)
_SOCKETS = {"x86_64": (0xC000003E, (41, 425)), "aarch64": (0xC00000B7, (198, 425))}
"""By machine: its number in audit.h, and its calls socket and io_uring_setup."""


def close_network() -> None:
    """From now on the kernel refuses sockets to this thread and those it starts, and ends the process with its parent.

    Called before other threads start. Does nothing where the kernel is not Linux's on these machines. Raises `OSError`
    where the kernel does not do it.
    """
    if sys.platform != "linux" or platform.machine() not in _SOCKETS:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_DEATH_SIGNAL, signal.SIGKILL)
    machine, calls = _SOCKETS[platform.machine()]
    filters = _program(machine, calls)
    program = _Program(len(filters) // 8, filters)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SECCOMP, 2, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "the network cannot be closed to this process")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filters", ctypes.c_char_p))


def _program(machine: int, calls: tuple[int, ...]) -> bytes:
    """A filter (seccomp(2)) that answers these calls, and all of another machine's, with EPERM."""

    def line(code: int, true: int, false: int, value: int) -> bytes:
        return struct.pack("<HBBI", code, true, false, value)

    load, equal, give = 0x20, 0x15, 0x06
    allow, refuse = line(give, 0, 0, 0x7FFF0000), line(give, 0, 0, 0x00050001)
    lines = [line(load, 0, 0, 4), line(equal, 0, len(calls) + 2, machine), line(load, 0, 0, 0)]
    lines += [line(equal, len(calls) - number, 0, call) for number, call in enumerate(calls)]
    return b"".join([*lines, allow, refuse])
