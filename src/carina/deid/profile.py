"""De-identification profiles: which options of PS3.15 Annex E a project has chosen, and who looks at found text."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from carina.deid.rules import iods, private, table
from carina.errors import BadSettings

MODIFIED_DATES = "retain_longitudinal_modified_dates"
FULL_DATES = "retain_longitudinal_full_dates"
PATIENT_CHARACTERISTICS = "retain_patient_characteristics"
DEVICE_IDENTITY = "retain_device_identity"
INSTITUTION_IDENTITY = "retain_institution_identity"
UIDS = "retain_uids"
SAFE_PRIVATE = "retain_safe_private"
DESCRIPTORS = "clean_descriptors"
PIXEL_DATA = "clean_pixel_data"
VISUAL_FEATURES = "clean_recognizable_visual_features"
STRUCTURED_CONTENT = "clean_structured_content"
GRAPHICS = "clean_graphics"

OFFERED = (
    MODIFIED_DATES,
    PATIENT_CHARACTERISTICS,
    DEVICE_IDENTITY,
    INSTITUTION_IDENTITY,
    UIDS,
    SAFE_PRIVATE,
    DESCRIPTORS,
    PIXEL_DATA,
    VISUAL_FEATURES,
    STRUCTURED_CONTENT,
    GRAPHICS,
)
"""The options of PS3.15 E.3 that a profile may choose. Full dates are no choice: dates move, or they go."""

Review = Literal["never", "one", "two"]
"""How many readers look at an image in which text was found, before it may pass."""

_KEYS = ("name", "options", "review")
_AT_LINE = re.compile(r"at line (\d+)")
_HINT = "docs/how-to/deidentify.md shows a profile; `carina deid profile list` prints the options."


@dataclass(frozen=True)
class Profile:
    """The Basic Application Level Confidentiality Profile with the chosen options, under a name of the site's."""

    name: str
    options: tuple[str, ...]
    review: Review = "never"

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that the profile says, the data of its rules included; the name does not count."""
        content = {
            "table": table.DIGEST,
            "private": private.digest(),
            "iods": iods.digest(),
            "options": sorted(self.options),
            "review": self.review,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_RESEARCH = (
    MODIFIED_DATES,
    PATIENT_CHARACTERISTICS,
    DEVICE_IDENTITY,
    SAFE_PRIVATE,
    DESCRIPTORS,
    PIXEL_DATA,
    GRAPHICS,
    STRUCTURED_CONTENT,
)
BUILT_IN = {
    "basic": Profile("basic", (MODIFIED_DATES,)),
    "research": Profile("research", tuple(sorted(_RESEARCH))),
}


def profile_of(name_or_file: str) -> Profile:
    """The built-in profile of this name, or the one in this TOML file. Raises `BadSettings`."""
    path = Path(name_or_file)
    if name_or_file in BUILT_IN or not (path.exists() or path.suffix or path.name != name_or_file):
        return load_profile(name_or_file)
    try:
        toml = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise BadSettings("The file of the de-identification profile cannot be read.", _HINT) from None
    return _parsed(toml)


def load_profile(name_or_toml: str) -> Profile:
    """The built-in profile of this name, or the one that a TOML text describes. Raises `BadSettings` with the line.

    A TOML text has `name` (a text), `options` (a list of the names in `OFFERED`) and perhaps `review`.
    """
    known = BUILT_IN.get(name_or_toml.strip())
    if known is not None:
        return known
    if "=" not in name_or_toml:
        names = ", ".join(sorted(BUILT_IN))
        hint = f"Choose one of: {names}; or give a TOML file, docs/how-to/deidentify.md shows one."
        raise BadSettings("There is no de-identification profile of this name.", hint)
    return _parsed(name_or_toml)


def _parsed(toml: str) -> Profile:
    """The profile that a TOML text describes."""
    try:
        content = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        found = _AT_LINE.search(str(error))
        line = int(found[1]) if found else toml.rstrip().count("\n") + 1
        raise _wrong(line, "this is no TOML.") from None
    return _profile(content, toml)


def _profile(content: dict[str, object], toml: str) -> Profile:
    for key in content:
        if key not in _KEYS:
            raise _wrong(_line(toml, key), "a profile has no such key.", f"It has: {', '.join(_KEYS)}.")
    name, options, review = content.get("name"), content.get("options", []), content.get("review", "never")
    if not isinstance(name, str) or not name:
        raise _wrong(_line(toml, "name"), "a profile has a name, which is a text.")
    if not isinstance(options, list):
        raise _wrong(_line(toml, "options"), "the options are a list of texts.")
    for option in options:
        if option not in OFFERED:
            raise _wrong(_line(toml, "options", str(option)), "there is no such option.", _advice(option))
    if review not in get_args(Review):
        hint = 'It is "never", "one" or "two" readers.'
        raise _wrong(_line(toml, "review"), "the review is none of those offered.", hint)
    return Profile(name, tuple(sorted(set(options))), review)  # type: ignore[arg-type]


def _wrong(line: int, what: str, hint: str = _HINT) -> BadSettings:
    return BadSettings(f"The de-identification profile, line {line}: {what}", hint)


def _advice(option: object) -> str:
    if option == FULL_DATES:
        return f"Dates move, or they go: choose {MODIFIED_DATES}, or nothing."
    near = difflib.get_close_matches(str(option), OFFERED, 1)
    return f"Did you mean {near[0]}?" if near else f"Offered: {', '.join(OFFERED)}."


def _line(toml: str, key: str, value: str | None = None) -> int:
    """The line (from 1) where this key stands, or a value of its list; the first where neither is found."""
    lines = toml.splitlines()
    starts = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
    start = next((place for place, line in enumerate(lines) if starts.match(line)), 0)
    if value is None:
        return start + 1
    texts = (f'"{value}"', f"'{value}'")
    found = (place for place, line in enumerate(lines) if place >= start and any(text in line for text in texts))
    return next(found, start) + 1
