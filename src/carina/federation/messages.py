"""Sealing a message and opening one: signature, sender, receiver, times and nonce, in an order that leaks nothing."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from carina.errors import InvalidMessage
from carina.federation import wire
from carina.federation.signing import Jwk, SigningKey, peek, verify
from carina.federation.transport import check_size
from carina.model.clock import now as present

LIFETIME = timedelta(seconds=60)
LEEWAY = timedelta(seconds=30)
LONGEST_LIFETIME = timedelta(seconds=120)

_PARTY = re.compile(r"[hn]-[a-z2-7]{26}")


@dataclass(frozen=True)
class Sealed:
    """A signed message, and the nonce that its answer will name."""

    data: bytes
    nonce: str


@dataclass(frozen=True)
class Message:
    """A message that was opened: genuine, in time, for us, and the first with its nonce."""

    hub: str
    sender: str
    nonce: str
    re: str | None
    body: wire.Body


def seal_message(
    key: SigningKey,
    body: wire.Body,
    *,
    hub: str,
    sender: str,
    to: str,
    re: str | None = None,
    now: datetime | None = None,
) -> Sealed:
    """`body` signed by `sender` for `to`, good for `LIFETIME`. `re` is the nonce that it answers.

    Raises `BadInput` when it is larger than a transport carries.
    """
    made = now or present()
    nonce = secrets.token_urlsafe(24)
    envelope = wire.Envelope(
        v=1,
        hub=hub,
        iss=sender,
        aud=to,
        iat=int(made.timestamp()),
        exp=int((made + LIFETIME).timestamp()),
        nonce=nonce,
        kind=body.kind,
        re=re,
        body=wire.write(body),
    )
    data = key.sign(wire.write(envelope))
    check_size(data)
    return Sealed(data, nonce)


def open_message(
    data: bytes,
    *,
    me: str,
    hub: str,
    sender: str,
    keys_of: Callable[[str], Jwk | None],
    first_time: Callable[[str, str, datetime], bool],
    answers: str | None = None,
    now: datetime | None = None,
) -> Message:
    """The message in `data`, once everything about it holds.

    me          who opens it
    hub         the hub whose exchange it came over
    sender      who the transport says sent it; must be who signed it
    keys_of     the public key in force of a party, or None for one that is not known or was removed
    first_time  whether sender and nonce were never seen; must remember them until the given instant
    answers     the nonce of what was asked, when an answer is expected

    Raises `InvalidMessage` with its `reason`: malformed, unknown-sender, forged, misaddressed, expired, replayed.
    """
    _, claimed = peek(data)
    issuer = claimed.get("iss")
    jwk = keys_of(issuer) if isinstance(issuer, str) and _PARTY.fullmatch(issuer) else None
    if jwk is None or not isinstance(issuer, str):
        raise InvalidMessage("The message's sender is not known here.", reason="unknown-sender")
    payload = verify(data, jwk)
    if payload.get("iss") != issuer or issuer != sender:
        raise InvalidMessage("The message was sent by another than who signed it.", reason="forged")
    envelope = wire.read(wire.Envelope, payload)
    if (envelope.hub, envelope.aud) != (hub, me) or envelope.re != answers:
        raise InvalidMessage("The message is not for this receiver.", reason="misaddressed")
    if (envelope.kind in ("answer", "error")) != (answers is not None):
        raise InvalidMessage("The message is an answer to nothing, or no answer.", reason="misaddressed")
    expires = _check_times(envelope, now or present())
    body = wire.read_body(envelope.kind, envelope.body)
    if not first_time(issuer, envelope.nonce, expires):
        raise InvalidMessage("The message was received before.", reason="replayed")
    return Message(hub, issuer, envelope.nonce, envelope.re, body)


def _check_times(envelope: wire.Envelope, now: datetime) -> datetime:
    """Until when the nonce must be remembered. The clocks of two parties may differ by `LEEWAY`."""
    present, leeway = now.timestamp(), LEEWAY.total_seconds()
    in_time = envelope.iat - leeway <= present <= envelope.exp + leeway
    if not in_time or not 0 <= envelope.exp - envelope.iat <= LONGEST_LIFETIME.total_seconds():
        raise InvalidMessage(
            "The message is past its time or ahead of it.", "Set the clocks of both machines.", reason="expired"
        )
    return datetime.fromtimestamp(envelope.exp, UTC) + 2 * LEEWAY
