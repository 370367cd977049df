"""Kinds of DICOM instances, PS3.4 annex B, and what keeps each from passing now.

An instance passes only when its SOP class is listed in `CLEANED`: its header can be cleaned and its pixels are measured
by a machine that writes no text into them. All else waits: for a look at its pixels, or at its other content.
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from carina.model.instance import Reason

_ROOT = "1.2.840.10008.5.1.4.1.1."

CLEANED = {
    _ROOT + uid: name
    for uid, name in (
        ("2", "CT Image"),
        ("2.1", "Enhanced CT Image"),
        ("2.2", "Legacy Converted Enhanced CT Image"),
        ("4", "MR Image"),
        ("4.1", "Enhanced MR Image"),
        ("4.4", "Legacy Converted Enhanced MR Image"),
        ("20", "Nuclear Medicine Image"),
        ("66.4", "Segmentation"),
        ("66.7", "Label Map Segmentation"),
        ("67", "Real World Value Mapping"),
        ("128", "Positron Emission Tomography Image"),
        ("128.1", "Legacy Converted Enhanced PET Image"),
        ("130", "Enhanced PET Image"),
        ("481.2", "RT Dose"),
    )
}
"""SOP classes that pass, unless something else about the instance makes it wait."""

COMPUTED = frozenset(_ROOT + uid for uid in ("66.4", "66.7", "67", "481.2"))
"""Of these, the ones made by software from other images: DERIVED says nothing of burned-in text there."""

_MAPS = _ROOT + "67"
_COMPUTED_PIXELS: dict[str, tuple[tuple[str, int], ...]] = {
    _ROOT + "66.4": (("MONOCHROME2", 1), ("MONOCHROME2", 8)),
    _ROOT + "66.7": (("MONOCHROME2", 8), ("MONOCHROME2", 16), ("PALETTE COLOR", 8), ("PALETTE COLOR", 16)),
    _ROOT + "481.2": (("MONOCHROME2", 16), ("MONOCHROME2", 32)),
}
"""Photometric Interpretation and Bits Allocated that their IODs allow; a value map has no pixels."""

PIXELS_TO_CHECK = {
    _ROOT + uid: name
    for uid, name in (
        ("1", "Computed Radiography Image"),
        ("1.1", "Digital X-Ray Image, for presentation"),
        ("1.1.1", "Digital X-Ray Image, for processing"),
        ("1.2", "Digital Mammography X-Ray Image, for presentation"),
        ("1.2.1", "Digital Mammography X-Ray Image, for processing"),
        ("1.3", "Digital Intra-Oral X-Ray Image, for presentation"),
        ("1.3.1", "Digital Intra-Oral X-Ray Image, for processing"),
        ("3", "Ultrasound Multi-frame Image (retired)"),
        ("3.1", "Ultrasound Multi-frame Image"),
        ("4.3", "Enhanced MR Color Image"),
        ("5", "Nuclear Medicine Image (retired)"),
        ("6", "Ultrasound Image (retired)"),
        ("6.1", "Ultrasound Image"),
        ("6.2", "Enhanced US Volume"),
        ("6.3", "Photoacoustic Image"),
        ("7", "Secondary Capture Image"),
        ("7.1", "Multi-frame Single Bit Secondary Capture Image"),
        ("7.2", "Multi-frame Grayscale Byte Secondary Capture Image"),
        ("7.3", "Multi-frame Grayscale Word Secondary Capture Image"),
        ("7.4", "Multi-frame True Color Secondary Capture Image"),
        ("12.1", "X-Ray Angiographic Image"),
        ("12.1.1", "Enhanced XA Image"),
        ("12.2", "X-Ray Radiofluoroscopic Image"),
        ("12.2.1", "Enhanced XRF Image"),
        ("12.3", "X-Ray Angiographic Bi-Plane Image (retired)"),
        ("13.1.1", "X-Ray 3D Angiographic Image"),
        ("13.1.2", "X-Ray 3D Craniofacial Image"),
        ("13.1.3", "Breast Tomosynthesis Image"),
        ("13.1.4", "Breast Projection X-Ray Image, for presentation"),
        ("13.1.5", "Breast Projection X-Ray Image, for processing"),
        ("14.1", "Intravascular Optical Coherence Tomography Image, for presentation"),
        ("14.2", "Intravascular Optical Coherence Tomography Image, for processing"),
        ("30", "Parametric Map"),
        ("77.1.1", "VL Endoscopic Image"),
        ("77.1.2", "VL Microscopic Image"),
        ("77.1.3", "VL Slide-Coordinates Microscopic Image"),
        ("77.1.4", "VL Photographic Image"),
        ("77.1.6", "VL Whole Slide Microscopy Image"),
        ("77.1.5.1", "Ophthalmic Photography 8 Bit Image"),
        ("77.1.5.2", "Ophthalmic Photography 16 Bit Image"),
        ("77.1.5.4", "Ophthalmic Tomography Image"),
        ("77.1.5.5", "Wide Field Ophthalmic Photography Stereographic Projection Image"),
        ("77.1.5.6", "Wide Field Ophthalmic Photography 3D Coordinates Image"),
        ("77.1.5.7", "Ophthalmic Optical Coherence Tomography En Face Image"),
        ("77.1.7", "Dermoscopic Photography Image"),
        ("481.1", "RT Image"),
        ("481.23", "Enhanced RT Image"),
        ("481.24", "Enhanced Continuous RT Image"),
    )
}
"""SOP classes whose pixels may show text. A class in no table waits for its content to be checked."""

STRUCTURED = {
    _ROOT + uid: name
    for uid, name in (
        ("9.1.1", "12-lead ECG Waveform"),
        ("9.1.2", "General ECG Waveform"),
        ("9.1.3", "Ambulatory ECG Waveform"),
        ("9.1.4", "General 32-bit ECG Waveform"),
        ("9.2.1", "Hemodynamic Waveform"),
        ("9.3.1", "Cardiac Electrophysiology Waveform"),
        ("9.5.1", "Arterial Pulse Waveform"),
        ("9.6.1", "Respiratory Waveform"),
        ("9.6.2", "Multi-channel Respiratory Waveform"),
        ("9.7.1", "Routine Scalp EEG Waveform"),
        ("9.7.2", "EMG Waveform"),
        ("9.7.3", "EOG Waveform"),
        ("9.7.4", "Sleep EEG Waveform"),
        ("9.8.1", "Body Position Waveform"),
        ("66.1", "Spatial Registration"),
        ("66.2", "Spatial Fiducials"),
        ("66.3", "Deformable Spatial Registration"),
        ("66.5", "Surface Segmentation"),
        ("66.6", "Tractography Results"),
        ("88.11", "Basic Text SR"),
        ("88.22", "Enhanced SR"),
        ("88.33", "Comprehensive SR"),
        ("88.34", "Comprehensive 3D SR"),
        ("88.35", "Extensible SR"),
        ("88.40", "Procedure Log"),
        ("88.50", "Mammography CAD SR"),
        ("88.59", "Key Object Selection"),
        ("88.65", "Chest CAD SR"),
        ("88.67", "X-Ray Radiation Dose SR"),
        ("88.68", "Radiopharmaceutical Radiation Dose SR"),
        ("88.69", "Colon CAD SR"),
        ("88.70", "Implantation Plan SR"),
        ("88.71", "Acquisition Context SR"),
        ("88.72", "Simplified Adult Echo SR"),
        ("88.73", "Patient Radiation Dose SR"),
        ("88.74", "Planned Imaging Agent Administration SR"),
        ("88.75", "Performed Imaging Agent Administration SR"),
        ("88.76", "Enhanced X-Ray Radiation Dose SR"),
        ("91.1", "Microscopy Bulk Simple Annotations"),
        ("481.3", "RT Structure Set"),
        ("481.4", "RT Beams Treatment Record"),
        ("481.5", "RT Plan"),
        ("481.6", "RT Brachy Treatment Record"),
        ("481.7", "RT Treatment Summary Record"),
        ("481.8", "RT Ion Plan"),
        ("481.9", "RT Ion Beams Treatment Record"),
    )
}
"""SOP classes without pixels, whose content is cleaned item by item: they pass with Clean Structured Content."""

PRESENTATIONS = {
    _ROOT + uid: name
    for uid, name in (
        ("11.1", "Grayscale Softcopy Presentation State"),
        ("11.2", "Color Softcopy Presentation State"),
        ("11.3", "Pseudo-color Softcopy Presentation State"),
        ("11.4", "Blending Softcopy Presentation State"),
        ("11.5", "XA/XRF Grayscale Softcopy Presentation State"),
        ("11.8", "Advanced Blending Presentation State"),
        ("11.12", "Variable Modality LUT Softcopy Presentation State"),
    )
}
"""SOP classes of drawings over images: they pass with Clean Graphics."""

MODALITIES_TO_CHECK = frozenset(
    (
        "US",
        "IVUS",
        "XA",
        "RF",
        "CR",
        "DX",
        "MG",
        "ES",
        "OT",
        "SC",
        "XC",
        "GM",
        "IO",
        "PX",
        "RG",
        "DG",
        "BDUS",
        "OP",
        "OPT",
    )
)
"""Modalities whose pixels may show text, whatever the SOP class says; Modality (0008,0060)."""

_VIDEO = "1.2.840.10008.1.2.4.10"  # and one more digit: MPEG2, MPEG-4, HEVC
_FOREIGN_CONTENT = ("EncapsulatedDocument", "ContentSequence", "WaveformSequence")  # no place in an image
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_PICTURE_WORDS = ("SCREEN", "CAPTURE", "REPORT")
_FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence")


CLEAN_PIXEL_DATA, CLEAN_STRUCTURED_CONTENT, CLEAN_GRAPHICS = (
    "clean_pixel_data",
    "clean_structured_content",
    "clean_graphics",
)
"""Options of PS3.15 section E.3 that let more kinds pass."""


def why_withheld(dataset: Dataset, options: tuple[str, ...] = ()) -> Reason | None:
    """What makes this instance wait under a profile with these options; None when its kind may pass.

    With Clean Pixel Data, images that may show text pass here: whoever cleans them asks `shows_text_by_kind` and has
    their pixels searched. Overlays, icons, comments and private elements are the concern of `deid`, which removes them.
    """
    sop_class = str(dataset.get("SOPClassUID", ""))
    is_known = sop_class in CLEANED or sop_class in PIXELS_TO_CHECK
    if not is_known and not _is_content_cleaned(sop_class, options):
        return Reason.CONTENT_NOT_CHECKED
    if _holds_foreign_content(dataset, sop_class, options) or _is_label(dataset, sop_class):
        return Reason.CONTENT_NOT_CHECKED
    if (not is_known or sop_class == _MAPS) and any(keyword in dataset for keyword in _PIXELS):
        return Reason.CONTENT_NOT_CHECKED
    if not is_known:
        return None
    if CLEAN_PIXEL_DATA not in options and shows_text_by_kind(dataset):
        return Reason.PIXELS_NOT_CHECKED
    return None


def shows_text_by_kind(dataset: Dataset) -> bool:
    """Whether an image may show text, by its SOP class, its modality, and what its header says of it."""
    sop_class = str(dataset.get("SOPClassUID", ""))
    if sop_class not in CLEANED or _word(dataset, "Modality") in MODALITIES_TO_CHECK:
        return True
    return _may_show_text_in_computed(dataset, sop_class) if sop_class in COMPUTED else may_show_text(dataset)


def is_measured_grey(dataset: Dataset) -> bool:
    """Whether the pixels are values that CT, MR, PET or scintigraphy measured, or that were computed from such.

    They may be derived, but are no picture of a screen: more than 8 bits of plain grey, of such a machine's SOP class.
    """
    sop_class = str(dataset.get("SOPClassUID", ""))
    if sop_class not in CLEANED or sop_class in COMPUTED or _word(dataset, "Modality") in MODALITIES_TO_CHECK:
        return False
    bits = dataset.get("BitsStored")
    if _word(dataset, "PhotometricInterpretation") not in _GREY or not (isinstance(bits, int) and bits > 8):
        return False
    kinds = image_types(dataset)
    is_picture = any(values[1:2] == ["SECONDARY"] or _is_picture(values) for values in kinds)
    return not is_picture and not _says_of_itself(dataset)


def _is_picture(values: list[str]) -> bool:
    return any(word in value for value in values for word in _PICTURE_WORDS)


def _is_content_cleaned(sop_class: str, options: tuple[str, ...]) -> bool:
    if sop_class in PRESENTATIONS:
        return CLEAN_GRAPHICS in options
    return sop_class in STRUCTURED and CLEAN_STRUCTURED_CONTENT in options


def _is_label(dataset: Dataset, sop_class: str) -> bool:
    """A picture of a slide's label, or of the whole slide with it (PS3.3 section C.8.12.4.1.1)."""
    if sop_class != _ROOT + "77.1.6":
        return False
    return any(not {"LABEL", "OVERVIEW"}.isdisjoint(values) for values in image_types(dataset))


