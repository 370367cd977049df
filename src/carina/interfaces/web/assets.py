"""The files of others that our pages load: brought at set-up by `scripts/fetch_assets.py`, never committed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from carina.errors import BadSettings

STATIC = Path(__file__).parent / "static"
VENDOR = STATIC / "vendor"


@dataclass(frozen=True)
class Asset:
    """One file of the wheel: where it is inside, what it is called here, SHA-256 of its bytes."""

    inside: str
    name: str
    sha256: str


ASSETS = (
    Asset(
        "django_htmx/static/django_htmx/htmx-2.min.js",
        "htmx-2.min.js",  # htmx 2.0.10, 0BSD
        "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de",
    ),
    Asset(
        "django_htmx/static/django_htmx/ext/hx-sse-2.min.js",
        "hx-sse-2.min.js",  # its server-sent-events extension, 0BSD
        "98a46496de0c3605fbffdce9167ba427bdd9553184f83f149c261891a92c0136",
    ),
    Asset(
        "django_htmx-1.29.0.dist-info/licenses/LICENSE",
        "LICENSE-django-htmx.txt",  # MIT; the wheel that carries them
        "a4d211670940cdae247eeb4f53405092826c3d6976dcd1e708cadb002d083479",
    ),
)


def wrong_assets(folder: Path = VENDOR) -> list[str]:
    """The names of those that are missing or have other bytes; empty when all is well."""
    return [asset.name for asset in ASSETS if not _is(folder / asset.name, asset.sha256)]


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def require_assets(folder: Path = VENDOR) -> None:
    """Raise `BadSettings` unless every file is there with the bytes we tested; asked once, at the start."""
    wrong = wrong_assets(folder)
    if wrong:
        raise BadSettings(
            f"The pages lack {len(wrong)} file(s) they load: {', '.join(wrong)}.",
            "Run `make setup`, which brings them and checks their digests.",
        )
