"""Whether a face may be recognised in an instance: Recognizable Visual Features (0028,0302), PS3.3 section C.7.6.1.1.7.

Carina removes no faces. So it says where there can be none, where there may be one, and nothing where it cannot tell.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

_WORDS = {
    "volumes": "CT MR PT NM",
    "plain": """
        CR DX MG XA RF RG IO PX BMD IVUS IVOCT OCT OPT SM ECG EPS HD RESP EEG EMG EOG SR KO PR REG PLAN RTPLAN RTRECORD
        RWV""",
    "photographs": "XC DOC GM DMS",
    "head": """
        HEAD BRAIN NECK SKULL FACE HEADNECK HEADANDNECK WHOLEBODY BODY ORBIT ORBITS EYE EYES SINUS SINUSES NOSE JAW
        MAXILLA MANDIBLE MAXFACE TMJ EAR EARS IAC PITUITARY LARYNX PHARYNX THYROID TONGUE CSPINE CERVICALSPINE CTSPINE
        CAROTID NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV PAROTID SALIVARY SCALP NASOPHARYNX OROPHARYNX TEMPORALBONE
        TEETH FACIAL CEREBRUM CEREBELLUM WB HN SPINE WHOLESPINE TOTALSPINE NASALBONES ZYGOMA""",
    "elsewhere": """
        CHEST THORAX LUNG LUNGS HEART BREAST ABDOMEN PELVIS LIVER PROSTATE KIDNEY KIDNEYS PANCREAS SPLEEN STOMACH COLON
        RECTUM BLADDER UTERUS OVARY CERVIX ABDOMENPELVIS CHESTABDOMEN CHESTABDPELVIS ABDPELVIS TSPINE LSPINE LSSPINE
        SSPINE COCCYX TLSPINE HIP HIPS KNEE KNEES ANKLE FOOT FEET TOE HAND WRIST ELBOW SHOULDER ARM FOREARM HUMERUS LEG
        FEMUR TIBIA FIBULA TIBFIB EXTREMITY CALCANEUS CLAVICLE SCAPULA STERNUM RIB RIBS AORTA CORONARYARTERY MEDIASTINUM
        TESTIS SCROTUM PENIS GALLBLADDER BILEDUCT ESOPHAGUS ADRENAL SIJOINTS SACRUM""",
}
_VOLUMES, _PLAIN, _PHOTOGRAPHS, _HEAD, _ELSEWHERE = (frozenset(words.split()) for words in _WORDS.values())
"""Modalities whose slices make a volume, from which a surface can be drawn; projections, sections, signals and
documents, in which no face is seen; photographs. Parts of the body, without what is between their words."""

_COMPUTED = tuple(f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("66", "481", "67", "30"))
"""Segmentations, radiotherapy, maps: made from volumes, and told by the part of the body as these are."""


def faces_of(dataset: Dataset) -> str:
    """ "YES" where a face may be recognised, "NO" where none can be, "" where nobody knows."""
    modality, sop_class = _text(dataset, "Modality"), _text(dataset, "SOPClassUID")
    if modality in _PHOTOGRAPHS:
        return "YES"
    if modality in _PLAIN:
        return "NO"
    if modality not in _VOLUMES and not sop_class.startswith(_COMPUTED):
        return ""
    words = _parts(dataset)
    if words & _HEAD:
        return "YES"
    return "NO" if words and words <= _ELSEWHERE else ""


def _parts(dataset: Dataset) -> set[str]:
    """The parts of the body that the instance names, at the root and in Shared Functional Groups."""
    found = {_text(dataset, "BodyPartExamined")}
    for sequence in (dataset.get("AnatomicRegionSequence"), *_of_frames(dataset)):
        found |= {_text(item, "CodeMeaning") for item in sequence or ()}
    words = {"".join(sign for sign in text if sign.isalnum()) for text in found}
    return words - {""}


def _of_frames(dataset: Dataset) -> list[list[Dataset]]:
    return [
        anatomy.get("AnatomicRegionSequence") or []
        for group in dataset.get("SharedFunctionalGroupsSequence") or ()
        for anatomy in group.get("FrameAnatomySequence") or ()
    ]


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    if isinstance(value, MultiValue):
        value = "".join(map(str, value))
    return value.strip(" \0").upper() if isinstance(value, str) else ""
