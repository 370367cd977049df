"""The keys and certificates that a node relies on, by what may be shown of them, and how long they are good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from carina.federation.permitkeys import permit_thumbprint
from carina.federation.signing import thumbprint
from carina.model.clock import now, stamp
from carina.model.keys import check_value
from carina.node.membership import JoinedHub, list_hubs
from carina.node.saying import named
from carina.node.site import Node
from carina.storage.schema import node_tables

WARN_DAYS = 30  # before the end of a certificate
DICOM = named("Certificate of the DICOM network")
CALLERS = named("Authority of DICOM callers")
State = Literal["good", "warn", "bad"]
_audit = node_tables.tables["audit"]


@dataclass(frozen=True)
class KeyLine:
    """One key or certificate. Nothing of it is secret.

    what         what it is for
    of           whose it is; "" for the node's own
    fingerprint  thumbprint (RFC 7638), SHA-256 of a certificate, or the check value of a secret key
    since        when it was made or taken, UTC, if that is known
    expires      UTC; None: it has no end
    days         until then, rounded down; below 0 it is over
    note         what is wrong with it; "" where nothing is
    of_hub       whether it came with the invitation of a hub
    """

    what: str
    of: str
    fingerprint: str
    since: str | None = None
    expires: str | None = None
    days: int | None = None
    state: State = "good"
    note: str = ""
    begins_later: bool = False
    of_hub: bool = False


def listed(node: Node, certificates: Sequence[tuple[str, Path]] = ()) -> list[KeyLine]:
    """The node's own keys, those of its hubs, and certificates: of the hubs' brokers and in these files.

    certificates   (what it is for, PEM file)
    """
    lines = [*_own(node)]
    for hub in list_hubs(node):
        lines += [replace(line, of_hub=True) for line in _of_hub(hub)]
    for what, path in certificates:
        lines += _of_file(what, path)
    return lines


def _own(node: Node) -> Iterable[KeyLine]:
    founded, replaced = _since(node), _since(node, "node-key-changed")
    yield KeyLine(named("Signs messages"), "", node.signing.thumbprint, replaced or founded)
    yield KeyLine(named("Signs permits"), "", node.permit_key.thumbprint, founded)
    yield KeyLine(named("Makes pseudonyms"), "", check_value(node.keys.pseudonym), founded)
    yield KeyLine(named("Seals spool and quarantine"), "", check_value(node.keys.storage), founded)


def _since(node: Node, action: str = "") -> str | None:
    """When the newest row of this action was written; without one, the trail's first."""
    wanted = select(_audit.c.at).order_by(_audit.c.seq.desc() if action else _audit.c.seq).limit(1)
    if action:
        wanted = wanted.where(_audit.c.action == action)
    with node.engine.connect() as connection:
        return connection.execute(wanted).scalar()


def _of_hub(hub: JoinedHub) -> Iterable[KeyLine]:
    yield KeyLine(named("Signs the hub's messages"), hub.title, thumbprint(hub.key), hub.joined_at)
    if hub.permit_key is None:
        note = "This hub was joined before there were permits. Join it again to take its key."
        yield KeyLine(named("Signs the hub's permits"), hub.title, "", state="warn", note=note)
    else:
        yield KeyLine(named("Signs the hub's permits"), hub.title, permit_thumbprint(hub.permit_key), hub.joined_at)
    yield from _of_pem(named("Authority of the hub's broker"), hub.title, hub.broker_ca.encode())


def _of_file(what: str, path: Path) -> list[KeyLine]:
    try:
        data = path.read_bytes()
    except OSError:
        return [KeyLine(what, "", "", state="bad", note=_UNREAD)]
    return _of_pem(what, "", data)


_UNREAD = "Its file cannot be read. Check its place in node.toml, and its rights."
_EMPTY = "There is no certificate in its file. Put one in its place, as PEM."
_NONE = "There is no certificate. Join the hub again with a new invitation."
_WRONG = "It cannot be read as a certificate. Put another in its place, as PEM."


def _of_pem(what: str, of: str, data: bytes) -> list[KeyLine]:
    """A line for each certificate of a PEM text; `of`: the hub that it came from, "" where it is a file's."""
    if not data.strip():
        return [KeyLine(what, of, "", state="warn", note=_NONE if of else _EMPTY)]
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        return [KeyLine(what, of, "", state="bad", note=_WRONG)]
    return [_certificate(what, of or _name(one), one, now()) for one in found]


def _certificate(what: str, of: str, one: x509.Certificate, at: datetime) -> KeyLine:
    days = (one.not_valid_after_utc - at).days
    later = one.not_valid_before_utc > at
    state: State = "bad" if days < 0 or later else "warn" if days < WARN_DAYS else "good"
    note = "It begins later." if later else "It is over." if days < 0 else "It ends soon." if days < WARN_DAYS else ""
    begin, end = stamp(one.not_valid_before_utc), stamp(one.not_valid_after_utc)
    return KeyLine(what, of, one.fingerprint(SHA256()).hex(), begin, end, days, state, note, later)


def _name(one: x509.Certificate) -> str:
    names = one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
