"""Carina: find cancer images over many hospitals.

import carina

with carina.connect("https://hub.example.org") as hub:
    print(hub.search(modality="CT", diagnosis="C34", age=(40, 60)))
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from carina.errors import (
    BadInput,
    BadSettings,
    CarinaError,
    InvalidQuery,
    NotAllowed,
    NotFound,
    NotSignedIn,
    SignInFailed,
    TooMany,
    Unreachable,
)

if TYPE_CHECKING:
    from carina.interfaces.client.client import Client, connect
    from carina.interfaces.client.result import SearchResult

__version__ = version("carina")

__all__ = [
    "BadInput",
    "BadSettings",
    "CarinaError",
    "Client",
    "InvalidQuery",
    "NotAllowed",
    "NotFound",
    "NotSignedIn",
    "SearchResult",
    "SignInFailed",
    "TooMany",
    "Unreachable",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> Any:
    """The client, imported when it is first asked for: a node's worker needs no HTTP client."""
    if name in ("Client", "connect"):
        from carina.interfaces.client import client as module
    elif name == "SearchResult":
        from carina.interfaces.client import result as module  # type: ignore[no-redef]
    else:
        raise AttributeError(f"module 'carina' has no attribute '{name}'")
    return getattr(module, name)
