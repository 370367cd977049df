"""One spelling per body part, for Body Part Examined (0018,0015); PS3.16 annex L."""

from __future__ import annotations

_SPELLINGS = {
    "ABDOMEN": "ABDOMEN ABD BELLY ABDOMENPELVIS ABDOMEN_PELVIS STOMACH KIDNEY PANCREAS",
    "BRAIN": "BRAIN CEREBRUM NEURO HEADBRAIN",
    "BREAST": "BREAST MAMMA MAMMO BREASTS",
    "CHEST": "CHEST THORAX CHESTABDOMEN CHESTABDPELVIS CHEST_TO_PELVIS CAP TAP THORAXABDOMEN HEART",
    "COLON": "COLON RECTUM BOWEL COLORECTAL",
    "HEAD": "HEAD SKULL CRANIUM HEADNECK HEAD_NECK FACE ORBIT SINUS",
    "LIVER": "LIVER HEPAR",
    "LUNG": "LUNG LUNGS",
    "NECK": "NECK CSPINE_NECK LARYNX THYROID PHARYNX",
    "PELVIS": "PELVIS PELVIC BLADDER UTERUS",
    "PROSTATE": "PROSTATE",
    "SPINE": "SPINE CSPINE TSPINE LSPINE SSPINE WHOLESPINE SPINECERVICAL SPINETHORACIC SPINELUMBAR",
    "WHOLEBODY": "WHOLEBODY WHOLE_BODY WB BODY",
}
_PARTS = {spelling.replace("_", ""): part for part, spellings in _SPELLINGS.items() for spelling in spellings.split()}


def body_part(text: str) -> str | None:
    """The value of the variable `body_part`, or None when `text` names none of them.

    Where a text names several, as in "CHEST/ABDOMEN", the first counts.

    >>> body_part("Thorax"), body_part("C-SPINE"), body_part("CHEST/ABDOMEN"), body_part("KNEE")
    ('CHEST', 'SPINE', 'CHEST', None)
    """
    words = "".join(letter if letter.isalnum() else " " for letter in text.upper()).split()
    whole = _PARTS.get("".join(words))
    return whole or next((_PARTS[word] for word in words if word in _PARTS), None)
