"""Carina: find cancer images over many hospitals.

import carina

with carina.connect("https://hub.example.org") as hub:
    print(hub.search(modality="CT", diagnosis="C34", age=(40, 60)))
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from carina.errors import (
    BadInput,
    BadSettings,
    CarinaError,
    Conflict,
    InvalidInstance,
    InvalidQuery,
    NotAllowed,
    NotFound,
    NotSignedIn,
    PermitDenied,
    SignInFailed,
    TooMany,
    Unreachable,
)

if TYPE_CHECKING:
    from carina.interfaces.api.access_documents import AccessRequest, Permit
    from carina.interfaces.api.exports import Run
    from carina.interfaces.client.archive import Archive
    from carina.interfaces.client.client import Client, connect
    from carina.interfaces.client.result import SearchResult
    from carina.interfaces.client.segmentation import Segmentation
    from carina.interfaces.client.volume import Volume

__version__ = version("carina")

__all__ = [
    "AccessRequest",
    "Archive",
    "BadInput",
    "BadSettings",
    "CarinaError",
    "Client",
    "Conflict",
    "InvalidInstance",
    "InvalidQuery",
    "NotAllowed",
    "NotFound",
    "NotSignedIn",
    "Permit",
    "PermitDenied",
    "Run",
    "SearchResult",
    "Segmentation",
    "SignInFailed",
    "TooMany",
    "Unreachable",
    "Volume",
    "__version__",
    "connect",
]


_HOMES = {
    "AccessRequest": "api.access_documents",
    "Archive": "client.archive",
    "Client": "client.client",
    "Permit": "api.access_documents",
    "Run": "api.exports",
    "SearchResult": "client.result",
    "Segmentation": "client.segmentation",
    "Volume": "client.volume",
    "connect": "client.client",
}


def __getattr__(name: str) -> Any:
    """The client, imported when it is first asked for: a node's worker needs no HTTP client."""
    if name not in _HOMES:
        raise AttributeError(f"module 'carina' has no attribute '{name}'")
    return getattr(import_module(f"carina.interfaces.{_HOMES[name]}"), name)
