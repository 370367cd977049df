from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carina.errors import BadInput
from carina.interfaces.dicomweb.multipart import Part, begin_part, end, new_boundary, parts


def read(body: bytes, boundary: str = "edge", step: int = 7, largest: int = 1000) -> list[Part]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]
        yield b""

    async def collect() -> list[Part]:
        return [part async for part in parts(chunks(), boundary, largest)]

    return asyncio.run(collect())


BODY = (
    b"a preamble that says nothing\r\n"
    b"--edge  \r\nContent-Type: application/dicom\r\nContent-Length: 3\r\n\r\none\r\n"
    b"--edge\r\n\r\n\r\n--edg is no edge\r\n"
    b"--edge\r\ncontent-type:text/plain\r\n\r\n\r\n"
    b"--edge--\r\nan epilogue"
)


@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_parts_are_the_same_however_they_come(step: int) -> None:
    assert [(part.media, part.data) for part in read(BODY, step=step)] == [
        ("application/dicom", b"one"),
        ("", b"\r\n--edg is no edge"),
        ("text/plain", b""),
    ]


@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(1, 50))
def test_what_is_written_is_read_back(bodies: list[bytes], step: int) -> None:
    boundary = new_boundary()
    pieces = []
    for number, body in enumerate(bodies):
        pieces += [begin_part(boundary, [("Content-Type", "application/dicom")], number == 0), body]
    message = b"".join([*pieces, end(boundary)])
    assert [part.data for part in read(message, boundary, step)] == bodies


def test_a_part_that_is_too_large_is_counted_and_not_kept() -> None:
    body = b"--edge\r\n\r\n" + bytes(5000) + b"\r\n--edge\r\n\r\nsmall\r\n--edge--"
    large, small = read(body, step=100)
    assert (large.data, large.size) == (None, 5000)
    assert (small.data, small.size) == (b"small", 5)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--edge\r\n\r\ncut sho",
        b"--edge\r\nContent-Type: application/dicom\r\n",
        b"--edge",
        b"--edge\r\n\r\none\r\n--edge",
        b"--edgewise\r\n\r\none\r\n--edgewise--",
        b"--edge\r\n" + b"X-Long: " + bytes(20_000) + b"\r\n\r\none\r\n--edge--",
    ],
)
def test_a_body_that_is_no_such_message_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        read(body)


@pytest.mark.parametrize("boundary", ["", "x" * 71, "ends with blank ", "line\r\nbreak"])
def test_a_boundary_must_be_one(boundary: str) -> None:
    with pytest.raises(BadInput):
        read(b"--" + boundary.encode() + b"--", boundary)
