"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["researcher", "operator", "data-manager", "sender"]


@dataclass(frozen=True)
class Principal:
    """A person or peer that an identity provider has recognised.

    subject   stable id: an account's name or `token:NAME`
    issuer    who vouches: a hub's or node's id
    permit    at a node, of a hub's researcher: the only permit that counts, under which the node was entered
    """

    subject: str
    issuer: str
    roles: frozenset[Role]
    display_name: str = ""
    permit: str = ""
