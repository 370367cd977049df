"""Reception of real files byte by byte; and of DCMTK's storescu and echoscu, over TLS and with their usual delays."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from tests.archive import archive
from tests.peering import certificates
from tests.support import CORPUS, ct
from tests.upperlayer import DATA, ask, associated, command, fragment, pdu, read, status

from carina.dicom.quiet import quiet
from carina.interfaces.dimse.secure import listener_context
from carina.interfaces.dimse.server import start_dimse
from carina.interfaces.dimse.status import SUCCESS
from carina.node.parcel import unwrap
from carina.node.site import Node

DELAYED = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"}
AT_ONCE = {**DELAYED, "TCP_NODELAY": "1"}
KINDS = (
    "CT_small.dcm",
    "MR_small.dcm",
    "rtplan.dcm",
    "reportsi.dcm",
    "waveform_ecg.dcm",
    "MR_small_RLE.dcm",
    "image_dfl.dcm",
)
MOST = 60  # files of the corpus


@contextmanager
def listening(node: Node, **options: Any) -> Iterator[int]:
    server = start_dimse(node, "127.0.0.1", 0, "CARINA", **options)
    try:
        yield server.port
    finally:
        server.stop()


def run(name: str, *options: str, environment: dict[str, str] = AT_ONCE) -> subprocess.CompletedProcess[str]:
    found = shutil.which(name)
    assert found, f"'{name}' of DCMTK is not on this machine: install the package 'dcmtk' and run the tests again"
    return subprocess.run([found, *options], env=environment, capture_output=True, text=True, timeout=60, check=False)


def dataset_bytes(data: bytes) -> bytes:
    """What follows the file meta information."""
    assert data[128:132] == b"DICM"
    return data[144 + int.from_bytes(data[140:144], "little") :]


def corpus() -> list[Path]:
    """Some of each set, small enough to be sent in a test."""
    found: dict[str, list[Path]] = {}
    for path in sorted(CORPUS.rglob("*.dcm")) if CORPUS.is_dir() else []:
        found.setdefault(path.relative_to(CORPUS).parts[0], []).append(path)
    chosen = [path for paths in found.values() for path in paths[:: max(1, len(paths) // 4)][:4]]
    return [path for path in chosen if path.stat().st_size < 4 * 2**20 and path.read_bytes()[128:132] == b"DICM"][:MOST]


def test_data_sets_arrive_byte_by_byte_as_they_are_in_the_files(tmp_path: Path) -> None:
    paths = [Path(str(get_testdata_file(name, download=False))) for name in KINDS] + corpus()
    with archive(tmp_path / "node") as node, listening(node) as port:
        for path in paths:
            data = dataset_bytes(path.read_bytes())
            assert stored(port, path, data) == SUCCESS, path.name
            [name] = node.spool.names()
            kept = unwrap(node.spool.read(name)).data
            assert dataset_bytes(kept) == data, path.name
            with quiet():
                ours, theirs = (pydicom.dcmread(one, stop_before_pixels=True) for one in (io.BytesIO(kept), path))
            for keyword in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID"):
                assert ours.file_meta[keyword].value == theirs.file_meta[keyword].value
            node.spool.remove(name)


def stored(port: int, path: Path, data: bytes) -> int:
    """The status of sending a file, in fragments of 100,000 bytes."""
    with quiet():
        meta = pydicom.dcmread(path, stop_before_pixels=True).file_meta
    kind = str(meta.MediaStorageSOPClassUID)
    asked = command(instance=str(meta.MediaStorageSOPInstanceUID), kind=kind)
    with associated(port, ask((kind, (str(meta.TransferSyntaxUID),)))) as made:
        made.sendall(pdu(DATA, fragment(3, asked)))
        for place in range(0, len(data), 100_000):
            last = place + 100_000 >= len(data)
            made.sendall(pdu(DATA, fragment(2 if last else 0, data[place : place + 100_000])))
        return status(read(made)[1])


def test_a_sender_with_nagle_s_delay_is_not_kept_waiting(tmp_path: Path) -> None:
    paths = []
    for number in range(1, 41):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(ct(number=number))
        paths.append(str(path))
    with archive(tmp_path / "node") as node, listening(node) as port:
        began = time.monotonic()
        sent = run("storescu", "-aec", "CARINA", "-aet", "SCANNER", "127.0.0.1", str(port), *paths, environment=DELAYED)
        assert sent.returncode == 0, sent.stderr
        assert len(node.spool.names()) == 40
    assert time.monotonic() - began < 40 * 0.04, "one delayed acknowledgement, 40 ms, for each"


@pytest.mark.parametrize("shown", [True, False])
def test_echo_and_store_over_tls_for_who_shows_a_certificate(tmp_path: Path, shown: bool) -> None:
    own = certificates(tmp_path)
    tls = listener_context(own.certificate, own.key, own.certificate)
    path = tmp_path / "1.dcm"
    path.write_bytes(ct())
    secured = ["+tls", str(own.key), str(own.certificate)] if shown else ["+tla"]
    names = [*secured, "+cf", str(own.certificate), "-aec", "CARINA", "-aet", "SCANNER"]
    with archive(tmp_path / "node") as node, listening(node, tls=tls) as port:
        echoed = run("echoscu", *names, "127.0.0.1", str(port))
        stored = run("storescu", *names, "127.0.0.1", str(port), str(path))
        assert (echoed.returncode == 0, stored.returncode == 0) == (shown, shown), echoed.stderr + stored.stderr
        assert len(node.spool.names()) == int(shown)
