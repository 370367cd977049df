"""A hub: what its services share. Built in `app`, closed with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey
from carina.federation.transport import Transport
from carina.model.ids import HubId
from carina.storage.audit import AuditTrail


@dataclass(frozen=True)
class Hub:
    """One centre. `broker` is the address nodes connect to, `broker_ca` its CA's certificate (PEM).

    `nkey` is the public name by which the hub itself is known to its broker. `signing` signs messages, `permit_key`
    permits and what hangs on them.
    """

    id: HubId
    title: str
    url: str
    threshold: int
    answer_within: float
    folder: Path
    signing: SigningKey
    permit_key: PermitKey
    engine: Engine
    audit: AuditTrail
    transport: Transport
    broker: str
    broker_ca: str
    nkey: str
