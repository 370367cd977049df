"""From the spool into the archive, or into quarantine with a reason. Any number of processes may run this.

Each step may be repeated after a crash at any point: the bytes leave the spool only after a transaction has said what
became of them, and the transaction begins only when the file it speaks of is on the disk.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, update

from carina.errors import Busy, CarinaError, Conflict, Full
from carina.model.instance import Reason
from carina.node import aliases, completeness, discarded, pixels, quarantine, redescribing, tombstones
from carina.node.preparing import Cleaned, Refused, Stored, looked_at, parcel, prepare, refuse, stored
from carina.node.site import Node
from carina.storage import arrivals, index, indexing
from carina.storage.arrivals import Arrival, Finished, State
from carina.storage.audit import AuditRow
from carina.storage.schema import arrivals as rows

log = logging.getLogger(__name__)

ATTEMPTS = 3  # that end in an unforeseen error; then it is quarantined as failed
BATCH = 32  # instances whose fate one transaction tells
BATCH_BYTES = 12 * 2**20  # of them together, since all are in memory at once
IDLE = 0.15  # s between looks at an empty spool
GATHER = 0.1  # s after a small batch, in which more comes together: a transaction for each few would cost much more
PAUSE = 5.0  # s after the disk was full or the records were held
SETTLE_EVERY = 2.0  # s between looks for studies that are complete

_Outcome = Stored | Refused


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
    log.info("worker-started", extra={"worker": name})
    looked, swept, old, freed = 0.0, 0.0, redescribing.FIRST, False
    while not stop.is_set():
        try:
            if not freed:
                arrivals.release_claims(node.engine, name)
                freed = True
            if time.monotonic() - looked >= SETTLE_EVERY:
                looked = time.monotonic()
                completeness.settle(node)
            if swept == 0.0 or time.monotonic() - swept >= discarded.EVERY:
                swept = time.monotonic()
                discarded.sweep(node)
            done = work(node, name)
            if not done:
                old = redescribing.redescribe(node, old)
                stop.wait(IDLE if old is None else 0)
            elif len(done) < BATCH // 2:
                stop.wait(GATHER)
        except (Full, Busy) as error:
            log.error("worker-waits", extra={"worker": name, "error": type(error).__name__})
            if not (isinstance(error, Full) and discarded.make_room(node)):
                stop.wait(PAUSE)
        except Exception as error:  # noqa: BLE001  a worker outlives whatever befalls one batch; it says so and goes on
            log.error("worker-failed", extra={"worker": name, "error": type(error).__name__})
            stop.wait(PAUSE)
    with contextlib.suppress(CarinaError):  # a disk that cannot be written; the next start frees them
        arrivals.release_claims(node.engine, name)
    log.info("worker-ended", extra={"worker": name})


def _process_all(node: Node, batch: list[Arrival]) -> list[State]:
    merged = {project.id: aliases.load(node, project) for project in node.projects.values()}
    looked = looked_at(node, batch)
    states: dict[str, State] = {}
    prepared: list[Cleaned | _Outcome] = []
    for arrival in batch:
        try:
            prepared.append(prepare(node, arrival, merged, looked))
        except (Full, Busy):
            raise
        except Exception as error:  # noqa: BLE001  whatever one file brings about, the others go on
            states[arrival.id] = _failed(node, arrival, error)
    outcomes = _store(node, prepared, states)
    try:
        settled = _settle(node, outcomes) if outcomes else []
    except (Full, Busy):
        raise
    except Exception:  # noqa: BLE001  one of them spoils the transaction; each alone, the others pass
        log.warning("batch-divided", extra={"count": len(outcomes)})
        settled = [_settle_alone(node, outcome) for outcome in outcomes]
    states.update({outcome.arrival.id: state for outcome, state in zip(outcomes, settled, strict=True)})
    return [states[arrival.id] for arrival in batch]


def _store(node: Node, prepared: list[Cleaned | _Outcome], states: dict[str, State]) -> list[_Outcome]:
    """Put what is clean into the store; the order stays. What fails in an unforeseen way gets its state instead."""
    cleaned = [one for one in prepared if isinstance(one, Cleaned)]
    contents: dict[str, str] = {}
    try:
        placed = node.instances.put_all([one.clean for one in cleaned]) if cleaned else []
        contents = {one.arrival.id: content for one, content in zip(cleaned, placed, strict=True)}
    except (Full, Busy):
        raise
    except Exception:  # noqa: BLE001  one of them may be what fails; each alone, the others pass
        for one in cleaned:
            try:
                contents[one.arrival.id] = node.instances.put(one.clean)
            except (Full, Busy):
                raise
            except Exception as error:  # noqa: BLE001  counted, and quarantined in the end
                states[one.arrival.id] = _failed(node, one.arrival, error)
    kept = [one for one in prepared if one.arrival.id not in states]
    return [stored(one, contents[one.arrival.id]) if isinstance(one, Cleaned) else one for one in kept]


def _settle(node: Node, outcomes: list[_Outcome]) -> list[State]:
    """Tell in one transaction what became of each; then their bytes leave the spool."""
    kept = [outcome for outcome in outcomes if isinstance(outcome, Stored)]
    if node.way_back is not None:
        node.way_back.remember_all((one.entry.clean, one.originals) for one in kept if one.originals is not None)
    with node.engine.begin() as connection:
        settling = _Settling(node, connection, outcomes)
        states = settling.settle()
        tombstones.clear_way_back(node, connection, settling.forgotten)
    for content in settling.superfluous:
        node.instances.remove(content)
    settled = list(zip(outcomes, states, strict=True))
    node.spool.remove_all(one.arrival.id for one, state in settled if not isinstance(one, Refused) or one.moved)
    node.quarantine.remove_all(one.arrival.id for one, state in settled if state != "quarantined")
    for one in settling.refused:
        log.info("arrival-quarantined", extra={"arrival": one.arrival.id, "reason": str(one.held.reason)})
    return states


class _Settling:
    """One transaction that tells what became of a batch.

    superfluous   contents that no row speaks of
    forgotten     clean instances of persons who are forgotten
    refused       what waits in quarantine now
    """

    def __init__(self, node: Node, connection: Connection, outcomes: list[_Outcome]) -> None:
        self._node = node
        self._connection = connection
        self._outcomes = outcomes
        self._ends: list[Finished] = []
        self._told: list[AuditRow] = []
        self.superfluous: list[str] = []
        self.forgotten: list[Any] = []
        self.refused: list[Refused] = []

    def settle(self) -> list[State]:
        """The state of each, in order."""
        outcomes = self._outcomes
        mine = arrivals.unfinished(self._connection, [one.arrival.id for one in outcomes])
        patients = {patient for one in outcomes for patient in _patients(one)}
        gone = tombstones.forgotten(self._node, self._connection, patients)
        fresh = [one for one in outcomes if one.arrival.id in mine and gone.isdisjoint(_patients(one))]
        entries = [one for one in fresh if isinstance(one, Stored)]
        results, reopened = indexing.add_all(self._connection, [one.entry for one in entries])
        added = {one.arrival.id: result for one, result in zip(entries, results, strict=True)}
        states = [
            self._state(one, one.arrival.id in mine, not gone.isdisjoint(_patients(one)), added) for one in outcomes
        ]
        arrivals.finish_all(self._connection, self._ends)
        for one in self.refused:
            self._note(one)
        self._told += [AuditRow("study-reopened", "node", uid, {"project": project}) for project, uid in reopened]
        self._node.audit.append_all(self._told, self._connection)
        return states

    def _state(self, one: _Outcome, mine: bool, gone: bool, added: dict[str, indexing.Added | Conflict]) -> State:
        if gone:
            return self._forget(one, mine)
        if isinstance(one, Refused):
            return self._refuse(one, mine)
        if not mine:
            return "unchanged"
        clean, result = one.entry.clean, added[one.arrival.id]
        if isinstance(result, Conflict):
            self._leave(one)
            found = parcel(self._node, one.arrival.id)
            return self._refuse(
                refuse(self._node, one.arrival, found, Reason.CONFLICT, detail=result.message), mine=True
            )
        state: arrivals.End = "unchanged" if result == "unchanged" else "archived"
        self._ends.append(
            Finished(one.arrival.id, state, None, clean.project, study_uid=clean.study_uid, uid=clean.uid)
        )
        if state == "archived":
            details = {"project": clean.project, "arrival": one.arrival.id, "content": one.entry.content}
            self._told.append(AuditRow("archived", str(one.arrival.source)[:200], clean.uid, details))
        return state

    def _forget(self, one: _Outcome, mine: bool) -> State:
        """Of a person who is forgotten: nothing stays, and no identifier is written down."""
        project = one.held.project if isinstance(one, Refused) else one.entry.clean.project
        if isinstance(one, Stored):
            self._leave(one)
            self.forgotten.append(one.entry.clean)
        if mine:
            self._ends.append(Finished(one.arrival.id, "forgotten", None, project))
            details = {"project": project, "arrival": one.arrival.id}
            self._told.append(AuditRow("refused-forgotten", str(one.arrival.source)[:200], "", details))
        return "forgotten"

    def _refuse(self, one: Refused, mine: bool) -> State:
        held = one.held
        if mine:
            self._ends.append(Finished(held.id, "quarantined", held.reason, held.project))
            self.refused.append(one)
        return "quarantined"

    def _note(self, one: Refused) -> None:
        quarantine.note(self._node, self._connection, one.held)
        if one.layout is not None and one.held.project is not None:
            pixels.note(self._connection, one.held.id, one.held.project, one.layout)

    def _leave(self, one: Stored) -> None:
        """Nothing speaks of this content, unless another instance has it."""
        if not index.is_needed(self._connection, one.entry.content):
            self.superfluous.append(one.entry.content)


def _patients(one: _Outcome) -> Collection[tombstones.Patient]:
    return ((one.entry.clean.project, one.entry.clean.patient),) if isinstance(one, Stored) else one.patients


def _settle_alone(node: Node, outcome: _Outcome) -> State:
    try:
        return _settle(node, [outcome])[0]
    except (Full, Busy):
        raise
    except Exception as error:  # noqa: BLE001  counted, and quarantined in the end
        return _failed(node, outcome.arrival, error)


def _failed(node: Node, arrival: Arrival, error: Exception) -> State:
    """Something unforeseen: try again, in the end quarantine it. Its words may quote values: only its name is kept."""
    name = type(error).__name__
    log.error("instance-failed", extra={"arrival": arrival.id, "attempt": arrival.attempts, "error": name})
    if arrival.attempts < ATTEMPTS:
        _give_back(node, arrival, counted=True)
        return "received"
    found = parcel(node, arrival.id)
    return _settle(node, [refuse(node, arrival, found, Reason.FAILED, detail=name)])[0]


def _give_back(node: Node, arrival: Arrival, *, counted: bool) -> None:
    """End the claim; the attempt counts, or it does not."""
    attempts = arrival.attempts if counted else arrival.attempts - 1
    mine = (rows.c.id == arrival.id) & (rows.c.state == "received") & rows.c.claimed_by.is_not(None)
    with node.engine.begin() as connection:
        connection.execute(update(rows).where(mine).values(claimed_by=None, claimed_at=None, attempts=attempts))
