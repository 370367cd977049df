"""What a DICOM listener answers beside C-ECHO and C-STORE: searches, retrievals and storage commitment, each to those
who may ask for it."""

from __future__ import annotations

import ssl
from typing import Any

from carina.interfaces.dimse import move, retrieve
from carina.interfaces.dimse.commitment import COMMITMENT, Commitments
from carina.interfaces.dimse.retrieve import SYNTAXES
from carina.node.site import Node


def contexts() -> list[tuple[str, list[str]]]:
    """Abstract syntaxes, each with the transfer syntaxes that its messages may be written in."""
    asked = (retrieve.FIND, retrieve.GET, move.MOVE, *sorted(retrieve.PATIENT_ROOT), COMMITMENT)
    return [(one, [str(syntax) for syntax in SYNTAXES]) for one in asked]


def handlers(node: Node, ae_title: str, tls: ssl.SSLContext | None = None) -> list[Any]:
    """Handlers of pynetdicom's events.

    ae_title  the node's own, by which it calls peers
    tls       for peers that speak it; see `secure.client_context`
    """
    return [
        *retrieve.handlers(node),
        *move.handlers(node, tls),
        *Commitments(node, ae_title, tls).handlers(),
    ]
