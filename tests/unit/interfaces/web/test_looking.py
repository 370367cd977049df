"""The quick look at odd images: each request is answered with a picture, or with a problem in a plain sentence."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.archive import READER, TOKENS, archive, take_in
from tests.support import ct, part10

from carina.interfaces.api.identity import Identity, MemoryAccounts
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware
from carina.interfaces.dicomweb.opening import by_staff
from carina.interfaces.web.looking import look_routes
from carina.node import look
from carina.node.authorise import Grant
from carina.node.look import Look
from carina.node.site import Node
from carina.storage.schema import instances

URL = "http://127.0.0.1"
ALL = Grant("", "", None, None, "live", None, None, staff=True)
BIG_ENDIAN, MPEG4 = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.102"
N = 8


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with archive(tmp_path_factory.mktemp("odd")) as made:
        yield made


@pytest.fixture(scope="module")
def client(node: Node) -> TestClient:
    tokens = {secret: replace(holder, issuer=node.id) for secret, holder in TOKENS.items()}
    identity = Identity(MemoryAccounts({}, tokens=tokens), node.id, secure=False)
    application = Starlette(
        routes=look_routes(node, by_staff(node, identity), "/studies/{study}/series/{series}"),
        middleware=middleware(Rules(URL), identity),
        exception_handlers=exception_handlers(),  # type: ignore[arg-type]
    )
    headers = {"Authorization": f"Bearer {READER}"}
    return TestClient(application, base_url=URL, headers=headers, client=("127.0.0.1", 5))


def odd(name: str, syntax: str = "", **elements: Any) -> bytes:
    """An image of 8 × 8 pixels of a person of their own, with these elements; None takes one away."""
    made = dcmread(io.BytesIO(ct(name, size=N)))
    for keyword, value in elements.items():
        if value is None:
            made.pop(keyword, None)
        else:
            setattr(made, keyword, value)
    return part10(made, syntax or str(made.file_meta.TransferSyntaxUID))


def seen(node: Node, *files: bytes) -> tuple[str, Look]:
    """The look at the series of these files, which the archive takes in."""
    before = uids(node)
    assert set(take_in(node, files)) == {"archived"}
    with node.engine.connect() as connection:
        rows = connection.execute(select(instances.c.study_uid, instances.c.series_uid, instances.c.uid)).all()
    study, series, _ = next(row for row in rows if row.uid not in before)
    return study, look.look(node, ALL, look.study(node, ALL, study), series)


def uids(node: Node) -> set[str]:
    with node.engine.connect() as connection:
        return set(connection.execute(select(instances.c.uid)).scalars())


def answers(client: TestClient, study: str, one: Look) -> list[tuple[int, str]]:
    """What each address of the series says, with its body's kind: a picture is opened, a problem has a sentence."""
    base, found = f"/studies/{study}/series/{one.series.uid}", []
    uid, frame = (one.slices[0].uid, one.slices[0].frame) if one.slices else (one.first, 1)
    windows = ["", "own", "full", "lung", "40,400", *(each.name for each in one.windows)]
    paths = [f"/frames/{uid}/{frame}.png?window={name}" for name in windows]
    for path in [*paths, f"/values/{uid}/{frame}", f"/header/{uid}.json", "/mosaic.jpg", "/mosaic.jpg?window=full"]:
        answer = client.get(base + path)
        kind = answer.headers["content-type"]
        if answer.status_code == 200:
            assert answer.content
            if kind.startswith("image/"):
                assert min(Image.open(io.BytesIO(answer.content)).size) > 0
        else:
            assert 400 <= answer.status_code < 500, (path, answer.text)
            assert answer.json()["detail"].endswith("."), path
        found.append((answer.status_code, path))
    return found


def drawn(found: list[tuple[int, str]]) -> bool:
    return found[0][0] == 200


WINDOWS: list[tuple[Any, Any]] = [
    (40, 0), (40, -5), ("1e300", 5), (0, "1e300"), ([40] * 4000, [400] * 4000), ([], []), (40, [1, 2, 3])
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WINDOWS)))
def test_absurd_windows_leave_a_picture(node: Node, client: TestClient, number: int) -> None:
    center, width = WINDOWS[number]
    study, one = seen(node, odd(f"WINDOW-{number}", WindowCenter=center, WindowWidth=width))
    assert len([each for each in one.windows if each.name.startswith("own-")]) <= 8
    found = answers(client, study, one)
    assert drawn(found)


def bits(big: bool) -> bytes:
    stored = np.packbits(np.arange(N * N) % 3 == 0, bitorder="little").tobytes()
    return stored if not big else np.frombuffer(stored, ">u2").astype("<u2").tobytes()


