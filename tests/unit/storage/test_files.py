"""What a call has acknowledged survives SIGKILL, and a disk without room leaves nothing half."""

import hashlib
import os
import resource
from pathlib import Path

import pytest
from tests.stored import process, records

from carina.errors import Full
from carina.storage.audit import AuditTrail
from carina.storage.files import make_folder, remove_durably, sweep, write_durably
from carina.storage.sealed import SealedFolder

KEY = b"k" * 32
WRITER = """
import hashlib, itertools
from carina.storage.sealed import SealedFolder
from carina.storage.audit import AuditTrail
from carina.storage.database import open_engine
spool, trail = SealedFolder(folder / "spool", b"k" * 32), AuditTrail(open_engine(folder / "records.sqlite"))
for number in itertools.count():
    name = hashlib.sha256(str(number).encode()).hexdigest()
    spool.put(name, name.encode() * 1000)
    trail.append("received", "test", name)
    print(name, flush=True)
"""


def test_all_that_a_killed_writer_acknowledged_is_there_and_whole(tmp_path: Path) -> None:
    with records(tmp_path) as engine:
        acknowledged = []
        for kill_after in (1, 7, 15):
            writer = process(WRITER, tmp_path)
            assert writer.stdout is not None
            acknowledged += [writer.stdout.readline().strip() for _ in range(kill_after)]
            writer.kill()
            rest, _ = writer.communicate(timeout=30)
            acknowledged += [line for line in rest.split("\n")[:-1] if line]
        trail = AuditTrail(engine)
        assert trail.verify() >= len(acknowledged) >= 23
        assert {entry.subject for entry in trail.entries(10_000)} >= set(acknowledged)
        spool = SealedFolder(tmp_path / "spool", KEY)
        spool.sweep()
        for name in spool.names():  # the acknowledged ones, and perhaps one that was not yet
            assert spool.read(name) == name.encode() * 1000
        assert set(spool.names()) >= set(acknowledged)


def test_a_disk_without_room_keeps_what_was_there_and_leaves_nothing_half(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(Full):
            write_durably(path, b"x" * 1001)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"before"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_another_fault_of_the_disk_is_not_called_full(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_durably(tmp_path / "absent" / "file", b"data")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"a long first text")
    with path.open("rb") as reader:
        write_durably(path, b"second")
        assert reader.read() == b"a long first text"
    assert path.read_bytes() == b"second"


def test_a_large_file_is_whole(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    write_durably(tmp_path / "file", data)
    assert hashlib.sha256((tmp_path / "file").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_folders_are_made_with_those_above_and_sweeping_goes_down(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "c"
    make_folder(folder)
    make_folder(folder)
    (folder / ".new-1").touch()
    (folder / "kept").touch()
    assert sweep(tmp_path) == 1
    assert remove_durably(folder / "kept")
    assert not remove_durably(folder / "kept")
