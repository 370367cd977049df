"""The memory of processes, from Linux's `/proc`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SERVER = "server"
_KIB = 1024


@dataclass(frozen=True)
class Process:
    """A process of a node, by the name it has there; bytes of memory.

    resident       all pages that it has in memory (RSS)
    proportional   the same, with pages that are shared divided among those who share them (PSS); None: not told
    """

    name: str
    pid: int
    resident: int
    proportional: int | None


def processes(workers: Mapping[str, int]) -> list[Process]:
    """This process, as the server, and those beside it; one that has just ended is left out."""
    named = [(SERVER, os.getpid()), *sorted(workers.items())]
    found = (_process(name, pid) for name, pid in named)
    return [one for one in found if one is not None]


def _process(name: str, pid: int) -> Process | None:
    resident = _field(Path(f"/proc/{pid}/status"), "VmRSS:")
    return None if resident is None else Process(name, pid, resident, _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:"))


def _field(path: Path, name: str) -> int | None:
    """Bytes of a line `NAME 123 kB`; None where there is none, or it may not be read."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith(name)), None)
