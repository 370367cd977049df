"""What people write: kept as it is, escaped where it is shown, refused where it could not be shown at all."""

from __future__ import annotations

import unicodedata

from carina.errors import BadInput
from carina.model.texts import is_line, is_prose

_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Zs", "Zl", "Zp"})


def line(text: object, what: str, most: int, *, least: int = 1) -> str:
    """One line of `least` to `most` characters, without the space around it. Raises `BadInput`, which names `what`.

    what  begins a sentence, as "The project's title"
    """
    given = text.strip() if isinstance(text, str) else ""
    if not is_line(given):
        raise BadInput(f"{what} has control characters.", "Write it as plain text, in one line.")
    return _sized(given, what, least, most)


def prose(text: object, what: str, most: int, *, least: int = 1) -> str:
    """Lines of text, together `least` to `most` characters, without the space around them; ends of lines become LF.

    Raises `BadInput`, which names `what`.
    """
    given = text.replace("\r\n", "\n").replace("\r", "\n").strip() if isinstance(text, str) else ""
    if not is_prose(given):
        raise BadInput(f"{what} has control characters.", "Write it as plain text.")
    return _sized(given, what, least, most)


def _sized(text: str, what: str, least: int, most: int) -> str:
    if len(text) < least or (least and all(unicodedata.category(letter) in _UNSEEN for letter in text)):
        raise BadInput(f"{what} is missing.", f"It has {least} to {most} characters.")
    if len(text) > most:
        raise BadInput(f"{what} is too long.", f"It has at most {most} characters.")
    return text


def shown(text: str) -> str:
    """A name on one line, whatever it holds, for messages that take nothing else."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
