"""DIMSE as foreign programs speak it: DCMTK's echoscu, storescu, findscu and getscu, unmodified.

findscu and getscu cannot show who asks; what stands between them and the node adds that to their first message.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pydicom
import pytest
from pydicom.data import get_testdata_file
from sqlalchemy import select
from tests.access import open_scene, permit_in_force
from tests.archive import archive, take_in
from tests.support import ct

from carina.hub import permits
from carina.interfaces.dimse.server import start_dimse
from carina.node import visits
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


# --- finding and fetching ---


class Archive(NamedTuple):
    """A door to a dataset of two slices, and Rosa's visit to it."""

    door: Door
    secret: str


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Archive]:
    with open_scene(tmp_path / "site", real=True) as scene:
        take_in(scene.node, [ct(number=number) for number in (1, 2)])
        code = permits.handover(scene.hub, scene.rosa, permit_in_force(scene).id).code
        secret = visits.enter(scene.node, code, lifetime=visits.PROGRAM).secret
        server = start_dimse(scene.node, "127.0.0.1", 0, "CARINA")
        yield Archive(Door(scene.node, server.port), secret)
        server.stop()


def run(name: str, port: int, *options: str) -> str:
    """All that a tool says."""
    command = [tool(name), "-v", "-S", "-aec", "CARINA", *options, "127.0.0.1", str(port)]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    return ended.stdout + ended.stderr


def keys(**wanted: str) -> list[str]:
    return [part for name, value in wanted.items() for part in ("-k", f"{name}={value}" if value else name)]


@contextmanager
def introduced(port: int, name: str, secret: str) -> Iterator[int]:
    """A port behind which the node hears, of one association, who asks: PS3.7 annex D.3.3.7.1, type 2."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_introduce, args=(listener, port, name.encode(), secret.encode()))
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def _introduce(listener: socket.socket, port: int, name: bytes, secret: bytes) -> None:
    ours, _ = listener.accept()
    with ours, socket.create_connection(("127.0.0.1", port)) as theirs:
        kind, _, size = struct.unpack(">BBL", _exactly(ours, 6))
        request = _exactly(ours, size)
        place = 68  # of the variable items, PS3.8 table 9-11
        while request[place] != 0x50:
            place += 4 + struct.unpack_from(">H", request, place + 2)[0]
        shown = struct.pack(">BBH", 2, 0, len(name)) + name + struct.pack(">H", len(secret)) + secret
        user = request[place + 4 :] + struct.pack(">BBH", 0x58, 0, len(shown)) + shown
        request = request[:place] + struct.pack(">BBH", 0x50, 0, len(user)) + user
        theirs.sendall(struct.pack(">BBL", kind, 0, len(request)) + request)
        back = threading.Thread(target=_pass_on, args=(theirs, ours))
        back.start()
        _pass_on(ours, theirs)
        back.join(10)


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += (some := connection.recv(size - len(found)))
        assert some
    return found


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def test_who_shows_no_visit_finds_and_fetches_nothing(dataset: Archive, tmp_path: Path) -> None:
    port = dataset.door.port
    assert "0x124" in run("findscu", port, *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=""))
    said = run("getscu", port, "-od", str(tmp_path), *keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2"))
    assert "0x124" in said
    assert "Release Failed" not in said, said
    assert not list(tmp_path.glob("CT*"))


def test_a_sender_with_a_wrong_identity_is_refused_and_with_a_right_one_heard(dataset: Archive) -> None:
    files, name = [sample("CT_small.dcm")], ["-usr", "rosa"]
    assert send(dataset.door, files, *name, "-pwd", "nonsense").returncode != 0
    assert send(dataset.door, files, "-usr", "rafael", "-pwd", dataset.secret).returncode != 0
    assert send(dataset.door, files, *name, "-pwd", dataset.secret).returncode == 0


def test_a_dataset_is_found_and_fetched(dataset: Archive, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with introduced(dataset.door.port, "rosa", dataset.secret) as port:
        wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="", ModalitiesInStudy="CT", PatientID="")
        said = run("findscu", port, "-X", "-od", str(out), *wanted)
    assert "Success" in said, said
    [answer] = out.glob("rsp*.dcm")
    study = pydicom.dcmread(answer)
    assert study.ModalitiesInStudy == "CT"
    with introduced(dataset.door.port, "rosa", dataset.secret) as port:
        wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=study.StudyInstanceUID)
        said = run("getscu", port, "-od", str(out), *wanted)
    files = [pydicom.dcmread(path) for path in out.glob("CT*")]
    assert len(files) == 2, said
    assert {file.StudyInstanceUID for file in files} == {study.StudyInstanceUID}
    assert {file.PatientID for file in files} == {study.PatientID}
    [entry] = dataset.door.node.audit.entries(5, action="retrieved")
    assert (entry.actor, entry.details["instances"]) == ("rosa", 2)
