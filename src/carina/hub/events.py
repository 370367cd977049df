"""The steps of a request's items: who did what, when, in which words."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection, insert

from carina.model.clock import new_id
from carina.storage.hub_schema import request_events

Step = Literal["submitted", "asked", "answered", "granted", "refused", "withdrawn", "revoked"]


def record_step(connection: Connection, item: str, actor: str, step: Step, *, words: str, at: str) -> None:
    """Write a step of an item down, in the transaction that takes it."""
    row = {"id": new_id(), "item": item, "at": at, "actor": actor, "step": step, "words": words}
    connection.execute(insert(request_events), row)