def _holds_foreign_content(dataset: Dataset, sop_class: str, options: tuple[str, ...]) -> bool:
    meta = getattr(dataset, "file_meta", None) or {}
    if str(meta.get("TransferSyntaxUID", "")).startswith(_VIDEO):
        return True
    foreign = _FOREIGN_CONTENT[:1] if _is_content_cleaned(sop_class, options) else _FOREIGN_CONTENT
    return any(keyword in dataset for keyword in foreign)


def may_show_text(dataset: Dataset) -> bool:
    """Whether an image of a measuring machine may all the same show text.

    So it is when it is not said to be original and primary (Image Type (0008,0008) values 1 and 2), is a picture of a
    screen or report (value 3 onwards), is not in plain grey, keeps an overlay inside its pixels, or says of itself that
    text is burned in (0028,0301).
    """
    return (
        not all(_is_measured(values) for values in image_types(dataset))
        or _word(dataset, "PhotometricInterpretation") not in _GREY
        or _says_of_itself(dataset)
    )


def _may_show_text_in_computed(dataset: Dataset, sop_class: str) -> bool:
    """The same of what software computes, whatever its Image Type: its pixels must be as its IOD says."""
    pixels = _word(dataset, "PhotometricInterpretation"), dataset.get("BitsAllocated")
    is_odd = sop_class != _MAPS and pixels not in _COMPUTED_PIXELS[sop_class]
    kinds = [word for values in image_types(dataset) for word in values]
    return is_odd or any(word in kind for kind in kinds for word in _PICTURE_WORDS) or _says_of_itself(dataset)


