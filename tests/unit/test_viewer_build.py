"""The viewer's build: the very bytes that were tested, changed in the places that were counted, as a valid package."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import runpy
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATH = b'__webpack_require__.p = "/";'
PAGE = b'<link href="/app.bundle.css" rel="stylesheet"><script defer src="/app.bundle.aa.js"></script>'


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "build_viewer.py"))


def tree(**changes: bytes) -> dict[str, bytes]:
    """A published package of a few lines: eight scripts with the public path, a style with five addresses."""
    workers = {f"package/dist/{number}.bundle.bb.js": PATH for number in range(7)}
    return {
        **workers,
        "package/dist/app.bundle.aa.js": b"/*! @license MIT of somebody */" + PATH,
        "package/dist/app.bundle.css": b"a{src:url(/f.woff2)}" * 5,
        "package/dist/f.woff2": b"font",
        "package/dist/app.bundle.aa.js.map": b"map",
        "package/dist/ort/model.wasm": b"model",
        "package/dist/app-config.js": b"https://demo.example",
        "package/dist/index.html": PAGE,
        "package/LICENSE": b"MIT",
        "package/package.json": b'{"license": "MIT", "dependencies": {"react": "18.3.1"}}',
        **{f"package/dist/{path}": data for path, data in changes.items()},
    }


def test_paths_are_changed_and_what_no_node_needs_is_left_out(script: dict[str, Any]) -> None:
    built = script["build"](tree())
    assert b'"/ohif/"' in built.files["app.bundle.aa.js"]
    assert built.files["app.bundle.css"].count(b"url(/ohif/f.woff2)") == 5
    assert built.entry == {"script": "app.bundle.aa.js", "style": "app.bundle.css"}
    gone = ("app-config.js", "ort/model.wasm", "app.bundle.aa.js.map", "index.html")
    assert [path for path in gone if path in built.files] == []
    assert not any(b"demo.example" in data for data in built.files.values())


def test_licences_and_a_bill_of_materials_stay(script: dict[str, Any]) -> None:
    built = script["build"](tree())
    assert built.files["LICENSE"] == b"MIT"
    assert b"MIT of somebody" in built.files["NOTICES.txt"]
    bill = json.loads(built.files["bom.json"])
    assert (bill["bomFormat"], bill["metadata"]["component"]["licenses"]) == ("CycloneDX", [{"license": {"id": "MIT"}}])
    digests = {one["name"]: one["hashes"][0]["content"] for one in bill["components"] if one["type"] == "file"}
    assert digests["f.woff2"] == hashlib.sha256(b"font").hexdigest()
    assert {"type": "library", "name": "react", "version": "18.3.1"} in bill["components"]


@pytest.mark.parametrize(
    "changes",
    [
        {"6.bundle.bb.js": b"none"},
        {"7.bundle.bb.js": PATH},
        {"5.bundle.bb.js": PATH + PATH, "6.bundle.bb.js": b"none"},
        {"app.bundle.css": b"a{src:url(/f.woff2)}" * 4},
        {"other.css": b"a{src:url(/f.woff2)}"},
        {"index.html": PAGE + PAGE},
        {"index.html": PAGE.replace(b"aa.js", b"cc.js")},
    ],
)
def test_other_counts_than_were_expected_end_the_build(script: dict[str, Any], changes: dict[str, bytes]) -> None:
    with pytest.raises(SystemExit, match=r"expected|not in the package"):
        script["build"](tree(**changes))


def test_other_bytes_than_were_tested_end_the_build(script: dict[str, Any]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        about = tarfile.TarInfo("package/LICENSE")
        about.size = 3
        archive.addfile(about, io.BytesIO(b"MIT"))
    good = "sha512-" + base64.b64encode(hashlib.sha512(out.getvalue()).digest()).decode()
    assert script["unpack"](out.getvalue(), good) == {"package/LICENSE": b"MIT"}
    with pytest.raises(SystemExit, match="other bytes"):
        script["unpack"](out.getvalue(), script["INTEGRITY"])


def test_the_wheel_lists_each_of_its_files_with_its_digest(script: dict[str, Any], tmp_path: Path) -> None:
    wheel = script["write_wheel"](tmp_path, script["build"](tree()))
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [record] = [name for name in names if name.endswith(".dist-info/RECORD")]
        rows = [line.rsplit(",", 2) for line in archive.read(record).decode().splitlines()]
        assert sorted(row[0] for row in rows) == sorted(names)
        for path, digest, size in rows:
            data = archive.read(path)
            found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert path == record or (digest, size) == (f"sha256={found}", str(len(data)))
        assert gzip.decompress(archive.read("carina_viewer/files/app.bundle.css.gz")).startswith(b"a{src")
        assert archive.read("carina_viewer/files/f.woff2") == b"font"
