"""An invitation to join a hub, and the proofs that node and hub give each other from its one-time secret.

The secret is in the invitation's text only, which an operator hands over by a way they trust. What travels is a signed
text and the HMAC-SHA-256 over it, under a key derived from the secret and labelled with the direction.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from carina.errors import InvalidInvitation
from carina.federation import wire
from carina.model.clock import parse_stamp, stamp
from carina.model.keys import derive

PREFIX = "carina-invitation:"
SECRET_BYTES = 32
_CHECK_BYTES = 4
_PEM = re.compile(r"\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*")


class _Text(wire.Record):
    v: Literal[1]
    hub: wire.Hub
    key: wire.Thumbprint
    url: wire.Url
    ca: str
    secret: str
    exp: wire.Stamp


@dataclass(frozen=True)
class Invitation:
    """What a node must know to join a hub.

    hub         the hub's id, made from its first key
    key         RFC 7638 thumbprint of the hub's key in force
    url         where the hub is asked to join
    broker_ca   SHA-256 (hex) of the certificate of the broker's CA, DER
    secret      32 random bytes, good for one join
    expires     UTC
    """

    hub: str
    key: str
    url: str
    broker_ca: str
    secret: bytes = field(repr=False)
    expires: datetime

    @property
    def id(self) -> str:
        """By which the hub finds it: says nothing of the secret. 32 hex digits."""
        return derive(self.secret, "invitation-id").hex()[:32]

    @property
    def proof_key(self) -> bytes:
        """What both sides prove to have."""
        return derive(self.secret, "invitation-proof")

    def text(self) -> str:
        """One line to copy: prefix and base64url, with four bytes at the end that show a damaged copy."""
        made = _Text(
            v=1,
            hub=self.hub,
            key=self.key,
            url=self.url,
            ca=self.broker_ca,
            secret=self.secret.hex(),
            exp=stamp(self.expires),
        )
        raw = json.dumps(wire.write(made), separators=(",", ":")).encode()
        return PREFIX + base64.urlsafe_b64encode(raw + hashlib.sha256(raw).digest()[:_CHECK_BYTES]).decode().rstrip("=")


def parse_invitation(text: str) -> Invitation:
    """The invitation of a text. Raises `InvalidInvitation` when it is none or is damaged."""
    compact = "".join(text.split())
    if not compact.startswith(PREFIX):
        raise InvalidInvitation("This is no invitation.", f"An invitation begins with '{PREFIX}'; copy all of it.")
    damaged = InvalidInvitation("The invitation is damaged.", "Copy all of it, from the first letter to the last.")
    encoded = compact.removeprefix(PREFIX)
    try:
        joined = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        raw, check = joined[:-_CHECK_BYTES], joined[-_CHECK_BYTES:]
        if hashlib.sha256(raw).digest()[:_CHECK_BYTES] != check:
            raise damaged
        parts = _Text.model_validate_json(raw)
        secret = bytes.fromhex(parts.secret)
        expires = parse_stamp(parts.exp)
    except (ValueError, ValidationError) as error:
        raise damaged from error
    if len(secret) != SECRET_BYTES or not re.fullmatch("[0-9a-f]{64}", parts.ca):
        raise damaged
    return Invitation(parts.hub, parts.key, parts.url, parts.ca, secret, expires)


def prove(proof_key: bytes, side: Literal["node", "hub"], signed: str) -> str:
    """The HMAC (hex) over a signed text, that only who has the invitation's secret can make."""
    return hmac.new(derive(proof_key, "join", side), signed.encode(), hashlib.sha256).hexdigest()


def proves(proof_key: bytes, side: Literal["node", "hub"], signed: str, proof: str) -> bool:
    """Whether `proof` is that HMAC; takes the same time for every answer."""
    return hmac.compare_digest(prove(proof_key, side, signed), proof)


def fingerprint(pem: str) -> str:
    """SHA-256 (hex) of the DER of the one certificate in a PEM text. Raises `InvalidInvitation` for any other text."""
    if not _PEM.fullmatch(pem):
        raise InvalidInvitation("The broker's certificate is not one certificate in PEM form.")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()
