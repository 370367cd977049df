"""The key that signs permits and what hangs on them: ES256 (RFC 7518 section 3.4), as GA4GH AAI 1.2 asks of visas.

It is not the key that signs messages: who has only that one can make no permit. A paper is a JWS in compact form whose
`typ` says what it is, so that none can be taken for another.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from carina.errors import InvalidMessage
from carina.federation.signing import MAX_SIGNED_BYTES, Jwk, peek
from carina.model.keys import derive

ALGORITHM = "ES256"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group of P-256 (FIPS 186-4 section D.1.2.3)."""
_COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}")


class _Registry(JWSRegistry):
    max_payload_length = MAX_SIGNED_BYTES


_REGISTRY = _Registry(algorithms=[ALGORITHM])


class PermitKey:
    """A private P-256 key. `repr` shows the public key's name only."""

    def __init__(self, key: ECKey) -> None:
        self._key = key
        self.public_jwk: Jwk = {name: str(value) for name, value in key.as_dict(private=False).items() if name != "kid"}
        self.thumbprint = permit_thumbprint(self.public_jwk)

    @classmethod
    def from_master(cls, master: bytes) -> PermitKey:
        """The key of a ring's `permits` master; the same each time."""
        number = int.from_bytes(
            derive(master, "permits", "p-256", "1") + derive(master, "permits", "p-256", "2"), "big"
        )
        private = ec.derive_private_key(1 + number % (_ORDER - 1), ec.SECP256R1())
        return cls(ECKey.import_key(private))

    def sign(self, typ: str, payload: dict[str, Any], **header: str) -> str:
        """The payload as a paper of this type; `kid` is the key's thumbprint."""
        headers = {"alg": ALGORITHM, "typ": typ, "kid": self.thumbprint, **header}
        body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return jws.serialize_compact(headers, body.encode(), self._key, registry=_REGISTRY)

    def __repr__(self) -> str:
        return f"PermitKey({self.thumbprint})"


def permit_thumbprint(jwk: Jwk) -> str:
    """The key's name (RFC 7638)."""
    members = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def permit_public_key(value: object) -> Jwk:
    """`value` as a public P-256 JWK. Raises `InvalidMessage` (malformed) for any other key or a private one."""
    if (
        not isinstance(value, dict)
        or set(value) != {"kty", "crv", "x", "y"}
        or (value["kty"], value["crv"]) != ("EC", "P-256")
        or not all(isinstance(value[name], str) and _COORDINATE.fullmatch(value[name]) for name in ("x", "y"))
    ):
        raise InvalidMessage("This is no public P-256 key.")
    jwk = {name: value[name] for name in ("kty", "crv", "x", "y")}
    try:
        ECKey.import_key({**jwk})
    except (JoseError, ValueError) as error:
        raise InvalidMessage("This is no public P-256 key.") from error
    return jwk


def open_paper(text: str, typ: str, jwk: Jwk) -> dict[str, Any]:
    """The payload of a paper of this type that the holder of `jwk` signed.

    Raises `InvalidMessage`: forged when type, algorithm, key name or signature is another; malformed when it is no JWS.
    """
    data = text.encode(errors="replace")
    header, payload = peek(data)
    if set(header) - {"jku"} != {"alg", "typ", "kid"} or (header["alg"], header["typ"], header["kid"]) != (
        ALGORITHM,
        typ,
        permit_thumbprint(jwk),
    ):
        raise InvalidMessage("The paper is not signed with the key for it.", reason="forged")
    try:
        jws.deserialize_compact(data, ECKey.import_key({**jwk}), registry=_REGISTRY)
    except (JoseError, ValueError) as error:
        raise InvalidMessage("The paper's signature does not hold.", reason="forged") from error
    return payload
