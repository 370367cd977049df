"""Build and install the package `carina-viewer`: OHIF, as a node serves it under `/ohif/`.

`npm pack` brings the published package, whose sha512 is checked. What no node needs is left out (inference in the
browser, source maps, whole-slide viewing, the configuration that names a public server), the public path is changed
from `/` to `/ohif/` in the places that are counted here, and what can be compressed is. Licences and a bill of
materials stay with it. Needs npm and this project's virtual environment; does nothing when the package is there.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME, VERSION = "@ohif/app", "3.13.2"
INTEGRITY = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
BUILD = f"{VERSION}+carina.1"  # raise the last number whenever this script makes something else of the same release
PUBLIC_PATH = "/ohif/"
FOLDER = "package/dist/"

LEFT_OUT = re.compile(
    r"ort/|dicom-microscopy-viewer/|customizations/|assets/|.*\.map$|_headers$|_redirects$|serve\.json$|manifest\.json$"
    r"|index\.html$|silent-refresh\.html$|app-config\.js$|google\.js$|init-service-worker\.js$|oidc-client\.min\.js$"
    r"|es6-shim\.min\.js$|polyfill\.min\.js$"
)
SCRIPT_PATH = (b'__webpack_require__.p = "/";', f'__webpack_require__.p = "{PUBLIC_PATH}";'.encode())
STYLE_PATH = (b"url(/", f"url({PUBLIC_PATH}".encode())
SCRIPTS_WITH_PATH = 8
STYLES = {"app.bundle.css": 5}  # how many addresses each has; a style that is not named here has none
MEDIA = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".json": "application/json",
}
AS_THEY_ARE = (".woff2",)
LEGAL = re.compile(rb"/\*[!*](?:(?!\*/).)*?@licen[sc]e(?:(?!\*/).)*\*/|/\*!(?:(?!\*/).)*\*/", re.DOTALL)


@dataclass(frozen=True)
class Built:
    """What goes into the package: files by path, each with its media type and whether it is compressed."""

    files: dict[str, bytes]
    entry: dict[str, Any]


def main() -> None:
    """Build and install, or say why not."""
    if _installed() == BUILD:
        print(f"viewer: OHIF {VERSION} in place")
        return
    if shutil.which("npm") is None:
        print("viewer: left out, for npm is not installed. With it, `make viewer` adds OHIF; pages work without.")
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = write_wheel(Path(folder), build(unpack(pack(Path(folder)), INTEGRITY)))
        size = wheel.stat().st_size
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--no-index", "--force-reinstall", str(wheel)], check=True)
    print(f"viewer: OHIF {VERSION} built and installed, {size / 1e6:.1f} MB")


def _installed() -> str:
    try:
        return importlib.metadata.version("carina-viewer")
    except importlib.metadata.PackageNotFoundError:
        return ""


def pack(folder: Path) -> bytes:
    """The package as npm's registry has it."""
    command = ["npm", "pack", f"{NAME}@{VERSION}", "--silent", "--pack-destination", str(folder)]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failed:
        raise SystemExit(
            "viewer: npm could not bring it. Check the network and npm's registry, then `make viewer` again."
        ) from failed
    [archive] = folder.glob("*.tgz")
    return archive.read_bytes()


