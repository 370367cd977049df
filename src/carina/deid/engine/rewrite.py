"""De-identification of one DICOM instance as a pure function."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from carina.deid.engine.encode import IMPLEMENTATION_CLASS_UID
from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.engine.marks import ENGINE
from carina.deid.person import Person
from carina.deid.pixels.findings import Findings
from carina.deid.profile import Profile
from carina.deid.pseudonyms import ProjectKeys
from carina.model.ids import ProjectId
from carina.model.instance import CleanInstance, RawInstance

__all__ = ["ENGINE", "IMPLEMENTATION_CLASS_UID", "deidentify"]

_NO_ALIASES: Mapping[Person, Person] = MappingProxyType({})


def deidentify(
    raw: RawInstance,
    profile: Profile,
    keys: ProjectKeys,
    aliases: Mapping[Person, Person] = _NO_ALIASES,
    *,
    project: ProjectId,
    default_issuer: str = "",
    strip_leading_zeros: bool = False,
    pseudonymised: bool = False,
    findings: Findings | None = None,
) -> CleanInstance:
    """The clean instance of what arrived, as `Engine.clean` makes it; for many instances keep one `Engine`."""
    handling = Handling(project, profile, keys, default_issuer, strip_leading_zeros, pseudonymised)
    return Engine(handling).clean(raw.data, aliases=aliases, findings=findings)
