"""Tokens that `carina login` keeps: one file in the user's configuration folder, readable by the user only."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TypedDict

import click

from carina.errors import BadSettings


class _Kept(TypedDict):
    """last: origin of the hub last signed in to; tokens: by origin."""

    last: str
    tokens: dict[str, str]


def tokens_file() -> Path:
    """Where the tokens are: `$CARINA_CONFIG/tokens.json`, or the user's configuration folder of this system."""
    folder = os.environ.get("CARINA_CONFIG") or click.get_app_dir("carina", force_posix=False)
    return Path(folder) / "tokens.json"


def saved_token(hub: str) -> str | None:
    """The token kept for the hub at this origin, if there is one."""
    return _read()["tokens"].get(hub)


def last_hub() -> str | None:
    """The hub of the last `carina login`."""
    return _read()["last"] or None


def save_token(hub: str, token: str) -> None:
    """Keep the token and make its hub the one that commands use."""
    kept = _read()
    kept["tokens"][hub] = token
    kept["last"] = hub
    _write(kept)


def forget_token(hub: str) -> None:
    """Keep the hub's token no longer."""
    kept = _read()
    kept["tokens"].pop(hub, None)
    _write(kept)


def _read() -> _Kept:
    path = tokens_file()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return _Kept(last=str(value["last"]), tokens={str(hub): str(token) for hub, token in value["tokens"].items()})
    except FileNotFoundError:
        return _Kept(last="", tokens={})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BadSettings(
            f"The file of saved tokens, {path}, cannot be read.", "Remove it and run `carina login` again."
        ) from None


def _write(kept: _Kept) -> None:
    path = tokens_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tokens-")  # mode 600 from the start
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=1)
        Path(name).replace(path)
    except OSError:
        raise BadSettings(
            f"The token cannot be kept in {path.parent}.", "Name another folder with CARINA_CONFIG."
        ) from None
