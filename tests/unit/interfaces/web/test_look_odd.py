"""The pages of odd images: a picture as far as there is one, a sentence of what is missing, and no page that fails."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut
from starlette.testclient import TestClient
from tests.archive import keep
from tests.pages import PASSWORD, node_app, sign_in
from tests.support import ct, make_node, part10

from carina.dicom.suv import suv_factor
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.node.site import Node
from carina.storage.accounts import add_account

URL = "http://node.localhost:8721"
IMPLICIT, BIG_ENDIAN, MPEG4 = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.102"
PDF, SEG, LABEL_MAP = (
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
)
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
N = 8
BIT = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0}
BYTE = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
COLOUR = {**BYTE, "SamplesPerPixel": 3, "PlanarConfiguration": 0}
DOUBLE = {
    "BitsAllocated": 64,
    **dict.fromkeys(("BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "PixelData")),
}
MASK = np.zeros((N, N), np.uint8)
MASK[2:5, 3:7] = 1


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = make_node(tmp_path_factory.mktemp("odd"))
    add_account(made.engine, "nora", PASSWORD, {"data-manager"})
    yield made
    made.engine.dispose()


@pytest.fixture(scope="module")
def nora(node: Node) -> TestClient:
    identity = Identity(LocalAccounts(node.engine, node.id), node.id, secure=False)
    app, here = node_app(node, identity, URL), ("127.0.0.1", 5)
    client = TestClient(app, base_url=URL, client=here, follow_redirects=False, headers={"Accept": "text/html"})
    assert sign_in(client, "nora").status_code == 303
    return client


@dataclass(frozen=True)
class Seen:
    """A series' page: its text, what its script is told, and the address of its picture."""

    client: TestClient
    text: str
    data: dict[str, Any]
    src: str

    @property
    def notes(self) -> list[str]:
        found = re.search(r'<ul class="notes.*?</ul>', self.text, re.DOTALL)
        return [html.unescape(note) for note in re.findall(r"<li>(.*?)</li>", found[0])] if found else []

    @property
    def windows(self) -> list[str]:
        return [one["name"] for one in self.data["windows"]]

    def address(self, what: str, index: int = 0, query: str = "") -> str:
        uid, frame = self.data["slices"][index][:2]
        end = {"frames": ".png", "outlines": ".json"}.get(what, "")
        return f"{self.data['base']}/{what}/{self.data['uids'][uid]}/{frame}{end}{query}"

    def picture(self, address: str = "") -> Any:
        answer = self.client.get(address or self.src)
        assert answer.status_code == 200, answer.text
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    def outlines(self, overlay: str, index: int = 0) -> dict[str, Any]:
        answer = self.client.get(self.address("outlines", index, f"?overlay={overlay}"))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def look(nora: TestClient, node: Node, *files: bytes) -> Seen:
    """The page of the first file's series. What its script is told is JSON as browsers read it."""
    study, series, _ = next(iter([keep(node, data) for data in files]))
    answer = nora.get(f"/studies/{study}?series={series}&header=1")
    assert answer.status_code == 200
    told = re.search(r"data-look='(.*?)'", answer.text)
    if told is None:
        return Seen(nora, answer.text, {}, "")
    src = re.search(r'data-plane>\s*<img src="(.*?)"', answer.text)
    assert src is not None
    data = json.loads(html.unescape(told[1]), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return Seen(nora, answer.text, data, html.unescape(src[1]))


def odd(name: str, syntax: str = "", number: int = 1, **elements: Any) -> bytes:
    """An image of 8 × 8 pixels of a person of their own, with these elements; None takes one away."""
    made = dcmread(io.BytesIO(ct(name, number=number, size=N)))
    for keyword, value in elements.items():
        if value is None:
            made.pop(keyword, None)
        else:
            setattr(made, keyword, value)
    return part10(made, syntax or str(made.file_meta.TransferSyntaxUID))


def test_a_document_that_came_in_like_all_others_is_told_to_be_one(nora: TestClient, node: Node) -> None:
    bare = dict.fromkeys(("PixelData", "Rows", "Columns"))
    pdf = odd("PDF", SOPClassUID=PDF, Modality="DOC", EncapsulatedDocument=b"%PDF-1.4 x ", **bare)
    seen = look(nora, node, pdf)
    assert "This is a PDF document" in seen.text
    assert "/frames/" not in seen.text
    assert "EncapsulatedDocument" in seen.text  # its header


def test_images_beside_a_video_and_a_document_keep_their_windows(nora: TestClient, node: Node) -> None:
    film = {**COLOUR, "PhotometricInterpretation": "YBR_PARTIAL_420", "PixelData": encapsulate([b"\0" * 64])}
    video = odd("BESIDE", MPEG4, 2, NumberOfFrames=3, **film)
    text = odd("BESIDE", "", 3, SOPClassUID=PDF, PixelData=None, Rows=None, Columns=None)
    seen = look(nora, node, odd("BESIDE"), video, text)
    assert len(seen.data["slices"]) == 1
    assert np.unique(seen.picture()).size > 5
    assert seen.picture(f"{seen.data['base']}/mosaic.jpg?window=full").shape[:2] == (160, 160)


def test_an_image_without_pixels_is_told_to_have_no_pictures(nora: TestClient, node: Node) -> None:
    assert "This series has no pictures" in look(nora, node, odd("NONE", PixelData=None)).text


@pytest.mark.parametrize("syntax", ["", BIG_ENDIAN])
def test_single_bits_are_black_and_white_in_either_byte_order(nora: TestClient, node: Node, syntax: str) -> None:
    marked = np.arange(N * N).reshape(N, N) % 3 == 0
    stored = np.packbits(marked, bitorder="little")
    pixels = stored.view("<u2").astype(">u2" if syntax else "<u2").tobytes()
    data = odd(f"BIT{syntax}", syntax, **BIT, PixelData=pixels)
    seen = look(nora, node, data)
    assert np.array_equal(seen.picture(), np.where(marked, 255, 0))
    assert seen.notes == ["Each pixel of these images is only black or white."]


FLOATS: dict[str, list[float]] = {
    "small": list(np.linspace(-1, 1, N * N)),
    "huge": list(np.linspace(-1, 1, N * N) * 1.7e308),
    "odd": [np.nan, np.inf, -np.inf, *range(N * N - 3)],
}


@pytest.mark.parametrize("name", FLOATS)
def test_real_numbers_of_any_size_have_a_page_and_shades(nora: TestClient, node: Node, name: str) -> None:
    seen = look(nora, node, odd(f"REAL-{name}", **DOUBLE, DoubleFloatPixelData=np.array(FLOATS[name], "<f8").tobytes()))
    assert np.unique(seen.picture()).size > 40
    assert len(seen.notes) == 1
    for window in seen.windows:
        seen.picture(seen.address("frames", query=f"?window={window}"))


WINDOWS: dict[str, dict[str, Any]] = {
    "zero": {"WindowCenter": 40, "WindowWidth": 0},
    "below zero": {"WindowCenter": 40, "WindowWidth": -400},
    "huge": {"WindowCenter": "1e300", "WindowWidth": "1e300"},
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_of_no_use_is_told_and_another_one_shown(nora: TestClient, node: Node, name: str) -> None:
    seen = look(nora, node, odd(f"WINDOW-{name}", **WINDOWS[name]))
    assert seen.notes == ["The window that the headers name cannot be used; another one was chosen."]
    assert np.unique(seen.picture()).size > 5


def test_a_window_that_shows_nothing_is_not_the_first(nora: TestClient, node: Node) -> None:
    values = np.arange(N * N, dtype="<i2").tobytes()
    seen = look(nora, node, odd("FAR", PixelData=values, RescaleIntercept=20_000))
    assert "mediastinum" in seen.windows
    assert np.unique(seen.picture()).size > 50
    seen = look(nora, node, odd("FAR-OWN", PixelData=values, WindowCenter=-30_000, WindowWidth=10))
    assert "own-1" in seen.windows
    assert np.unique(seen.picture()).size > 50


def test_colours_without_their_tables_are_shown_in_grey(nora: TestClient, node: Node) -> None:
    pixels = {**BYTE, "PhotometricInterpretation": "PALETTE COLOR", "PixelData": bytes(range(64))}
    short = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", b"\0\1"))
    }
    for name, elements in (("MISSING", {}), ("SHORT", short)):
        seen = look(nora, node, odd(f"PALETTE-{name}", IMPLICIT, **pixels, **elements))
        assert seen.notes == [
            "The tables of colours of these images are missing or damaged; they are shown in grey.",
        ]
        assert np.unique(seen.picture()).size > 50


def test_an_empty_sequence_of_tables_is_as_none(nora: TestClient, node: Node) -> None:
    seen = look(nora, node, odd("EMPTY", IMPLICIT, VOILUTSequence=[], ModalityLUTSequence=[]))
    assert np.unique(seen.picture(seen.address("frames", query="?window=own"))).size > 5


def test_a_damaged_image_in_the_middle_leaves_the_others_their_windows(nora: TestClient, node: Node) -> None:
    files = [odd("DAMAGED", number=n, **({"PixelData": b"\0" * 20} if n == 2 else {})) for n in (1, 2, 3)]
    seen = look(nora, node, *files)
    assert seen.notes == ["Some images of this series cannot be read."]
    assert {"mediastinum", "full"} <= set(seen.windows)
    assert np.unique(seen.picture(seen.address("frames", 0, "?window=full"))).size > 5


def test_where_no_image_can_be_drawn_a_sentence_stands_in_its_place(nora: TestClient, node: Node) -> None:
    shown = r'<img src="[^"]+" alt="[^"]*" draggable="false">'
    for name, elements, note in (
        ("SHORT", {"PixelData": b"\0" * 20}, "cannot be read"),
        ("LARGE", {"Rows": 30_000, "Columns": 30_000}, "have more pixels than are drawn here"),
        ("SIDES", {"Rows": 0, "Columns": 0}, "cannot be read"),
    ):
        seen = look(nora, node, odd(f"NOT-{name}", **elements))
        assert any(note in one for one in seen.notes), name
        assert not re.search(shown, seen.text)
        assert 'data-wrong role="status">This slice cannot be shown.' in seen.text
    assert re.search(shown, look(nora, node, odd("DRAWN")).text)


def test_a_row_and_a_single_pixel_are_drawn(nora: TestClient, node: Node) -> None:
    row = np.arange(30_000, dtype="<u2").tobytes()
    assert look(nora, node, odd("ROW", Rows=1, Columns=30_000, PixelData=row)).picture().shape == (1, 30_000)
    assert look(nora, node, odd("ONE", Rows=1, Columns=1, PixelData=b"\1\0")).picture().shape == (1, 1)


def test_suv_windows_have_the_shades_of_values_made_suv(nora: TestClient, node: Node) -> None:
    tracer = Dataset()
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = 4e8, 6586.2
    tracer.RadiopharmaceuticalStartTime = "091500"
    pixels = np.linspace(0, 32_000, N * N).astype("<i2")
    data = odd(
        "PET", Modality="PT", SOPClassUID="1.2.840.10008.5.1.4.1.1.128", Units="BQML", RescaleType=None,
        CorrectedImage=["DECY", "ATTN"], DecayCorrection="START", PatientWeight=80, SeriesTime="101500",
        AcquisitionTime="101500", RadiopharmaceuticalInformationSequence=[tracer], RescaleSlope=2.5,
        RescaleIntercept=0, PixelData=pixels.tobytes(),
    )  # fmt: skip
    seen = look(nora, node, data)
    image = dcmread(io.BytesIO(data))
    assert suv_factor(image) == pytest.approx(80_000 / (4e8 * 2 ** (-3600 / 6586.2)))
    values = apply_modality_lut(image.pixel_array, image) * suv_factor(image)
    for name, most in (("suv-5", 5), ("suv-10", 10)):
        shades = np.rint(np.clip(values / most, 0, 1) * 255)
        shown = seen.picture(seen.address("frames", query=f"?window={name}"))
        assert np.abs(shown.astype(int) - shades).max() <= 1
        assert np.unique(shown).size > 10
    assert seen.data["values"]["unit"] == "SUV"
    assert seen.data["values"]["scale"] == pytest.approx(suv_factor(image))


# --- outlines -----------------------------------------------------------------------------------------------------


def segmentation(name: str, sop_class: str = SEG, mask: Any = MASK, groups: Any = (), **elements: Any) -> bytes:
    """A segmentation of one frame beside the images of `name`, at the height of the first, in their frame of
    reference; it names no source.
    """
    image = dcmread(io.BytesIO(ct(name, size=N)))
    made = dcmread(io.BytesIO(odd(name, number=7, PixelSpacing=None, ImagePositionPatient=None)))
    for keyword in ("ImageOrientationPatient", "SliceThickness", "RescaleSlope", "RescaleIntercept", "RescaleType"):
        made.pop(keyword, None)
    made.SOPClassUID, made.Modality, made.SeriesInstanceUID = sop_class, "SEG", f"{image.SeriesInstanceUID}7"
    made.SOPInstanceUID = f"{image.SOPInstanceUID}7"
    made.NumberOfFrames, made.SegmentationType, made.ContentLabel = 1, "BINARY", "MASK"
    made.Rows, made.Columns = mask.shape
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "Lesion"
    made.SegmentSequence = [segment]
    measures, orientation, position, identified = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [1, 1], 1
    orientation.ImageOrientationPatient, position.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 1]
    identified.ReferencedSegmentNumber = 1
    shared, own = Dataset(), Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    own.PlanePositionSequence, own.SegmentIdentificationSequence = [position], [identified]
    for keyword, value in dict(groups).items():
        {"PixelSpacing": measures, "ImageOrientationPatient": orientation, "ImagePositionPatient": position}[
            keyword
        ].__setattr__(keyword, value)
    made.SharedFunctionalGroupsSequence, made.PerFrameFunctionalGroupsSequence = [shared], [own]
    for keyword, value in {**BYTE, "PixelData": mask.tobytes(), **elements}.items():
        setattr(made, keyword, value)
    return part10(made)


