"""Where the bytes of what is asked for lie: rows of the index without their headers, which are long.

A header is read as the text that it is kept as, ready to send, and only when it is to be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Engine, Select, Text, bindparam, cast, select

from carina.errors import NotFound
from carina.model.ids import Uid
from carina.storage.members import Members, instances_within
from carina.storage.prepared import Prepared
from carina.storage.schema import frame_tables, instances


@dataclass(frozen=True, slots=True)
class Located:
    """The current version of an instance.

    content       of its file in the store, of `size` bytes
    pixel_offset  in that file, of the value of Pixel Data; None where it has none, or is deflated
    frame_size    bytes of each frame without compression that begins at a byte; None: see `frame_table`
    """

    study_uid: Uid
    series_uid: Uid
    uid: Uid
    sop_class_uid: str
    transfer_syntax_uid: str
    frames: int
    content: str
    size: int
    pixel_offset: int | None
    frame_size: int | None


_COLUMNS = [instances.c[name] for name in Located.__dataclass_fields__]
_ORDER = (instances.c.series_uid, instances.c.instance_number, instances.c.uid)
_STUDY: BindParameter[str] = bindparam("study")
_SERIES: BindParameter[str] = bindparam("series")
_UID: BindParameter[str] = bindparam("uid")
# By one key that has an index; what else the address names is compared with what that finds.
_ONE = select(*_COLUMNS).where(instances.c.uid == _UID)
_ONE_OF_ALL = Prepared(_ONE)
_OF_SERIES = select(*_COLUMNS).where(instances.c.series_uid == _SERIES).order_by(*_ORDER)
_OF_STUDY = select(*_COLUMNS).where(instances.c.study_uid == _STUDY).order_by(*_ORDER)
_TABLE = select(frame_tables.c.frames).where(frame_tables.c.content == bindparam("content"))
_HEADERS = select(instances.c.uid, cast(instances.c.header, Text)).where(
    instances.c.uid.in_(bindparam("uids", expanding=True))
)


def locate(
    connection: Connection,
    study: str,
    series: str | None = None,
    uid: str | None = None,
    *,
    within: Members | None = None,
) -> list[Located]:
    """The instances of a study, of one of its series, or one of that series, by series and number.

    within   only these, as if the archive held nothing else

    Raises `NotFound` when there are none.
    """
    wanted: Select[Any] = _OF_STUDY if series is None else _OF_SERIES if uid is None else _ONE
    if within is not None:
        wanted = wanted.where(instances_within(within))
    names = {"study": study} if series is None else {"series": series} if uid is None else {"uid": uid}
    return _inside([Located(*row) for row in connection.execute(wanted, names)], study, series)


def locate_one(engine: Engine, study: str, series: str, uid: str) -> list[Located]:
    """`locate` of one instance, among all."""
    return _inside([Located(*row) for row in _ONE_OF_ALL.ask(engine, {"uid": uid})], study, series)


def _inside(found: list[Located], study: str, series: str | None) -> list[Located]:
    inside = [one for one in found if one.study_uid == study and series in (None, one.series_uid)]
    if not inside:
        raise NotFound("The archive has no such study, series or instance.")
    return inside


def frame_table(connection: Connection, content: str) -> bytes | None:
    """Of each frame of a compressed instance 16 bytes: offset and length of its items in the file, little-endian."""
    return connection.execute(_TABLE, {"content": content}).scalar()


def header_texts(connection: Connection, uids: Sequence[str]) -> dict[str, str]:
    """By UID, the headers of these instances as they are kept: compact JSON, bulk data by relative address."""
    return {row[0]: row[1] for row in connection.execute(_HEADERS, {"uids": list(uids)})}
