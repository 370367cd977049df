"""De-identification as functions.

    from carina.deid import Engine, Handling, ProjectKeys, load_profile, read_key

    project = ProjectId("lung")
    keys = ProjectKeys.of(read_key(Path("lung.key")), project)
    engine = Engine(Handling(project, load_profile("basic"), keys))
    clean = engine.clean(Path("image.dcm").read_bytes())

`deidentify` is the same as a pure function, for one instance. docs/how-to/deidentify.md tells the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carina.deid.engine.engine import Engine
    from carina.deid.engine.handling import Handling
    from carina.deid.engine.rewrite import deidentify
    from carina.deid.keyfile import read_key
    from carina.deid.pixels.examine import examine
    from carina.deid.pixels.finder import TextFinder
    from carina.deid.pixels.findings import Box, Findings, Need
    from carina.deid.pixels.routes import pixel_need
    from carina.deid.profile import Profile, load_profile, profile_of
    from carina.deid.pseudonyms import ProjectKeys

__all__ = [
    "Box",
    "Engine",
    "Findings",
    "Handling",
    "Need",
    "Profile",
    "ProjectKeys",
    "TextFinder",
    "deidentify",
    "examine",
    "load_profile",
    "pixel_need",
    "profile_of",
    "read_key",
]

_ROOMS = {
    "Box": "pixels.findings",
    "Engine": "engine.engine",
    "Findings": "pixels.findings",
    "Handling": "engine.handling",
    "Need": "pixels.findings",
    "Profile": "profile",
    "ProjectKeys": "pseudonyms",
    "TextFinder": "pixels.finder",
    "deidentify": "engine.rewrite",
    "examine": "pixels.examine",
    "load_profile": "profile",
    "pixel_need": "pixels.routes",
    "profile_of": "profile",
    "read_key": "keyfile",
}


def __getattr__(name: str) -> Any:
    """Each name from its room, when it is asked for: a part of this package must not load all of it."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"carina.deid.{_ROOMS[name]}"), name)