def drawn(seen: Seen) -> tuple[list[tuple[float, float, float, float]], dict[str, Any]]:
    """Least and greatest x and y of each path of the only overlay, and the answer."""
    [overlay] = set(re.findall(r'data-overlay="([^"]+)"', seen.text))
    answer = seen.outlines(overlay)
    paths = [path for segment in answer["segments"] for path in segment["paths"]]
    return [(min(path[::2]), min(path[1::2]), max(path[::2]), max(path[1::2])) for path in paths], answer


BITS = np.packbits(MASK.ravel(), bitorder="little").tobytes()
SEGMENTATIONS: dict[str, tuple[dict[str, Any], tuple[float, float, float, float]]] = {
    "bits": ({**BIT, "PixelData": BITS}, (3, 2, 7, 5)),
    "fractions": (
        {"SegmentationType": "FRACTIONAL", "MaximumFractionalValue": 200, "mask": MASK * 99 + (MASK[::-1] * 101)},
        (3, 3, 7, 6),
    ),
    "label map": ({"sop_class": LABEL_MAP, "SegmentationType": "LABELMAP"}, (3, 2, 7, 5)),
    "finer grid": (
        {"groups": {"PixelSpacing": [0.5, 0.5], "ImagePositionPatient": [2, 2, 1]}},
        (3.75, 3.25, 5.75, 4.75),
    ),
}


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_a_segmentation_without_its_source_is_drawn_by_where_it_lies(nora: TestClient, node: Node, name: str) -> None:
    elements, expected = SEGMENTATIONS[name]
    image = f"SEG-{name}"
    paths, answer = drawn(look(nora, node, odd(image), segmentation(image, **elements)))
    assert answer["missing"] == ""
    assert paths == [expected]


