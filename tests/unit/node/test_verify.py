"""Whether all that a node stores is as it was stored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update
from tests.support import SCANNER, ct, make_node

from carina.deid.evidence.reveal import WayBack
from carina.node import discarded, ingest, quarantine, worker
from carina.node.site import Node
from carina.node.verify import KINDS, Pace, Verified, verify
from carina.storage.schema import arrivals, frame_tables, instances, node_tables


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Two images archived, one in quarantine, one that waits."""
    made = make_node(tmp_path / "node")
    way_back = WayBack(made.folder / "way-back.sqlite", b"w" * 32)
    made = replace(made, way_back=way_back)
    for data in (ct(number=1), ct(number=2), b"none"):
        ingest.receive(made, data, SCANNER)
    while worker.work(made, "test"):
        pass
    ingest.receive(made, ct("MRN-2"), SCANNER)
    yield made
    way_back.close()
    made.engine.dispose()


def stored(node: Node) -> list[Path]:
    return sorted((node.folder / "store").rglob("*.dcm"))


def only(node: Node) -> tuple[str, str]:
    """The one finding."""
    [finding] = verify(node).findings
    assert finding.kind in KINDS
    return finding.kind, finding.subject


def test_a_node_in_order_has_no_findings_and_all_is_counted(node: Node) -> None:
    told: list[int] = []
    found = verify(node, tell=lambda so_far: told.append(so_far.files))
    assert found.whole and found.counts() == {}
    assert (found.files, found.sealed, found.orphans, found.unclaimed) == (2, 2, 0, 0)
    assert found.size == sum(path.stat().st_size for path in stored(node))
    assert found.audit == node.audit.verify() and found.way_back == 4 + 1  # a patient, study, series; two instances
    assert told[-1] == 2


def test_a_missing_and_a_changed_file_are_named_by_their_content(node: Node) -> None:
    first, second = stored(node)
    first.unlink()
    assert only(node) == ("missing", first.stem)
    data = bytearray(second.read_bytes())
    data[-1] ^= 1
    second.write_bytes(data)
    found = verify(node)
    assert {(one.kind, one.subject) for one in found.findings} == {("missing", first.stem), ("damaged", second.stem)}
    assert found.counts() == {"missing": 1, "damaged": 1}


def test_a_former_version_is_needed_too(node: Node) -> None:
    content = stored(node)[0].stem
    with node.engine.begin() as connection:
        connection.execute(delete(instances).where(instances.c.content == content))
    assert verify(node).orphans == 0
    stored(node)[0].unlink()
    assert only(node) == ("missing", content)


@pytest.mark.parametrize(
    "values",
    [
        {"pixel_offset": 10**9},
        {"pixel_offset": 500, "frame_size": 10**9},
        {"pixel_offset": None, "frame_size": 100},
        {"pixel_offset": 500, "frame_size": 1, "frames": 10**8},
    ],
)
def test_frames_that_cannot_lie_there_are_found(node: Node, values: dict[str, int | None]) -> None:
    content = stored(node)[0].stem
    with node.engine.begin() as connection:
        connection.execute(update(instances).where(instances.c.content == content).values(**values))
    assert only(node) == ("frames", content)


def place(offset: int, length: int) -> bytes:
    return offset.to_bytes(8, "little") + length.to_bytes(8, "little")


@pytest.mark.parametrize(
    ("table", "fits"),
    [
        (place(500, 100), True),
        (place(500, 10**6), False),
        (place(500, 4), False),
        (place(500, 100) + place(600, 100), False),
        (place(500, 100)[:-1], False),
        (b"", False),
    ],
)
def test_a_frame_table_that_does_not_fit_its_file_is_found(node: Node, table: bytes, fits: bool) -> None:
    content = stored(node)[0].stem
    with node.engine.begin() as connection:
        of_this = update(instances).where(instances.c.content == content)
        connection.execute(of_this.values(frames=1, frame_size=None, pixel_offset=None))
        connection.execute(insert(frame_tables), {"content": content, "frames": table})
    assert [one.kind for one in verify(node).findings] == ([] if fits else ["frames"])


def test_another_size_than_the_records_say_is_found(node: Node) -> None:
    content = stored(node)[0].stem
    with node.engine.begin() as connection:
        connection.execute(update(instances).where(instances.c.content == content).values(size=10**9, frame_size=None))
    assert only(node) == ("size", content)


def test_an_encrypted_file_that_was_changed_does_not_open(node: Node) -> None:
    for folder in (node.spool, node.quarantine):
        [name] = folder.names()
        path = node.folder / ("spool" if folder is node.spool else "quarantine") / name
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        assert only(node) == ("unreadable", name)
        path.write_bytes(kept[:-20])
        assert only(node) == ("unreadable", name)
        path.write_bytes(kept)
    assert verify(node).whole


def test_what_waits_and_has_no_bytes_is_lost(node: Node) -> None:
    [name] = node.spool.names()
    node.spool.remove(name)
    assert only(node) == ("lost", name)
    [held] = node.quarantine.names()
    node.quarantine.remove(held)
    assert {one.subject for one in verify(node).findings} == {name, held}


def test_what_can_be_taken_back_needs_its_bytes_and_what_is_destroyed_does_not(node: Node) -> None:
    [one] = node.quarantine.names()
    quarantine.discard(node, "ana", ids=[one])
    assert verify(node).whole
    discarded.destroy(node, "ana", [one])
    assert verify(node).whole


def test_files_without_a_row_are_counted_and_do_no_harm(node: Node) -> None:
    orphan = node.folder / "store" / "ab" / f"{'abcd' * 16}.dcm"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"left by a process that was killed")
    assert verify(node).orphans == 0  # a worker may be about to write its row
    os.utime(orphan, (0, 0))
    with node.engine.begin() as connection:
        connection.execute(delete(arrivals).where(arrivals.c.id == node.spool.names()[0]))
    found = verify(node)
    assert found.whole and (found.orphans, found.unclaimed) == (1, 1)


def test_a_broken_trail_map_or_list_is_found(node: Node) -> None:
    audit = node_tables.tables["audit"]
    with node.engine.begin() as connection:
        connection.execute(update(audit).where(audit.c.seq == 2).values(actor="another"))
    assert only(node) == ("audit", "2")
    (node.folder / "aliases").write_bytes(b"another file")
    way_back = WayBack(node.folder / "way-back.sqlite", b"another key of thirty-two bytes!")
    found = verify(replace(node, way_back=way_back))
    way_back.close()
    assert found.counts() == {"audit": 1, "way-back": 1, "aliases": 1}


def test_what_a_live_node_changes_meanwhile_is_no_finding(node: Node) -> None:
    def go_on(_so_far: Verified) -> None:
        """Between the looks: what waits is taken in, something is discarded, something new comes."""
        if node.quarantine.names():
            quarantine.discard(node, "ana", ids=node.quarantine.names())
            discarded.make_room(node)
            while worker.work(node, "test"):
                pass
            ingest.receive(node, ct("MRN-9"), SCANNER)

    assert verify(node, tell=go_on).whole


def test_a_suspect_that_is_in_order_again_is_no_finding(node: Node) -> None:
    path, data = stored(node)[0], stored(node)[0].read_bytes()
    path.unlink()

    def put_back(_so_far: Verified) -> None:
        path.write_bytes(data)

    assert verify(node, tell=put_back).whole


def test_reading_keeps_to_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    from carina.node import verify as module

    monkeypatch.setattr(module.time, "sleep", slept.append)
    pace = Pace(1000.0)
    pace.read(500)
    Pace().read(10**12)
    assert len(slept) == 1 and 0.4 < slept[0] <= 0.5
