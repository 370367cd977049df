"""De-identification of one DICOM instance: PS3.15 Annex E, fail-closed.

`deidentify` is a pure function of the bytes received, the profile, the project's keys and the aliases: the same in any
process gives the same bytes out. An attribute stays because the table, the data dictionary and the lists in `texts` and
`codes` say that it may; whatever none of them knows is removed.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from types import MappingProxyType

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from carina.deid.engine.header import clean_header
from carina.deid.facts import facts_of, text
from carina.deid.person import Person, merged, person_of
from carina.deid.pixels.hidden import put_pixel_data
from carina.deid.profile import MODIFIED_DATES, Profile
from carina.deid.pseudonyms import ProjectKeys, patient_key, shift_days, source_digest
from carina.deid.rules import table
from carina.deid.rules.rule import Subject
from carina.deid.words import codes
from carina.deid.words.identifiers import own_identifiers
from carina.dicom.kinds import why_withheld
from carina.dicom.parse import parse, part10
from carina.dicom.quiet import quiet
from carina.errors import CarinaError, InvalidInstance, Withheld
from carina.model.ids import PatientKey, ProjectId, Uid
from carina.model.instance import CleanInstance, RawInstance, Reason, Version

ENGINE = "1"
"""Changes with any change of code, words or codes that changes what comes out."""

IMPLEMENTATION_CLASS_UID = UID("2.25.276730125451314215964182458534966934860")
"""Made once, a random UUID; (0002,0012) of every file that this engine writes."""

_NO_ALIASES: Mapping[Person, Person] = MappingProxyType({})
_INSTANCE, _STUDY, _SERIES = "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"


def deidentify(
    raw: RawInstance,
    profile: Profile,
    keys: ProjectKeys,
    aliases: Mapping[Person, Person] = _NO_ALIASES,
    *,
    project: ProjectId,
    default_issuer: str = "",
    strip_leading_zeros: bool = False,
) -> CleanInstance:
    """The clean instance of what arrived.

    aliases   merged identifiers, applied before the pseudonym is made

    Raises `NotDicom`, `InvalidInstance` (damaged), and `Withheld` with its reason: an identifier is missing, the
    transfer syntax is unknown, or pixels or content must be checked first.
    """
    dataset = parse(raw.data)
    with quiet():
        try:
            _require_uids(dataset)
            person = merged(person_of(dataset, default_issuer, strip_leading_zeros), aliases)
            reason = why_withheld(dataset)
            if reason is not None:
                raise Withheld(reason, reason.sentence)
            source = source_digest(keys, content_of(raw.data, str(dataset.file_meta.TransferSyntaxUID)))
            return _rewritten(dataset, person, profile, keys, project=project, source=source)
        except (CarinaError, MemoryError):
            raise
        except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
            raise InvalidInstance("The DICOM file is damaged: it cannot be written again.") from None


def content_of(data: bytes, syntax: str) -> bytes:
    """What a digest recognises an instance by: its transfer syntax, and the bytes after the file meta information.

    Preamble and group 0002 are the sender's own (PS3.10 section 7.1) and differ between C-STORE, STOW-RS and a file.
    """
    head = data[128:144]
    if head.startswith(b"DICM\x02\x00\x00\x00UL\x04\x00"):  # (0002,0000) File Meta Information Group Length
        start = 144 + int.from_bytes(head[12:16], "little")
        if start < len(data):
            return b"\0".join((syntax.encode(), data[start:]))
    return b"\0".join((syntax.encode(), data))


def _require_uids(dataset: Dataset) -> None:
    if not all(text(dataset, keyword) for keyword in (_INSTANCE, _STUDY, _SERIES)):
        raise Withheld(Reason.MISSING_IDENTITY, "The instance lacks its own UID, its study's or its series'.")


def _rewritten(
    dataset: Dataset, person: Person, profile: Profile, keys: ProjectKeys, *, project: ProjectId, source: str
) -> CleanInstance:
    pseudonym, days = patient_key(keys, person), shift_days(keys, person)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    subject = Subject(keys, pseudonym, days, own_identifiers(dataset))
    clean = clean_header(dataset, subject, profile.options)
    put_pixel_data(clean, dataset, str(syntax), syntax.is_encapsulated, subject.own)
    _put_what_must_be(clean, pseudonym, profile.options)
    return CleanInstance(
        project=project,
        patient=PatientKey(pseudonym),
        study_uid=Uid(clean.StudyInstanceUID),
        series_uid=Uid(clean.SeriesInstanceUID),
        uid=Uid(clean.SOPInstanceUID),
        sop_class_uid=str(clean.SOPClassUID),
        transfer_syntax_uid=str(syntax),
        modality=str(clean.Modality),
        source_digest=source,
        version=Version(ENGINE, profile.digest),
        facts=facts_of(dataset, keys, days),
        data=_encoded(clean, syntax),
    )


def _put_what_must_be(clean: Dataset, pseudonym: str, options: tuple[str, ...]) -> None:
    """The person's pseudonym, and the marks of PS3.15 section E.1.1 that say truly what was done."""
    clean.PatientName = clean.PatientID = pseudonym
    clean.setdefault("Modality", "OT")
    clean.PatientIdentityRemoved = "YES"
    clean.DeidentificationMethod = [f"Carina engine {ENGINE}", f"PS3.15 {table.EDITION} Basic Profile"]
    methods = [codes.coded("113100", "DCM", "Basic Application Confidentiality Profile")]
    if MODIFIED_DATES in options:
        meaning = "Retain Longitudinal Temporal Information Modified Dates Option"
        methods.append(codes.coded("113107", "DCM", meaning))
    clean.DeidentificationMethodCodeSequence = Sequence(methods)
    clean.LongitudinalTemporalInformationModified = "MODIFIED" if MODIFIED_DATES in options else "REMOVED"


def _encoded(clean: Dataset, syntax: UID) -> bytes:
    """A Part 10 file: an empty preamble, only the file meta information that must be, and the dataset."""
    file = DicomBytesIO()
    file.is_little_endian = syntax != ExplicitVRBigEndian
    file.is_implicit_VR = syntax == ImplicitVRLittleEndian
    write_dataset(file, clean)
    data = file.getvalue()
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = stream.compress(data) + stream.flush()
        data += bytes(len(data) % 2)
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # counted when written
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = clean.SOPClassUID
    meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    return part10(meta, data)
