"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from carina.model.permit import Action

Role = Literal["researcher", "operator", "data-manager", "sender", "service"]
EVERYTHING = "*"
"""Instead of a dataset: the whole archive."""


@dataclass(frozen=True)
class Service:
    """What a program or a DICOM peer may do in its own name.

    datasets   IRIs, or `EVERYTHING`
    """

    actions: frozenset[Action]
    datasets: frozenset[str]


@dataclass(frozen=True)
class Principal:
    """A person or peer that an identity provider has recognised.

    subject   stable id: an account's name, `token:NAME` or `peer:AE TITLE`
    issuer    who vouches: a hub's or node's id
    permit    at a node, of a hub's researcher: the only permit that counts, under which the node was entered
    service   at a node, of a program or peer with the role `service`: what it is bound to; None for all others
    """

    subject: str
    issuer: str
    roles: frozenset[Role]
    display_name: str = ""
    permit: str = ""
    service: Service | None = None
