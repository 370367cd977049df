"""What a site of the demonstration sends: the made-up cohort and the files that pydicom carries, or one's own."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from carina.deid.pixels.findings import Need
from carina.deid.pixels.routes import pixel_need
from carina.dicom.kinds import CLEAN_PIXEL_DATA
from carina.dicom.quiet import quiet
from carina.sample.cohort import patients, studies
from carina.sample.sites import site
from carina.sample.writing import stream

BATCH = 12
_CARRIED_AFTER = 12  # patients
_PICTURES = 2  # of a site's carried files in which text may stand: to look at each takes seconds


@dataclass(frozen=True)
class Part:
    """The share of one site: part `number` of `count`. `data`: a folder of one's own files instead of the sample."""

    number: int
    count: int
    seed: int
    data: str = ""


@dataclass(frozen=True)
class Item:
    """One file to send. `path`: where it lies already; None for what is made in memory."""

    name: str
    data: bytes = field(repr=False)
    path: Path | None = None


def expected(key: str, part: Part) -> int:
    """How many files `batches` gives."""
    if part.data:
        return len(_own_files(part))
    people = patients(site(key), part.seed)
    made = sum(study.instances for person in people for study in studies(person))
    return made + len(_carried(part))


def batches(key: str, part: Part) -> Iterator[list[Item]]:
    """The files in the order they are sent; the cohort comes study by study."""
    if part.data:
        yield from _read(_own_files(part))
        return
    for place, person in enumerate(patients(site(key), part.seed), start=1):
        for study in studies(person):
            yield [Item(f"{study.index}-{index:03}.dcm", data) for index, data in enumerate(stream(study))]
        if place == _CARRIED_AFTER:
            yield from _read(_carried(part))


def _carried(part: Part) -> list[Path]:
    """This site's part of the real files inside the package pydicom; of its pictures the smallest few."""
    with resources.as_file(resources.files("pydicom") / "data" / "test_files") as folder:
        mine = [
            path for path in sorted(folder.glob("*.dcm")) if zlib.crc32(path.name.encode()) % part.count == part.number
        ]
    pictures = sorted((path for path in mine if _is_picture(path)), key=lambda path: path.stat().st_size)
    return [path for path in mine if path not in pictures[_PICTURES:]]


def _is_picture(path: Path) -> bool:
    """Whether text may stand in its pixels, and nothing else keeps it from being looked at."""
    try:
        with quiet():
            header = dcmread(path, stop_before_pixels=True, force=True)
            header.PixelData = b""  # said to be there
            return bool(header.get("PatientID")) and pixel_need(header, (CLEAN_PIXEL_DATA,)) is Need.ALL
    except Exception:  # noqa: BLE001  the damaged are among them
        return False


def _own_files(part: Part) -> list[Path]:
    """This site's part of one's own files: a patient's files stay together."""
    files = (path for path in sorted(Path(part.data).rglob("*")) if path.is_file())
    return [path for path in files if _share(path) % part.count == part.number]


def _share(path: Path) -> int:
    """A number that all files of one patient have in common."""
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"], force=False)
        whose = str(header.get("PatientID", ""))
    except (InvalidDicomError, ValueError, TypeError, AttributeError, EOFError, NotImplementedError):
        whose = path.name
    return int.from_bytes(hashlib.sha256(whose.encode()).digest()[:4], "big")


def _read(files: Sequence[Path]) -> Iterator[list[Item]]:
    for start in range(0, len(files), BATCH):
        yield [Item(path.name, path.read_bytes(), path) for path in files[start : start + BATCH]]
