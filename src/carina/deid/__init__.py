"""De-identification as functions.

    from carina.deid import Engine, Handling, ProjectKeys, load_profile

    keys = ProjectKeys.of(secret, ProjectId("lung"))
    engine = Engine(Handling(ProjectId("lung"), load_profile("research"), keys))
    clean = engine.clean(path.read_bytes())

`deidentify` is the same as a pure function, for one instance. docs/how-to/deidentify.md tells the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carina.deid.engine.engine import Engine
    from carina.deid.engine.handling import Handling
    from carina.deid.engine.rewrite import deidentify
    from carina.deid.pixels.findings import Box, Findings
    from carina.deid.profile import Profile, load_profile
    from carina.deid.pseudonyms import ProjectKeys

__all__ = ["Box", "Engine", "Findings", "Handling", "Profile", "ProjectKeys", "deidentify", "load_profile"]

_ROOMS = {
    "Box": "pixels.findings",
    "Engine": "engine.engine",
    "Findings": "pixels.findings",
    "Handling": "engine.handling",
    "Profile": "profile",
    "ProjectKeys": "pseudonyms",
    "deidentify": "engine.rewrite",
    "load_profile": "profile",
}


def __getattr__(name: str) -> Any:
    """Each name from its room, when it is asked for: a part of this package must not load all of it."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"carina.deid.{_ROOMS[name]}"), name)
