import stat
from pathlib import Path

import pytest

from carina.errors import BadInput, NotFound, WrongKey
from carina.storage.sealed import SealedFolder, seal, unseal

KEY = b"k" * 32
SECRET = b"Garcia^Maria" * 100


def test_what_was_sealed_opens_again() -> None:
    for data in (b"", b"x", SECRET):
        assert unseal(KEY, seal(KEY, data, "name"), "name") == data


def test_sealed_bytes_hold_nothing_of_what_they_keep_and_differ_each_time() -> None:
    first, second = seal(KEY, SECRET, "name"), seal(KEY, SECRET, "name")
    assert first != second
    assert b"Garcia" not in first + second


@pytest.mark.parametrize(("key", "name"), [(b"K" * 32, "name"), (KEY, "other")])
def test_another_key_or_name_does_not_open_it(key: bytes, name: str) -> None:
    with pytest.raises(WrongKey):
        unseal(key, seal(KEY, SECRET, "name"), name)


def test_a_change_anywhere_is_found() -> None:
    sealed = seal(KEY, b"short", "name")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(WrongKey):
            unseal(KEY, bytes(changed), "name")


def test_a_cut_anywhere_is_found() -> None:
    sealed = seal(KEY, b"short", "name")
    for length in range(len(sealed)):
        with pytest.raises(WrongKey):
            unseal(KEY, sealed[:length], "name")


def test_a_folder_keeps_reads_names_and_forgets(tmp_path: Path) -> None:
    folder = SealedFolder(tmp_path / "spool", KEY)
    folder.put("b", b"two")
    folder.put("a", SECRET)
    folder.put("b", b"three")
    assert folder.names() == ["a", "b"]
    assert (folder.read("a"), folder.read("b")) == (SECRET, b"three")
    folder.remove("a")
    folder.remove("a")
    assert folder.names() == ["b"]
    with pytest.raises(NotFound):
        folder.read("a")


def test_a_file_given_another_name_does_not_open(tmp_path: Path) -> None:
    folder = SealedFolder(tmp_path, KEY)
    folder.put("a", SECRET)
    (tmp_path / "a").rename(tmp_path / "b")
    with pytest.raises(WrongKey):
        folder.read("b")


def test_the_files_of_a_folder_are_for_their_owner_only_and_hold_nothing_in_clear(tmp_path: Path) -> None:
    SealedFolder(tmp_path / "spool", KEY).put("a", SECRET)
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "spool" / "a").stat().st_mode) == 0o600
    assert b"Garcia" not in (tmp_path / "spool" / "a").read_bytes()


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/passwd", ".hidden", "a" * 121, "a\0"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = SealedFolder(tmp_path, KEY)
    with pytest.raises(BadInput):
        folder.put(name, b"")
    with pytest.raises(BadInput):
        folder.read(name)


def test_what_a_dead_writer_left_is_no_name_and_is_swept(tmp_path: Path) -> None:
    folder = SealedFolder(tmp_path, KEY)
    folder.put("a", b"whole")
    (tmp_path / ".new-0123").write_bytes(b"half")
    assert folder.names() == ["a"]
    assert folder.sweep() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
