"""One DICOM instance on its way from a sender to the archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from carina.model.ids import PatientKey, ProjectId, Uid


@dataclass(frozen=True)
class Source:
    """Where bytes came from. `name` is an AE title, a token's name or a folder's path as configured."""

    kind: Literal["aet", "token", "folder"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class Reason(StrEnum):
    """Why something is in quarantine: a constant word, never a value from a header."""

    NOT_DICOM = "not-dicom"
    DAMAGED = "damaged"
    UNKNOWN_TRANSFER_SYNTAX = "unknown-transfer-syntax"
    MISSING_IDENTITY = "missing-identity"
    UNMAPPED_SOURCE = "unmapped-source"
    PIXELS_NOT_CHECKED = "pixels-not-checked"
    CONTENT_NOT_CHECKED = "content-not-checked"
    TEXT_IN_PIXELS = "text-in-pixels"
    IDENTIFIERS_LEFT = "identifiers-left"
    NOT_PSEUDONYMISED = "not-pseudonymised"
    CONFLICT = "conflict"
    TOO_LARGE = "too-large"
    FAILED = "failed"

    @property
    def sentence(self) -> str:
        """What a data manager reads."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.NOT_DICOM: "The bytes are no DICOM file.",
    Reason.DAMAGED: "The file is damaged or cut short.",
    Reason.UNKNOWN_TRANSFER_SYNTAX: "Its transfer syntax is not one that Carina knows.",
    Reason.MISSING_IDENTITY: "It lacks a UID or patient identifier that it must have.",
    Reason.UNMAPPED_SOURCE: "Its source is not assigned to a project.",
    Reason.PIXELS_NOT_CHECKED: "Its pixels may show text and have not been checked.",
    Reason.CONTENT_NOT_CHECKED: "Its kind holds text or documents that have not been checked.",
    Reason.TEXT_IN_PIXELS: "Text was found in its pixels; a reader must decide.",
    Reason.IDENTIFIERS_LEFT: "After de-identification something that may identify the person was still there.",
    Reason.NOT_PSEUDONYMISED: "It is declared pseudonymised, and is not, or its person is not known here.",
    Reason.CONFLICT: "An instance with this UID came earlier with other content.",
    Reason.TOO_LARGE: "It is larger than this node takes in.",
    Reason.FAILED: "Taking it in failed; it can be tried again.",
}


@dataclass(frozen=True)
class RawInstance:
    """What arrived, identifying; exists in memory, the spool and the quarantine only. No field is shown by `repr`."""

    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Instrument:
    """An instrument's identifier in a register, and what marks its images; an empty mark does not count.

    station_name, device_serial_number   (0008,1010) and (0018,1000), as the scanner writes them
    ae_title                             by which its images are sent
    """

    identifier: str
    station_name: str = ""
    device_serial_number: str = ""
    ae_title: str = ""


@dataclass(frozen=True)
class Peer:
    """A DICOM application that the node knows; see `settings.PeerSettings`.

    addresses   IP networks from which it may call; empty: any
    """

    ae_title: str
    addresses: tuple[str, ...] = ()
    may: frozenset[str] = frozenset()
    dataset: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False


@dataclass(frozen=True)
class Facts:
    """What the index keeps beside the clean header, taken by `deid` before the header loses it.

    sex                 M, F or O; None if not stated
    age_years           at the study, whole years, at most 90; None if not known
    manufacturer        one spelling per maker, upper case; None if not stated
    device              keyed pseudonym of the device (serial number and station); None if none stated
    study_date          shifted, YYYYMMDD; None if none
    """

    sex: str | None = None
    age_years: int | None = None
    manufacturer: str | None = None
    device: str | None = None
    study_date: str | None = None


@dataclass(frozen=True)
class Version:
    """What made a clean instance what it is; the same source and version give the same bytes.

    review   who looked at its pixels: "none", "machine" or "reader"
    """

    engine: str
    profile_digest: str
    review: str = "none"


@dataclass(frozen=True)
class CleanInstance:
    """A de-identified instance. Only `deid` makes one; stores take nothing else.

    data            a DICOM Part 10 file
    source_digest   keyed digest (hex) of the bytes received; recognises the same source without revealing it
    actions         how many elements met each rule, by `action reason`; constant words
    """

    project: ProjectId
    patient: PatientKey
    study_uid: Uid
    series_uid: Uid
    uid: Uid
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    source_digest: str
    version: Version
    facts: Facts
    data: bytes = field(repr=False)
    actions: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
