"""Sealed files of any size, however they are written and read."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carina.errors import WrongKey
from carina.storage import sealed
from carina.storage.sealed import SealedFolder, seal, unseal

KEY = b"k" * 32
SMALL = 16  # bytes of a segment here, so that there are many

datas = st.one_of(st.binary(max_size=100), st.sampled_from([bytes(SMALL * n) for n in range(5)]))


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "SEGMENT", SMALL)
    monkeypatch.setattr(sealed, "_SEALED", SMALL + 16)


def written(folder: SealedFolder, name: str, data: bytes, cuts: list[int]) -> None:
    writer = folder.writer(name)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        writer.write(memoryview(data)[start:end])
    writer.finish()
    folder.synchronise()


@given(datas, st.lists(st.integers(0, 200), max_size=6))
def test_what_is_written_in_pieces_is_what_is_written_at_once(data: bytes, cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = SealedFolder(Path(place), KEY)
        written(folder, "a", data, cuts)
        assert folder.read("a") == data
        folder.put("b", data)
        assert [len((Path(place) / name).read_bytes()) for name in "ab"] == [len(seal(KEY, data, "a"))] * 2
        with folder.open("b") as stream:
            assert (stream.size, stream.read()) == (len(data), data)


@given(datas, st.lists(st.tuples(st.integers(0, 120), st.integers(0, 50)), max_size=6))
def test_any_place_is_read(data: bytes, reads: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = SealedFolder(Path(place), KEY)
        folder.put("a", data)
        with folder.open("a") as stream:
            for start, size in reads:
                assert stream.seek(start) == start == stream.tell()
                found = stream.read(size) or b""
                assert data[start:].startswith(found) and (found or not data[start:] or not size)


@given(datas, st.data())
def test_a_change_a_cut_and_an_addition_are_found(data: bytes, draw: st.DataObject) -> None:
    whole = seal(KEY, data, "a")
    place = draw.draw(st.integers(0, len(whole) - 1))
    changed = whole[:place] + bytes([whole[place] ^ draw.draw(st.integers(1, 255))]) + whole[place + 1 :]
    for wrong in (changed, whole[:place], whole + draw.draw(st.binary(min_size=1, max_size=40))):
        with pytest.raises(WrongKey):
            unseal(KEY, wrong, "a")
        with tempfile.TemporaryDirectory() as folder, pytest.raises(WrongKey):
            (Path(folder) / "a").write_bytes(wrong)
            with SealedFolder(Path(folder), KEY).open("a") as stream:
                stream.read()


@given(st.binary(min_size=SMALL * 3, max_size=SMALL * 5), st.data())
def test_segments_that_are_moved_or_left_out_are_found(data: bytes, draw: st.DataObject) -> None:
    whole = seal(KEY, data, "a")
    head, size = whole[:20], SMALL + 16
    segments = [whole[start : start + size] for start in range(20, len(whole), size)]
    chosen = draw.draw(st.lists(st.integers(0, len(segments) - 1), max_size=len(segments) + 1))
    if chosen != list(range(len(segments))):
        with pytest.raises(WrongKey):
            unseal(KEY, head + b"".join(segments[number] for number in chosen), "a")


def test_one_sealing_is_of_one_segment_up_to_its_size() -> None:
    with patch.object(sealed, "SEGMENT", 1 << 20), patch.object(sealed, "_SEALED", (1 << 20) + 16):
        assert len(seal(KEY, bytes(1 << 20), "a")) == (1 << 20) + 20 + 16
        assert len(seal(KEY, bytes((1 << 20) + 1), "a")) == (1 << 20) + 1 + 20 + 32
