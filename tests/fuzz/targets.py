"""What is fuzzed, and with what it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import CORPUS, ct

from carina.deid.engine.walker import pieces
from carina.dicom.parse import identifiers, parse
from carina.dicom.query import parse_query
from carina.dicom.reader import elements, opened
from carina.errors import CarinaError

SMALL = 1 << 16  # bytes of a seed


@dataclass(frozen=True)
class Target:
    """A function that is given any bytes and must not raise; `seeds` gives inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[Path | None], Iterator[bytes]]
    longest: int = SMALL


def _walk(data: bytes) -> None:
    pieces(data)
    identifiers(data)
    try:
        file = opened(data)
        for _ in elements(file.data, file.start, len(file.data), file.encoding):
            pass
    except (ValueError, OverflowError):
        pass
    try:
        parse(data)
    except CarinaError:
        pass


def _files(folder: Path | None) -> Iterator[bytes]:
    yield ct("MRN-1")
    for path in sorted((folder or CORPUS).rglob("*"))[:2000]:
        if path.is_file() and path.stat().st_size <= SMALL:
            yield path.read_bytes()


def _query(data: bytes) -> None:
    pairs = [tuple(part.partition("=")[::2]) for part in data.decode("utf-8", "replace").split("&")]
    for level in ("study", "series", "instance"):
        try:
            parse_query(pairs, level)  # type: ignore[arg-type]
        except CarinaError:
            pass


def _queries(_folder: Path | None) -> Iterator[bytes]:
    yield b"PatientID=A*&StudyDate=20200101-20201231&limit=25&offset=5"
    yield b"00100010=DOE^J*&includefield=all&fuzzymatching=true"
    yield b"StudyInstanceUID=1.2.3,1.2.4&StudyTime=10-12&RequestAttributesSequence.ScheduledProcedureStepID=1"


TARGETS = {"walker": Target(_walk, _files), "query": Target(_query, _queries, 4096)}
