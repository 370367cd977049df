"""Ingest by each door, against a plain copy of the same files that is synchronised as durably."""

from __future__ import annotations

import os
import resource
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx2
from benchmarks.services import SCANNER, BenchNode, carina, cpu, family, new_node, running, wait
from benchmarks.table import Row
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config

from carina.sample.cohort import patients, studies
from carina.sample.sites import site
from carina.sample.writing import stream
from carina.storage import arrivals
from carina.storage.database import open_engine

KINDS = {"CT", "MR", "PT"}  # which reach the archive; the others wait in quarantine for a look at their pixels
AT_ONCE = 12  # instances of one association or request


@dataclass(frozen=True)
class Run:
    """One door, measured; seconds and processor seconds since the first byte."""

    door: str
    acknowledged: float
    archived: float
    cpu_acknowledged: float
    cpu_archived: float


def sample(folder: Path, count: int) -> tuple[list[Path], Path]:
    """`count` files of the made-up cohort, of the kinds that are archived, and one more beside their folder."""
    folder.mkdir()
    originals = _originals()
    written = [folder / f"{number:04}.dcm" for number in range(count)]
    other = folder.with_suffix(".dcm")
    for path, data in zip([*written, other], originals, strict=False):
        path.write_bytes(data)
    return written, other


def _originals() -> Iterator[bytes]:
    for person in patients(site("valdeluna"), 1):
        for study in studies(person):
            for data in stream(study):
                if dcmread(BytesIO(data), specific_tags=["Modality"], stop_before_pixels=True).Modality in KINDS:
                    yield data


def limit(files: Sequence[Path], folder: Path) -> float:
    """Seconds to copy the files and to make each durable, file and folder: what no archive can undercut."""
    folder.mkdir()
    begun = time.perf_counter()
    for path in files:
        descriptor = os.open(folder / path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, path.read_bytes())
        os.fsync(descriptor)
        os.close(descriptor)
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(place)
        os.close(place)
    return time.perf_counter() - begun


def by_c_store(node: BenchNode, files: Sequence[Path]) -> None:
    """C-STORE, an association for every few instances; the bytes go as they are in the file."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    for start in range(0, len(files), AT_ONCE):
        some = files[start : start + AT_ONCE]
        metas = [read_file_meta_info(path) for path in some]
        sender = AE(SCANNER)
        for kind in sorted({(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in metas}):
            sender.add_requested_context(*kind)
        association = sender.associate("127.0.0.1", node.dimse, ae_title="CARINA")
        for path in some:
            if association.send_c_store(path).Status != 0:
                raise SystemExit("C-STORE was refused")
        association.release()


def by_stow(node: BenchNode, files: Sequence[Path]) -> None:
    """STOW-RS, a request for every few instances."""
    boundary = secrets.token_hex(16)
    headers = {
        "Authorization": f"Bearer {node.token}",
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    with httpx2.Client(timeout=60, trust_env=False) as client:
        for start in range(0, len(files), AT_ONCE):
            parts = b"".join(head + path.read_bytes() + b"\r\n" for path in files[start : start + AT_ONCE])
            url = f"{node.url}/dicom-web/studies"
            if client.post(url, content=parts + f"--{boundary}--\r\n".encode(), headers=headers).status_code != 200:
                raise SystemExit("STOW-RS was refused")


def by_folder(node: BenchNode, files: Sequence[Path]) -> None:
    """`carina node ingest`, one command for all."""
    command = carina("node", "ingest", node.folder, *files, "--source", node.inbox)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


DOORS: dict[str, Callable[[BenchNode, Sequence[Path]], None]] = {
    "C-STORE": by_c_store,
    "STOW-RS": by_stow,
    "folder": by_folder,
}


def measure(door: str, node: BenchNode, files: Sequence[Path], other: Path) -> Run:
    """Send the files to a node that runs, and wait until it has archived them all.

    `other` goes before, through listener and worker, so that start-up is not measured.
    """
    engine = open_engine(node.folder / "records.sqlite")
    with running("node", node.folder, node.url) as pid:
        wait(lambda: len(family(pid)) > 1, 30)
        by_stow(node, [other])
        wait(lambda: arrivals.waiting(engine) == 0, 120)
        start_seconds, start_cpu = _start_of_command(node, other) if door == "folder" else (0.0, 0.0)
        before, children = {one: cpu(one) for one in family(pid)}, _children() + start_cpu
        begun = time.perf_counter() + start_seconds
        DOORS[door](node, files)
        acknowledged = time.perf_counter() - begun
        receiving = _children() - children if door == "folder" else cpu(pid) - before[pid]
        wait(lambda: arrivals.waiting(engine) == 0, 600, every=0.1)
        archived = time.perf_counter() - begun
        total = sum(cpu(one) - used for one, used in before.items()) + (receiving if door == "folder" else 0)
    stored = sum(item.archived for item in arrivals.tally(engine)) - 1
    engine.dispose()
    if stored != len(files):
        raise SystemExit(f"{door}: {stored} of {len(files)} were archived")
    return Run(door, acknowledged, archived, receiving, total)


def _start_of_command(node: BenchNode, other: Path) -> tuple[float, float]:
    """Seconds and processor seconds of `carina node ingest` for an instance that is known: Python's and its start."""
    begun, children = time.perf_counter(), _children()
    by_folder(node, [other])
    return time.perf_counter() - begun, _children() - children


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ingest(folder: Path, count: int) -> tuple[list[Row], list[BenchNode]]:
    """The rows of the table, and the nodes with what they now hold."""
    files, other = sample(folder / "sample", count)
    size = sum(path.stat().st_size for path in files) / 1e6
    rows: list[Row] = []
    nodes: list[BenchNode] = []
    for door in DOORS:
        nodes.append(new_node(folder, f"node-{len(nodes) + 1}"))
        bare = [limit(files, folder / "before")]
        run = measure(door, nodes[-1], files, other)
        bare.append(limit(files, folder / "after"))
        copied = sum(bare) / len(bare)
        for place in ("before", "after"):
            shutil.rmtree(folder / place)
        for until, seconds, used in (
            ("acknowledged", run.acknowledged, run.cpu_acknowledged),
            ("archived", run.archived, run.cpu_archived),
        ):
            figure = f"{count / seconds:.0f} instances/s, {size / seconds:.1f} MB/s"
            rows.append(
                Row(
                    f"{door}, {until}",
                    f"{figure}, {1000 * used / count:.1f} ms CPU each",
                    f"copy + fsync: {count / copied:.0f} instances/s",
                    copied / seconds,
                )
            )
    rows.append(Row("sample", f"{count} instances, {size:.0f} MB, {1000 * size / count:.0f} kB each", "", None))
    return rows, nodes
