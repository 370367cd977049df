"""Keys: separate by purpose, outside the data folder, recognised by a check value.

Every key that a part uses is derived from one of the ring's masters with a label that names its scheme's version, so a
later scheme never meets an earlier one's key.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, fields

SCHEME = "carina/1"
KEY_BYTES = 32


@dataclass(frozen=True)
class KeyRing:
    """The masters of one service, 32 bytes each.

    pseudonym   pseudonyms, UIDs, date shifts, source digests (nodes)
    storage     spool, quarantine, aliases (nodes)
    signing     seed of the Ed25519 key that signs messages, and of the broker's nkey
    permits     seed of the P-256 key that signs permits, their states and orders (hubs), and countersignatures (nodes)
    """

    pseudonym: bytes = field(repr=False)
    storage: bytes = field(repr=False)
    signing: bytes = field(repr=False)
    permits: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if any(len(getattr(self, name)) != KEY_BYTES for name in key_names()):
            raise ValueError(f"each key has {KEY_BYTES} bytes")


def key_names() -> tuple[str, ...]:
    """The purposes, in order."""
    return tuple(item.name for item in fields(KeyRing))


def derive(master: bytes, *label: str) -> bytes:
    """A key of 32 bytes for one purpose: HMAC-SHA-256 of the scheme's version and the label's parts.

    Parts are joined with their lengths, so that no two labels meet.
    """
    text = "".join(f"{len(part)}:{part}" for part in (SCHEME, *label))
    return hmac.new(master, text.encode(), hashlib.sha256).digest()


def check_value(master: bytes) -> str:
    """What a database keeps to recognise the key: 16 hex digits that say nothing of it."""
    return derive(master, "check").hex()[:16]