ODD: dict[str, dict[str, Any]] = {
    "one bit": {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0, "PixelData": bits(False)},
    "32 bits": {
        "BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "PixelRepresentation": 0,
        "PixelData": (np.arange(N * N, dtype="<u4") * 60_000_000).tobytes(),
    },
    "floats": {
        "BitsAllocated": 32, "BitsStored": None, "HighBit": None, "PixelRepresentation": None, "PixelData": None,
        "FloatPixelData": np.linspace(-1, 1, N * N, dtype="<f4").tobytes(),
    },
    "doubles": {
        "BitsAllocated": 64, "BitsStored": None, "HighBit": None, "PixelRepresentation": None, "PixelData": None,
        "DoubleFloatPixelData": np.array([np.nan, np.inf, *range(N * N - 2)], "<f8").tobytes(),
    },
    "no place": {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None},
    "no spacing": {"PixelSpacing": None},
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_pixels_are_drawn(node: Node, client: TestClient, name: str) -> None:
    study, one = seen(node, odd(f"ODD-{name}", **ODD[name]))
    assert one.kind == "grey"
    found = answers(client, study, one)
    assert drawn(found), found
    if "bit" in name or name in ("floats", "doubles"):
        assert bool(one.notes) == (name != "32 bits")


def test_truncated_pixels_and_lying_sizes_are_told(node: Node, client: TestClient) -> None:
    for name, elements in {
        "short": {"PixelData": b"\0" * 20},
        "huge": {"Rows": 65535, "Columns": 65535},
        "none": {"PixelData": b""},
    }.items():
        data = odd(f"LIE-{name}", **elements)
        before = uids(node)
        states = take_in(node, [data])
        if uids(node) == before:
            assert states == ["quarantined"], name
            continue
        with node.engine.connect() as connection:
            columns = instances.c.study_uid, instances.c.series_uid, instances.c.uid
            study, series, _ = next(r for r in connection.execute(select(*columns)) if r.uid not in before)
        one = look.look(node, ALL, look.study(node, ALL, study), series)
        assert one.notes, name
        assert not drawn(answers(client, study, one)), name


def test_ten_thousand_frames_take_bounded_time(node: Node, client: TestClient) -> None:
    pixels = np.arange(10_000 * N * N, dtype="<u2").tobytes()
    study, one = seen(node, odd("FRAMES", NumberOfFrames=10_000, PixelData=pixels, ImagePositionPatient=None))
    assert len(one.slices) == 10_000
    begin = time.perf_counter()
    assert drawn(answers(client, study, one))
    assert time.perf_counter() - begin < 5
    last = one.slices[-1]
    assert client.get(f"/studies/{study}/series/{one.series.uid}/frames/{last.uid}/10000.png").status_code == 200
    assert client.get(f"/studies/{study}/series/{one.series.uid}/frames/{last.uid}/10001.png").status_code == 404


def test_several_times_at_one_place_are_told(node: Node, client: TestClient) -> None:
    files = [ct("TIMES", number=n, size=N, elements={"ImagePositionPatient": [0, 0, n // 2]}) for n in range(6)]
    study, one = seen(node, *files)
    assert any("same place" in note for note in one.notes)
    assert drawn(answers(client, study, one))


def test_documents_and_videos_say_what_they_are(node: Node, client: TestClient) -> None:
    video = odd("VIDEO", MPEG4, PixelData=encapsulate([b"\0" * 64]), BitsAllocated=8, BitsStored=8, HighBit=7,
                PixelRepresentation=0, SamplesPerPixel=3, PhotometricInterpretation="YBR_PARTIAL_420",
                PlanarConfiguration=0, NumberOfFrames=3)  # fmt: skip
    before = uids(node)
    if take_in(node, [video]) == ["archived"]:
        with node.engine.connect() as connection:
            rows = connection.execute(select(instances.c.study_uid, instances.c.series_uid, instances.c.uid)).all()
        study, series, _ = next(row for row in rows if row.uid not in before)
        one = look.look(node, ALL, look.study(node, ALL, study), series)
        assert (one.document, one.kind) == ("video", "none")
        assert one.sentence.endswith(".")
        found = answers(client, study, one)
        assert {status for status, path in found if "/frames/" in path} == {404}
        assert next(status for status, path in found if "/header/" in path) == 200


def test_what_is_forgotten_leaves_memory_at_once(node: Node, client: TestClient) -> None:
    from carina.node.forget import forget, marks_of

    study, one = seen(node, odd("GONE-1"))
    assert drawn(answers(client, study, one))
    with node.engine.connect() as connection:
        content = connection.execute(select(instances.c.content).where(instances.c.uid == one.first)).scalar_one()
    kept = node.pictures.kept._kept
    assert any(content in str(key) for key in kept)
    forget(node, "test", marks_of(node, "GONE-1"))
    assert not any(content in str(key) for key in kept)
    node.pictures.kept.keep((content, 1, None), b"a picture that was being drawn")
    assert not any(content in str(key) for key in kept)
    assert {status for status, _ in answers(client, study, one)} == {404}


def test_pixels_that_are_not_square_are_shown_in_proportion(node: Node, client: TestClient) -> None:
    study, one = seen(node, odd("TALL", PixelSpacing=[2, 1]))
    assert one.aspect == 2
    sheet = Image.open(io.BytesIO(client.get(f"/studies/{study}/series/{one.series.uid}/mosaic.jpg").content))
    shades = np.asarray(sheet.convert("L")).astype(int)
    wide = (np.abs(shades - 16).max(axis=0) > 20).sum()
    tall = (np.abs(shades - 16).max(axis=1) > 20).sum()
    assert 1.7 < tall / wide < 2.3
