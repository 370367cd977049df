"""Messages that were received, until they expire: each counts once, also after a restart."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, delete, insert
from sqlalchemy.exc import IntegrityError

from carina.model.clock import stamp
from carina.storage.schema import node_tables

_seen = node_tables.tables["seen_messages"]


def first_time(engine: Engine, sender: str, nonce: str, expires_at: datetime, *, now: datetime | None = None) -> bool:
    """Whether this is the first message of `sender` with this nonce; noted durably when it is.

    Nonces are forgotten once `expires_at` has passed, which the message itself must then be refused for.
    """
    try:
        with engine.begin() as connection:
            connection.execute(delete(_seen).where(_seen.c.expires_at < stamp(now)))
            connection.execute(insert(_seen), {"sender": sender, "nonce": nonce, "expires_at": stamp(expires_at)})
    except IntegrityError:
        return False
    return True
