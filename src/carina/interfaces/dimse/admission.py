"""Which associations are refused, which are left to pynetdicom, and what a sender's are answered with."""

from __future__ import annotations

from collections.abc import Set
from functools import lru_cache

from pydicom.config import IGNORE
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import sop_class

from carina.interfaces.dimse import peers
from carina.interfaces.dimse.negotiation import (
    ACCEPTED,
    DICOM,
    NO_ABSTRACT_SYNTAX,
    NO_TRANSFER_SYNTAX,
    VERIFICATION,
    Proposed,
    Request,
)
from carina.model.instance import Source
from carina.node.parcel import recorded
from carina.node.site import Node

_LONGEST_UID = 64
_PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)

NOT_DICOM, NOT_CALLED, NOT_KNOWN, OTHER_VERSION = (1, 1, 2), (1, 1, 7), (1, 1, 3), (1, 2, 2)
"""Result, source and reason of a rejection, PS3.8 table 9-21."""


class Admission:
    """Who may have an association.

    more        abstract syntaxes that pynetdicom answers
    called      the AE title that a caller must name; None: any
    peers_only  whether callers that are no peers are refused
    """

    def __init__(self, node: Node, more: Set[str], called: str | None = None) -> None:
        self.peers_only = False
        self._node = node
        self._more = more
        self._called = called

    def refusal(self, request: Request, address: str) -> tuple[int, int, int] | None:
        """Why it is rejected, audited where somebody is; None when it is not."""
        if not request.version & 1:
            return OTHER_VERSION
        if request.application != DICOM:
            return NOT_DICOM
        if self._called is not None and request.called != self._called.strip():
            return NOT_CALLED
        title = request.calling
        if peers.is_impostor(self._node, title, address):
            self._note(f"peer:{title}", "wrong-address")
            return NOT_KNOWN
        if self.peers_only and peers.known(self._node, title, address) is None and not request.user.passcode:
            self._note(str(recorded(Source("aet", title), self._node.project_of)), "no-peer")
            return NOT_KNOWN
        return None

    def asks_for_more(self, request: Request) -> bool:
        """Whether pynetdicom answers it: to ask for something, or with a user identity."""
        return request.user.identified or any(one.abstract in self._more for one in request.contexts)

    def _note(self, who: str, reason: str) -> None:
        node = self._node
        node.refusals.note(node.audit, "peer-refused", who, node.id, reason=reason, door="dimse")


def answers(request: Request) -> tuple[dict[int, tuple[int, str]], dict[int, tuple[str, bool]]]:
    """Of each presentation context its result and transfer syntax; and, of those that are accepted, the transfer syntax
    and whether it is one of storage."""
    results: dict[int, tuple[int, str]] = {}
    accepted: dict[int, tuple[str, bool]] = {}
    for one in request.contexts:
        result, transfer = _answer(one)
        results[one.number] = result, transfer
        if result == ACCEPTED:
            accepted[one.number] = transfer, one.abstract != VERIFICATION
    return results, accepted


def _answer(proposed: Proposed) -> tuple[int, str]:
    """Any transfer syntax will do for what is stored: the one that is named first."""
    first = next(iter(proposed.transfers), ImplicitVRLittleEndian)
    if proposed.abstract == VERIFICATION:
        plain = next((one for one in proposed.transfers if one in _PLAIN), None)
        return (NO_TRANSFER_SYNTAX, first) if plain is None else (ACCEPTED, plain)
    if not is_storage(proposed.abstract):
        return NO_ABSTRACT_SYNTAX, first
    if not proposed.transfers or not _is_uid(first):
        return NO_TRANSFER_SYNTAX, ImplicitVRLittleEndian
    return ACCEPTED, first


@lru_cache(maxsize=4096)
def is_storage(abstract: str) -> bool:
    """Whether it is a class of storage, or none that is known, or private: all but what the standard has otherwise.

    pynetdicom would also take some queries for storage, whose keywords it spells otherwise than pydicom.
    """
    if not _is_uid(abstract):
        return False
    uid = UID(abstract, IGNORE)  # it would warn, and quote what was sent
    if uid.is_private or uid.name == abstract or abstract in sop_class._STORAGE_CLASSES.values():
        return True
    return uid.type == "SOP Class" and "Storage" in uid.name and "Commitment" not in uid.name


def _is_uid(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_UID and text.isascii() and text.replace(".", "").isdigit()
