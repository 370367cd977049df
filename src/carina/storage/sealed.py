"""Encrypted files: what identifies a person rests nowhere else.

AES-256-GCM. Each sealing has its own key, HMAC-SHA-256 of the folder's key over 16 random bytes, so that one folder key
serves any number of files. The name is part of what is authenticated: a file moved to another name does not open.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from carina.errors import BadInput, NotFound, WrongKey
from carina.storage.files import ASIDE, make_folder, remove_durably, sweep, write_durably

_FORM = b"CSF1"  # names the scheme; a later one begins otherwise
_SALT = 16
_NONCE = 12
_LARGEST = 2**31 - 1  # of one AES-GCM call in `cryptography`
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


def seal(key: bytes, data: bytes, context: str) -> bytes:
    """`data` encrypted so that only `key` and the same `context` open it. At most 2 GiB, else `BadInput`."""
    if len(data) > _LARGEST - 64:
        raise BadInput("This is larger than 2 GiB and cannot be kept encrypted.")
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    return _FORM + salt + nonce + _cipher(key, salt).encrypt(nonce, data, _FORM + context.encode())


def unseal(key: bytes, sealed: bytes, context: str) -> bytes:
    """What `seal` was given. Raises `WrongKey` for another key or context, and when a single bit was changed."""
    start = len(_FORM)
    salt, nonce = sealed[start : start + _SALT], sealed[start + _SALT : start + _SALT + _NONCE]
    try:
        if not sealed.startswith(_FORM) or len(nonce) != _NONCE:
            raise InvalidTag
        return _cipher(key, salt).decrypt(nonce, sealed[start + _SALT + _NONCE :], _FORM + context.encode())
    except InvalidTag:
        raise WrongKey(
            "An encrypted file does not open: it was changed, or sealed under another key or name.",
            "Put the key file's back-up in place; if the key is right, restore the file from a back-up.",
        ) from None


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(hmac.new(key, _FORM + salt, hashlib.sha256).digest())


class SealedFolder:
    """A folder of encrypted files, each durable when `put` returns. Several processes may use it at once."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._key = key
        make_folder(folder)

    def put(self, name: str, data: bytes) -> None:
        """Keep `data` as `name`, in place of what was there. Raises `Full`."""
        write_durably(self._path(name), seal(self._key, data, name))

    def read(self, name: str) -> bytes:
        """What was put as `name`. Raises `NotFound`, or `WrongKey` when it does not open."""
        try:
            sealed = self._path(name).read_bytes()
        except FileNotFoundError:
            raise NotFound("There is no encrypted file of this name.") from None
        return unseal(self._key, sealed, name)

    def remove(self, name: str) -> None:
        """Forget `name`; nothing happens when it is not there."""
        remove_durably(self._path(name))

    def names(self) -> list[str]:
        """The names of all that is kept, sorted."""
        return sorted(path.name for path in self._folder.iterdir() if not path.name.startswith(ASIDE))

    def sweep(self) -> int:
        """Remove what writers that died left; how many. Only at the start, before anybody writes."""
        return sweep(self._folder)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise BadInput("This is no name for an encrypted file.")
        return self._folder / name
