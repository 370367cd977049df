"""What is retrieved: whole, in part, only if it has changed, in another transfer syntax; as a raw client asks."""

from __future__ import annotations

import hashlib
import io
import itertools
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID
from sqlalchemy import delete, insert, select, update
from starlette.testclient import TestClient
from tests.archive import READER, application, archive
from tests.support import ROOT, ct

from carina.dicom.parse import parse
from carina.interfaces.dicomweb import giving, metadata, resources
from carina.interfaces.dicomweb.capabilities import WADL
from carina.node import retrieve, spans, thumbnails
from carina.node.site import Node
from carina.storage.schema import frame_tables, instances

DICOM = "application/dicom"
STORED = f"{DICOM}; transfer-syntax=*"
OCTETS = "application/octet-stream"
EXPLICIT, IMPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.5"
JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
PIXELS = np.random.default_rng(3).integers(-1000, 3000, (5, 64, 48), dtype=np.int16)


def compressed() -> bytes:
    """An MR slice in JPEG 2000 that says it is original."""
    dataset = pydicom.dcmread(str(get_testdata_file("MR_small_jp2klossless.dcm", download=False)))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def fragmented() -> bytes:
    """Three frames in RLE, each in two fragments, with a table of offsets."""
    dataset = parse(
        ct("R", elements={"NumberOfFrames": 3, "Rows": 64, "Columns": 48, "PixelData": PIXELS[:3].tobytes()})
    )
    dataset.compress(RLE, generate_instance_uid=False)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=2, has_bot=True)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    many = {"NumberOfFrames": 5, "Rows": 64, "Columns": 48, "PixelData": PIXELS.tobytes()}
    files = [ct("M", elements=many), compressed(), fragmented(), *(ct("A", number=number) for number in (1, 2, 3))]
    with archive(tmp_path_factory.mktemp("node"), files) as made:
        yield made


