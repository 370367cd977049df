"""De-identification profiles: which options of PS3.15 Annex E a project has chosen."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass

from carina.deid.rules import table
from carina.errors import BadSettings

MODIFIED_DATES = "retain_longitudinal_modified_dates"
OFFERED = (MODIFIED_DATES,)
"""The options of PS3.15 E.3 that this engine carries out. All others are off: their attributes follow the profile."""


@dataclass(frozen=True)
class Profile:
    """The Basic Application Level Confidentiality Profile with the chosen options, under a name of the site's."""

    name: str
    options: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that the profile says, the table of its rules included; the name does not count."""
        content = {"table": table.DIGEST, "options": sorted(self.options)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_BUILT_IN = {"basic": Profile("basic", (MODIFIED_DATES,))}


def load_profile(name_or_toml: str) -> Profile:
    """The built-in profile of this name, or the one that a TOML text describes. Raises `BadSettings`.

    A TOML text has `name` (a text) and `options` (a list of the names in `OFFERED`).
    """
    known = _BUILT_IN.get(name_or_toml.strip())
    if known is not None:
        return known
    if "=" not in name_or_toml:
        names = ", ".join(sorted(_BUILT_IN))
        raise BadSettings("There is no de-identification profile of this name.", f"Choose one of: {names}.")
    try:
        content = tomllib.loads(name_or_toml)
    except tomllib.TOMLDecodeError:
        raise BadSettings("The de-identification profile is no TOML text.") from None
    name, options = content.get("name"), content.get("options", [])
    if set(content) - {"name", "options"} or not isinstance(name, str) or not name:
        raise BadSettings("A de-identification profile has a name and a list of options, and nothing else.")
    if not isinstance(options, list) or any(option not in OFFERED for option in options):
        raise BadSettings("The profile names an option that is not offered.", f"Offered: {', '.join(OFFERED)}.")
    return Profile(name, tuple(sorted(set(options))))
