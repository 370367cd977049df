"""Mammograms and ultrasounds, some with the patient's name in the pixels.

Source: PS3.3 sections C.8.11.7 (mammography image), C.8.5.6 (ultrasound image).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.sample import encode, header, pixels
from carina.sample.anatomy import Floats
from carina.sample.cohort import SampleStudy
from carina.sample.draws import Draws
from carina.sample.exams import Series

MG_CLASS = "1.2.840.10008.5.1.4.1.1.1.2"
US_CLASS = "1.2.840.10008.5.1.4.1.1.6.1"
MG_SIZE = (256, 208)
US_SIZE = (240, 320)
VIEWS = (
    ("R", "CC", "R-10242", "cranio-caudal"),
    ("L", "CC", "R-10242", "cranio-caudal"),
    ("R", "MLO", "R-10226", "medio-lateral oblique"),
    ("L", "MLO", "R-10226", "medio-lateral oblique"),
)


@dataclass(frozen=True)
class TextBox:
    """Where an image shows identifying text: upper left corner and extent in pixels, and what it says."""

    row: int
    column: int
    height: int
    width: int
    text: str


def text_boxes(study: SampleStudy) -> dict[str, tuple[TextBox, ...]]:
    """Identifying text in the pixels of the study's instances, by SOP Instance UID; empty for most studies."""
    if not study.burned:
        return {}
    boxes = {}
    for index in range(study.kind.series[0].images):
        found = _boxes(study, index)
        if found:
            boxes[header.instance_uid(study, 1, index + 1)] = found
    return boxes


def write(study: SampleStudy, series: Series, common: Dataset) -> Iterator[bytes]:
    """The files of a mammography or ultrasound series, one at a time."""
    template = header.extended(common)
    header.add_series(template, study, series, 1)
    # Machines often say that no text is in the pixels when there is; every second study here says so too.
    template.BurnedInAnnotation = "YES" if study.burned and study.patient.number % 2 else "NO"
    (_mg if series.modality == "MG" else _us)(template, study)
    implicit, character_set = study.scanner.implicit, study.patient.site.character_set
    encoded = encode.elements(template, character_set, implicit)
    for index in range(series.images):
        own = _own(study, series, index)
        if series.modality == "MG":
            data, vr = _mammogram(study, index).tobytes(), b"OW"
            _view(own, index)
        else:
            data, vr = _ultrasound(study, series.anatomy, index).tobytes(), b"OB"
        merged = encoded | encode.elements(own, character_set, implicit)
        merged[encode.PIXEL_DATA] = encode.pixels(data, implicit, vr)
        yield encode.part10(str(template.SOPClassUID), str(own.SOPInstanceUID), merged, implicit)


def _own(study: SampleStudy, series: Series, index: int) -> Dataset:
    own = Dataset()
    own.SOPInstanceUID = header.instance_uid(study, 1, index + 1)
    own.InstanceNumber = index + 1
    own.AcquisitionTime = own.ContentTime = header.clock(study, 260 + 40 * index)
    own.InstanceCreationTime = header.clock(study, 265 + 40 * index)
    if series.modality == "US":
        own.PatientOrientation = None
    return own


def _mg(template: Dataset, study: SampleStudy) -> None:
    template.SOPClassUID = MG_CLASS
    template.ImageType = ["DERIVED", "PRIMARY"]
    template.PresentationIntentType = "FOR PRESENTATION"
    template.AcquisitionNumber = 1
    template.KVP = "29"
    template.ExposureTime = 780
    template.XRayTubeCurrent = 100
    template.Exposure = 78
    template.AnodeTargetMaterial = "TUNGSTEN"
    template.FilterMaterial = "RHODIUM"
    template.BodyPartThickness = str(Draws("mg", *study.label).number(38, 72))
    template.CompressionForce = str(Draws("mg force", *study.label).number(70, 140))
    template.DetectorType = "DIRECT"
    template.DetectorID = f"DET{study.scanner.serial}"
    template.ImagerPixelSpacing = ["0.9", "0.9"]
    template.PositionerType = "MAMMOGRAPHIC"
    template.OrganExposed = "BREAST"
    template.BreastImplantPresent = "NO"
    template.PixelIntensityRelationship = "LOG"
    template.PixelIntensityRelationshipSign = 1
    template.PresentationLUTShape = "IDENTITY"
    template.LossyImageCompression = "00"
    template.RescaleIntercept = "0"
    template.RescaleSlope = "1"
    template.RescaleType = "US"
    template.WindowCenter = "2048"
    template.WindowWidth = "4096"
    template.SamplesPerPixel = 1
    template.PhotometricInterpretation = "MONOCHROME2"
    template.Rows, template.Columns = MG_SIZE
    template.BitsAllocated = 16
    template.BitsStored = 12
    template.HighBit = 11
    template.PixelRepresentation = 0
    template.AnatomicRegionSequence = Sequence([header.code("T-04000", "SRT", "Breast")])
    template.AcquisitionContextSequence = Sequence([])