def test_a_segmentation_in_other_planes_is_told_not_to_be_drawn(nora: TestClient, node: Node) -> None:
    turned = {"ImageOrientationPatient": [1, 0, 0, 0, 0.8, 0.6]}
    paths, answer = drawn(look(nora, node, odd("OBLIQUE"), segmentation("OBLIQUE", groups=turned)))
    assert paths == []
    assert "not parallel" in answer["missing"]


def structure_set(name: str, *contours: tuple[str, list[float]]) -> bytes:
    image = dcmread(io.BytesIO(ct(name, size=N)))
    made = Dataset()
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(made, keyword, image[keyword].value)
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = STRUCTURES, f"{image.SOPInstanceUID}8", "RTSTRUCT"
    made.SeriesInstanceUID, made.StructureSetLabel = f"{image.SeriesInstanceUID}8", "PLAN"
    region, roi = Dataset(), Dataset()
    region.ROINumber, region.ROIName = 1, "Target"
    region.ReferencedFrameOfReferenceUID = image.FrameOfReferenceUID
    roi.ReferencedROINumber, roi.ROIDisplayColor, roi.ContourSequence = 1, [255, 0, 0], []
    for kind, points in contours:
        contour = Dataset()
        contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points) // 3
        contour.ContourData = points
        roi.ContourSequence.append(contour)
    made.StructureSetROISequence, made.ROIContourSequence = [region], [roi]
    return part10(made, IMPLICIT)


