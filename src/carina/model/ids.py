"""Ids as types. All are safe to log, to show and to put in an address: none identifies a person."""

from __future__ import annotations

import re
from typing import NewType

from carina.errors import BadInput

Uid = NewType("Uid", str)
"""A de-identified DICOM UID (PS3.5 section 9), always under `2.25.` or a well-known root."""
ProjectId = NewType("ProjectId", str)
"""A node's project: a short name such as `lung`."""
HubId = NewType("HubId", str)
"""`h-` and 26 characters, from the digest of the hub's first public key."""
NodeId = NewType("NodeId", str)
"""`n-` and 26 characters, from the digest of the node's first public key."""
PatientKey = NewType("PatientKey", str)
"""A pseudonym of a person in one project."""
DatasetIri = NewType("DatasetIri", str)
"""`urn:uuid:…`, given once and never changed."""

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_PARTY = re.compile(r"[hn]-[a-z2-7]{26}")


def uid(text: str) -> Uid:
    """`text` as a UID, or `BadInput`. PS3.5 section 9.1: digits and dots, at most 64."""
    if len(text) > 64 or not _UID.fullmatch(text):
        raise BadInput("This is no DICOM UID.", "A UID has digits and dots only, at most 64 characters.")
    return Uid(text)


def project_id(text: str) -> ProjectId:
    """`text` as a project's name, or `BadInput`."""
    if not _NAME.fullmatch(text):
        raise BadInput(
            "This is no name for a project.",
            "Use 1 to 40 small letters, digits and hyphens, beginning with a letter.",
        )
    return ProjectId(text)


def is_party(text: str) -> bool:
    """Whether `text` has the form of a hub's or node's id."""
    return _PARTY.fullmatch(text) is not None