def _view(own: Dataset, index: int) -> None:
    side, name, value, meaning = VIEWS[index]
    own.ImageLaterality = side
    view = header.code(value, "SRT", meaning)
    view.ViewModifierCodeSequence = Sequence([])
    own.ViewCodeSequence = Sequence([view])
    toward = "P" if side == "R" else "A"
    own.PatientOrientation = [toward, {"R": "L", "L": "R"}[side] if name == "CC" else "F"]


def _us(template: Dataset, study: SampleStudy) -> None:
    template.SOPClassUID = US_CLASS
    template.ImageType = ["ORIGINAL", "PRIMARY", "", "0001"]
    template.SamplesPerPixel = 3
    template.PhotometricInterpretation = "RGB"
    template.PlanarConfiguration = 0
    template.Rows, template.Columns = US_SIZE
    template.BitsAllocated = template.BitsStored = 8
    template.HighBit = 7
    template.PixelRepresentation = 0
    template.LossyImageCompression = "00"
    template.TransducerData = ["C5-1", "", ""]
    if study.exam.kind == "us-breast":
        template.Laterality = "R"


def _lines(study: SampleStudy, index: int) -> tuple[tuple[int, int, str], ...]:
    """Row, column and text of each line that this image shows, in letters a machine's font has."""
    person = study.patient
    name = _plain(person.name.replace("^", ", "))
    if study.exam.kind == "mg":
        left = 6 if VIEWS[index][0] == "R" else MG_SIZE[1] // 2 - 20
        return ((4, left, name[:18]), (17, left, person.patient_id)) if index < 4 else ()
    return ((2, 4, f"{name[:30]}"), (14, 4, f"{person.patient_id} {study.day:%d-%m-%Y}"))


def _boxes(study: SampleStudy, index: int) -> tuple[TextBox, ...]:
    font = ImageFont.load_default_imagefont()
    boxes = []
    for row, column, text in _lines(study, index):
        width, height = font.getmask(text).size
        boxes.append(TextBox(row, column, height, width, text))
    return tuple(boxes)


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.replace("Đ", "D").replace("đ", "d").replace("ł", "l"))
    return folded.encode("ascii", "ignore").decode()


def _drawn(study: SampleStudy, index: int, size: tuple[int, int], extra: str = "") -> NDArray[np.bool_]:
    """Where the image is white with letters."""
    sheet = Image.new("L", (size[1], size[0]))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default_imagefont()
    if study.burned:
        for row, column, text in _lines(study, index):
            pen.text((column, row), text, fill=255, font=font)
    if extra:
        pen.text((size[1] - 6 * len(extra) - 6, size[0] - 14), extra, fill=255, font=font)
    return np.asarray(sheet) > 0