@pytest.fixture(scope="module")
def reader(node: Node) -> Iterator[TestClient]:
    with TestClient(application(node), base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as made:
        made.headers["Authorization"] = f"Bearer {READER}"
        yield made


def place(node: Node, frames: int, syntax: str = EXPLICIT) -> str:
    """The address of the first instance with so many frames in this transfer syntax."""
    asked = (instances.c.frames == frames) & (instances.c.transfer_syntax_uid == syntax)
    with node.engine.connect() as connection:
        row = connection.execute(select(instances).where(asked).order_by(instances.c.instance_number)).first()
    assert row is not None
    return f"/dicom-web/studies/{row.study_uid}/series/{row.series_uid}/instances/{row.uid}"


def file_of(node: Node, path: str) -> bytes:
    with node.engine.connect() as connection:
        wanted = select(instances.c.content).where(instances.c.uid == path.rsplit("/", 1)[1])
        content = connection.execute(wanted).scalar_one()
    with node.instances.open(content) as file:
        return file.read()


def lay_out(node: Node, path: str) -> None:
    """Say in the index where the frames lie, by pydicom's own account of the file."""
    data = file_of(node, path)
    with pydicom.dcmread(io.BytesIO(data)) as dataset:
        element: Any = dataset.get_item("PixelData")
        total = int(dataset.get("NumberOfFrames", 1))
        values: dict[str, Any] = {"pixel_offset": element.value_tell}
        content, table = hashlib.sha256(data).hexdigest(), b""
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            starts, end = items_of(data, element.value_tell)
            each = len(starts) // total
            bounds = [*starts[::each], end]
            for first, last in itertools.pairwise(bounds):
                table += first.to_bytes(8, "little") + (last - first).to_bytes(8, "little")
        else:
            values["frame_size"] = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    with node.engine.begin() as connection:
        connection.execute(update(instances).where(instances.c.content == content).values(**values))
        if table:
            connection.execute(delete(frame_tables).where(frame_tables.c.content == content))
            connection.execute(insert(frame_tables), {"content": content, "frames": table})


def items_of(data: bytes, offset: int) -> tuple[list[int], int]:
    """Where the items of fragments begin, and where the last ends."""
    begins = []
    while data[offset : offset + 4] == b"\xfe\xff\x00\xe0":
        begins.append(offset)
        offset += 8 + int.from_bytes(data[offset + 4 : offset + 8], "little")
    return begins[1:], offset


@pytest.fixture
def forget_layout(node: Node) -> Callable[[str], None]:
    """Let the index not know where the frames of an instance lie."""

    def forget(path: str) -> None:
        content = hashlib.sha256(file_of(node, path)).hexdigest()
        with node.engine.begin() as connection:
            nothing = {"pixel_offset": None, "frame_size": None}
            connection.execute(update(instances).where(instances.c.content == content).values(**nothing))
            connection.execute(delete(frame_tables).where(frame_tables.c.content == content))

    return forget


# --- frames ---


@pytest.mark.parametrize("known", [True, False])
def test_frames_are_the_same_wherever_the_index_says_they_lie(
    node: Node, reader: TestClient, forget_layout: Callable[[str], None], known: bool
) -> None:
    path = place(node, 5)
    (lay_out(node, path) if known else forget_layout(path))
    for number in (1, 3, 5):
        answer = reader.get(f"{path}/frames/{number}", headers={"Accept": OCTETS})
        assert answer.content == PIXELS[number - 1].tobytes()
        assert answer.headers["content-type"] == f"{OCTETS}; transfer-syntax={EXPLICIT}"
    several = reader.get(f"{path}/frames/5,2")
    assert several.content.count(b"Content-Location") == 2
    assert several.content.index(PIXELS[4].tobytes()) < several.content.index(PIXELS[1].tobytes())
    assert reader.get(f"{path}/frames/6").status_code == 404
    lay_out(node, path)


def test_a_frame_that_lies_in_the_store_is_read_without_the_rest(
    node: Node, reader: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(node, 5)
    lay_out(node, path)
    read: list[int] = []
    store = type(node.instances)
    original = store.read

    def counted(self: Any, content: str, offset: int, size: int) -> bytes:
        read.append(size)
        return bytes(original(self, content, offset, size))

    monkeypatch.setattr(store, "read", counted)
    monkeypatch.setattr(store, "open", None)
    assert reader.get(f"{path}/frames/2", headers={"Accept": OCTETS}).status_code == 200
    assert read == [64 * 48 * 2]


@pytest.mark.parametrize("known", [True, False])
def test_fragments_of_a_frame_are_joined(
    node: Node,
    reader: TestClient,
    forget_layout: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
) -> None:
    path = place(node, 3, RLE)
    (lay_out(node, path) if known else forget_layout(path))
    expected = list(generate_frames(pydicom.dcmread(io.BytesIO(file_of(node, path))).PixelData, number_of_frames=3))
    for limit in (spans.AT_ONCE, 0):  # of larger frames only where the fragments lie
        monkeypatch.setattr(spans, "AT_ONCE", limit)
        for number in (1, 2, 3):
            answer = reader.get(f"{path}/frames/{number}", headers={"Accept": "image/dicom-rle"})
            assert answer.content == expected[number - 1]
    native = reader.get(f"{path}/frames/2", headers={"Accept": OCTETS})
    assert native.content == PIXELS[1].tobytes()
    lay_out(node, path)


@pytest.mark.parametrize(
    ("media", "syntax"), [("image/jls", JPEG_LS), ("image/jp2", JPEG_2000), ("image/dicom-rle", RLE)]
)
def test_frames_are_compressed_for_who_asks_for_that_and_lose_nothing(
    node: Node, reader: TestClient, media: str, syntax: str
) -> None:
    path = place(node, 5)
    lay_out(node, path)
    answer = reader.get(f"{path}/frames/4", headers={"Accept": media})
    assert answer.headers["content-type"] == f"{media}; transfer-syntax={syntax}"
    dataset = parse(file_of(node, path))
    dataset.NumberOfFrames, dataset.PixelData = 1, encapsulate([answer.content])
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    assert np.array_equal(dataset.pixel_array, PIXELS[3])


# --- whole instances ---


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, RLE, JPEG_LS, JPEG_2000])
@pytest.mark.parametrize(("frames", "held"), [(5, EXPLICIT), (1, JPEG_2000)])
def test_an_instance_comes_in_the_transfer_syntax_that_is_asked_for(
    node: Node, reader: TestClient, syntax: str, frames: int, held: str
) -> None:
    path = place(node, frames, held)
    lay_out(node, path)
    original = pydicom.dcmread(io.BytesIO(file_of(node, path)))
    answer = reader.get(path, headers={"Accept": f"{DICOM}; transfer-syntax={syntax}"})
    given = pydicom.dcmread(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == f"{DICOM}; transfer-syntax={syntax}"
    assert given.file_meta.TransferSyntaxUID == syntax
    assert given.SOPInstanceUID == original.SOPInstanceUID
    assert np.array_equal(given.pixel_array, original.pixel_array)
    assert "LossyImageCompression" not in given or given.LossyImageCompression == "00"


def test_a_study_is_as_long_as_it_says_and_holds_each_file(node: Node, reader: TestClient) -> None:
    study = place(node, 1).split("/series")[0]
    answer = reader.get(study, headers={"Accept": f'multipart/related; type="{DICOM}"; transfer-syntax=*'})
    assert int(answer.headers["content-length"]) == len(answer.content)
    uids = [row["00080018"]["Value"][0] for row in reader.get(f"{study}/instances").json()]
    assert len(uids) == 3
    assert all(file_of(node, f"/instances/{uid}") in answer.content for uid in uids)


def test_large_answers_are_read_piece_by_piece(node: Node, reader: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving, "PIECE", 1000)
    path = place(node, 5)
    store = type(node.instances)
    sizes: list[int] = []
    original = store.read

    def counted(self: Any, content: str, offset: int, size: int) -> bytes:
        sizes.append(size)
        return bytes(original(self, content, offset, size))

    monkeypatch.setattr(store, "read", counted)
    answer = reader.get(path, headers={"Accept": STORED})
    assert answer.content == file_of(node, path)
    assert max(sizes) == 1000
    part = reader.get(path, headers={"Accept": STORED, "Range": "bytes=1500-4321"})
    assert part.content == file_of(node, path)[1500:4322]


# --- parts and conditions ---


@pytest.mark.parametrize("what", ["", "/frames/1", "/bulkdata/7FE00010"])
def test_a_part_is_given_and_one_beyond_the_end_refused(node: Node, reader: TestClient, what: str) -> None:
    path = place(node, 5)
    lay_out(node, path)
    accept = {"Accept": OCTETS if what else STORED}
    everything = reader.get(path + what, headers=accept)
    size = len(everything.content)
    assert everything.headers["accept-ranges"] == "bytes"
    for asked, first, end in (("10-19", 10, 20), ("100-", 100, size), ("-7", size - 7, size), (f"5-{size}", 5, size)):
        answer = reader.get(path + what, headers={**accept, "Range": f"bytes={asked}"})
        assert (answer.status_code, answer.content) == (206, everything.content[first:end])
        assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{size}"
    for asked in (f"{size}-", "-0"):
        refused = reader.get(path + what, headers={**accept, "Range": f"bytes={asked}"})
        assert (refused.status_code, refused.headers["content-range"]) == (416, f"bytes */{size}")
        assert refused.headers["content-type"] == "application/problem+json"
    for other in ("bytes=1-2,5-6", "bytes=9-3", "lines=1-2", "bytes=x-"):
        assert reader.get(path + what, headers={**accept, "Range": other}).status_code == 200


WHAT = ["", "/frames/1", "/frames/1,2", "/bulkdata/7FE00010", "/metadata", "/rendered", "/thumbnail"]


@pytest.mark.parametrize("what", WHAT)
def test_what_has_not_changed_is_not_given_again(node: Node, reader: TestClient, what: str) -> None:
    path = place(node, 5) + what
    first = reader.get(path)
    tag = first.headers["etag"]
    assert tag.startswith('"')
    written = node.audit.entries(1)[0].seq
    for known in (tag, f'W/{tag}, "other"', "*"):
        again = reader.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert reader.get(path, headers={"If-Match": '"other"'}).status_code == 412
    assert node.audit.entries(1)[0].seq == written  # nothing was handed out
    assert reader.get(path, headers={"If-None-Match": '"other"', "If-Match": tag}).content == first.content


def test_the_rest_is_given_only_of_the_same_thing(node: Node, reader: TestClient) -> None:
    path = place(node, 5)
    tag = reader.get(path, headers={"Accept": STORED}).headers["etag"]
    rest = {"Accept": STORED, "Range": "bytes=8-"}
    assert reader.get(path, headers={**rest, "If-Range": tag}).status_code == 206
    assert reader.get(path, headers={**rest, "If-Range": '"other"'}).status_code == 200


def test_other_forms_have_other_tags(node: Node, reader: TestClient) -> None:
    path = place(node, 5)
    asked = [
        (path, STORED),
        (path, f'multipart/related; type="{DICOM}"; transfer-syntax=*'),
        (path, f"{DICOM}; transfer-syntax={IMPLICIT}"),
        *((f"{path}/frames/{frames}", OCTETS) for frames in ("1", "2")),
        (f"{path}/frames/1", "image/jls"),
        *((f"{path}/rendered{query}", "image/png") for query in ("", "?window=1,2", "?viewport=9,9", "?quality=9")),
        (f"{path}/rendered", "image/jpeg"),
        (f"{path}/thumbnail", "image/jpeg"),
    ]
    tags = [reader.get(where, headers={"Accept": accept}).headers["etag"] for where, accept in asked]
    assert len(set(tags)) == len(tags)


def test_to_ask_for_the_head_gives_no_bytes_and_hands_nothing_out(node: Node, reader: TestClient) -> None:
    written = node.audit.entries(1)[0].seq
    answer = reader.head(place(node, 5), headers={"Accept": STORED, "Range": "bytes=1-2"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(file_of(node, place(node, 5)))
    assert node.audit.entries(1)[0].seq == written


# --- metadata and bulk data ---


def test_metadata_has_whole_addresses_and_opens_no_file(
    node: Node, reader: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = place(node, 1).split("/series")[0]
    monkeypatch.setattr(type(node.instances), "open", None)
    monkeypatch.setattr(type(node.instances), "read", None)
    together = reader.get(f"{study}/metadata").json()
    assert len(together) == 3
    for header in together:
        address = header["7FE00010"]["BulkDataURI"]
        assert address.endswith(f"/instances/{header['00080018']['Value'][0]}/bulkdata/7FE00010")
        assert address.startswith(f"http://127.0.0.1{study}/series/")
    monkeypatch.setattr(metadata, "MOST", 1)
    assert reader.get(f"{study}/metadata").json() == together  # in several pieces


def test_an_address_within_a_text_stays_as_it_is(node: Node, reader: TestClient) -> None:
    path = place(node, 1)
    header = reader.get(f"{path}/metadata").json()[0]
    text = '"BulkDataURI":"7FE00010"'
    with node.engine.begin() as connection:
        mine = instances.c.uid == path.rsplit("/", 1)[1]
        kept = connection.execute(select(instances.c.header).where(mine)).scalar_one()
        other = {**kept, "00104000": {"vr": "LT", "Value": [text]}}
        connection.execute(update(instances).where(mine).values(header=other))
    changed = reader.get(f"{path}/metadata").json()[0]
    with node.engine.begin() as connection:
        connection.execute(update(instances).where(mine).values(header=kept))
    assert changed == {**header, "00104000": {"vr": "LT", "Value": [text]}}


@pytest.mark.parametrize(("frames", "syntax"), [(5, EXPLICIT), (1, JPEG_2000), (3, RLE)])
def test_pixel_data_is_the_same_read_in_pieces_and_by_the_parser(
    node: Node, reader: TestClient, forget_layout: Callable[[str], None], frames: int, syntax: str
) -> None:
    path = place(node, frames, syntax)
    lay_out(node, path)
    quick = reader.get(f"{path}/bulkdata/7FE00010", headers={"Accept": OCTETS}).content
    forget_layout(path)
    assert reader.get(f"{path}/bulkdata/7FE00010", headers={"Accept": OCTETS}).content == quick
    assert quick == pydicom.dcmread(io.BytesIO(file_of(node, path))).PixelData
    lay_out(node, path)


# --- pictures ---


def test_a_picture_is_the_same_wherever_the_index_says_the_frame_lies(
    node: Node, reader: TestClient, forget_layout: Callable[[str], None]
) -> None:
    for path in (place(node, 5), place(node, 3, RLE), place(node, 1, JPEG_2000)):
        last = 1 if path == place(node, 1, JPEG_2000) else 3
        lay_out(node, path)
        quick = reader.get(f"{path}/frames/{last}/rendered?accept=image/png")
        forget_layout(path)
        assert quick.status_code == 200
        assert reader.get(f"{path}/frames/{last}/rendered?accept=image/png").content == quick.content
        lay_out(node, path)


def test_a_series_is_drawn_image_by_image(node: Node, reader: TestClient) -> None:
    series = place(node, 1).split("/instances")[0]
    answer = reader.get(f"{series}/rendered", headers={"Accept": 'multipart/related; type="image/png"'})
    assert answer.status_code == 200
    assert answer.content.count(b"\x89PNG") == 3


@pytest.mark.parametrize("level", ["study", "series", "instance", "frame"])
def test_a_thumbnail_stands_for_each_level_and_is_small(node: Node, reader: TestClient, level: str) -> None:
    path = place(node, 5)
    where = {"study": path.split("/series")[0], "series": path.split("/instances")[0], "frame": f"{path}/frames/2"}
    answer = reader.get(f"{where.get(level, path)}/thumbnail")
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, max(picture.size)) == ("JPEG", 128)


def test_a_thumbnail_is_made_once_and_gone_when_its_content_is(
    node: Node, reader: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(node, 1)
    content = hashlib.sha256(file_of(node, path)).hexdigest()
    thumbnails.forget_content(node, content)
    first = reader.get(f"{path}/thumbnail").content
    with monkeypatch.context() as patched:
        patched.setattr("carina.interfaces.dicomweb.rendered.open_image", None)
        assert reader.get(f"{path}/thumbnail").content == first
    assert thumbnails.forget_content(node, content) == 1
    assert not list((node.folder / thumbnails.FOLDER).rglob(f"{content}*"))


def test_a_thumbnail_of_what_is_forgotten_meanwhile_is_not_kept(node: Node) -> None:
    assert thumbnails.thumbnail(node, "0" * 64, "any", lambda: b"picture") == b"picture"
    assert thumbnails.forget_content(node, "0" * 64) == 0


def test_the_oldest_thumbnails_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MOST", 10)
    monkeypatch.setattr(thumbnails, "_LOOK", 5)
    for number in range(40):
        thumbnails._keep(tmp_path / "ab" / f"{number}", b"picture")
    assert len(list((tmp_path / "ab").iterdir())) <= 10


@pytest.mark.parametrize("query", ["annotation=patient", "iccprofile=yes", "presentationUID=1.2"])
def test_what_would_be_drawn_over_a_picture_is_refused(node: Node, reader: TestClient, query: str) -> None:
    for kind in ("rendered", "thumbnail"):
        answer = reader.get(f"{place(node, 1)}/{kind}?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


# --- WADO-URI ---


def uri(path: str, **changes: str) -> dict[str, str]:
    _, _, _, study, _, series, _, instance = path.split("/")
    return {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance, **changes}


def test_an_object_comes_by_its_parameters(node: Node, reader: TestClient) -> None:
    path = place(node, 1, JPEG_2000)
    stored = reader.get("/dicom-web/wado", params=uri(path, contentType=DICOM, transferSyntax=JPEG_2000))
    assert stored.content == file_of(node, path)
    native = reader.get("/dicom-web/wado", params=uri(path, contentType=DICOM))
    assert pydicom.dcmread(io.BytesIO(native.content)).file_meta.TransferSyntaxUID == EXPLICIT
    refused = reader.get("/dicom-web/wado", params=uri(path, contentType=DICOM, transferSyntax="1.2.3"))
    assert refused.status_code == 406


def test_a_picture_comes_by_its_parameters(node: Node, reader: TestClient) -> None:
    path = place(node, 5)
    usual = reader.get("/dicom-web/wado", params=uri(path))
    assert (usual.headers["content-type"], Image.open(io.BytesIO(usual.content)).size) == ("image/jpeg", (48, 64))
    for changes, query in (
        ({"frameNumber": "3"}, "frames/3/rendered"),
        ({"windowCenter": "40", "windowWidth": "400"}, "rendered?window=40,400"),
        ({"rows": "16", "columns": "16"}, "rendered?viewport=16,16"),
        ({"region": "0,0,0.5,0.25"}, "rendered?viewport=24,16,0,0,24,16"),
    ):
        given = reader.get("/dicom-web/wado", params=uri(path, contentType="text/html,image/png", **changes))
        same = reader.get(f"{path}/{query}", headers={"Accept": "image/png"})
        assert (given.status_code, given.content) == (200, same.content), changes


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"requestType": "STOW"}, 400),
        ({"objectUID": "x"}, 400),
        ({"objectUID": "1.2.3"}, 404),
        ({"contentType": "video/mpeg"}, 406),
        ({"windowCenter": "1"}, 400),
        ({"rows": "0"}, 400),
        ({"region": "0,0,2,1"}, 400),
        ({"annotation": "patient"}, 400),
        ({"frameNumber": "9"}, 404),
        ({"imageQuality": "101"}, 400),
        ({"contentType": DICOM, "rows": "4"}, 400),
    ],
)
def test_parameters_without_meaning_are_refused(
    node: Node, reader: TestClient, changes: dict[str, str], status: int
) -> None:
    answer = reader.get("/dicom-web/wado", params=uri(place(node, 5), **changes))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


# --- capabilities ---


def test_the_service_describes_what_it_offers(node: Node, reader: TestClient) -> None:
    answer = reader.options("/dicom-web/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, WADL)
    name = "{http://wadl.dev.java.net/2009/02}"
    described = {
        (method.get("name"), "/" + str(place.get("path")))
        for place in ET.fromstring(answer.content).iter(f"{name}resource")
        for method in place.iter(f"{name}method")
    }
    offered = {(each.method, each.path.replace(":path", "")) for each in (*resources.STORE, *resources.READING)}
    assert described == offered
    assert reader.options("/dicom-web/studies").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert reader.options("/dicom-web/studies", headers={"Accept": "text/plain"}).status_code == 406


def test_nothing_is_deleted_and_other_methods_are_refused_with_those_that_are_taken(
    node: Node, reader: TestClient
) -> None:
    path = place(node, 1)
    for method in ("DELETE", "PUT", "PATCH"):
        for where in (path, path.split("/instances")[0], f"{path}/metadata"):
            answer = reader.request(method, where)
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
            assert answer.headers["content-type"] == "application/problem+json"
    assert reader.delete(path.split("/series")[0]).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert reader.get(path).status_code == 200


def test_every_resource_of_the_conformance_statement_is_offered_and_no_other(node: Node) -> None:
    lines = (ROOT / "docs" / "conformance.md").read_text().splitlines()
    listed = {
        tuple(cell.strip().strip("`") for cell in line.split("|")[1:4])
        for line in lines
        if line.startswith(("| GET |", "| POST |"))
    }
    assert listed == {
        (each.method, each.path.replace(":path", ""), each.name) for each in (*resources.STORE, *resources.READING)
    }
    mounted = {
        (method, route.path)
        for route in application(node).routes[0].routes  # type: ignore[attr-defined]
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert mounted == {(each.method, each.path) for each in (*resources.STORE, *resources.READING)}


def test_who_may_only_look_is_known_without_reading_headers_for_others(
    node: Node, reader: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieve, "is_picture", None)
    assert reader.get(f"{place(node, 1)}/metadata").status_code == 200
