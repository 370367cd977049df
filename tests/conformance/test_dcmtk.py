"""C-STORE and C-ECHO as a foreign sender does them: DCMTK's echoscu and storescu, unmodified."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from pydicom.data import get_testdata_file
from sqlalchemy import select
from tests.archive import archive, take_in
from tests.support import ct

from carina.interfaces.dimse.server import start_dimse
from carina.node.site import Node
from carina.storage.schema import arrivals

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


class Door(NamedTuple):
    node: Node
    port: int


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with archive(tmp_path / "node") as node:
        server = start_dimse(node, "127.0.0.1", 0, "CARINA")
        yield Door(node, server.port)
        server.stop()


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"'{name}' of DCMTK is not on this machine: install the package 'dcmtk' and run the tests again"
    return found


def send(door: Door, files: list[str], *options: str, caller: str = "SCANNER") -> subprocess.CompletedProcess[str]:
    """`storescu` with these options and files."""
    names = ["-aet", caller, "-aec", "CARINA"]
    command = [tool("storescu"), "-v", *names, *options, "127.0.0.1", str(door.port), *files]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)


def sample(name: str) -> str:
    return str(get_testdata_file(name, download=False))


def received(node: Node) -> list[tuple[str, str, str]]:
    with node.engine.connect() as connection:
        rows = connection.execute(select(arrivals.c.source_name, arrivals.c.state, arrivals.c.reason))
        return [(row.source_name, row.state, row.reason) for row in rows]


def test_an_echo_is_answered(door: Door) -> None:
    asked = subprocess.run(
        [tool("echoscu"), "-aec", "CARINA", "127.0.0.1", str(door.port)], capture_output=True, timeout=30, check=False
    )
    assert asked.returncode == 0


def test_slices_are_stored_and_archived(door: Door, tmp_path: Path) -> None:
    paths = []
    for number in (1, 2, 3):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(ct(number=number))
        paths.append(str(path))
    sent = send(door, paths)
    assert sent.returncode == 0, sent.stderr
    assert received(door.node) == [("SCANNER", "received", None)] * 3
    assert take_in(door.node) == ["archived"] * 3


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("-x=", "CT_small.dcm"),
        ("-x=", "MR_small.dcm"),
        ("-xi", "rtplan.dcm"),
        ("-xb", "MR_small_bigendian.dcm"),
        ("-xv", "MR_small_jp2klossless.dcm"),
        ("-xt", "MR_small_jpeg_ls_lossless.dcm"),
        ("-xr", "MR_small_RLE.dcm"),
        ("-xy", "SC_rgb_jpeg_dcmtk.dcm"),
        ("-xd", "image_dfl.dcm"),
        ("-x=", "reportsi.dcm"),
        ("-x=", "waveform_ecg.dcm"),
    ],
)
def test_every_kind_and_transfer_syntax_is_taken_and_has_an_end(door: Door, option: str, name: str) -> None:
    sent = send(door, [sample(name)], option)
    assert sent.returncode == 0, sent.stderr
    [state] = take_in(door.node)
    assert state in ("archived", "quarantined")
    [(_, ended, reason)] = received(door.node)
    assert ended == state
    assert reason not in ("failed", "not-dicom", "damaged")


def test_who_is_not_known_is_acknowledged_and_waits_in_quarantine(door: Door) -> None:
    assert send(door, [sample("CT_small.dcm")], caller="UNKNOWN").returncode == 0
    assert take_in(door.node) == ["quarantined"]
    assert received(door.node) == [("(not assigned)", "quarantined", "unmapped-source")]


def test_one_association_carries_many_files(door: Door, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1, 31):
        (folder / f"{number}.dcm").write_bytes(ct(number=number))
    sent = send(door, [str(folder)], "+sd")
    assert sent.returncode == 0, sent.stderr
    assert len(received(door.node)) == 30
