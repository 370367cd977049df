"""De-identification: files per CPU second and memory, beside peers: `.venv/bin/python -m benchmarks.deid_speed --help`.

Each figure is user and system time of a process of its own, from its start to its end, reading and writing included.
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SIZE = 512
ELEMENTS = 320
PEERS = (
    "dicom-anonymizer 2=dicom-anonymizer {source} {target}",
    "dicognito 0.19=dicognito {source}/* -o {target}",
)
_ENGINE = """
import resource, sys
from pathlib import Path
from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys
source, target, part, parts = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
engine = Engine(Handling("bench", load_profile("research"), ProjectKeys.of(b"k" * 32, "bench")))
for path in sorted(path for path in source.rglob("*") if path.is_file())[part::parts]:
    engine.clean_file(path, lambda clean: target / f"{clean.uid}.dcm")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@dataclass(frozen=True)
class Figure:
    """What one tool took: CPU seconds, wall seconds, files written, and the most memory in MB (0: not measured)."""

    name: str
    cpu: float
    wall: float
    files: int
    memory: int = 0

    def __str__(self) -> str:
        rate = f"{self.files / self.cpu:8.1f} files/CPU-s {self.files / self.wall:8.1f} files/s"
        return f"{self.name:32}{rate}  {self.memory or '–':>5} MB"


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
    noise = np.random.default_rng(7)
    for number in range(1, count + 1):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        dataset.InstanceNumber, dataset.SliceLocation = number, f"{number * 1.25:.2f}"
        dataset.ImagePositionPatient = [-250, -250, number * 1.25]
        dataset.AcquisitionTime = dataset.ContentTime = f"{101500 + number % 60:06}"
        dataset.PixelData = noise.integers(-1000, 1500, (SIZE, SIZE), np.int16).tobytes()
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


def carina(source: Path, target: Path, name: str, workers: int = 1) -> Figure:
    """The engine, one process each worker."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    commands = [
        [sys.executable, "-c", _ENGINE, str(source), str(target), str(part), str(workers)] for part in range(workers)
    ]
    return _measured(name, commands, target)


def peer(source: Path, target: Path, name: str, command: str) -> Figure | None:
    """Another tool, by its command; None if it is not installed."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    words = shlex.split(command)
    program = shutil.which(words[0]) or shutil.which(words[0], path=str(Path(sys.executable).parent))
    if program is None:
        return None
    shell = command.replace(words[0], shlex.quote(program), 1).format(source=source, target=target)
    return _measured(name, [["sh", "-c", shell]], target)


def _measured(name: str, commands: Sequence[Sequence[str]], target: Path) -> Figure:
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), os.times().elapsed
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for command in commands]
    told = [process.communicate()[0].split()[-1:] for process in running]
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), os.times().elapsed - begun
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = max((int(words[0]) for words in told if words and words[0].isdigit()), default=0)
    return Figure(name, cpu, wall, sum(path.is_file() for path in target.rglob("*")), memory)


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(prog="benchmarks.deid_speed", description="Measure de-identification.")
    parser.add_argument("--count", type=int, default=400, help="slices of the series")
    parser.add_argument("--source", type=Path, help="a folder of DICOM files, instead of a made-up series")
    parser.add_argument("--gigabytes", type=float, default=1, help="size of the large file; 0: none")
    parser.add_argument("--peer", action="append", metavar="NAME=COMMAND", help="with {source} and {target}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carina-deid-") as name:
        folder = Path(name)
        source, target = options.source or folder / "series", folder / "out"
        if options.source is None:
            series(source, options.count)
        print(carina(source, target, "carina, one process"))
        print(carina(source, target, "carina, two processes", 2))
        for known in options.peer or PEERS:
            title, _, command = known.partition("=")
            print(peer(source, target, title, command) or f"{title:32}not installed")
        if options.gigabytes:
            (folder / "large").mkdir()
            large(folder / "large" / "large.dcm", options.gigabytes)
            print(carina(folder / "large", target, f"carina, one file of {options.gigabytes} GB"))


if __name__ == "__main__":
    main()
