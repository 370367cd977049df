from __future__ import annotations

import pytest
from starlette.requests import Request

from carina.interfaces.dicomweb.media import FrameAnswer, Media, accepted, choose_frames, fits, parse_media

J2K, JPEG, EXPLICIT, RLE = (f"1.2.840.10008.1.2{tail}" for tail in (".4.90", ".4.50", ".1", ".5"))
OCTETS = "application/octet-stream"


def request(accept: str | None, query: bytes = b"") -> Request:
    headers = [] if accept is None else [(b"accept", accept.encode())]
    return Request({"type": "http", "headers": headers, "query_string": query})


def test_parameters_are_read_with_and_without_quotes() -> None:
    media = parse_media('Multipart/Related; Type="application/dicom"; boundary="a;b,c"; transfer-syntax=1.2')
    assert media.type == "multipart/related"
    assert media.parameters == {"type": "application/dicom", "boundary": "a;b,c", "transfer-syntax": "1.2"}
    assert (media.inner, media.syntax) == ("application/dicom", "1.2")


def test_the_best_liked_comes_first_and_what_is_not_liked_not_at_all() -> None:
    header = 'image/png;q=0.5, multipart/related; type="image/jp2, x";q=0.9, text/html;q=0, */*;q=nonsense, image/jpeg'
    assert [media.type for media in accepted(request(header))] == ["image/jpeg", "multipart/related", "image/png"]
    assert accepted(request(None)) == [Media("*/*")]
    assert accepted(request("image/png", b"accept=image/jpeg")) == [Media("image/jpeg")]


def test_ranges_cover_types() -> None:
    assert fits("*/*", "image/png")
    assert fits("image/*", "image/png")
    assert not fits("image/*", "application/dicom")
    assert not fits("image/p", "image/png")


@pytest.mark.parametrize(
    ("accept", "syntax", "expected"),
    [
        (f'multipart/related; type="{OCTETS}"', EXPLICIT, FrameAnswer(False, OCTETS, True)),
        (f'multipart/related; type="{OCTETS}"', J2K, FrameAnswer(False, OCTETS, True)),
        (f'multipart/related; type="{OCTETS}"; transfer-syntax=*', J2K, FrameAnswer(True, OCTETS, True)),
        (f'multipart/related; type="{OCTETS}"; transfer-syntax=*', EXPLICIT, FrameAnswer(False, OCTETS, True)),
        (f'multipart/related; type="{OCTETS}"; transfer-syntax={J2K}', J2K, FrameAnswer(True, OCTETS, True)),
        (f'multipart/related; type="{OCTETS}"; transfer-syntax={RLE}', J2K, None),
        ('multipart/related; type="image/jp2"', J2K, FrameAnswer(True, "image/jp2", True)),
        ('multipart/related; type="image/jp2"', EXPLICIT, None),
        ('multipart/related; type="image/*"', JPEG, FrameAnswer(True, "image/jpeg", True)),
        ('multipart/related; type="image/dicom-rle"; transfer-syntax=1.2', RLE, None),
        ("multipart/related", J2K, FrameAnswer(True, "image/jp2", True)),
        ("*/*", J2K, FrameAnswer(True, "image/jp2", True)),
        ("*/*", EXPLICIT, FrameAnswer(False, OCTETS, True)),
        (OCTETS, EXPLICIT, FrameAnswer(False, OCTETS, False)),
        ("image/png", EXPLICIT, None),
        (f'image/png, multipart/related; type="{OCTETS}";q=0.1', RLE, FrameAnswer(False, OCTETS, True)),
    ],
)
def test_frames_are_given_as_the_client_accepts_them(accept: str, syntax: str, expected: FrameAnswer | None) -> None:
    ranges = accepted(request(accept))
    assert choose_frames(ranges, syntax, native_possible=True, alone=True) == expected


def test_what_cannot_be_decompressed_is_not_promised() -> None:
    ranges = accepted(request(f'multipart/related; type="{OCTETS}"'))
    assert choose_frames(ranges, "1.2.840.10008.1.2.4.102", native_possible=False, alone=True) is None


def test_several_frames_are_never_given_without_parts() -> None:
    assert choose_frames([Media(OCTETS)], EXPLICIT, native_possible=True, alone=False) is None
