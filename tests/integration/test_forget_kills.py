"""SIGKILL while a person is forgotten, with workers under way: done once more, nothing is left of the person."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select
from tests.support import SCANNER, ct

from carina.app.found import NewNode, found_node
from carina.app.site import open_node
from carina.deid.person import Person
from carina.deid.pseudonyms import ProjectKeys, new_uid, patient_key
from carina.model.ids import ProjectId
from carina.node import forget, worker
from carina.node.ingest import receive
from carina.node.recovery import recover
from carina.node.site import Node
from carina.storage import arrivals, schema

WHO, OTHER, IMAGES, KILLS = "MRN-4711-SECRET", "MRN-0002", 60, 6
LUNG = ProjectId("lung")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    new = NewNode(
        title="Test", institution="Test", country="ES", project="lung", issuer="HOSPITAL",
        inside_port=0, outside_port=0, dimse_port=0, sources=(("aet", "SCANNER"),),
    )  # fmt: skip
    found_node(tmp_path / "node", tmp_path / "keys" / "node.json", new)
    yield tmp_path / "node"


def images() -> Iterator[tuple[str, bytes]]:
    for number in range(1, IMAGES + 1):
        for one in (WHO, OTHER):
            burned = {"BurnedInAnnotation": "YES"} if number % 10 == 0 else {}
            yield one, ct(one, study=1 + number // 20, number=number, elements=burned)


def process(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def forgetting(folder: Path) -> subprocess.Popen[bytes]:
    """The command a data manager gives."""
    started = process("-m", "carina", "node", "forget", str(folder), "--yes")
    assert started.stdin is not None
    started.stdin.write(f"{WHO}\n".encode())
    started.stdin.close()
    return started


WORK = """
import sys, threading
from pathlib import Path
from carina.app.site import open_node
from carina.node import worker
with open_node(Path(sys.argv[1])) as node:
    worker.run(node, threading.Event(), sys.argv[2])
"""


def sought(node: Node) -> list[bytes]:
    """The identifier, the pseudonym and the UIDs, as sent and as made here."""
    keys = ProjectKeys.of(node.keys.pseudonym, LUNG)
    root = f"1.2.826.0.1.3680043.8.498.{int.from_bytes(WHO.encode(), 'big') % 10**12}"
    uids = [f"{root}.{study}" for study in (1, 2, 3, 4)]
    uids += [f"{root}.{1 + number // 20}.1.{number}" for number in range(1, IMAGES + 1)]
    texts = [WHO, patient_key(keys, Person("HOSPITAL", WHO)), *uids, *(new_uid(keys, uid) for uid in uids)]
    return [text.encode() for text in texts]


def left(folder: Path, wanted: list[bytes]) -> set[tuple[str, bytes]]:
    """Where any of these still stand, but in rows of the audit trail, which are never changed."""
    copy = folder.parent / "copy.sqlite"
    found = set()
    for path in [*folder.rglob("*"), *(folder.parent / "keys").iterdir()]:
        if not path.is_file() or path.name.startswith("records.sqlite"):
            continue
        data = path.read_bytes()
        found |= {(path.name, one) for one in wanted if one in data}
    with closing(sqlite3.connect(folder / "records.sqlite")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        copy.write_bytes((folder / "records.sqlite").read_bytes())
        rows = database.execute("SELECT subject, details FROM audit").fetchall()
    data = copy.read_bytes() + (folder / "records.sqlite-wal").read_bytes() if _wal(folder) else copy.read_bytes()
    for text in {text for row in rows for text in row if text}:
        data = data.replace(text.encode(), b"")
    return found | {("records.sqlite", one) for one in wanted if one in data}


def _wal(folder: Path) -> bool:
    return (folder / "records.sqlite-wal").exists()


def test_nothing_is_left_after_kills_and_a_repeat(site: Path) -> None:
    with open_node(site) as node:
        for _, data in images():
            receive(node, data, SCANNER)
        wanted = sought(node)
        while arrivals.waiting(node.engine) > IMAGES:
            worker.work(node, "first")
    workers = [process("-c", WORK, str(site), f"worker-{number}") for number in (1, 2)]
    chance = random.Random(4)
    try:
        for _ in range(KILLS):
            command = forgetting(site)
            time.sleep(chance.uniform(0.8, 2.2))
            command.kill()
            command.wait()
        last = forgetting(site)
        assert last.wait(120) == 0
        with open_node(site) as node:
            end = time.monotonic() + 60
            while arrivals.waiting(node.engine) and time.monotonic() < end:
                time.sleep(0.2)
            assert arrivals.waiting(node.engine) == 0
    finally:
        for one in workers:
            one.kill()
            one.wait()
            assert one.stdin is not None
            one.stdin.close()
    with open_node(site) as node:
        forget.apply_tombstones(node)
        recover(node)
        forget.rewrite_records(node)
        assert forget.count(node, forget.marks_of(node, WHO)).nothing
        assert forget.count(node, forget.marks_of(node, OTHER)).instances == IMAGES - IMAGES // 10
        with node.engine.connect() as connection:
            held = connection.execute(select(func.count()).select_from(schema.instances)).scalar_one()
        assert held == len(list((site / "store").rglob("*.dcm"))) == IMAGES - IMAGES // 10
        assert node.audit.verify()
    assert left(site, wanted) == set()
    assert (site.parent / "keys" / "node.forgotten").stat().st_mode & 0o777 == 0o600


def test_a_node_that_starts_from_an_older_copy_forgets_before_it_serves(site: Path) -> None:
    with open_node(site) as node:
        for who in (WHO, OTHER):
            receive(node, ct(who), SCANNER)
        while worker.work(node, "first"):
            pass
    older = shutil.copytree(site, site.parent / "older")
    assert forgetting(site).wait(120) == 0
    shutil.rmtree(site)
    shutil.move(older, site)
    server = process("-m", "carina", "node", "serve", str(site))
    try:
        with open_node(site) as node:
            marks, end = forget.marks_of(node, WHO), time.monotonic() + 60
            while not forget.count(node, marks).nothing and time.monotonic() < end:
                assert server.poll() is None
                time.sleep(0.2)
            assert forget.count(node, marks).nothing
            assert forget.count(node, forget.marks_of(node, OTHER)).instances == 1
    finally:
        server.terminate()
        server.wait(30)
        assert server.stdin is not None
        server.stdin.close()
