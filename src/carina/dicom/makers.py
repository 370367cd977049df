"""One spelling per maker, for Manufacturer (0008,0070)."""

from __future__ import annotations

OTHER = "OTHER"
_SPELLINGS = (
    ("CANON", ("CANON", "TOSHIBA")),
    ("GE", ("GE", "GEMS", "GENERAL ELECTRIC", "GEHC")),
    ("HOLOGIC", ("HOLOGIC", "LORAD")),
    ("PHILIPS", ("PHILIPS", "MARCONI", "PICKER", "ADAC")),
    ("SIEMENS", ("SIEMENS", "CTI PET")),
    ("UNITED IMAGING", ("UNITED IMAGING", "SHANGHAI UNITED IMAGING", "UIH")),
)


def maker(manufacturer: str) -> str | None:
    """The value of the variable `manufacturer`; `OTHER` for a maker not listed, None when none is stated.

    >>> maker("GE MEDICAL SYSTEMS"), maker("TOSHIBA_MEC"), maker("Acme Scanners"), maker(" ")
    ('GE', 'CANON', 'OTHER', None)
    """
    words = "".join(letter if letter.isalnum() else " " for letter in manufacturer.upper()).split()
    if not words:
        return None
    text = " " + " ".join(words) + " "
    for name, spellings in _SPELLINGS:
        if any(f" {spelling} " in text for spelling in spellings):
            return name
    joined = "".join(words)
    for name, spellings in _SPELLINGS:
        if any(len(spelling) > 3 and joined.startswith(spelling.replace(" ", "")) for spelling in spellings):
            return name
    return OTHER
