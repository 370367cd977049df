"""The back-up of a new key file that `init` insists on."""

from __future__ import annotations

import os
from pathlib import Path

import click

from carina.errors import BadInput, Full

HELP = "Where a second copy of the keys goes: another disk, or - to print them for your password safe."
PROMPT = (
    "Without a back-up of the keys the records are lost with them.\n"
    "Where shall one go (a file on another disk, or - to print it)"
)


def backup_place(keys: Path, backup: str, folder: Path) -> Path | None:
    """Where the copy of `keys` will be; None: it is printed. Raises `BadInput` for a place that is no back-up."""
    if backup == "-":
        return None
    path = Path(backup).expanduser().resolve()
    if path.is_dir():
        path = path / keys.name
    if path == keys.resolve() or path.is_relative_to(folder.resolve()):
        raise BadInput("This is no place for a back-up.", "Choose one beside neither the data nor the keys.")
    if path.exists():
        raise BadInput("There is a file at the place of the back-up.", "Choose another name.")
    return path


def save_backup(keys: Path, place: Path | None) -> None:
    """Copy the key file to `place` (mode 600), or print it. Raises `Full` when it cannot be written."""
    text = keys.read_text(encoding="ascii")
    if place is None:
        click.echo(text)
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        raise Full(
            "All is made, but the back-up of the keys could not be written.", f"Copy {keys} to a safe place yourself."
        ) from None
    click.echo(f"The back-up of the keys is in {place}.")
