"""From the spool into the archive, or into quarantine with a reason. Any number of processes may run this.

Each step may be repeated after a crash at any point: the bytes leave the spool only after a transaction has said what
became of them, and the transaction begins only when the file it speaks of is on the disk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal, TypeAlias

from pydicom.filereader import read_partial
from pydicom.uid import UID
from sqlalchemy import Connection, update

from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.evidence.originals import originals_of
from carina.deid.evidence.reveal import Originals
from carina.deid.facts import instrument_of
from carina.deid.person import Person
from carina.deid.pseudonyms import ProjectKeys
from carina.dicom.bodyparts import body_part
from carina.dicom.kinds import MODALITIES_TO_CHECK
from carina.dicom.levels import BELONGS, COMPUTED, Level, instance_header
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.errors import Busy, Conflict, Full, InvalidInstance, NotDicom, NotFound, Withheld, WrongKey
from carina.model.ids import ProjectId
from carina.model.instance import CleanInstance, RawInstance, Reason, Source
from carina.model.variables import BY_NAME
from carina.node import aliases, pixels, quarantine
from carina.node.parcel import Parcel, unwrap, wrap
from carina.node.site import Node, Project
from carina.storage import arrivals, index
from carina.storage.arrivals import Arrival, State
from carina.storage.schema import arrivals as rows

log = logging.getLogger(__name__)

ATTEMPTS = 3  # that end in an unforeseen error; then it is quarantined as failed
DEATHS = 10  # of workers that had claimed it; more, and it is taken for what kills them
BATCH = 16  # instances whose fate one transaction tells
BATCH_BYTES = 64 * 2**20
IDLE = 0.15  # s between looks at an empty spool
PAUSE = 5.0  # s after the disk was full or the records were held
_REASONS: dict[type[Exception], Reason] = {NotDicom: Reason.NOT_DICOM, InvalidInstance: Reason.DAMAGED}
_MODALITY = 0x00080060  # the last of the elements that say what kind an instance is
_MODALITIES = MODALITIES_TO_CHECK | {value for value, _ in BY_NAME["modality"].values}


@dataclass(frozen=True)
class _Stored:
    """A clean instance whose file is in the store."""

    arrival: Arrival
    clean: CleanInstance
    content: str
    described: Mapping[str, Any] = field(repr=False)
    originals: Originals | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Refused:
    """Bytes that are in quarantine now; `moved` is False where they could not be read and stay where they are.

    layout   of an image that waits for a look at its pixels, see `pixels.note`; None for all others
    """

    arrival: Arrival
    held: quarantine.Held
    moved: bool = True
    layout: str | None = None


_Outcome: TypeAlias = "_Stored | _Refused"
_Success: TypeAlias = Literal["archived", "unchanged"]


def process(node: Node, arrival: Arrival) -> State:
    """Take one claimed arrival to its end and return the state it ends in. Repeatable.

    "received" when it failed in an unforeseen way and will be tried again. Raises `Full` and `Busy`.
    """
    return _process_all(node, [arrival])[0]


def work(node: Node, name: str) -> list[State]:
    """Claim what waits, at most one batch, and process it; the states it ended in, empty when nothing waited.

    When it is not the files' fault (the disk is full, the records are held, the alias list does not open) the claims
    are given back, uncounted, before the error comes out.
    """
    batch = arrivals.claim_batch(node.engine, name, BATCH, BATCH_BYTES)
    if not batch:
        return []
    try:
        return _process_all(node, batch)
    except Exception:
        for one in batch:
            _give_back(node, one, counted=False)
        raise


def run(node: Node, stop: threading.Event, name: str) -> None:
    """Work until `stop` is set; what was begun is finished first.

    name   tells this worker from all others that run; whatever is still claimed under it was a dead one's, and is freed
    """
    arrivals.release_claims(node.engine, name)
    log.info("worker-started", extra={"worker": name})
    while not stop.is_set():
        try:
            if not work(node, name):
                stop.wait(IDLE)
        except (Full, Busy) as error:
            log.error("worker-waits", extra={"worker": name, "error": type(error).__name__})
            stop.wait(PAUSE)
        except Exception as error:  # noqa: BLE001  a worker outlives whatever befalls one batch; it says so and goes on
            log.error("worker-failed", extra={"worker": name, "error": type(error).__name__})
            stop.wait(PAUSE)
    arrivals.release_claims(node.engine, name)
    log.info("worker-ended", extra={"worker": name})


def _process_all(node: Node, batch: list[Arrival]) -> list[State]:
    merged = {project.id: aliases.load(node, project) for project in node.projects.values()}
    states: dict[str, State] = {}
    outcomes: list[_Outcome] = []
    for arrival in batch:
        try:
            outcomes.append(_prepare(node, arrival, merged))
        except (Full, Busy):
            raise
        except Exception as error:  # noqa: BLE001  whatever one file brings about, the others go on
            states[arrival.id] = _failed(node, arrival, error)
    try:
        settled = _settle(node, outcomes) if outcomes else []
    except (Full, Busy):
        raise
    except Exception:  # noqa: BLE001  one of them spoils the transaction; each alone, the others pass
        log.warning("batch-divided", extra={"count": len(outcomes)})
        settled = [_settle_alone(node, outcome) for outcome in outcomes]
    states.update({outcome.arrival.id: state for outcome, state in zip(outcomes, settled, strict=True)})
    return [states[arrival.id] for arrival in batch]


def _prepare(node: Node, arrival: Arrival, merged: Mapping[ProjectId, Mapping[Person, Person]]) -> _Outcome:
    """All that happens before the transaction: afterwards a file is in the store or in quarantine."""
    try:
        parcel = _parcel(node, arrival.id)
    except (NotFound, WrongKey, InvalidInstance) as error:
        return _unreadable(arrival, error)
    project = _project(node, parcel)
    try:
        _require_fit(node, arrival, parcel)
        if project is None:
            raise Withheld(Reason.UNMAPPED_SOURCE, Reason.UNMAPPED_SOURCE.sentence)
        clean = _clean(node, project, arrival, parcel, merged[project.id])
        if isinstance(clean, pixels.Wait):
            return _refuse(node, arrival, parcel, Reason.PIXELS_NOT_CHECKED, layout=clean.layout)
    except (Withheld, NotDicom, InvalidInstance) as error:
        reason = Reason(error.reason) if isinstance(error, Withheld) else _REASONS[type(error)]
        return _refuse(node, arrival, parcel, reason, detail=error.message)
    described = {
        **_describe(clean),
        "instrument": instrument_of(RawInstance(parcel.data), parcel.source, node.instruments),
    }
    originals = None if node.way_back is None else originals_of(parcel.data)
    return _Stored(arrival, clean, node.instances.put(clean), described, originals)


def _project(node: Node, parcel: Parcel) -> Project | None:
    assigned = node.project_of.get(parcel.source)
    return None if assigned is None else node.projects.get(assigned)


def _require_fit(node: Node, arrival: Arrival, parcel: Parcel) -> None:
    """Raise `Withheld` for what must not be tried: it is too large, or has ended its worker too often."""
    if arrival.attempts > DEATHS:
        raise Withheld(Reason.FAILED, "A worker ended while it was at this.")
    if len(parcel.data) > node.largest_instance:
        raise Withheld(Reason.TOO_LARGE, Reason.TOO_LARGE.sentence)


def _clean(
    node: Node, project: Project, arrival: Arrival, parcel: Parcel, merged: Mapping[Person, Person]
) -> CleanInstance | pixels.Wait:
    """The clean instance, or for what it waits when its pixels must be looked at first. Raises as `Engine.clean`."""
    handling = handling_of(node, project, parcel.source)
    looks = pixels.CLEAN_PIXELS in project.profile.options
    findings = pixels.decided(node, project, arrival.id)
    try:
        clean = _engine(handling, threading.get_ident()).clean(parcel.data, aliases=merged, findings=findings)
    except Withheld as error:
        if looks and findings is None and error.reason == Reason.PIXELS_NOT_CHECKED:
            return pixels.Wait()
        raise
    if handling.pseudonymised:
        _require_known_study(node, clean)
    wait = pixels.sampled(node, project, parcel.data) if looks and findings is None else None
    return wait or clean


def handling_of(node: Node, project: Project, source: Source) -> Handling:
    """How what comes from this source is handled in its project."""
    return Handling(
        project=project.id,
        profile=project.profile,
        keys=ProjectKeys.of(node.keys.pseudonym, project.id),
        default_issuer=project.issuer,
        strip_leading_zeros=project.strip_leading_zeros,
        pseudonymised=source in node.pseudonymised,
    )


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


def _parcel(node: Node, arrival_id: str) -> Parcel:
    """From the spool, or from quarantine when it is tried again."""
    try:
        return unwrap(node.spool.read(arrival_id))
    except NotFound:
        return unwrap(node.quarantine.read(arrival_id))


def _describe(clean: CleanInstance) -> dict[str, Any]:
    """What the index keeps of a clean file."""
    dataset = parse(clean.data)
    header = instance_header(dataset)
    return {
        "size": len(clean.data),
        "frames": _frames(dataset.get("NumberOfFrames")),
        "study_header": _of_level(header, "study"),
        "series_header": _of_level(header, "series"),
        "header": header,
        "body_part": body_part(str(dataset.get("BodyPartExamined") or "")),
        "manufacturer": clean.facts.manufacturer,
    }


def _of_level(header: Mapping[str, Any], level: Level) -> dict[str, Any]:
    """The part of an instance's header that belongs to its study or series; never what the archive works out itself."""
    return {tag: header[tag] for tag in BELONGS[level] if tag in header and tag not in COMPUTED}


