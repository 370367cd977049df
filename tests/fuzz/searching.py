"""What reads parameters of addresses, header fields and identifiers, and searches by them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import orjson
from pydicom import Dataset
from pynetdicom.dsutils import decode, encode
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from tests.archive import archive
from tests.fuzz.target import Target, plain
from tests.support import ct

from carina.dicom.levels import LEVELS
from carina.dicom.query import Query, parse_query
from carina.dicom.quiet import quiet
from carina.errors import BadInput, CarinaError, InvalidQuery
from carina.interfaces.dicomweb.conditions import judge
from carina.interfaces.dicomweb.media import accepted, choose_frames, fits, parse_media
from carina.interfaces.dicomweb.parameters import frame_numbers, media_of, quality_of, viewport_of, window_of
from carina.interfaces.dicomweb.qido import accepts_json
from carina.interfaces.dimse.identifiers import answer, read_identifier
from carina.node.site import Node
from carina.storage.search import search

_PATIENCE = 2.0  # s


def _node(folder: Path) -> Node:
    """A small archive, whose connections stay open until the end."""
    files = [ct(f"MRN-{patient}", study, series) for patient in (1, 2) for study in (1, 2) for series in (1, 2)]
    return archive(folder / "node", files).__enter__()


def _searches(folder: Path) -> Callable[[bytes], None]:
    node = _node(folder)

    def run(data: bytes) -> None:
        """A search at each level, by an address's parameters as the service reads them."""
        pairs = QueryParams(data).multi_items()
        for level in LEVELS:
            with suppress(InvalidQuery):
                _find(node, parse_query(pairs, level, moments=True))

    return run


def _find(node: Node, query: Query) -> list[object]:
    with node.engine.connect() as connection:
        found = search(connection, query)
    assert len(found) <= query.limit
    for one in found:
        orjson.dumps(one.header)
    return [one.ids for one in found]


def _queries(_folder: Path) -> Iterator[bytes]:
    yield b"PatientID=A*&StudyDate=20200101-20260131&limit=25&offset=1"
    yield b"00100010=DOE^J*&includefield=all&fuzzymatching=true&ModalitiesInStudy=CT%5CMR"
    yield b"StudyInstanceUID=1.2.3,1.2.4&StudyTime=10-12&RequestAttributesSequence.ScheduledProcedureStepID=1"
    yield b"StudyDate=20240311-&StudyTime=1000-&InstanceNumber=1&Modality=C?&SeriesDescription=*ora*"
    yield b'emptyvaluematching=true&multiplevaluematching=true&AccessionNumber=""&ImageType=ORIGINAL%5CAXIAL&Rows=32'
    yield b"includefield=00081030,StudyDate&SeriesNumber=1.5&NumberOfFrames=&PatientName=%C3%A9*&KVP=120"


_FIELDS = ("accept", "range", "if-none-match", "if-match", "if-range", "content-type")


def _header_fields(data: bytes) -> None:
    """One field a line in this order, then the address's parameters; as bytes of header fields may be."""
    lines = data.split(b"\n")
    fields = [(name.encode(), line) for name, line in zip(_FIELDS, lines, strict=False) if line]
    query = lines[len(_FIELDS)] if len(lines) > len(_FIELDS) else b""
    request = Request({"type": "http", "headers": fields, "query_string": query})
    wanted = accepted(request)
    media_of(request)
    accepts_json(request)
    parse_media(request.headers.get("content-type", "")).parameters.get("boundary", "")
    for syntax in ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"):
        choose_frames(wanted, syntax, native_possible=True, alone=True, can_make=lambda _: True)
    assert all(isinstance(fits(media.inner, "image/png"), bool) and media.syntax is not None for media in wanted)
    _judge(request.headers)
    for read in (window_of, viewport_of, quality_of, lambda values: frame_numbers(values.get("frames", ""))):
        with suppress(BadInput):
            read(request.query_params)


def _judge(headers: Headers) -> None:
    for size in (0, 1, 1000, 2**40):
        reply = judge(headers, '"tag"', size)
        assert reply.status in (200, 206, 304, 412, 416)
        assert 0 <= reply.first <= reply.end <= size and (reply.status != 206 or reply.first < reply.end)


def _headers(_folder: Path) -> Iterator[bytes]:
    parts = b'multipart/related; type="application/octet-stream"; transfer-syntax=*; q=0.5, image/*;q=1e3, */*'
    yield parts + b'\nbytes=0-99\n"tag", W/"other"\n*\n"tag"\nmultipart/related; boundary="x"\nframes=1,2,3'
    yield b"application/dicom+json\nbytes=-5\n\n\n\n\nwindow=40,400,sigmoid&viewport=64,64,0,0,10,10&quality=50"
    yield b"image/jpeg, image/png;q=nan\nbytes=5-\nW/\n\n\n\naccept=image/png&window=-1,0.5,linear-exact"


def _identifiers(folder: Path) -> Callable[[bytes], None]:
    node = _node(folder)

    def run(data: bytes) -> None:
        """An identifier in any of three encodings, as each of the models reads it, and what is answered."""
        how = data[0] if data else 0
        try:
            identifier = _decoded(data[1:], how)
        except Exception:  # what pydicom cannot read is refused before
            return
        try:
            asked = read_identifier(identifier, retrieve=bool(how & 4), patients=bool(how & 8))
            with node.engine.connect() as connection:
                found = search(connection, asked.query)
        except CarinaError:
            return
        for one in found:
            told = answer(asked, one, "CARINA")
            assert encode(told, bool(how & 1), True) is not None, "the answer cannot be written"

    return run


def _decoded(data: bytes, how: int) -> Dataset:
    with quiet():
        found = decode(io.BytesIO(data), bool(how & 1), not how & 2)
        found.decode()
        for _ in found.iterall():
            pass
    return found


def _asked(_folder: Path) -> Iterator[bytes]:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.PatientID = "A*"
    identifier.PatientName = ""
    identifier.StudyDate = "20200101-20261231"
    identifier.StudyInstanceUID = ["1.2.3", "1.2.4"]
    identifier.ModalitiesInStudy = "CT"
    inner = Dataset()
    inner.CodeValue = "x"
    identifier.ProcedureCodeSequence = [inner]
    for level in ("STUDY", "PATIENT", "SERIES", "IMAGE"):
        identifier.QueryRetrieveLevel = level
        for how in (0, 1, 2, 8, 9):
            yield bytes((how,)) + _encoded(identifier, how)
    everything = Dataset()
    everything.QueryRetrieveLevel = "STUDY"
    for keyword in (
        "StudyDate",
        "StudyTime",
        "PatientID",
        "PatientAge",
        "StudyDescription",
        "NumberOfStudyRelatedSeries",
    ):
        setattr(everything, keyword, None)
    for how in (0, 1, 8):
        yield bytes((how,)) + _encoded(everything, how)


def _encoded(identifier: Dataset, how: int) -> bytes:
    encoded = encode(identifier, bool(how & 1), not how & 2)
    assert encoded is not None
    return encoded


QUERY = Target(_searches, _queries, 4096)
HEADERS = Target(plain(_header_fields), _headers, 4096)
IDENTIFIER = Target(_identifiers, _asked, 4096)
