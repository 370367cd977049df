"""Visits: a researcher whom a hub has handed over looks around, in a browser or by a program.

A hub gives a one-time code, the node gives a secret for it. The secret only says who asks: every access is judged by
`node.authorise` again.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Connection, delete, insert, select

from carina.dicom.levels import tag_of
from carina.dicom.query import Match, Query
from carina.errors import InvalidMessage, NotFound, PermitDenied
from carina.federation.papers import LEEWAY, Handover, claimed_hub, open_code
from carina.model.address import origin
from carina.model.clock import now as present
from carina.model.clock import parse_stamp, stamp
from carina.model.ids import DatasetIri, HubId
from carina.model.permit import Denial
from carina.model.principal import Principal
from carina.node import membership, permits
from carina.node.authorise import Grant, authorise, denied, judge
from carina.node.membership import JoinedHub
from carina.node.retrieve import find
from carina.node.site import Node
from carina.storage.schema import visits as table
from carina.storage.seen import first_time

BROWSER = timedelta(hours=8)
PROGRAM = timedelta(hours=12)
MOST_VIEWERS = 20  # that one person has open at a node under one hub's permits
PREFIX = "carina_visit_"
"""What every visit's secret begins with, so that scanners recognise one."""

_log = logging.getLogger(__name__)
_REASONS: dict[str, Denial] = {"misaddressed": "misaddressed", "expired": "expired"}


@dataclass(frozen=True)
class Visit:
    """One visit. `secret` is shown once and not kept; empty when a visit is read back. `csrf`: for its forms.
    `study`: the only one that it is for, of a visit of a viewer; empty: all of the dataset."""

    secret: str = field(repr=False)
    csrf: str = field(repr=False)
    principal: Principal
    hub: HubId
    permit: str
    dataset: DatasetIri
    expires: datetime
    study: str = ""


def enter(node: Node, code: str, *, lifetime: timedelta, now: datetime | None = None) -> Visit:
    """Let the person in whom a hub's one-time code names; the code is used up, also when it is refused after all.

    lifetime   `BROWSER` or `PROGRAM`; a visit never lasts longer than its permit

    Raises `PermitDenied` with its reason; audited, repeats once a minute.
    """
    at, hub = now or present(), ""
    try:
        known = _hub_of(node, code)
        hub = known.id
        handover = _opened(node, known, code, at)
        grant = _grant(node, known, handover, at)
    except PermitDenied as refused:
        node.refusals.note(node.audit, "handover-refused", hub or "unknown", node.id, now=at, reason=refused.reason)
        raise
    return _begin(node, known, handover, began=at, expires=min(at + lifetime, grant.expires or at))


def open_viewer(node: Node, visit: Visit, study: str, now: datetime | None = None) -> Visit:
    """A visit for a viewer that is handed one study of the dataset, under the same permit and for as long. Of more than
    `MOST_VIEWERS` of one person the oldest end.

    Raises `PermitDenied` when the permit is not for `retrieve`, and `NotFound` when the study is not in the dataset.
    """
    at = now or present()
    grant = authorise(node, visit.principal, visit.dataset, "retrieve", door="web", count=False, now=now)
    if not find(node, grant, Query("study", (Match(tag_of("StudyInstanceUID"), "UI", "one-of", (study,)),))):
        raise NotFound("The dataset has no such study.", "Choose one from the dataset's list.")
    secret, csrf = PREFIX + secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    opened = replace(visit, secret=secret, csrf=csrf, study=study)
    with node.engine.begin() as connection:
        connection.execute(delete(table).where(table.c.expires_at < stamp(at)))
        _end_oldest(connection, visit)
        connection.execute(insert(table), _row(opened, began=at))
        said = {"hub": visit.hub, "dataset": visit.dataset, "study": study}
        node.audit.append("viewer-opened", visit.principal.subject, visit.permit, connection, **said)
    return opened


def _end_oldest(connection: Connection, visit: Visit) -> None:
    """Make room for one more viewer of the person."""
    theirs = (table.c.subject == visit.principal.subject) & (table.c.hub == visit.hub) & table.c.study.is_not(None)
    newest = (table.c.began_at.desc(), table.c.digest)
    over = select(table.c.digest).where(theirs).order_by(*newest).offset(MOST_VIEWERS - 1)
    gone = connection.execute(over).scalars().all()
    if gone:
        connection.execute(delete(table).where(table.c.digest.in_(gone)))


