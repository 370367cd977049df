"""De-identification: files per CPU second and memory, beside peers: `.venv/bin/python -m benchmarks.deid_speed --help`.

CPU seconds are user and system time of all processes of a tool, less those of a run on one file: start-up, and with
Carina the search of the first image of a layout for text. Reading, writing and verification are included.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SIZE = 512
ELEMENTS = 320
CARINA = (
    f"{shlex.quote(sys.executable)} -c 'from carina.cli.main import main; main()' deid {{source}} {{target}}"
    " --profile research --key-file {target}.key --workers {processes}"
)
PEERS = {
    "dicognito": "python -m dicognito {source}/* -o {target}",
    "dicom-anonymizer": "dicom-anonymizer {source} {target}",
    "dcmanon": "dcmanon {source} {target}",
}
FINDER = b"carina.deid.pixels"
"""The text finder's own process; its memory is told apart."""


@dataclass(frozen=True)
class Cost:
    """What a run took: seconds of CPU and clock, files written, the most memory of a process and of a finder (MB)."""

    cpu: float
    wall: float
    files: int
    memory: int
    finder: int


@dataclass(frozen=True)
class Figure:
    """A tool's run on a folder, and its run on one file of it, which is start-up."""

    name: str
    start: Cost
    whole: Cost

    def __str__(self) -> str:
        files = self.whole.files - self.start.files
        cpu, wall = (max(after - before, 1e-3) for after, before in (
            (self.whole.cpu, self.start.cpu), (self.whole.wall, self.start.wall)))  # fmt: skip
        finder = f" (text finder {self.whole.finder})" if self.whole.finder else ""
        if files <= 0:
            return (
                f"{self.name:32}{self.whole.cpu:8.1f} CPU s, {self.whole.files} files, {self.whole.memory} MB{finder}"
            )
        rates = f"{files / cpu:8.1f} files/CPU-s {files / wall:8.1f} files/s"
        return f"{self.name:32}{rates}  start {self.start.cpu:5.2f} CPU s  {self.whole.memory:5} MB{finder}"