def _mottle(chance: np.random.Generator, size: tuple[int, int], steps: tuple[int, ...]) -> Floats:
    """Clouds of several sizes, the largest strongest; mean 0, deviation about 1."""
    field = np.zeros(size, np.float32)
    for step in steps:
        coarse = pixels.noise(chance, (-(-size[0] // step), -(-size[1] // step)))
        smooth = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        field += np.asarray(smooth, np.float32) * np.float32(step / steps[0])
    return field


def _mammogram(study: SampleStudy, index: int) -> NDArray[np.uint16]:
    """12 bits, chest wall at the right for right breasts."""
    side, view = VIEWS[index][:2]
    chance = np.random.default_rng(Draws("mammogram", *study.label, index).seed())
    rows, columns = MG_SIZE
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(0, 1.15, columns, dtype=np.float32)[None, :]
    droop = 0.10 * (view != "CC")
    reach = (x / np.float32(0.86)) ** 2 + ((y - droop - 0.05 * x) / np.float32(0.80)) ** 2
    breast = np.clip((1 - reach) * 7, 0, 1)
    disc = np.clip(1 - (x / 0.66) ** 2 - ((y - droop) / 0.6) ** 2, 0, 1)
    texture = _mottle(chance, MG_SIZE, (24, 10, 4))
    image = 700 + breast * (620 + 330 * (1 - reach) + disc * (950 + 520 * texture))
    image = np.where(breast > 0, image + 70 * pixels.grain(chance, (1, *MG_SIZE), 2)[0] * breast, 60)
    if view != "CC":
        muscle = np.clip((0.42 - x * 1.15 - (y + 1) * 0.36) * 14, 0, 1)
        image = image * (1 - 0.7 * muscle) + 0.7 * muscle * (2350 + 60 * texture)
    if side == ("R" if study.patient.number % 2 else "L"):
        dx, dy = x - 0.42, y - droop - 0.12
        angle = np.arctan2(dy, dx)
        radius = 0.095 * study.lesion
        mass = (dx**2 + dy**2) / radius**2 * (1 + 0.16 * np.sin(9 * angle) + 0.12 * np.sin(17 * angle))
        image += 1150 * np.exp(-(mass**2))
        for _ in range(9):
            r, c = int(rows * chance.uniform(0.52, 0.68)), int(columns * chance.uniform(0.30, 0.45))
            image[r, c] += 900
    image = pixels.blur(image.astype(np.float32)[None])[0] + 14 * pixels.noise(chance, MG_SIZE)
    image[:, -2:] = 60  # the blur's rim
    if side == "R":
        image = image[:, ::-1]
    out: NDArray[np.uint16] = np.clip(np.rint(image), 0, 4000).astype(np.uint16)
    out[_drawn(study, index, MG_SIZE)] = 4095
    return out


def _ultrasound(study: SampleStudy, anatomy: str, index: int) -> NDArray[np.uint8]:
    """RGB, a fan (liver) or a block (breast) of speckle beneath the text lines."""
    chance = np.random.default_rng(Draws("ultrasound", *study.label, index).seed())
    rows, columns = US_SIZE
    y = np.linspace(0, 1, rows, dtype=np.float32)[:, None] - 0.13
    x = np.linspace(-0.67, 0.67, columns, dtype=np.float32)[None, :]
    texture = _mottle(chance, US_SIZE, (12, 6, 3))
    if anatomy == "us-liver":
        depth = np.sqrt(x * x + (y + 0.18) ** 2) - 0.2
        shown = (np.abs(np.arctan2(x, y + 0.18)) < 0.72) & (depth > 0) & (depth < 0.82)
        echo = 88 + 10 * texture - 35 * depth
        for _ in range(8):
            vx, vy, turn = chance.uniform(-0.35, 0.35), chance.uniform(0.15, 0.7), chance.uniform(-1, 1)
            dx, dy = x - vx, y - vy
            far = ((dx * np.cos(turn) + dy * np.sin(turn)) / 0.09) ** 2
            far = far + ((dy * np.cos(turn) - dx * np.sin(turn)) / 0.016) ** 2
            echo = np.where(far < 1, 12, np.where(far < 1.7, echo + 30, echo))
        echo = echo + 130 * np.exp(-(((depth - 0.72 - 0.04 * np.sin(6 * x)) / 0.012) ** 2))
    else:
        depth = np.broadcast_to(y, US_SIZE)
        shown = (depth > 0) & (depth < 0.84) & (np.abs(x) < 0.5)
        wave = 0.02 * np.sin(9 * x + chance.uniform(0, 6))
        echo = np.where(depth < 0.04, 170, np.where(depth < 0.2 + wave, 62, np.where(depth < 0.6 + wave, 112, 70)))
        echo = echo + 16 * texture + 90 * np.exp(-(((depth - 0.6 - wave) / 0.012) ** 2))
    dx, dy = x - 0.04 * (index - 2), y - 0.40
    angle = np.arctan2(dy, dx)
    edge = (dx / 0.115) ** 2 + (dy / 0.085) ** 2 * (1 + 0.12 * np.sin(7 * angle + index))
    echo = np.where(edge < 1, 30 + 5 * texture, echo)
    echo = np.where((np.abs(dx) < 0.09) & (dy > 0.08), echo * 0.62, echo)
    first, second = pixels.noise(chance, US_SIZE), pixels.noise(chance, US_SIZE)
    speckle = np.sqrt(pixels.blur(first[None])[0] ** 2 + pixels.blur(second[None])[0] ** 2) * np.float32(1.9)
    image = np.where(shown, np.clip(echo, 5, None) * (0.35 + 0.75 * speckle), 0)
    grey = np.clip(image, 0, 235).astype(np.uint8)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    colour[_drawn(study, index, US_SIZE, "MI 1.1 TIS 0.2")] = (255, 255, 255)
    bar = np.linspace(235, 0, 90).astype(np.uint8)
    colour[60:150, 306:312] = bar[:, None, None]
    return colour
