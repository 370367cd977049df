"""Services to measure: real processes in a folder of their own, on loopback, ended by their process id."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from carina.app.found import NewNode, found_node
from carina.app.site import open_node
from carina.demo.folder import free_ports
from carina.demo.supervisor import answers
from carina.storage import accounts

TICK = os.sysconf("SC_CLK_TCK")
SCANNER, TOKEN = "BENCHSCANNER", "bench-archive"


@dataclass(frozen=True)
class BenchNode:
    """A founded node: where it is, and how images get in."""

    folder: Path
    url: str
    dimse: int
    token: str
    inbox: Path


def new_node(folder: Path, name: str, scanner: str = SCANNER) -> BenchNode:
    """A node that knows one scanner, two tokens and one folder."""
    inside, outside, dimse = free_ports([0, 0, 0])
    inbox = folder / f"{name}-inbox"
    sources = (("aet", scanner), ("token", TOKEN), ("token", "bench-reader"), ("folder", str(inbox)))
    new = NewNode(
        title=f"Node {name}",
        institution="Benchmark",
        country="ES",
        project="bench",
        inside_port=inside,
        outside_port=outside,
        dimse_port=dimse,
        sources=sources,
        public_url=f"http://127.0.0.1:{outside}",
    )
    found_node(folder / name, folder / "keys" / f"{name}.json", new)
    with open_node(folder / name) as node:
        token = accounts.add_token(node.engine, TOKEN, {"sender"})
    return BenchNode(folder / name, f"http://127.0.0.1:{inside}", dimse, token, inbox)


def carina(*arguments: object) -> list[str]:
    """The command line of `carina` in this environment."""
    return [sys.executable, "-m", "carina", *map(str, arguments)]


@contextlib.contextmanager
def running(kind: str, folder: Path, url: str) -> Iterator[int]:
    """`carina KIND serve FOLDER` until the end of the block, once it answers at `url`; its process id."""
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        process = subprocess.Popen(carina(kind, "serve", folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait(lambda: process.poll() is not None or answers(f"{url}/health/ready"), 90)
        if process.poll() is not None:
            raise SystemExit(f"{kind} {folder.name} ended with {process.returncode}; see {log.name}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(true: Callable[[], object], seconds: float, every: float = 0.05) -> None:
    """Return when `true()` is; end the benchmark when it is not in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"what was waited for did not come within {seconds:.0f} s")
        time.sleep(every)


def cpu(pid: int) -> float:
    """Seconds of processor time that the process has used, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]
