"""One arrival on its way: read, de-identified, described, or refused with a reason. Nothing is told to the records."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from io import BytesIO
from typing import TypeAlias

from pydicom.filereader import read_partial
from pydicom.uid import UID
from sqlalchemy import select

from carina.deid.engine.encode import without_bytes
from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.engine.walker import Pieces, pieces
from carina.deid.evidence.originals import originals_in, originals_of
from carina.deid.evidence.reveal import Originals
from carina.deid.facts import instrument_of
from carina.deid.person import Person
from carina.deid.pixels.findings import Findings
from carina.deid.pseudonyms import ProjectKeys
from carina.dicom.bodyparts import body_part
from carina.dicom.describe import Described, described
from carina.dicom.json import values_of
from carina.dicom.kinds import MODALITIES_TO_CHECK
from carina.dicom.quiet import quiet
from carina.errors import InvalidInstance, NotDicom, NotFound, Withheld, WrongKey
from carina.model.ids import ProjectId
from carina.model.instance import CleanInstance, RawInstance, Reason, Source
from carina.model.variables import BY_NAME
from carina.node import large, pixels, quarantine, tombstones
from carina.node.alternatives import chosen_profile
from carina.node.parcel import Parcel, recorded, unwrap, wrap
from carina.node.site import Node, Project
from carina.node.spooled import opened_parcel
from carina.storage import index
from carina.storage.arrivals import Arrival
from carina.storage.indexing import Entry, whole_number
from carina.storage.schema import pixel_checks

log = logging.getLogger(__name__)

Aliases: TypeAlias = Mapping[ProjectId, Mapping[Person, Person]]
"""Of each project, merged identifiers."""

DEATHS = 10  # of workers that had claimed it; more, and it is taken for what kills them
_REASONS: dict[type[Exception], Reason] = {NotDicom: Reason.NOT_DICOM, InvalidInstance: Reason.DAMAGED}
_MODALITY = 0x00080060  # the last of the elements that say what kind an instance is
_MODALITIES = MODALITIES_TO_CHECK | {value for value, _ in BY_NAME["modality"].values}
_BODY_PART, _INSTANCE_NUMBER = "00180015", "00200013"
_HEAD = 1 << 20  # bytes of a large file that say what it is


@dataclass(frozen=True)
class Cleaned:
    """A clean instance; `stored` is what the index is told of it, once its bytes are in the store."""

    arrival: Arrival
    clean: CleanInstance
    described: Described = field(repr=False)
    instrument: str | None
    originals: Originals | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Stored:
    """A clean instance whose file is in the store; `entry` is without the bytes."""

    arrival: Arrival
    entry: Entry
    originals: Originals | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Refused:
    """Bytes that are in quarantine now; `moved` is False where they could not be read and stay where they are.

    layout    of an image that waits for a look at its pixels, see `pixels.note`; None for all others
    patients  whom it is of, where its header says that: in its project, or in each where its source has none
    """

    arrival: Arrival
    held: quarantine.Held
    moved: bool = True
    layout: str | None = None
    patients: tuple[tombstones.Patient, ...] = ()


def looked_at(node: Node, batch: Sequence[Arrival]) -> frozenset[str]:
    """Those of claimed arrivals whose pixels a look was or is asked for; while they are claimed it stays so."""
    wanted = select(pixel_checks.c.id).where(pixel_checks.c.id.in_([arrival.id for arrival in batch]))
    with node.engine.connect() as connection:
        return frozenset(connection.execute(wanted).scalars())


def prepare(node: Node, arrival: Arrival, aliases: Aliases, looked: Collection[str]) -> Cleaned | Stored | Refused:
    """All that happens before the records: clean bytes in memory, a large file in the store, or bytes in quarantine.

    looked  as `looked_at` says of its batch

    Repeatable. Raises `Full`.
    """
    try:
        if arrival.size > large.LARGE and (done := _prepare_large(node, arrival, aliases, looked)) is not None:
            return done
        found = parcel(node, arrival.id)
    except (NotFound, WrongKey, InvalidInstance) as error:
        return _unreadable(arrival, error)
    project = _project(node, found)
    try:
        _require_fit(node, arrival, found)
        if project is None:
            raise Withheld(Reason.UNMAPPED_SOURCE, Reason.UNMAPPED_SOURCE.sentence)
        project = _as_chosen(node, project, arrival)
        findings = _findings(node, project, arrival, looked)
        split = pieces(found.data)
        clean = _clean(node, project, (found, split), aliases[project.id], findings)
        if isinstance(clean, pixels.Wait):
            return refuse(node, arrival, found, Reason.PIXELS_NOT_CHECKED, layout=clean.layout, aliases=aliases)
    except (Withheld, NotDicom, InvalidInstance) as error:
        reason = Reason(error.reason) if isinstance(error, Withheld) else _REASONS[type(error)]
        return refuse(node, arrival, found, reason, detail=error.message, aliases=aliases)
    instrument = instrument_of(RawInstance(found.data), found.source, node.instruments) if node.instruments else None
    originals = None if node.way_back is None else originals_in(found.data, split)
    return Cleaned(arrival, clean, described(clean.data), instrument, originals)


def stored(cleaned: Cleaned, content: str) -> Stored:
    """What the index is told of an instance whose file is `content` in the store."""
    clean = cleaned.clean
    entry = _entry(clean, content, len(clean.data), cleaned.described, cleaned.instrument)
    return Stored(cleaned.arrival, entry, cleaned.originals)


def _prepare_large(node: Node, arrival: Arrival, aliases: Aliases, looked: Collection[str]) -> Stored | Refused | None:
    """The same with little memory; None for what must be read as a whole."""
    with opened_parcel(node, arrival.id) as (label, source, size):
        assigned = node.project_of.get(label.source)
        project = None if assigned is None else node.projects.get(assigned)
        head = source.read(_HEAD)
    try:
        if arrival.attempts > DEATHS:
            raise Withheld(Reason.FAILED, "A worker ended while it was at this.")
        if size > node.largest_instance:
            raise Withheld(Reason.TOO_LARGE, Reason.TOO_LARGE.sentence)
        if project is None:
            raise Withheld(Reason.UNMAPPED_SOURCE, Reason.UNMAPPED_SOURCE.sentence)
        project = _as_chosen(node, project, arrival)
        handling = handling_of(node, project, label.source)
        done = large.store(
            node,
            arrival.id,
            _engine(handling, threading.get_ident()),
            aliases=aliases[project.id],
            findings=_findings(node, project, arrival, looked),
            looks=pixels.CLEAN_PIXELS in project.profile.options,
            may=partial(_require_known_study, node) if handling.pseudonymised else _any,
        )
    except (Withheld, NotDicom, InvalidInstance) as error:
        reason = Reason(error.reason) if isinstance(error, Withheld) else _REASONS[type(error)]
        large.set_aside(node, arrival.id)
        where = (recorded(label.source, node.project_of), size, label.received_at)
        kind = _kind(head, reason)
        detail, of = error.message[:200], None if project is None else project.id
        held = quarantine.Held(arrival.id, reason, *where, detail, of, *kind)
        return Refused(arrival, held, patients=_patients(node, project, label.source, head, aliases))
    if done is None:
        return None
    instrument = instrument_of(RawInstance(done.head), label.source, node.instruments) if node.instruments else None
    entry = _entry(done.clean, done.content, done.size, done.described, instrument)
    return Stored(arrival, entry, None if node.way_back is None else originals_of(done.head))


def _any(_clean: CleanInstance) -> None:
    """Nothing more is asked of it."""


def _entry(clean: CleanInstance, content: str, size: int, told: Described, instrument: str | None) -> Entry:
    return Entry(
        clean=without_bytes(clean),
        content=content,
        size=size,
        frames=told.frames,
        study=told.of_level("study"),
        series=told.of_level("series"),
        header=told.header.decode(),
        brief=told.brief.decode(),
        instance_number=whole_number(told.values, _INSTANCE_NUMBER),
        pixel_offset=told.layout.offset,
        frame_size=told.layout.size,
        frame_table=told.layout.table,
        body_part=body_part(" ".join(map(str, values_of(dict(told.values), _BODY_PART)))),
        manufacturer=clean.facts.manufacturer,
        instrument=instrument,
    )


def _project(node: Node, found: Parcel) -> Project | None:
    assigned = node.project_of.get(found.source)
    return None if assigned is None else node.projects.get(assigned)


def _as_chosen(node: Node, project: Project, arrival: Arrival) -> Project:
    """The project with the profile that a data manager has chosen for this arrival, where one has."""
    if arrival.profile is None:
        return project
    profile = chosen_profile(node, project, arrival.profile)
    if profile is None:
        raise Withheld(Reason.FAILED, "The profile that was chosen for it is not one of this node any more.")
    return replace(project, profile=profile)


def _require_fit(node: Node, arrival: Arrival, found: Parcel) -> None:
    """Raise `Withheld` for what must not be tried: it is too large, or has ended its worker too often."""
    if arrival.attempts > DEATHS:
        raise Withheld(Reason.FAILED, "A worker ended while it was at this.")
    if len(found.data) > node.largest_instance:
        raise Withheld(Reason.TOO_LARGE, Reason.TOO_LARGE.sentence)


def _clean(
    node: Node,
    project: Project,
    cut: tuple[Parcel, Pieces | None],
    merged: Mapping[Person, Person],
    findings: Findings | None,
) -> CleanInstance | pixels.Wait:
    """The clean instance, or for what it waits when its pixels must be looked at first. Raises as `Engine.clean`."""
    found, split = cut
    handling = handling_of(node, project, found.source)
    looks = pixels.CLEAN_PIXELS in project.profile.options
    try:
        engine = _engine(handling, threading.get_ident())
        clean = engine.clean_pieces(found.data, split, aliases=merged, findings=findings)
    except Withheld as error:
        if looks and findings is None and error.reason == Reason.PIXELS_NOT_CHECKED:
            return pixels.Wait()
        raise
    if handling.pseudonymised:
        _require_known_study(node, clean)
    wait = pixels.sampled(node, project, found.data) if looks and findings is None else None
    return wait or clean


def _findings(node: Node, project: Project, arrival: Arrival, looked: Collection[str]) -> Findings | None:
    """See `pixels.decided`; the records are asked only where a look was asked for."""
    return pixels.decided(node, project, arrival.id) if arrival.id in looked else None


def handling_of(node: Node, project: Project, source: Source) -> Handling:
    """How what comes from this source is handled in its project."""
    return Handling(
        project=project.id,
        profile=project.profile,
        keys=_keys(node.keys.pseudonym, project.id),
        default_issuer=project.issuer,
        strip_leading_zeros=project.strip_leading_zeros,
        pseudonymised=source in node.pseudonymised,
    )


@lru_cache(maxsize=64)
def _keys(master: bytes, project: ProjectId) -> ProjectKeys:
    """Six derivations, once for a project and not once for each of its images."""
    return ProjectKeys.of(master, project)


@lru_cache(maxsize=64)
def _engine(handling: Handling, _thread: int) -> Engine:
    """One for each project and kind of source, since it remembers what it has worked out; no two threads share one."""
    return Engine(handling)


def _require_known_study(node: Node, clean: CleanInstance) -> None:
    """What comes pseudonymised belongs to a study of this project: its UIDs stayed, so that this can be seen."""
    with node.engine.connect() as connection:
        known = index.has_study(connection, clean.project, clean.study_uid)
    if not known:
        raise Withheld(Reason.NOT_PSEUDONYMISED, "Its study is not in this project's archive.")


def parcel(node: Node, arrival_id: str) -> Parcel:
    """From the spool, or from quarantine when it is tried again."""
    try:
        return unwrap(node.spool.read(arrival_id))
    except NotFound:
        return unwrap(node.quarantine.read(arrival_id))


def refuse(
    node: Node,
    arrival: Arrival,
    found: Parcel,
    reason: Reason,
    *,
    detail: str = "",
    layout: str | None = None,
    aliases: Aliases | None = None,
) -> Refused:
    """Put the bytes into quarantine; the row follows in the transaction."""
    node.quarantine.put(arrival.id, wrap(found))
    project = _project(node, found)
    held = quarantine.Held.of(
        node,
        arrival.id,
        found,
        reason,
        detail=detail[:200],
        project=None if project is None else project.id,
        kind=_kind(found.data, reason),
    )
    patients = () if aliases is None else _patients(node, project, found.source, found.data, aliases)
    return Refused(arrival, held, layout=layout, patients=patients)


def _patients(
    node: Node, project: Project | None, source: Source, data: bytes, aliases: Aliases
) -> tuple[tombstones.Patient, ...]:
    """Whom these bytes are of; where nobody has assigned them to a project, in each, as they may be for any."""
    head = tombstones.head_of(BytesIO(data))
    projects = node.projects.values() if project is None else [project]
    named = [(one, aliases[one.id]) for one in projects]
    return () if head is None else tuple(tombstones.patients_in(node, named, source, head))


def _unreadable(arrival: Arrival, error: Exception) -> Refused:
    """Nothing can be moved: the file is gone, or its bytes do not open. What there is stays in the spool."""
    log.error("arrival-unreadable", extra={"arrival": arrival.id, "error": type(error).__name__})
    detail = "Its encrypted file is gone." if isinstance(error, NotFound) else "Its encrypted file does not open."
    where = (arrival.source, arrival.size, arrival.received_at)
    return Refused(arrival, quarantine.Held(arrival.id, Reason.FAILED, *where, detail), moved=False)


def _kind(data: bytes, reason: Reason) -> tuple[str | None, str | None]:
    """Modality and SOP class of what is withheld, where they are words of the standard; else None."""
    if reason in (Reason.NOT_DICOM, Reason.DAMAGED, Reason.TOO_LARGE, Reason.FAILED):
        return None, None
    with quiet():
        try:
            dataset = read_partial(BytesIO(data), lambda tag, vr, length: tag > _MODALITY, force=True)
            modality, sop_class = str(dataset.get("Modality", "")), UID(str(dataset.get("SOPClassUID", "")))
        except Exception:  # noqa: BLE001  pydicom raises many kinds; the two words are a convenience
            return None, None
    return modality if modality in _MODALITIES else None, str(sop_class) if sop_class.type == "SOP Class" else None