def unpack(archive: bytes, integrity: str) -> dict[str, bytes]:
    """The files by path within `package/`. Other bytes than those that were tested end the build."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != integrity:
        raise SystemExit("viewer: the package holds other bytes than those that were tested; nothing was installed.")
    with tempfile.TemporaryFile() as file:
        file.write(archive)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:gz") as members:
            return {
                member.name: opened.read()
                for member in members
                if member.isfile() and (opened := members.extractfile(member)) is not None
            }


def build(source: dict[str, bytes]) -> Built:
    """What of the package is kept, with its new public path."""
    kept = {
        path.removeprefix(FOLDER): data
        for path, data in source.items()
        if path.startswith(FOLDER) and not LEFT_OUT.match(path.removeprefix(FOLDER))
    }
    patched = _patched(kept)
    page = source[f"{FOLDER}index.html"].decode()
    entry = {
        "script": _only(page, r'<script defer src="/([^"]+)">'),
        "style": _only(page, r'<link href="/([^"]+\.css)"'),
    }
    missing = set(entry.values()) - set(patched)
    if missing:
        raise SystemExit("viewer: its page loads what is not in the package.")
    notices = b"\n\n".join(dict.fromkeys(text for data in kept.values() for text in LEGAL.findall(data)))
    legal = {"LICENSE": source["package/LICENSE"], "NOTICES.txt": notices}
    bill = _bill(json.loads(source["package/package.json"]), patched)
    return Built({**patched, **legal, "bom.json": json.dumps(bill, indent=1).encode()}, entry)


def _patched(kept: dict[str, bytes]) -> dict[str, bytes]:
    scripts, result = 0, {}
    for path, data in kept.items():
        changed = data
        if path.endswith(".js"):
            count = changed.count(SCRIPT_PATH[0])
            if count > 1:
                raise SystemExit(f"viewer: {path} names the public path {count} times where once was expected.")
            scripts += count
            changed = changed.replace(*SCRIPT_PATH)
        if path.endswith(".css"):
            count = changed.count(STYLE_PATH[0])
            if count != STYLES.get(path, 0):
                raise SystemExit(f"viewer: {path} has {count} addresses where {STYLES.get(path, 0)} were expected.")
            changed = changed.replace(*STYLE_PATH)
        result[path] = changed
    if scripts != SCRIPTS_WITH_PATH:
        raise SystemExit(f"viewer: {scripts} scripts name the public path where {SCRIPTS_WITH_PATH} were expected.")
    return result


def _only(page: str, pattern: str) -> str:
    found = re.findall(pattern, page)
    if len(found) != 1:
        raise SystemExit("viewer: its page does not load one script and one style, as was expected.")
    return str(found[0])


def _bill(package: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    """What it is made of, as CycloneDX 1.5: the package, what it declares to use, and the files kept."""
    uses = sorted({**package.get("dependencies", {}), **package.get("peerDependencies", {})}.items())
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": NAME,
                "version": VERSION,
                "purl": f"pkg:npm/%40ohif/app@{VERSION}",
                "licenses": [{"license": {"id": package["license"]}}],
                "hashes": [{"alg": "SHA-512", "content": base64.b64decode(INTEGRITY[7:]).hex()}],
            }
        },
        "components": [
            *({"type": "library", "name": name, "version": version} for name, version in uses),
            *(
                {
                    "type": "file",
                    "name": path,
                    "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}],
                }
                for path, data in sorted(files.items())
            ),
        ],
    }


def write_wheel(folder: Path, built: Built) -> Path:
    """The package as a wheel (PEP 427): each file compressed where that helps, and a list of them for the node."""
    listed: dict[str, dict[str, str]] = {}
    content: dict[str, bytes] = {"carina_viewer/__init__.py": b'"""OHIF, as a Carina node serves it."""\n'}
    for path, data in sorted(built.files.items()):
        suffix = Path(path).suffix
        packed = suffix in MEDIA and suffix not in AS_THEY_ARE
        place = f"files/{path}.gz" if packed else f"files/{path}"
        content[f"carina_viewer/{place}"] = gzip.compress(data, 6, mtime=0) if packed else data
        media = MEDIA.get(suffix, "text/plain; charset=utf-8")
        digest = hashlib.sha256(data).hexdigest()
        listed[path] = {"place": place, "media": media, "encoding": "gzip" if packed else "", "sha256": digest}
    index = {"version": VERSION, "build": BUILD, **built.entry, "files": listed}
    content["carina_viewer/index.json"] = json.dumps(index, indent=1).encode()
    info = f"carina_viewer-{BUILD}.dist-info"
    content[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: carina-viewer\nVersion: {BUILD}\nLicense: MIT\n".encode()
    )
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: carina\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = folder / f"carina_viewer-{BUILD}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for path, data in content.items():
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), data)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    main()
