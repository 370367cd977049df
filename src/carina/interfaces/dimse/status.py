"""Statuses of C-STORE, PS3.4 table B.2-1 and PS3.7 annex C."""

from __future__ import annotations

from carina.model.instance import Reason
from carina.node.ingest import Receipt

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000

_REFUSALS = {Reason.NOT_DICOM: CANNOT_UNDERSTAND, Reason.TOO_LARGE: OUT_OF_RESOURCES}


def status_of(receipt: Receipt) -> int:
    """What a receipt is in the protocol's words."""
    if receipt.state == "received":
        return SUCCESS
    return _REFUSALS.get(receipt.reason or Reason.FAILED, PROCESSING_FAILURE)
