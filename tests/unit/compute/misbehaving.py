"""Functions that a sandbox runs, most of which do not behave."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

from carina.compute import sandbox


def behave(path: Path) -> None:
    """Write down which process this is."""
    path.write_text(f"{os.getpid()} {os.getppid()}")


def fail() -> None:
    """Raise, with words that must not be seen."""
    raise RuntimeError("a secret value")


def leave(code: int) -> None:
    """End at once, as if all were done."""
    os._exit(code)


def leave_politely() -> None:
    """End by `SystemExit`."""
    sys.exit(0)


def segfault() -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


def abort() -> None:
    """As a library does that finds itself broken."""
    os.abort()


def allocate() -> None:
    """Take memory without end."""
    held = []
    while True:
        held.append(bytearray(1 << 22))


def allocate_arrays() -> None:
    """Take memory without end, by numpy."""
    import numpy

    held = []
    while True:
        held.append(numpy.ones(1 << 20))


def share(size: int) -> None:
    """Ask for so many bytes that could be shared with others, and use none."""
    held = mmap.mmap(-1, size)
    assert len(held) == size


def fill(path: Path, size: int) -> None:
    """Make a file of so many bytes."""
    with path.open("wb") as file:
        file.seek(size - 1)
        file.write(b"1")


def leave_another_behind(path: Path) -> None:
    """Start a process that does not end, and write down which; end by returning."""
    other = subprocess.Popen(["/bin/sleep", "600"])
    path.write_text(str(other.pid))


def wait_for_another(path: Path) -> None:
    """Start a process that does not end, and wait for it."""
    leave_another_behind(path)
    time.sleep(600)


def work_with_arrays(size: int) -> None:
    """Need so many bytes, and threads of numpy."""
    import numpy

    square = numpy.ones((300, 300)) @ numpy.ones((300, 300))
    held = numpy.ones(size, numpy.uint8)
    assert square.sum() > 0
    assert held.sum() == size


def sleep_for_ever(path: Path) -> None:
    """Write down which process this is, and never end."""
    behave(path)
    while True:
        time.sleep(60)


def compute_for_ever() -> None:
    """Never end, and let nobody interrupt."""
    while True:
        pass


def speak() -> None:
    """Print where others would read it."""
    sys.stdout.write("spoken by a job")
    sys.stdout.flush()
    os.write(1, b"written by a job")


def run_for_ever(path: str) -> None:
    """In a process of its own: run what never ends in a sandbox."""
    sandbox.run(sleep_for_ever, (Path(path),), memory=1 << 30, seconds=600, should_stop=lambda: None)