def series(folder: Path, count: int) -> None:
    """A made-up series: CT slices of 512x512 with some 320 elements, of which a dozen differ from slice to slice."""
    folder.mkdir(parents=True)
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.ImageType, dataset.PatientName, dataset.PatientID = (
        ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Garcia^Maria",
        "MRN-1",
    )
    dataset.Rows = dataset.Columns = SIZE
    dataset.remove_private_tags()
    for number in range(8):
        block = dataset.private_block(0x0051 + 2 * number, f"MAKER {number}", create=True)
        for element in range((ELEMENTS - len(dataset)) // (8 - number)):
            block.add_new(element, "DS", f"{element}.5")
    noise, body = np.random.default_rng(7), np.kron(dataset.pixel_array, np.ones((4, 4), np.int16))
    for number in range(1, count + 1):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        dataset.InstanceNumber, dataset.SliceLocation = number, f"{number * 1.25:.2f}"
        dataset.ImagePositionPatient = [-250, -250, number * 1.25]
        dataset.AcquisitionTime = dataset.ContentTime = f"{101500 + number % 60:06}"
        dataset.PixelData = (body + noise.integers(-10, 10, body.shape, np.int16)).astype(np.int16).tobytes()
        _save(dataset, folder / f"{number:05}.dcm")


def large(path: Path, gigabytes: float) -> None:
    """One multi-frame file of so many GB."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows = dataset.Columns = SIZE
    dataset.NumberOfFrames = int(gigabytes * 2**30) // (SIZE * SIZE * 2)
    dataset.PixelData = b"\0\0"
    _save(dataset, path)
    data = path.read_bytes()
    size = dataset.NumberOfFrames * SIZE * SIZE * 2
    start = data.rindex(b"\xe0\x7f\x10\x00") + 12
    with path.open("wb") as file:
        file.write(data[: start - 4] + size.to_bytes(4, "little"))
        for _ in range(dataset.NumberOfFrames):
            file.write(os.urandom(1024) * (SIZE * SIZE * 2 // 1024))


def _save(dataset: Dataset, path: Path) -> None:
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def measured(name: str, command: str, sources: Sequence[Path], folder: Path, processes: int = 1) -> Figure:
    """A tool on these folders, a process for each of them; and first on one file."""
    one = folder / "one"
    shutil.rmtree(one, ignore_errors=True)
    one.mkdir()
    first = next(path for path in sorted(sources[0].rglob("*")) if path.is_file())
    os.link(first, one / first.name)
    return Figure(
        name, _run(command, [one] * len(sources), folder, processes), _run(command, sources, folder, processes)
    )


def _run(command: str, sources: Sequence[Path], folder: Path, processes: int) -> Cost:
    targets = [folder / f"out{number}" for number in range(len(sources))]
    for target in targets:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        shutil.rmtree(f"{target}.key.records", ignore_errors=True)
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    running = [
        subprocess.Popen(
            command.format(source=shlex.quote(str(source)), target=shlex.quote(str(target)), processes=processes),
            shell=True, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for source, target in zip(sources, targets, strict=True)
    ]  # fmt: skip
    memory = finder = 0
    while None in [process.poll() for process in running]:
        found = _memory({process.pid for process in running})
        memory, finder = max(memory, found[0]), max(finder, found[1])
        time.sleep(0.1)
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    written = sum(path.is_file() and path.name != "report.json" for target in targets for path in target.rglob("*"))
    return Cost(cpu, wall, written, memory, finder)


def _memory(sessions: set[int]) -> tuple[int, int]:
    """The most that one process of these sessions, and one text finder, has had resident so far: MB."""
    most = [0, 0]
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            if int((folder / "stat").read_text().rpartition(") ")[2].split()[3]) not in sessions:
                continue
            peak = int((folder / "status").read_text().partition("VmHWM:")[2].split()[0]) // 1024
            is_finder = FINDER in (folder / "cmdline").read_bytes()
            most[is_finder] = max(most[is_finder], peak)
    return most[0], most[1]


def halves(source: Path, folder: Path) -> list[Path]:
    """The same files in two folders."""
    parts = [folder / "half0", folder / "half1"]
    for part in parts:
        part.mkdir()
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        os.link(path, parts[number % 2] / f"{number:05}-{path.name}")
    return parts


def peers(programs: Path | None, more: Sequence[str]) -> dict[str, str]:
    """The commands of the peers that are installed, by name; `programs` is where, before PATH."""
    path = f"{programs}:{os.environ['PATH']}" if programs else None
    known = PEERS | dict(item.partition("=")[::2] for item in more)
    found = {}
    for name, command in known.items():
        program, _, rest = command.partition(" ")
        where = shutil.which(program, path=path)
        if where is None:
            print(f"{name:32}not installed")
        else:
            found[name] = f"{shlex.quote(where)} {rest}"  # what it cannot do shows as no files
    return found


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(prog="benchmarks.deid_speed", description="Measure de-identification.")
    parser.add_argument("--count", type=int, default=400, help="slices of the series")
    parser.add_argument("--source", type=Path, help="a folder of DICOM files, instead of a made-up series")
    parser.add_argument("--gigabytes", type=float, default=1, help="size of the large file; 0: none")
    parser.add_argument("--programs", type=Path, help="where the peers are installed: the bin folder of their venv")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=COMMAND", help="with {source} and {target}"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carina-deid-") as name:
        folder = Path(name)
        source = folder / "series"
        if options.source is None:
            series(source, options.count)
        else:
            shutil.copytree(options.source, source)
        parts = halves(source, folder)
        print(measured("carina, one process", CARINA, [source], folder), flush=True)
        print(measured("carina, two processes", CARINA, [source], folder, 2), flush=True)
        for title, command in peers(options.programs, options.peer).items():
            print(measured(f"{title}, one process", command, parts[:1], folder), flush=True)
            print(measured(f"{title}, two processes", command, parts, folder), flush=True)
        if options.gigabytes:
            (folder / "large").mkdir()
            large(folder / "large" / "large.dcm", options.gigabytes)
            print(measured(f"carina, one file of {options.gigabytes} GB", CARINA, [folder / "large"], folder))


if __name__ == "__main__":
    main()
