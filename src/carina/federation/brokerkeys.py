"""The key by which a party is known to the broker: an nkey of kind user (NATS ADR-14), made from a derived key."""

from __future__ import annotations

from nkeys import PREFIX_BYTE_USER, encode_seed, from_seed


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
