"""CT, MR and PET: series of axial slices with all that their image modules ask for.

Source: PS3.3 sections C.7.6.1-3 (general image, plane, pixel), C.8.2.1 (CT), C.8.3.1 (MR), C.8.9 (PET).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.sample import encode, header, pixels
from carina.sample.anatomy import Labels
from carina.sample.cohort import SampleStudy
from carina.sample.draws import Draws, uid
from carina.sample.exams import Series

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
PET_CLASS = "1.2.840.10008.5.1.4.1.1.128"
F18_HALF_LIFE = 6586.2
"""Seconds."""
_SPANS_MM = {"chest": 260.0, "abdomen": 240.0, "body": 760.0, "brain": 120.0, "pelvis": 60.0, "rectum": 75.0}
_SPAN_MM = 150.0


@dataclass(frozen=True)
class Timing:
    """How an MR contrast is made: milliseconds, degrees, and the words of PS3.3 C.8.3.1."""

    sequence: tuple[str, ...]
    variant: tuple[str, ...]
    options: str
    acquisition: str
    tr: float
    te: float
    flip: int
    train: int
    inversion: float = 0.0
    agent: str = ""


TIMINGS = {
    "t1": Timing(("SE",), ("SK", "SP"), "", "2D", 620, 11, 90, 1, agent="Gadobutrol 1 mmol/mL"),
    "t1fs": Timing(("GR",), ("SK", "SP"), "FS", "3D", 4.2, 1.6, 10, 1, agent="Gadobutrol 1 mmol/mL"),
    "t2": Timing(("SE",), ("SK", "SP"), "", "2D", 4600, 102, 120, 17),
    "flair": Timing(("SE", "IR"), ("SK", "SP", "MP"), "", "2D", 9000, 112, 150, 19, inversion=2500),
    "dwi": Timing(("EP", "SE"), ("SK",), "FS", "2D", 5300, 71, 90, 1),
}


@dataclass(frozen=True)
class Slice:
    """One image: its whole header but the pixels, and its file."""

    header: Dataset
    data: bytes


def write(study: SampleStudy, series: Series, number: int, common: Dataset, labels: Labels) -> Iterator[Slice]:
    """The images of one series, one at a time. `labels` has a map per image; `common` is not changed."""
    template = header.extended(common)
    header.add_series(template, study, series, number)
    _plane(template, study, series, labels.shape[1])
    chance = np.random.default_rng(Draws("pixels", *study.label, number).seed())
    if series.modality == "CT":
        _ct(template, study, series)
        volume = pixels.hounsfield(labels, series.contrast, chance)
        factors = None
    elif series.modality == "MR":
        _mr(template, study, series)
        volume = pixels.signal(labels, series.contrast, chance).astype(np.int16)
        factors = None
    else:
        _pet(template, study, number, len(labels))
        activity = pixels.uptake(labels, chance) * _becquerel_per_suv(study)
        factors = np.maximum(activity.max(axis=(1, 2)), 1.0) / 32767
        volume = np.rint(activity / factors[:, None, None]).astype(np.int16)
    implicit = study.scanner.implicit
    character_set = study.patient.site.character_set
    encoded = encode.elements(template, character_set, implicit)
    for index, image in enumerate(volume):
        own = _own(study, series, number, index, len(volume))
        if factors is not None:
            _frame(own, index, float(factors[index]))
        whole = header.extended(template, own)
        merged = encoded | encode.elements(own, character_set, implicit)
        merged[encode.PIXEL_DATA] = encode.pixels(image.tobytes(), implicit)
        yield Slice(whole, encode.part10(str(whole.SOPClassUID), str(whole.SOPInstanceUID), merged, implicit))


def slice_step(series: Series) -> float:
    """Millimetres from one slice of the series to the next."""
    return _SPANS_MM.get(series.anatomy, _SPAN_MM) / series.images


def _own(study: SampleStudy, series: Series, number: int, index: int, count: int) -> Dataset:
    """What this image has to itself."""
    own = Dataset()
    height = round((index - (count - 1) / 2) * slice_step(series), 2)
    corner = round(-series.field_mm / 2 + series.field_mm / series.size / 2, 4)
    taken = header.clock(study, 240 * number + 5 + 1.7 * index)
    own.SOPInstanceUID = header.instance_uid(study, number, index + 1)
    own.InstanceNumber = index + 1
    own.ImagePositionPatient = [corner, corner, height]
    own.SliceLocation = str(height)
    own.AcquisitionTime = own.ContentTime = taken
    own.InstanceCreationTime = header.clock(study, 240 * number + 30 + 1.7 * index)
    return own


def _plane(template: Dataset, study: SampleStudy, series: Series, size: int) -> None:
    spacing = f"{series.field_mm / size:.6f}"
    template.FrameOfReferenceUID = uid("frame", *study.label)
    template.PositionReferenceIndicator = "SN" if series.anatomy in ("chest", "body") else ""
    if series.modality != "PT":  # PET says it with Patient Orientation Code Sequence, which excludes this
        template.PatientPosition = "HFP" if series.anatomy == "breast" else "HFS"
    if series.anatomy == "breast":
        template.Laterality = ""
    template.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    template.PixelSpacing = [spacing, spacing]
    template.SliceThickness = "5"
    template.SamplesPerPixel = 1
    template.PhotometricInterpretation = "MONOCHROME2"
    template.Rows = template.Columns = size
    template.BitsAllocated = 16
    template.BitsStored = 16
    template.HighBit = 15
    template.PixelRepresentation = 1
    template.BurnedInAnnotation = "NO"
    template.AcquisitionNumber = 1
    if study.patient.number % 3 == 0:
        template.ImageComments = f"{study.patient.spoken} {study.patient.patient_id}"


def _ct(template: Dataset, study: SampleStudy, series: Series) -> None:
    draws = Draws("ct", *study.label)
    template.SOPClassUID = CT_CLASS
    template.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    template.KVP = draws.choice(("100", "120", "120"))
    template.XRayTubeCurrent = draws.number(110, 380)
    template.ExposureTime = 500
    template.Exposure = template.XRayTubeCurrent // 2
    template.ConvolutionKernel = study.scanner.kernel
    template.DataCollectionDiameter = "500"
    template.ReconstructionDiameter = str(series.field_mm)
    template.GantryDetectorTilt = "0"
    template.TableHeight = str(draws.number(120, 180))
    template.FilterType = "BODY FILTER"
    template.SpacingBetweenSlices = f"{slice_step(series):.4f}"
    if series.contrast != "plain":
        template.ContrastBolusAgent = "Iomeprol 350"
        template.ContrastBolusRoute = "IV"
        template.ContrastBolusVolume = str(draws.number(70, 110))
    template.RescaleIntercept = "0"
    template.RescaleSlope = "1"
    template.RescaleType = "HU"
    template.WindowCenter = ["40", "-600"] if series.body_part == "CHEST" else ["50", "400"]
    template.WindowWidth = ["400", "1500"] if series.body_part == "CHEST" else ["380", "1800"]
    template.WindowCenterWidthExplanation = ["MEDIASTINUM", "LUNG"] if series.body_part == "CHEST" else ["SOFT", "BONE"]


def _mr(template: Dataset, study: SampleStudy, series: Series) -> None:
    timing, tesla = TIMINGS[series.contrast], study.scanner.tesla
    draws = Draws("mr", *study.label)
    template.SOPClassUID = MR_CLASS
    template.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    if study.scanner.manufacturer.startswith("GE"):
        template.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    template.ScanningSequence = list(timing.sequence)
    template.SequenceVariant = list(timing.variant)
    template.ScanOptions = timing.options
    template.MRAcquisitionType = timing.acquisition
    template.SequenceName = f"{series.contrast}_{timing.train}"
    template.RepetitionTime = str(timing.tr)
    template.EchoTime = str(timing.te)
    template.EchoTrainLength = timing.train
    template.EchoNumbers = 1
    template.FlipAngle = str(timing.flip)
    template.NumberOfAverages = "1"
    if timing.inversion:
        template.InversionTime = str(timing.inversion)
    template.ImagingFrequency = f"{42.577 * tesla:.4f}"
    template.ImagedNucleus = "1H"
    template.MagneticFieldStrength = str(tesla)
    template.SpacingBetweenSlices = f"{slice_step(series):.4f}"
    template.PercentSampling = "100"
    template.PixelBandwidth = str(draws.number(120, 260))
    template.TransmitCoilName = "BODY"
    template.InPlanePhaseEncodingDirection = "ROW"
    template.SAR = draws.number(3, 19) / 10
    if timing.agent and series.anatomy != "rectum":
        template.ContrastBolusAgent = timing.agent
        template.ContrastBolusRoute = "IV"
    if series.contrast == "dwi":
        template.DiffusionBValue = 800.0
    template.WindowCenter = "450"
    template.WindowWidth = "900"


def injection(study: SampleStudy) -> tuple[float, float]:
    """Activity of FDG (Bq) and how long before the PET series it was given (s)."""
    draws = Draws("dose", *study.label)
    return float(draws.number(190, 380)) * 1e6, float(draws.number(3300, 4500))


def _becquerel_per_suv(study: SampleStudy) -> np.float32:
    """Bq/mL at the start of the PET series that an SUV of 1 g/mL is, PS3.3 C.8.9.1.1.11.4."""
    dose, delay = injection(study)
    return np.float32(dose * 2 ** (-delay / F18_HALF_LIFE) / (study.patient.weight * 1000))


def _pet(template: Dataset, study: SampleStudy, number: int, count: int) -> None:
    dose, delay = injection(study)
    template.SOPClassUID = PET_CLASS
    template.ImageType = ["ORIGINAL", "PRIMARY"]
    template.SeriesType = ["WHOLE BODY", "IMAGE"]
    template.Units = "BQML"
    template.CountsSource = "EMISSION"
    template.DecayCorrection = "START"
    template.CorrectedImage = ["DECY", "RADL", "ATTN", "SCAT", "DTIM", "RAN", "NORM"]
    template.RandomsCorrectionMethod = "DLYD"
    template.AttenuationCorrectionMethod = "measured, CT"
    template.ScatterCorrectionMethod = "Model-based"
    template.ReconstructionMethod = "PSF+TOF 2i21s"
    template.CollimatorType = "NONE"
    template.NumberOfSlices = count
    template.ActualFrameDuration = "120000"
    template.DecayFactor = "1"
    template.RescaleIntercept = "0"
    template.WindowCenter = "8000"
    template.WindowWidth = "16000"
    window = Dataset()
    window.EnergyWindowLowerLimit = "435"
    window.EnergyWindowUpperLimit = "650"
    template.EnergyWindowRangeSequence = Sequence([window])
    given = 240 * number - delay
    drug = Dataset()
    drug.Radiopharmaceutical = "Fluorodeoxyglucose"
    drug.RadiopharmaceuticalRoute = "Intravenous route"
    drug.RadiopharmaceuticalStartTime = header.clock(study, given)
    drug.RadiopharmaceuticalStartDateTime = header.day(study.day) + header.clock(study, given)
    drug.RadionuclideTotalDose = str(int(dose))
    drug.RadionuclideHalfLife = str(F18_HALF_LIFE)
    drug.RadionuclidePositronFraction = "0.967"
    drug.RadionuclideCodeSequence = Sequence([header.code("C-111A1", "SRT", "^18^Fluorine")])
    drug.RadiopharmaceuticalCodeSequence = Sequence([header.code("C-B1031", "SRT", "Fluorodeoxyglucose F^18^")])
    template.RadiopharmaceuticalInformationSequence = Sequence([drug])
    lying = header.code("F-10450", "SRT", "recumbent")
    lying.PatientOrientationModifierCodeSequence = Sequence([header.code("F-10340", "SRT", "supine")])
    template.PatientOrientationCodeSequence = Sequence([lying])
    template.PatientGantryRelationshipCodeSequence = Sequence([header.code("F-10470", "SRT", "headfirst")])


def _frame(own: Dataset, index: int, slope: float) -> None:
    own.ImageIndex = index + 1
    own.FrameReferenceTime = str(60000 + 120000 * index)
    own.RescaleSlope = f"{slope:.10g}"[:16]
