"""Signatures and the ids made from keys: Ed25519 (RFC 8032) in JWS compact form (RFC 7515), `alg` as RFC 9864 names it.

A public key is its JWK (RFC 8037) with exactly `kty`, `crv` and `x`; its name is the RFC 7638 thumbprint.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry

from carina.errors import InvalidMessage

Jwk = dict[str, str]

ALGORITHM = "Ed25519"
MAX_SIGNED_BYTES = 1_000_000
"""The largest signed text, in bytes; the broker carries 1 MiB."""

_X = re.compile(r"[A-Za-z0-9_-]{43}")


class _Registry(JWSRegistry):
    max_payload_length = MAX_SIGNED_BYTES


_REGISTRY = _Registry(algorithms=[ALGORITHM])


class SigningKey:
    """A private Ed25519 key. `repr` shows the public key's name only."""

    def __init__(self, key: OKPKey) -> None:
        self._key = key
        self.public_jwk: Jwk = {name: str(value) for name, value in key.as_dict(private=False).items() if name != "kid"}
        self.thumbprint = thumbprint(self.public_jwk)

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of a 32-byte seed; `ValueError` for another length."""
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(OKPKey.import_key(private))

    def sign(self, payload: dict[str, Any]) -> bytes:
        """The payload as a JWS compact text; `kid` is the key's thumbprint."""
        header = {"alg": ALGORITHM, "kid": self.thumbprint}
        body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return jws.serialize_compact(header, body.encode(), self._key, registry=_REGISTRY).encode()

    def __repr__(self) -> str:
        return f"SigningKey({self.thumbprint})"


def thumbprint(jwk: Jwk) -> str:
    """The key's name: SHA-256 of its required members, base64url (RFC 7638)."""
    return _text(_digest(jwk))


def party_id(jwk: Jwk, prefix: Literal["h", "n"]) -> str:
    """The id of a hub (`h`) or node (`n`) whose first key this is: 26 base32 letters, 130 bits of its thumbprint."""
    return f"{prefix}-{base64.b32encode(_digest(jwk)).decode()[:26].lower()}"


def public_key(value: object) -> Jwk:
    """`value` as a public Ed25519 JWK. Raises `InvalidMessage` (malformed) for any other key or a private one."""
    if (
        not isinstance(value, dict)
        or set(value) != {"kty", "crv", "x"}
        or (value["kty"], value["crv"]) != ("OKP", "Ed25519")
        or not isinstance(value["x"], str)
        or not _X.fullmatch(value["x"])
    ):
        raise InvalidMessage("This is no public Ed25519 key.")
    return {"kty": "OKP", "crv": "Ed25519", "x": value["x"]}


def verify(token: bytes, jwk: Jwk) -> dict[str, Any]:
    """The payload that the holder of `jwk` signed.

    Raises `InvalidMessage`: forged when the signature, algorithm or key name is another; malformed when it is no JWS.
    """
    header, _ = peek(token)
    if header.get("alg") != ALGORITHM or header.get("kid") != thumbprint(jwk):
        raise InvalidMessage("The message is not signed with the key of its sender.", reason="forged")
    try:
        signed = jws.deserialize_compact(token, OKPKey.import_key({**jwk}), registry=_REGISTRY)
    except (JoseError, ValueError) as error:
        raise InvalidMessage("The message's signature does not hold.", reason="forged") from error
    return _object(signed.payload)


def peek(token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload before the signature is checked: only to find the key to check it with."""
    if len(token) > MAX_SIGNED_BYTES:
        raise InvalidMessage("The message is too large.")
    parts = token.split(b".")
    if len(parts) != 3:
        raise InvalidMessage("The message is not signed in the form that Carina uses.")
    return _object(_bytes(parts[0])), _object(_bytes(parts[1]))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage("The message is not signed in the form that Carina uses.") from error
    if not isinstance(value, dict):
        raise InvalidMessage("The message is not signed in the form that Carina uses.")
    return value


def _bytes(part: bytes) -> bytes:
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise InvalidMessage("The message is not signed in the form that Carina uses.") from error


def _digest(jwk: Jwk) -> bytes:
    members = {name: jwk[name] for name in ("crv", "kty", "x")}
    return hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
