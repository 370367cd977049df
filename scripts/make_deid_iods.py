"""Write src/carina/deid/data/iod_types.json: which attributes are of type 1 or 2 in which IOD, from `highdicom`.

    pip download --no-deps highdicom -d /tmp/wheels
    python scripts/make_deid_iods.py /tmp/wheels/highdicom-*.whl

The wheel (MIT) holds PS3.3's modules, and PS3.4's SOP classes, as JSON. Kept here: for each IOD its modules, for each
module its attributes by path with their type. Attributes of type 3 are left out unless something of type 1 or 2 stands
in them. A level of attributes that occurs twice (the code sequence macro, say) is written once.

A level is a list of [tag, type, level within]: type 1 for 1 and 1C, 2 for 2 and 2C, 3; level within -1 for none.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword

TARGET = Path(__file__).parent.parent / "src/carina/deid/data/iod_types.json"
FOLDER = "highdicom/_standard/"
NAMES = ("sop_class_iod_map.json", "iod_module_map.json", "module_attribute_map.json")
TYPES = {"1": 1, "1C": 1, "2": 2, "2C": 2, "3": 3}

Tree = dict[int, list[Any]]
"""Tag → [type, tree within]."""


def main(wheel: Path) -> None:
    """Read the wheel, write the types."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(FOLDER + name) for name in NAMES}
    classes, iods, modules = (json.loads(files[name]) for name in NAMES)
    levels: dict[str, int] = {}
    used = sorted({part["key"] for parts in iods.values() for part in parts} & set(modules))
    numbers = {key: written(tree_of(modules[key]), levels) for key in used}
    head = {
        "table": "Types of attributes by IOD and path, DICOM PS3.3 and PS3.4",
        "origin": f"{wheel.name}, {FOLDER}",
        "origin_sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "licence": "MIT, Copyright 2020 MGH Computational Pathology; attributes and types from DICOM (c) NEMA",
        "level": ["tag", "type", "level within"],
    }
    parts = {
        "classes": classes,
        "iods": {
            iod: sorted({numbers[part["key"]] for part in parts if numbers.get(part["key"], -1) >= 0})
            for iod, parts in iods.items()
        },
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in (head | parts).items()]
    body = ",\n".join(f"    {text}" for text in levels)
    TARGET.write_text("{\n" + ",\n".join(lines) + ',\n  "levels": [\n' + body + "\n  ]\n}\n", encoding="utf-8")
    print(f"{len(classes)} SOP classes, {len(iods)} IODs, {len(levels)} levels in {TARGET.name}")


def tree_of(rows: list[dict[str, Any]]) -> Tree:
    """The attributes of a module as a tree; where one path is listed twice the stricter type counts."""
    root: Tree = {}
    for row in rows:
        kind, tags = TYPES.get(row["type"], 3), [tag_for_keyword(name) for name in (*row["path"], row["keyword"])]
        if None in tags:
            continue
        level = root
        for tag in tags[:-1]:
            level = level.setdefault(int(tag or 0), [3, {}])[1]
        entry = level.setdefault(int(tags[-1] or 0), [kind, {}])
        entry[0] = min(entry[0], kind)
    return root


def written(tree: Tree, levels: dict[str, int]) -> int:
    """The number of this level among `levels`, which it joins; -1 where nothing in it is of type 1 or 2."""
    rows = []
    for tag, (kind, within) in sorted(tree.items()):
        inner = written(within, levels)
        if kind < 3 or inner >= 0:
            rows.append([tag, kind, inner])
    return levels.setdefault(json.dumps(rows, separators=(",", ":")), len(levels)) if rows else -1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
