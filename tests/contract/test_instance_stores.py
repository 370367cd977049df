"""What every store of instances does."""

import stat
from hashlib import sha256
from pathlib import Path

import pytest
from tests.stored import SECOND, clean

from carina.errors import NotFound
from carina.storage.instances import FileInstances, InstanceStore, MemoryInstances


class InstanceStoreContract:
    """Every store passes this; each backend subclasses it and gives a `store`."""

    def test_what_was_put_can_be_read_from_its_beginning_each_time(self, store: InstanceStore) -> None:
        content = store.put(clean(data=b"bytes of a file"))
        for _ in range(2):
            with store.open(content) as stream:
                assert stream.read(5) == b"bytes"
                assert stream.seek(0) == 0
                assert stream.read() == b"bytes of a file"

    def test_the_content_is_the_digest_of_the_bytes(self, store: InstanceStore) -> None:
        assert store.put(clean(data=b"abc")) == sha256(b"abc").hexdigest()

    def test_the_same_bytes_again_change_nothing(self, store: InstanceStore) -> None:
        first = store.put(clean(data=b"abc"))
        assert store.put(clean(number=2, data=b"abc")) == first
        with store.open(first) as stream:
            assert stream.read() == b"abc"

    def test_versions_of_an_instance_rest_side_by_side(self, store: InstanceStore) -> None:
        old, new = store.put(clean(data=b"old")), store.put(clean(data=b"new", version=SECOND))
        with store.open(old) as one, store.open(new) as two:
            assert (one.read(), two.read()) == (b"old", b"new")

    def test_an_empty_file_is_a_file(self, store: InstanceStore) -> None:
        with store.open(store.put(clean(data=b""))) as stream:
            assert stream.read() == b""

    @pytest.mark.parametrize("content", ["0" * 64, "", "../../etc/passwd", "0" * 63 + "G", "A" * 64])
    def test_what_is_not_there_is_not_found(self, store: InstanceStore, content: str) -> None:
        with pytest.raises(NotFound):
            store.open(content)

    def test_what_was_removed_is_not_found_and_can_be_put_again(self, store: InstanceStore) -> None:
        kept, content = store.put(clean(data=b"kept")), store.put(clean(data=b"abc"))
        store.remove(content)
        store.remove(content)
        with pytest.raises(NotFound):
            store.open(content)
        assert store.put(clean(data=b"abc")) == content
        with store.open(content) as one, store.open(kept) as two:
            assert (one.read(), two.read()) == (b"abc", b"kept")

    def test_a_reader_keeps_its_bytes_when_they_are_removed(self, store: InstanceStore) -> None:
        content = store.put(clean(data=b"abc"))
        with store.open(content) as stream:
            store.remove(content)
            assert stream.read() == b"abc"

    def test_several_are_put_at_once(self, store: InstanceStore) -> None:
        contents = store.put_all([clean(data=b"a"), clean(number=2, data=b"b"), clean(number=3, data=b"a")])
        assert contents == [sha256(data).hexdigest() for data in (b"a", b"b", b"a")]
        assert [store.read(content, 0, 9) for content in contents] == [b"a", b"b", b"a"]

    def test_any_place_is_read(self, store: InstanceStore) -> None:
        content = store.put(clean(data=b"0123456789"))
        reads = [store.read(content, *place) for place in ((0, 4), (4, 4), (8, 4), (10, 1), (3, 0))]
        assert reads == [b"0123", b"4567", b"89", b"", b""]
        with pytest.raises(NotFound):
            store.read("0" * 64, 0, 1)

    def test_a_file_is_written_in_pieces(self, store: InstanceStore) -> None:
        for _ in range(2):
            writer = store.writer()
            for data in (b"bytes ", memoryview(b"of a "), b"file"):
                writer.write(data)
            content = writer.finish()
            assert content == sha256(b"bytes of a file").hexdigest()
            assert store.read(content, 0, 99) == b"bytes of a file"

    def test_a_file_that_is_given_up_is_none(self, store: InstanceStore) -> None:
        writer = store.writer()
        writer.write(b"abc")
        writer.abort()
        with pytest.raises(NotFound):
            store.open(sha256(b"abc").hexdigest())


class TestFileInstances(InstanceStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> InstanceStore:
        return FileInstances(tmp_path / "store")

    def test_files_are_spread_over_folders_and_for_their_owner_only(self, store: InstanceStore, tmp_path: Path) -> None:
        content = store.put(clean(data=b"abc"))
        path = tmp_path / "store" / content[:2] / f"{content}.dcm"
        assert path.read_bytes() == b"abc"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert {stat.S_IMODE(folder.stat().st_mode) for folder in list(path.parents)[:3]} == {0o700}

    def test_a_damaged_file_is_made_whole_when_its_instance_comes_again(
        self, store: InstanceStore, tmp_path: Path
    ) -> None:
        content = store.put(clean(data=b"abc"))
        (tmp_path / "store" / content[:2] / f"{content}.dcm").write_bytes(b"abd")
        store.put(clean(data=b"abc"))
        with store.open(content) as stream:
            assert stream.read() == b"abc"

    def test_a_writer_leaves_nothing_beside_its_file(self, store: InstanceStore, tmp_path: Path) -> None:
        for end in ("finish", "abort", "finish"):
            writer = store.writer()
            writer.write(b"abc")
            getattr(writer, end)()
        [path] = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
        assert path.name == sha256(b"abc").hexdigest() + ".dcm"

    def test_another_process_finds_what_was_put(self, store: InstanceStore, tmp_path: Path) -> None:
        content = store.put(clean(data=b"abc"))
        with FileInstances(tmp_path / "store").open(content) as stream:
            assert stream.read() == b"abc"

    def test_what_a_dead_writer_left_is_swept(self, tmp_path: Path) -> None:
        store = FileInstances(tmp_path / "store")
        content = store.put(clean(data=b"abc"))
        (tmp_path / "store" / content[:2] / ".new-0123").write_bytes(b"half")
        assert (store.sweep(), store.sweep()) == (1, 0)
        store.open(content).close()


class TestMemoryInstances(InstanceStoreContract):
    @pytest.fixture
    def store(self) -> InstanceStore:
        return MemoryInstances()
