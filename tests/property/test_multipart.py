"""Bodies of several parts, however they are cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from carina.errors import BadInput
from carina.interfaces.dicomweb.multipart import Begin, End, Parser, begin_part, end

EDGE = "e"
pieces = st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"\r\n--", b"\r\n--e"[:4], b"e", b"-", b"\0", b"xyz" * 9])
bodies = st.lists(pieces, max_size=12).map(b"".join).filter(lambda body: b"\r\n--e" not in b"\r\n" + body + b"\r\n")


def read(body: bytes, cuts: list[int]) -> list[tuple[str, bytes]]:
    parser, found = Parser(EDGE), []
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    open_part = False
    for start, stop in pairwise(places):
        for event in parser.feed(body[start:stop]):
            if isinstance(event, Begin):
                assert not open_part
                found.append((event.media, b""))
                open_part = True
            elif isinstance(event, End):
                assert open_part
                open_part = False
            else:
                assert open_part and event
                found[-1] = (found[-1][0], found[-1][1] + event)
    parser.close()
    return found


def written(parts: list[bytes]) -> bytes:
    fields = [("Content-Type", "application/dicom")]
    whole = b"".join(begin_part(EDGE, fields, number == 0) + part for number, part in enumerate(parts))
    return whole + end(EDGE)


@given(st.lists(bodies, max_size=5), st.lists(st.integers(0, 10**6), max_size=20))
def test_the_cuts_change_nothing(parts: list[bytes], cuts: list[int]) -> None:
    assert read(written(parts), cuts) == [("application/dicom", part) for part in parts]


@given(st.lists(bodies, min_size=1, max_size=3), st.lists(st.integers(0, 10**6), max_size=9), st.data())
def test_a_body_that_ends_before_its_last_boundary_is_refused(
    parts: list[bytes], cuts: list[int], draw: st.DataObject
) -> None:
    whole = written(parts)
    short = whole[: draw.draw(st.integers(0, len(whole) - len(b"--\r\n") - 1))]
    try:
        read(short, cuts)
    except BadInput:
        return
    raise AssertionError("it was taken for a whole one")


@given(st.lists(st.one_of(pieces, st.binary(max_size=20)), max_size=30).map(b"".join), st.lists(st.integers(0, 500)))
def test_any_bytes_are_read_or_refused_and_the_cuts_change_nothing(body: bytes, cuts: list[int]) -> None:
    results: list[object] = []
    for some in ([], cuts, list(range(len(body)))):
        try:
            results.append(read(body, some))
        except BadInput:
            results.append(None)
    assert results[0] == results[1] == results[2]


@given(st.integers(1, 20), st.integers(50, 70_000))
def test_no_more_than_a_few_bytes_are_kept(count: int, step: int) -> None:
    parser, kept = Parser(EDGE), 0
    whole = written([b"\r\n--" * 500] * count)
    for start in range(0, len(whole), step):
        for _ in parser.feed(whole[start : start + step]):
            pass
        kept = max(kept, len(parser._data) - parser._place)
    assert kept < 100
