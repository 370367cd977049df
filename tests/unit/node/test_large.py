"""Large instances from the spool into the store, in pieces."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from tests.support import LUNG, SCANNER, ct, make_node, part10

from carina.deid.engine import files
from carina.deid.engine.engine import Engine
from carina.dicom.describe import described
from carina.errors import InvalidInstance, Withheld
from carina.model.instance import CleanInstance, Reason
from carina.node import ingest, large
from carina.node.parcel import unwrap
from carina.node.preparing import handling_of
from carina.node.site import Node
from carina.storage.files import ASIDE


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node", largest_instance=2**40)
    yield node
    node.engine.dispose()


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHUNKS", (1000, 8000))


def engine(node: Node) -> Engine:
    return Engine(handling_of(node, node.projects[LUNG], SCANNER))


def stored(node: Node) -> list[Path]:
    return [path for path in (node.folder / "store").rglob("*") if path.is_file()]


def large_image(syntax: str = ExplicitVRLittleEndian, size: int = 256, frames: int = 1) -> bytes:
    dataset = pydicom.dcmread(BytesIO(ct(size=size)))
    if frames > 1:
        dataset.NumberOfFrames = frames
        dataset.PixelData *= frames
    dataset.PixelData += b"Garcia Maria"  # behind the last frame
    dataset.add_new(0xFFFCFFFC, "OB", b"Garcia")
    return part10(dataset, syntax)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_it_comes_out_as_from_memory(node: Node, syntax: str, frames: int) -> None:
    data = large_image(syntax, 400, frames)
    expected = engine(node).clean(data)
    one = ingest.receive(node, data, SCANNER)
    found = large.store(node, one.id, engine(node))
    assert found is not None
    with node.instances.open(found.content) as stream:
        clean = stream.read()
    assert clean == expected.data and found.size == len(clean)
    assert b"Garcia" not in clean
    assert found.clean.source_digest == expected.source_digest
    assert (found.clean.uid, found.clean.facts) == (expected.uid, expected.facts)
    assert found.described == described(clean)


def test_memory_stays_small(node: Node) -> None:
    data = large_image(size=1024, frames=24)  # 48 MiB
    one = ingest.receive(node, data, SCANNER)
    taking = engine(node)
    assert large.store(node, one.id, taking) is not None
    tracemalloc.start()
    assert large.store(node, one.id, taking) is not None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_what_needs_all_of_its_bytes_is_left_to_whoever_has_room_for_them(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ingest.receive(node, large_image(ExplicitVRBigEndian), SCANNER)
    assert large.store(node, one.id, engine(node)) is None
    monkeypatch.setattr(large, "MOST_IN_MEMORY", 1000)
    with pytest.raises(Withheld) as caught:
        large.store(node, one.id, engine(node))
    assert caught.value.reason == Reason.TOO_LARGE
    assert stored(node) == []


def test_what_is_withheld_leaves_nothing_in_the_store(node: Node) -> None:
    def never(_clean: CleanInstance) -> None:
        raise Withheld(Reason.NOT_PSEUDONYMISED, "not here")

    one = ingest.receive(node, large_image(), SCANNER)
    with pytest.raises(Withheld):
        large.store(node, one.id, engine(node), may=never)
    nameless = ingest.receive(node, ct(size=256, elements={"PatientID": ""}), SCANNER)
    with pytest.raises(Withheld):
        large.store(node, nameless.id, engine(node))
    assert stored(node) == []


def test_one_that_is_cut_short_leaves_nothing_in_the_store(node: Node) -> None:
    one = ingest.receive(node, ct(size=256)[:-1000], SCANNER)
    with pytest.raises(InvalidInstance):
        found = large.store(node, one.id, engine(node))
        assert found is None  # then it is read as a whole, which says so
        engine(node).clean(unwrap(node.spool.read(one.id)).data)
    assert stored(node) == []


def test_it_is_set_aside_in_quarantine_as_it_came_and_that_is_repeatable(node: Node) -> None:
    data = large_image()
    one = ingest.receive(node, data, SCANNER)
    for _ in range(2):
        assert large.set_aside(node, one.id).source == SCANNER
        assert unwrap(node.quarantine.read(one.id)).data == data
    node.spool.remove(one.id)
    assert large.set_aside(node, one.id).source == SCANNER
    assert node.quarantine.names() == [one.id]
    assert not [path for path in (node.folder / "quarantine").iterdir() if path.name.startswith(ASIDE)]


def test_the_same_again_is_one_file(node: Node) -> None:
    one = ingest.receive(node, large_image(), SCANNER)
    contents = {found.content for found in (large.store(node, one.id, engine(node)) for _ in range(2)) if found}
    assert len(contents) == 1 and len(stored(node)) == 1
    assert pydicom.dcmread(stored(node)[0]).SOPClassUID == CTImageStorage