def _says_of_itself(dataset: Dataset) -> bool:
    return (
        _word(dataset, "BurnedInAnnotation") == "YES"
        or _word(dataset, "ConversionType") != ""
        or _has_overlay_in_pixels(dataset)
    )


def _is_measured(values: list[str]) -> bool:
    if values[:1] != ["ORIGINAL"] or values[1:2] == ["SECONDARY"]:
        return False
    return not _is_picture(values)


def image_types(dataset: Dataset) -> list[list[str]]:
    """Image Type (0008,0008), then each Frame Type (0008,9007) that a frame states for itself; upper case."""
    found = [_words(dataset.get("ImageType"))]
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in _items(dataset, keyword):
            found += [_words(item.get("FrameType")) for name in _FRAME_TYPES for item in _items(group, name)]
    return found


def _has_overlay_in_pixels(dataset: Dataset) -> bool:
    """Whether an overlay uses bits of the pixels that the image leaves free (PS3.5 section 8.1.2, retired)."""
    return any(
        tag.group & 0xFF01 == 0x6000 and tag.element == 0x0102 and (tag.group << 16 | 0x3000) not in dataset
        for tag in dataset.keys()  # noqa: SIM118  iterating over the dataset itself would read each element
    )


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = dataset.get(keyword)
    return list(value) if isinstance(value, Sequence) else []


def _word(dataset: Dataset, keyword: str) -> str:
    return "\\".join(_words(dataset.get(keyword)))


def _words(value: object) -> list[str]:
    values = value if isinstance(value, MultiValue | list) else [] if value is None else [value]
    return [str(word).strip().upper() for word in values]
