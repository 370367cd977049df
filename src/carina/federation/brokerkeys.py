"""The key by which a party is known to the broker: an nkey of kind user (NATS ADR-14), made from a derived key."""

from __future__ import annotations

import base64
import re

from nkeys import PREFIX_BYTE_USER, crc16_checksum, encode_seed, from_seed

_NAME = re.compile(r"U[A-Z2-7]{55}")


def broker_seed(key: bytes) -> str:
    """The secret nkey (`SU…`) of a derived key of 32 bytes, such as `derive(keys.signing, "nkey", hub_id)`."""
    seed: bytes = encode_seed(key, PREFIX_BYTE_USER)
    return seed.decode()


def broker_name(seed: str) -> str:
    """The public nkey (`U…`) of a secret one."""
    pair = from_seed(bytearray(seed.encode()))
    name: bytes = pair.public_key
    pair.wipe()
    return name.decode()


def is_broker_name(text: str) -> bool:
    """Whether `text` is a public nkey of kind user: 56 letters of base32 that hold its kind, 32 bytes and their CRC.

    A broker refuses a configuration with any other, and with it every other change in there.
    """
    if not _NAME.fullmatch(text):
        return False
    raw = base64.b32decode(text)
    checksum: bytes = crc16_checksum(raw[:-2])
    return raw[0] == PREFIX_BYTE_USER and raw[-2:] == checksum
