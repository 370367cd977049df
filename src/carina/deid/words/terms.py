"""Code strings (VR CS): which values are terms of the standard or of scanners, and what becomes of the others."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from pydicom.charset import python_encoding
from pydicom.dataelem import DataElement
from pydicom.sr._cid_dict import cid_concepts

from carina.deid.words.texts import REMOVED, is_code_string, names

_LISTED = """
ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT IVUS
KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE
RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL
XC
"""
MODALITIES = frozenset(_LISTED.split())
"""Defined terms of Modality (0008,0060), PS3.3 section C.7.3.1.1.1."""

_CHARACTER_SET, _IMAGE_TYPE, _MODALITY, _CONTEXT, _ORIENTATION = (
    0x00080005,
    0x00080008,
    0x00080060,
    0x0008010F,
    0x00200020,
)
_CONTENT_LABEL = 0x00700080
_DIRECTION = re.compile(r"[ALPRHFE]{0,3}", re.ASCII)
_INSTEAD = {_IMAGE_TYPE: "OTHER", 0x00089007: "OTHER", _MODALITY: "OT", _CONTENT_LABEL: REMOVED}
"""What stands for an unknown value where the place or the presence of a value matters; elsewhere it is left out."""


def kept_terms(tag: int, found: list[str], own: frozenset[str]) -> DataElement | None:
    """The element with those of its values that may stay; None when none of several, or not the only one, may."""
    kept = [text for text in found if _is_term(tag, text, own)]
    if len(kept) < len(found):
        instead = _INSTEAD.get(tag)
        if instead is not None:
            kept = [text if text in kept else instead for text in found]
        elif not kept:
            return None
    return DataElement(tag, "CS", kept)


def _is_term(tag: int, text: str, own: frozenset[str]) -> bool:
    if tag == _CHARACTER_SET:
        return text in python_encoding
    if tag == _MODALITY:
        return text in MODALITIES
    if tag == _CONTEXT:
        return text.isdecimal() and int(text) in cid_concepts
    if tag == _ORIENTATION:
        return _DIRECTION.fullmatch(text) is not None
    return (is_standard(text) or is_code_string(text)) and not names(text, own)


def is_standard(text: str) -> bool:
    """Whether a text is a value that PS3.3 gives to some attribute of VR CS."""
    return text in _standard()


@cache
def _standard() -> frozenset[str]:
    """`data/terms.txt` says where they come from."""
    lines = (resources.files("carina.deid") / "data" / "terms.txt").read_text("ascii").splitlines()
    listed = [term for line in lines if not line.startswith("#") for term in line.split()]
    return frozenset(listed) | {term.replace("_", " ") for term in listed}
