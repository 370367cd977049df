"""What was archived before the index kept short headers and the places of frames gets them, little by little."""

from __future__ import annotations

import logging
from typing import TypeAlias

from sqlalchemy import Text, cast, insert, select, tuple_, update

from carina.dicom.describe import described
from carina.errors import CarinaError
from carina.node.site import Node
from carina.storage.ready import ReadyJson
from carina.storage.schema import frame_tables, instances

log = logging.getLogger(__name__)

Place: TypeAlias = tuple[str, str]
"""Project and UID of the instance that was looked at last; they are taken in this order, so that each is met once."""

FIRST: Place | None = ("", "")
_EMPTY, _UNREADABLE = "{}", "{ }"
_AT_ONCE = 20


def redescribe(node: Node, after: Place | None = FIRST) -> Place | None:
    """Describe some instances anew from their files; after which to go on, None when all are. Safe to repeat.

    A file that is gone or damaged is passed over and logged by its content's digest; `verify` tells of it too.
    """
    if after is None:
        return None
    key = (instances.c.project, instances.c.uid)
    wanted = select(*key, instances.c.content).where(tuple_(*key) > after, cast(instances.c.brief, Text) == _EMPTY)
    with node.engine.connect() as connection:
        found = connection.execute(wanted.order_by(*key).limit(_AT_ONCE)).all()
    for row in found:
        place = (
            (instances.c.project == row.project) & (instances.c.uid == row.uid) & (instances.c.content == row.content)
        )
        table = None
        try:
            with node.instances.open(row.content) as file:
                told = described(file.read())
            values = {
                "header": ReadyJson(told.header.decode()),
                "brief": ReadyJson(told.brief.decode()),
                "pixel_offset": told.layout.offset,
                "frame_size": told.layout.size,
            }
            table = told.layout.table
        except CarinaError as error:
            log.error("not-described", extra={"content": row.content, "error": type(error).__name__})
            values = {"brief": ReadyJson(_UNREADABLE)}
        with node.engine.begin() as connection:
            connection.execute(update(instances).where(place).values(**values))
            known = select(frame_tables.c.content).where(frame_tables.c.content == row.content)
            if table is not None and connection.execute(known).first() is None:
                connection.execute(insert(frame_tables), {"content": row.content, "frames": table})
    return (found[-1].project, found[-1].uid) if found else None