def visit(node: Node, secret: str, now: datetime | None = None, *, study: str = "") -> Visit | None:
    """Whose secret this is; None when it is unknown or over. What may be seen is for `authorise` to say.

    study   for which a viewer's visit must be; without it, a viewer's secret is as good as an unknown one
    """
    mine = (table.c.digest == _digest(secret)) & (table.c.expires_at > stamp(now))
    mine &= table.c.study == study if study else table.c.study.is_(None)
    with node.engine.connect() as connection:
        row = connection.execute(select(table).where(mine)).one_or_none()
    if row is None:
        return None
    who = _principal(row.subject, row.hub, row.name, row.permit)
    where = (HubId(row.hub), row.permit, DatasetIri(row.dataset))
    return Visit("", row.csrf, who, *where, parse_stamp(row.expires_at), study)


def leave(node: Node, secret: str) -> None:
    """End the visit, and the person's viewers of the dataset; nothing happens when there is none."""
    gone = delete(table).where(table.c.digest == _digest(secret))
    told = (table.c.subject, table.c.permit, table.c.hub, table.c.dataset)
    with node.engine.begin() as connection:
        row = connection.execute(gone.returning(*told)).one_or_none()
        if row is not None:
            same = [column == value for column, value in zip(told, row, strict=True)]
            connection.execute(delete(table).where(table.c.study.is_not(None), *same))
            node.audit.append("visit-ended", row.subject, row.permit, connection, hub=row.hub)


def hub_origins(node: Node) -> set[str]:
    """Where a form with a code may come from: the origins of the joined hubs (RFC 6454)."""
    origins = {_origin_of(hub.id, hub.url) for hub in membership.list_hubs(node)}
    return {one for one in origins if one is not None}


@lru_cache(maxsize=1_000)
def _origin_of(hub: str, url: str) -> str | None:
    """None, logged once, for an address that cannot be read: that is this hub's trouble, and no other's."""
    try:
        return origin(url)
    except ValueError:
        _log.warning("hub-address-unreadable", extra={"hub": hub})
        return None


def _hub_of(node: Node, code: str) -> JoinedHub:
    """The joined hub that a code says it is from."""
    try:
        hub = membership.get_hub(node, claimed_hub(code))
    except InvalidMessage:
        raise denied("forged") from None
    except NotFound:
        raise denied("wrong-issuer") from None
    if hub.state != "joined" or hub.permit_key is None:
        raise denied("wrong-issuer")
    return hub


def _opened(node: Node, hub: JoinedHub, code: str, now: datetime) -> Handover:
    """The code's words, genuine, in time, and for the first time."""
    try:
        handover = open_code(code, hub.permit_key or {}, hub=hub.id, node=node.id, now=now)
    except InvalidMessage as refused:
        raise denied(_REASONS.get(refused.reason, "forged")) from refused
    forgotten = datetime.fromtimestamp(handover.exp, UTC) + LEEWAY + timedelta(seconds=1)
    if not first_time(node.engine, f"code-{hub.id}", handover.nonce, forgotten, now=now):
        raise denied("used-code")
    return handover


def _grant(node: Node, hub: JoinedHub, handover: Handover, now: datetime) -> Grant:
    """What the permit that the code names lets this person see now: pictures, or else objects."""
    try:
        held = permits.get(node, hub.id, handover.permit)
    except NotFound:
        raise denied("no-permit") from None
    except PermitDenied as refused:
        raise denied(cast(Denial, refused.reason)) from refused
    if held.visa.subject != handover.subject:
        raise denied("foreign-subject")
    who = _principal(handover.subject, hub.id, handover.name, handover.permit)
    try:
        return judge(node, who, handover.dataset, "view", now=now)
    except PermitDenied as refused:
        if refused.reason not in ("action-not-granted", "action-not-allowed"):
            raise
        return judge(node, who, handover.dataset, "retrieve", now=now)


def _begin(node: Node, hub: JoinedHub, handover: Handover, *, began: datetime, expires: datetime) -> Visit:
    secret, csrf = PREFIX + secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    who = _principal(handover.subject, hub.id, handover.name, handover.permit)
    made = Visit(secret, csrf, who, hub.id, handover.permit, DatasetIri(handover.dataset), expires)
    with node.engine.begin() as connection:
        connection.execute(delete(table).where(table.c.expires_at < stamp(began)))
        connection.execute(insert(table), _row(made, began=began))
        said = {"hub": hub.id, "dataset": handover.dataset, "until": stamp(expires)}
        node.audit.append("handover-accepted", handover.subject, handover.permit, connection, **said)
    return made


def _row(visit: Visit, *, began: datetime) -> dict[str, Any]:
    return {
        "digest": _digest(visit.secret),
        "hub": visit.hub,
        "permit": visit.permit,
        "dataset": visit.dataset,
        "subject": visit.principal.subject,
        "name": visit.principal.display_name,
        "study": visit.study or None,
        "csrf": visit.csrf,
        "began_at": stamp(began),
        "expires_at": stamp(visit.expires),
    }


def _principal(subject: str, hub: str, name: str, permit: str) -> Principal:
    return Principal(subject, hub, frozenset({"researcher"}), name, permit)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
