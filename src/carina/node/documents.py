"""What instances without pictures are, by their SOP classes (PS3.4 annex B), and what is said in their place."""

from __future__ import annotations

_KINDS = (
    ("1.2.840.10008.5.1.4.1.1.104.1", "pdf", "This is a PDF document. It has no pictures to show here."),
    ("1.2.840.10008.5.1.4.1.1.104.", "report", "This is a document. It has no pictures to show here."),
    ("1.2.840.10008.5.1.4.1.1.88.", "report", "This is a structured report. It has no pictures to show here."),
    ("1.2.840.10008.5.1.4.1.1.9.", "waveform", "These are waveforms. They have no pictures to show here."),
)
_FILMS = "This is a video. Its frames are not drawn here; retrieve it to see it."
_OTHER = "This series has no pictures; its headers can be read."
FILMS = ("1.2.840.10008.1.2.4.10",)  # transfer syntaxes of MPEG-2, MPEG-4 and HEVC begin so: .100 to .108


def document_of(sop_class: str) -> tuple[str, str]:
    """`pdf`, `report`, `waveform` or "", and a sentence.

    >>> document_of("1.2.840.10008.5.1.4.1.1.104.1")[0]
    'pdf'
    """
    return next(((kind, said) for root, kind, said in _KINDS if sop_class.startswith(root)), ("", _OTHER))


def is_video(transfer_syntax: str) -> bool:
    """Whether the pixels are a film as a whole, and not frames (PS3.5 sections 8.2.5 to 8.2.9).

    >>> is_video("1.2.840.10008.1.2.4.102"), is_video("1.2.840.10008.1.2.4.90")
    (True, False)
    """
    return transfer_syntax.startswith(FILMS) and len(transfer_syntax.rsplit(".", maxsplit=1)[-1]) == len("102")


VIDEO = ("video", _FILMS)
