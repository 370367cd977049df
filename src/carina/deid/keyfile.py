"""The key file of the de-identification tool: a secret of the key holder's, from which each key is derived.

The secret is the file's content without blanks around it, so that an editor's last line end does not count.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from carina.errors import BadSettings
from carina.model.keys import derive

SHORTEST = 32
"""Bytes that a secret must have."""


def read_key(path: Path) -> bytes:
    """The master of 32 bytes that this key file's secret gives. Raises `BadSettings` when there is no such secret."""
    try:
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        raise BadSettings("There is no key file there.", "Give the file that the images were made with.") from None
    except OSError:
        raise BadSettings("The key file cannot be read.", "Look at its rights.") from None
    if len(secret) < SHORTEST:
        raise BadSettings(
            f"The key file holds less than {SHORTEST} bytes.",
            "Take it away and a good one is made, or give one with at least 32 random characters.",
        )
    return derive(secret, "deid-tool")


def read_or_make_key(path: Path) -> tuple[bytes, bool]:
    """The master, and whether the key file was made now: 64 random hex digits, for the owner's eyes only."""
    if path.exists():
        return read_key(path), False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:  # another process was first
        return read_key(path), False
    except OSError:
        raise BadSettings("The key file cannot be made.", "Choose a folder that you may write to.") from None
    return read_key(path), True
