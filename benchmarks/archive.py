"""A node under an archive benchmark that measures any DICOMweb and DIMSE server: found, served, measured, ended.

`python -m benchmarks.archive HARNESS --corpus DIR … --out DIR [--reps 3] [-- ARGUMENTS OF THE HARNESS]`
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from benchmarks.services import family, new_node, running

from carina.app.site import open_node
from carina.storage import accounts

SENDER = "BENCH"


class Memory(threading.Thread):
    """The peak of the summed PSS of a process and its descendants, in MB; processes named in `apart` are left out."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak, self.ended = pid, 0.0, threading.Event()

    def run(self) -> None:
        """Look twice a second."""
        while not self.ended.wait(0.5):
            self.peak = max(self.peak, pss(self.pid))


def pss(pid: int) -> float:
    """Proportional set size of the process and its descendants, in MB."""
    total = 0
    for one in family(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1000


def measure(harness: Path, corpus: list[Path], out: Path, label: str, number: int, more: list[str]) -> None:
    """One repetition, on a new node."""
    with tempfile.TemporaryDirectory(prefix="carina-archive-", dir=out) as name:
        node = new_node(Path(name), "node", scanner=SENDER)
        with open_node(node.folder) as opened:
            token = accounts.add_token(opened.engine, "bench-reader", {"sender", "data-manager"})
        with running("node", node.folder, node.url) as pid:
            memory = Memory(pid)
            memory.start()
            command = [sys.executable, harness, "run", "--base", f"{node.url}/dicom-web"]
            command += ["--dimse", f"127.0.0.1:{node.dimse}:CARINA", "--pid", pid, "--label", label]
            command += ["--json", out / f"{label}.{number}.json", "--bearer", token, "--discover", "--settle", 60]
            command += ["--corpus", *corpus, *more]
            subprocess.run(list(map(str, command)), check=True)
            memory.ended.set()
            (out / f"{label}.{number}.pss").write_text(f"{memory.peak:.1f}\n")
            print(f"peak PSS {memory.peak:.0f} MB", flush=True)


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(prog="benchmarks.archive", description=__doc__)
    parser.add_argument("harness", type=Path, help="the benchmark's client")
    parser.add_argument("--corpus", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--label", default="carina")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    arguments, _, more = " ".join(sys.argv[1:]).partition(" -- ")
    options = parser.parse_args(arguments.split())
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(options.first, options.first + options.reps):
        measure(options.harness, options.corpus, options.out, options.label, number, more.split())


if __name__ == "__main__":
    main()