def _frames(stated: object) -> int:
    try:
        return max(1, int(str(stated)))
    except ValueError:
        return 1


def _refuse(
    node: Node, arrival: Arrival, parcel: Parcel, reason: Reason, *, detail: str = "", layout: str | None = None
) -> _Refused:
    """Put the bytes into quarantine; the row follows in the transaction."""
    node.quarantine.put(arrival.id, wrap(parcel))
    project = _project(node, parcel)
    held = quarantine.Held.of(
        node,
        arrival.id,
        parcel,
        reason,
        detail=detail[:200],
        project=None if project is None else project.id,
        kind=_kind(parcel.data, reason),
    )
    return _Refused(arrival, held, layout=layout)


def _unreadable(arrival: Arrival, error: Exception) -> _Refused:
    """Nothing can be moved: the file is gone, or its bytes do not open. What there is stays in the spool."""
    log.error("arrival-unreadable", extra={"arrival": arrival.id, "error": type(error).__name__})
    detail = "Its encrypted file is gone." if isinstance(error, NotFound) else "Its encrypted file does not open."
    where = (arrival.source, arrival.size, arrival.received_at)
    return _Refused(arrival, quarantine.Held(arrival.id, Reason.FAILED, *where, detail), moved=False)


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


def _settle(node: Node, outcomes: list[_Outcome]) -> list[State]:
    """Tell in one transaction what became of each; then their bytes leave the spool."""
    superfluous: list[str] = []
    if node.way_back is not None:
        stored = [outcome for outcome in outcomes if isinstance(outcome, _Stored)]
        node.way_back.remember_all((one.clean, one.originals) for one in stored if one.originals is not None)
    with node.engine.begin() as connection:
        states = [_record(node, connection, outcome, superfluous) for outcome in outcomes]
    for content in superfluous:
        node.instances.remove(content)
    for outcome, state in zip(outcomes, states, strict=True):
        if isinstance(outcome, _Stored) or outcome.moved:
            node.spool.remove(outcome.arrival.id)
        if state != "quarantined":
            node.quarantine.remove(outcome.arrival.id)
    return states