def test_points_and_open_contours_are_drawn_as_such(nora: TestClient, node: Node) -> None:
    contours = ("POINT", [2, 3, 1]), ("OPEN_PLANAR", [0, 0, 1, 4, 0, 1, 4, 5, 1]), ("OPEN_PLANAR", [0, 0, 9, 4, 0, 9])
    paths, answer = drawn(look(nora, node, odd("POINTS"), structure_set("POINTS", *contours)))
    assert [segment["closed"] for segment in answer["segments"]] == [False]
    assert paths == [(0.5, 3.5, 4.5, 3.5), (2.5, 1.5, 2.5, 5.5), (0.5, 0.5, 4.5, 5.5)]


def test_a_contour_of_very_many_points_is_drawn_with_fewer(nora: TestClient, node: Node) -> None:
    turn = np.linspace(0, 2 * np.pi, 30_000, endpoint=False)
    ring = np.stack([4 + 3 * np.cos(turn), 4 + 3 * np.sin(turn), np.ones_like(turn)], 1).round(3)
    files = odd("RING"), structure_set("RING", ("CLOSED_PLANAR", ring.ravel().tolist()))
    [path], answer = drawn(look(nora, node, *files))
    assert path == pytest.approx((1.5, 1.5, 7.5, 7.5), abs=0.01)
    assert answer["missing"] == ""
    assert len(answer["segments"][0]["paths"][0]) == 30_000
