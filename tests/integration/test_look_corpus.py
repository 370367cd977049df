"""The quick look at real files: shades are those of pydicom, outlines are the masks, and odd files are told of."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_windowing, convert_color_space
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.archive import READER, STRANGER, TOKENS, archive
from tests.support import CORPUS, corpus, corpus_files, ct

from carina.dicom.contours import inside
from carina.dicom.geometry import place_of
from carina.dicom.json import to_json
from carina.dicom.quiet import quiet
from carina.dicom.rendering import render
from carina.errors import CarinaError
from carina.interfaces.api.identity import Identity, MemoryAccounts
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware
from carina.interfaces.dicomweb.opening import by_staff
from carina.interfaces.web.looking import look_routes
from carina.node import look
from carina.node.authorise import Grant
from carina.node.look import Look
from carina.node.marks import _structures
from carina.node.overlays import _contours
from carina.node.site import Node

URL = "http://127.0.0.1"
BASE = "/studies/{study}/series/{series}"
ALL = Grant("", "", None, None, "live", None, None, staff=True)
SETS = ("dcmqi/0000[3-6]_*", "highdicom/00000_*", "highdicom/00006_*")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    files = [path.read_bytes() for pattern in SETS for path in sorted(corpus().glob(pattern))]
    gap = [
        ct("MRN-9", number=n, elements={"ImagePositionPatient": [0, 0, z]}) for n, z in ((1, 0), (2, 1), (3, 5), (4, 6))
    ]
    absurd = {"WindowCenter": "1e300", "WindowWidth": "0", "ImagePositionPatient": None}
    lost = [ct("MRN-8", number=n, elements=absurd) for n in (1, 2)]
    sides = [ct("MRN-7", number=n, elements=side(n)) for n in (1, 2, 3, 4)]
    with archive(tmp_path_factory.mktemp("look"), [*files, *gap, *lost, *sides]) as made:
        yield made


def side(number: int) -> dict[str, Any]:
    turn = [1, 0, 0, 0, 1, 0] if number % 2 else [1, 0, 0, 0, 0, -1]
    return {"ImageOrientationPatient": turn, "ImagePositionPatient": [0, number, number]}


@pytest.fixture(scope="module")
def client(node: Node) -> TestClient:
    tokens = {secret: replace(holder, issuer=node.id) for secret, holder in TOKENS.items()}
    identity = Identity(MemoryAccounts({}, tokens=tokens), node.id, secure=False)
    application = Starlette(
        routes=look_routes(node, by_staff(node, identity), BASE),
        middleware=middleware(Rules(URL), identity),
        exception_handlers=exception_handlers(),  # type: ignore[arg-type]
    )
    headers = {"Authorization": f"Bearer {READER}"}
    return TestClient(
        application, base_url=URL, headers=headers, client=("127.0.0.1", 5), raise_server_exceptions=False
    )


def looks(node: Node) -> list[tuple[str, Look]]:
    """Each series of the archive, with the UID of its study."""
    return [
        (study.uid, look.look(node, ALL, study, series.uid))
        for study in look.studies(node, ALL, 50)
        for series in study.series
    ]


def noted(node: Node, words: str) -> Look:
    return next(one for _, one in looks(node) if any(words in note for note in one.notes))


def test_every_series_has_a_picture_and_a_sheet_under_each_window(node: Node, client: TestClient) -> None:
    for study, seen in looks(node):
        base, one = f"/studies/{study}/series/{seen.series.uid}", seen.slices[0]
        for window in seen.windows:
            answer = client.get(f"{base}/frames/{one.uid}/{one.frame}.png", params={"window": window.name})
            assert answer.status_code == 200, (seen.series.modality, window.name, answer.text)
            assert Image.open(io.BytesIO(answer.content)).size[0] > 0
            assert answer.headers["cache-control"] == "private, no-cache"
            again = client.get(
                answer.request.url.path,
                params={"window": window.name},
                headers={"If-None-Match": answer.headers["etag"]},
            )
            assert again.status_code == 304
        assert Image.open(io.BytesIO(client.get(f"{base}/mosaic.jpg").content)).format == "JPEG"
        rows = client.get(f"{base}/header/{one.uid}.json").json()
        assert {"Modality", "Rows"} <= {row["keyword"] for row in rows}


def test_nobody_else_sees_them(node: Node, client: TestClient) -> None:
    study, seen = looks(node)[0]
    path = f"/studies/{study}/series/{seen.series.uid}/frames/{seen.slices[0].uid}/1.png"
    assert client.get(path, headers={"Authorization": f"Bearer {STRANGER}"}).status_code == 403
    assert client.get(path.replace("1.png", "999.png")).status_code == 404
    assert client.get(path, params={"window": "nonsense"}).status_code == 400


def test_values_are_those_that_are_stored(node: Node, client: TestClient) -> None:
    for study, seen in looks(node):
        if seen.values is None:
            continue
        one = seen.slices[0]
        answer = client.get(f"/studies/{study}/series/{seen.series.uid}/values/{one.uid}/{one.frame}")
        found = np.frombuffer(answer.content, np.dtype(seen.values.type).newbyteorder("<"))
        assert found.size == seen.values.rows * seen.values.columns
        if seen.series.modality == "CT":
            assert seen.values.unit == "HU"


def test_outlines_of_a_segmentation_are_its_mask(node: Node, client: TestClient) -> None:
    original = pydicom.dcmread(next(corpus().glob("dcmqi/00003_*")))
    study, seen = next((uid, one) for uid, one in looks(node) if one.overlays and one.series.modality == "CT")
    [overlay] = seen.overlays
    assert overlay.kind == "SEG"
    compared = 0
    frames = original.PerFrameFunctionalGroupsSequence
    for one in seen.slices:
        path = f"/studies/{study}/series/{seen.series.uid}/outlines/{one.uid}/{one.frame}.json"
        answer = client.get(path, params={"overlay": overlay.id}).json()
        assert answer["missing"] == ""
        drawn = {each["number"]: each["paths"] for each in answer["segments"]}
        for number, group in enumerate(frames):
            place = place_of(to_json(original), number + 1)
            assert place is not None
            assert one.position is not None
            if abs(place.position.distance - one.position.distance) > 0.01:
                continue
            segment = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            mask = original.pixel_array[number] != 0
            corners = [np.array(flat).reshape(-1, 2)[:, ::-1] - 0.5 for flat in drawn.get(segment, [])]
            assert np.array_equal(inside(corners, *mask.shape), mask)
            compared += int(mask.any())
    assert compared


def test_contours_of_a_structure_set_lie_where_the_standard_says() -> None:
    structures = pydicom.dcmread(next(corpus().glob("rt-utils/00000_*")))
    image = pydicom.dcmread(next(corpus().glob("rt-utils/00001_*")))
    place = place_of(to_json(image))
    assert place is not None
    found = _contours(_structures(to_json(structures)), place, float(image.SliceThickness))
    z = float(image.ImagePositionPatient[2])
    left, top = (float(one) for one in image.ImagePositionPatient[:2])
    down, across = (float(one) for one in image.PixelSpacing)
    expected = sorted(
        [round((points[0] - left) / across + 0.5, 2), round((points[1] - top) / down + 0.5, 2)]
        for points in (np.array(one.ContourData, float).reshape(-1, 3)[0] for one in contours(structures))
        if abs(points[2] - z) < 0.01
    )
    assert list(map(float, image.ImageOrientationPatient)) == [1, 0, 0, 0, 1, 0]
    assert expected
    assert sorted(path[:2] for one in found.segments for path in one.paths) == expected


def contours(structures: pydicom.Dataset) -> list[pydicom.Dataset]:
    return [one for roi in structures.ROIContourSequence for one in roi.get("ContourSequence", [])]


def test_gaps_lost_places_and_mixed_directions_are_told(node: Node) -> None:
    assert len(noted(node, "not evenly spaced").slices) == 4
    lost = noted(node, "do not say where they lie")
    assert lost.plane == ""
    assert lost.usual != "own"
    mixed = noted(node, "different directions")
    normals = [one.position.normal for one in mixed.slices if one.position]
    assert len(set(normals[:2])) == len(set(normals[2:])) == 1
    assert len(mixed.letters) == 4


def test_shades_are_those_of_pydicom() -> None:
    compared = 0
    for path in some_files():
        with quiet():
            dataset = read(path)
            if dataset is None or "VOILUTSequence" in dataset or dataset.get("NumberOfFrames", 1) != 1:
                continue
            expected = by_pydicom(dataset)
        if expected is None:
            continue
        shown = np.asarray(Image.open(io.BytesIO(render(dataset))))
        assert np.abs(shown.astype(int) - expected).max() <= 1, path.relative_to(CORPUS)
        compared += 1
    assert compared >= 20


def test_every_file_is_drawn_or_refused_with_a_sentence() -> None:
    drawn = 0
    for path in some_files():
        with quiet():
            dataset = read(path)
        if dataset is None:
            continue
        try:
            picture = Image.open(io.BytesIO(render(dataset)))
        except CarinaError as refused:
            assert str(refused)
            continue
        assert picture.size == (dataset.Columns, dataset.Rows)
        drawn += 1
    assert drawn >= 40


def some_files() -> list[Path]:
    """Every sixteenth file, those of the oddest sets more often."""
    odd = {"fo-dicom", "dicom"}
    return [
        path
        for number, path in enumerate(corpus_files())
        if path.stat().st_size < 2_000_000 and (number % 16 == 0 or (path.parent.name in odd and number % 3 == 0))
    ]


def read(path: Path) -> pydicom.Dataset | None:
    try:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID  # noqa: B018  files without one are taken in by other means
    except Exception:
        return None
    return dataset if "PixelData" in dataset and "Rows" in dataset else None


def by_pydicom(dataset: pydicom.Dataset) -> Any:
    """Shades from 0 to 255 by pydicom's own functions; None for what has no window, or cannot be decoded."""
    try:
        pixels = dataset.pixel_array
    except Exception:
        return None
    photometric = dataset.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        coloured = apply_color_lut(pixels, dataset)
        return (coloured >> 8 if coloured.dtype.itemsize > 1 else coloured)[..., :3].astype(int)
    if pixels.ndim == 3:
        turned = photometric.startswith("YBR") and not dataset.file_meta.TransferSyntaxUID.is_encapsulated
        return convert_color_space(pixels, photometric, "RGB").astype(int) if turned else None
    if "WindowWidth" not in dataset or "ModalityLUTSequence" in dataset or photometric == "MONOCHROME1":
        return None
    values = apply_modality_lut(pixels, dataset).astype(float)
    shades = apply_windowing(values, dataset)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    low = -(2 ** (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
    high = low + 2**dataset.BitsStored - 1
    ends = low * slope + intercept, high * slope + intercept
    return np.rint((shades - ends[0]) / (ends[1] - ends[0]) * 255).astype(int)