def _settle_alone(node: Node, outcome: _Outcome) -> State:
    try:
        return _settle(node, [outcome])[0]
    except (Full, Busy):
        raise
    except Exception as error:  # noqa: BLE001  counted, and quarantined in the end
        return _failed(node, outcome.arrival, error)


def _record(node: Node, connection: Connection, outcome: _Outcome, superfluous: list[str]) -> State:
    if isinstance(outcome, _Refused):
        return _record_refused(node, connection, outcome)
    arrival, clean = outcome.arrival, outcome.clean
    try:
        added = index.add_instance(connection, clean, content=outcome.content, **outcome.described)
    except Conflict as error:
        parcel = _parcel(node, arrival.id)
        refused = _refuse(node, arrival, parcel, Reason.CONFLICT, detail=error.message)
        if not index.is_needed(connection, outcome.content):
            superfluous.append(outcome.content)
        return _record_refused(node, connection, refused)
    state: _Success = "unchanged" if added == "unchanged" else "archived"
    mine = arrivals.finish(
        connection, arrival.id, state, project=clean.project, study_uid=clean.study_uid, uid=clean.uid
    )
    if mine and state == "archived":
        details = {"project": clean.project, "arrival": arrival.id, "content": outcome.content}
        node.audit.append("archived", str(arrival.source)[:200], clean.uid, connection=connection, **details)
    return state


def _record_refused(node: Node, connection: Connection, outcome: _Refused) -> State:
    held = outcome.held
    if arrivals.finish(connection, held.id, "quarantined", reason=held.reason, project=held.project):
        quarantine.note(node, connection, held)
        if outcome.layout is not None and held.project is not None:
            pixels.note(connection, held.id, held.project, outcome.layout)
        log.info("arrival-quarantined", extra={"arrival": held.id, "reason": str(held.reason)})
    return "quarantined"


def _failed(node: Node, arrival: Arrival, error: Exception) -> State:
    """Something unforeseen: try again, in the end quarantine it. Its words may quote values: only its name is kept."""
    name = type(error).__name__
    log.error("instance-failed", extra={"arrival": arrival.id, "attempt": arrival.attempts, "error": name})
    if arrival.attempts < ATTEMPTS:
        _give_back(node, arrival, counted=True)
        return "received"
    parcel = _parcel(node, arrival.id)
    return _settle(node, [_refuse(node, arrival, parcel, Reason.FAILED, detail=name)])[0]


def _give_back(node: Node, arrival: Arrival, *, counted: bool) -> None:
    """End the claim; the attempt counts, or it does not."""
    attempts = arrival.attempts if counted else arrival.attempts - 1
    mine = (rows.c.id == arrival.id) & (rows.c.state == "received") & rows.c.claimed_by.is_not(None)
    with node.engine.begin() as connection:
        connection.execute(update(rows).where(mine).values(claimed_by=None, claimed_at=None, attempts=attempts))
