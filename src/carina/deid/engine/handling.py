"""How the instances of one project are handled: all that `Engine` needs beside the bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from carina.deid.profile import Profile
from carina.deid.pseudonyms import ProjectKeys
from carina.model.ids import ProjectId


@dataclass(frozen=True)
class Handling:
    """A project's choices.

    default_issuer        assumed issuer of patient identifiers that name none (0010,0021)
    strip_leading_zeros   whether `007` and `7` are the same person's identifier
    pseudonymised         what arrives was de-identified before with these keys or by its source: it is verified, and
                          its UIDs and dates stay
    """

    project: ProjectId
    profile: Profile
    keys: ProjectKeys = field(repr=False)
    default_issuer: str = ""
    strip_leading_zeros: bool = False
    pseudonymised: bool = False
