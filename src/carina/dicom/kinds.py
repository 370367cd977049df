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
"""SOP classes whose pixels may show text. A class in neither table waits for its content to be checked."""

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
_PICTURE_WORDS = ("SCREEN", "CAPTURE", "REPORT")
_FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence")


def why_withheld(dataset: Dataset) -> Reason | None:
    """What makes this instance wait; None when it may pass.

    Overlays, icons, comments and private elements are the concern of `deid`, which removes them.
    """
    sop_class = str(dataset.get("SOPClassUID", ""))
    if sop_class in PIXELS_TO_CHECK:
        return Reason.PIXELS_NOT_CHECKED
    if sop_class not in CLEANED or _holds_foreign_content(dataset):
        return Reason.CONTENT_NOT_CHECKED
    if _word(dataset, "Modality") in MODALITIES_TO_CHECK:
        return Reason.PIXELS_NOT_CHECKED
    if sop_class == _MAPS and any(keyword in dataset for keyword in _PIXELS):
        return Reason.CONTENT_NOT_CHECKED
    if _may_show_text_in_computed(dataset, sop_class) if sop_class in COMPUTED else may_show_text(dataset):
        return Reason.PIXELS_NOT_CHECKED
    return None


def _holds_foreign_content(dataset: Dataset) -> bool:
    meta = getattr(dataset, "file_meta", None) or {}
    video = str(meta.get("TransferSyntaxUID", "")).startswith(_VIDEO)
    return video or any(keyword in dataset for keyword in _FOREIGN_CONTENT)


def may_show_text(dataset: Dataset) -> bool:
    """Whether an image of a measuring machine may all the same show text.

    So it is when it is not said to be original and primary (Image Type (0008,0008) values 1 and 2), is a picture of a
    screen or report (value 3 onwards), is not in plain grey, keeps an overlay inside its pixels, or says of itself that
    text is burned in (0028,0301).
    """
    return (
        not all(_is_measured(values) for values in image_types(dataset))
        or _word(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2")
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
    return not any(word in value for value in values for word in _PICTURE_WORDS)


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
