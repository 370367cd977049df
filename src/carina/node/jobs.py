"""The jobs that hubs ask of this node: taken once, judged by this node alone, run, answered with what may leave.

A job is `taken`, then `running` in a process of its own (`compute_job`), then `done`, `refused`, `failed` or
`cancelled`; its outcome rests here until the hub has taken it in. Each change is a comparison and a write in one, with
its row of the audit trail, so a job gives one result at most, whatever is killed when.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, RowMapping, func, insert, select, update

from carina.errors import Conflict, InvalidMessage, NotFound, PermitDenied, TooMany
from carina.federation import wire
from carina.federation.disclosure import release_moments
from carina.federation.papers import open_order
from carina.model.clock import now as present
from carina.model.clock import parse_stamp, stamp
from carina.model.ids import HubId
from carina.model.job import ENDED, SIGNAL_STATISTICS, Failure, JobOrder, JobState, Moments
from carina.model.principal import Principal
from carina.node import analyses, membership
from carina.node.authorise import Grant, authorise, check, judge, members
from carina.node.permits import STATES_GOOD_FOR
from carina.node.results import read_result, sign_result, under_present_key
from carina.node.site import Node
from carina.storage.members import Members
from carina.storage.schema import hubs, permit_states
from carina.storage.schema import node_jobs as table

End = Literal["done", "refused", "failed", "cancelled"]

DOOR = "job"
MOST_OPEN = 1_000
"""Jobs of one hub that have not ended: as many as one message of progress can name."""
MOST_DELIVERED = 50
MOST_STARTS = 3
"""So often a job may be running when the node ends without warning; then it may be why."""
REPLAYED_AFTER = timedelta(seconds=60)
"""For so long after its outcome was delivered, an order that comes again may have crossed it on the way."""
STOPPED = "stopped-by-node"
"""Why a job is cancelled that this node's own data manager has ended."""
PROGRESS_EVERY = 1.0  # s between writes of how far a job is
PROGRESS_STEP = 25
"""Percent. Finer steps would say how many series a dataset has whose numbers are hidden."""

_OPEN = ("taken", "running")
_FAILURES = get_args(Failure)
_one_order = threading.Lock()
"""The node's server alone takes orders; one at a time, so that an order that comes twice is judged and counted once."""
_COMPUTE: dict[str, Callable[[Node, Members, analyses.OnProgress], analyses.Computed]] = {
    SIGNAL_STATISTICS.name: analyses.signal_statistics
}


@dataclass(frozen=True)
class NodeJob:
    """A job as this node keeps it. Instants are UTC; `subject` is the account at the hub.

    reason     why it was refused or failed: a constant word
    released   the groups that left the node; none unless it is done
    threshold  below which groups were withheld; None unless it is done
    """

    hub: HubId
    hub_title: str
    id: str
    run: str
    permit: str
    dataset: str
    subject: str
    analysis: str
    state: JobState
    reason: str
    percent: int
    received_at: str
    started_at: str | None
    finished_at: str | None
    delivered_at: str | None
    released: tuple[Moments, ...]
    threshold: int | None


# --- what hubs ask ------------------------------------------------------------------------------------------------


def take(node: Node, hub: str, paper: str, *, now: datetime | None = None) -> None:
    """Take an order in, once, and judge it. A known one that has not ended: nothing happens.

    A refusal is an outcome too, which the hub is told. While the state of the permit is not known, the order stays at
    the hub, which offers it again.

    Raises `InvalidMessage`, which the caller audits: malformed, forged, misaddressed, expired, `replayed` when the job
    was answered before, or is another than the one of this id. Raises `TooMany` when the hub has too many jobs here;
    the order then stays there too.
    """
    known = membership.get_hub(node, hub)
    if known.state != "joined" or known.permit_key is None:
        raise InvalidMessage("This node does not know the key of the hub's orders.", "Join again.", reason="forged")
    order = open_order(paper, known.permit_key, hub=known.id, node=node.id, now=now)
    with _one_order:
        held = _find(node, hub, order.id)
        if held is not None:
            _require_same(node, held, order, now or present())
            return
        _require_room(node, hub)
        state, reason = _judged(node, order, now)
        if state is not None:
            _keep(node, order, paper, state, reason)


def _require_room(node: Node, hub: str) -> None:
    open_still = select(func.count()).select_from(table).where(table.c.hub == hub, table.c.state.in_(_OPEN))
    with node.engine.connect() as connection:
        if connection.execute(open_still).scalar_one() >= MOST_OPEN:
            raise TooMany(f"This node has {MOST_OPEN} jobs of the hub that have not ended.", "They are done in turn.")


def _judged(node: Node, order: JobOrder, now: datetime | None) -> tuple[JobState | None, str]:
    """What becomes of a new order; None while nobody can say. A refusal is audited by `authorise`."""
    try:
        authorise(
            node, _principal(order.subject, order.hub, order.permit), order.dataset, "analyse", door=DOOR, now=now
        )
    except PermitDenied as denied:
        return (None if denied.reason == "status-unknown" else "refused"), denied.reason
    return ("taken", "") if order.analysis in _COMPUTE else ("failed", "unknown-analysis")


def _keep(node: Node, order: JobOrder, paper: str, state: JobState, reason: str) -> None:
    row = {
        **{name: getattr(order, name) for name in ("hub", "id", "run", "permit", "dataset", "subject", "analysis")},
        "paper": paper,
        "state": state,
        "reason": reason,
        "percent": 0,
        "received_at": stamp(),
        "finished_at": stamp() if state in ENDED else None,
    }
    details = {name: row[name] for name in ("dataset", "permit", "run", "analysis")}
    with node.engine.begin() as connection:
        if connection.execute(select(table.c.id).where(_this(order.hub, order.id))).first():
            return
        connection.execute(insert(table), row)
        said = {**details, "reason": reason} if reason else details
        node.audit.append(f"job-{state}", order.hub, order.id, connection, account=order.subject, **said)


def _require_same(node: Node, row: RowMapping, order: JobOrder, now: datetime) -> None:
    """Raise `InvalidMessage` unless a known order is asked again as a hub does that has no outcome yet.

    One that asks long after it took the outcome in has lost it, or somebody plays an old order again: it is told the
    same outcome once more, and nothing is computed. Of a refusal, which was audited, nothing more is said.
    """
    if any(row[name] != getattr(order, name) for name in ("run", "permit", "dataset", "subject", "analysis")):
        raise InvalidMessage("The order is another than the one of the same id.", reason="replayed")
    delivered = row["delivered_at"]
    if delivered is not None and now - parse_stamp(delivered) > REPLAYED_AFTER:
        with node.engine.begin() as connection:
            connection.execute(update(table).where(_this(order.hub, order.id)).values(delivered_at=None))
        if row["state"] != "refused":
            raise InvalidMessage("The job of this order was answered before.", reason="replayed")


def progress(node: Node, hub: str) -> dict[str, wire.Progress]:
    """How far the hub's jobs are that have not ended, the oldest first."""
    mine = (table.c.hub == hub) & table.c.state.in_(_OPEN)
    oldest = select(table.c.id, table.c.state, table.c.percent).where(mine).order_by(table.c.id).limit(MOST_OPEN)
    with node.engine.connect() as connection:
        rows = connection.execute(oldest).all()
    return {row.id: wire.Progress(state=row.state, percent=row.percent) for row in rows}


def stop(node: Node, hub: str, ids: Iterable[str]) -> None:
    """The hub no longer wants these jobs. One that runs is killed by the runner, which asks `still_allowed`."""
    for job in ids:
        finish(node, hub, job, "cancelled")


def cancel(node: Node, actor: str, hub: str, job: str) -> NodeJob:
    """A data manager ends a job for good; its process is killed by the runner, and the hub is told `STOPPED`.

    Raises `NotFound`, and `Conflict` when it has ended by itself.
    """
    if not finish(node, hub, job, "cancelled", STOPPED, actor=actor):
        ended = get_job(node, hub, job)
        if ended.state == "done":
            raise Conflict("This job has ended already.", "It is done; its answer leaves as long as its permit holds.")
        raise Conflict("This job has ended already.", f"It is {ended.state}; nothing more comes of it.")
    return get_job(node, hub, job)


def undelivered(node: Node, hub: str) -> list[wire.Outcome]:
    """Outcomes that the hub has not taken in, the oldest first; results under the node's present key.

    A result leaves only while its permit holds. When that has ended since, the job is refused and the result removed,
    which is audited; while nobody can say, it waits.
    """
    waits = (table.c.hub == hub) & table.c.state.in_(ENDED) & table.c.delivered_at.is_(None)
    oldest = select(table.c.id).where(waits).order_by(table.c.finished_at, table.c.id)
    with node.engine.connect() as connection:
        ids = connection.execute(oldest).scalars().all()
    found = (_outcome(node, hub, job) for job in ids)
    return list(islice((outcome for outcome in found if outcome is not None), MOST_DELIVERED))


def _outcome(node: Node, hub: str, job: str) -> wire.Outcome | None:
    """What to tell the hub of an ended job; None while that is not known."""
    row = _find(node, hub, job)
    denied = _denied(node, row) if row is not None and row["state"] == "done" else None
    if denied is not None and denied != "status-unknown":
        _take_back(node, hub, job, denied)
        row, denied = _find(node, hub, job), None
    if row is None or denied is not None:
        return None
    result = under_present_key(node, row["result"]) if row["result"] is not None else None
    reason = "" if row["state"] == "done" else row["reason"] or row["state"]
    return wire.Outcome(job=row["id"], state=row["state"], reason=reason, result=result)


def _take_back(node: Node, hub: str, job: str, reason: str) -> None:
    """A result that still waits here may not leave any more: the job is refused, and nothing is left of the result."""
    waits = _this(hub, job) & (table.c.state == "done") & table.c.delivered_at.is_(None)
    refused = update(table).where(waits).values(state="refused", reason=reason, result=None)
    with node.engine.begin() as connection:
        row = _row(connection, hub, job)
        if row is not None and connection.execute(refused).rowcount:
            said = {"hub": hub, "dataset": row["dataset"], "permit": row["permit"], "reason": reason}
            node.audit.append("job-refused", node.id, job, connection, **said, was="done")


def delivered(node: Node, hub: str, job: str) -> None:
    """The hub has taken the outcome in, or refused it for good."""
    with node.engine.begin() as connection:
        ended = _this(hub, job) & table.c.state.in_(ENDED)
        connection.execute(update(table).where(ended).values(delivered_at=stamp()))


# --- running ------------------------------------------------------------------------------------------------------


def next_job(node: Node) -> tuple[str, str] | None:
    """The hub and id of the job that has waited longest, of hubs whose states of permits are known now.

    One that was begun before waits from then on, so that it cannot hold up the others for ever.
    """
    limit = stamp(present() - STATES_GOOD_FOR)
    known = (permit_states.c.issued_at > limit) & (permit_states.c.received_at > limit) & (hubs.c.state == "joined")
    oldest = (
        select(table.c.hub, table.c.id)
        .join(hubs, hubs.c.id == table.c.hub)
        .join(permit_states, permit_states.c.hub == table.c.hub)
        .where(table.c.state == "taken", known)
        .order_by(func.coalesce(table.c.started_at, table.c.received_at), table.c.id)
        .limit(1)
    )
    with node.engine.connect() as connection:
        row = connection.execute(oldest).one_or_none()
    return None if row is None else (row.hub, row.id)


def begin(node: Node, hub: str, job: str) -> bool:
    """The job runs from now on; False when it no longer waits, as when it was cancelled."""
    waits = _this(hub, job) & (table.c.state == "taken")
    values = {"state": "running", "percent": 0, "started_at": stamp(), "attempts": table.c.attempts + 1}
    with node.engine.begin() as connection:
        return connection.execute(update(table).where(waits).values(**values)).rowcount == 1


def reset(node: Node) -> None:
    """While nothing runs, as at the start of a node: what is still called running gave no result, and is done again.

    A job that was begun `MOST_STARTS` times without an end has failed.
    """
    runs = table.c.state == "running"
    with node.engine.connect() as connection:
        spent = connection.execute(select(table.c.hub, table.c.id).where(runs, table.c.attempts >= MOST_STARTS)).all()
    for row in spent:
        finish(node, row.hub, row.id, "failed", "crashed", running=True)
    with node.engine.begin() as connection:
        connection.execute(update(table).where(runs).values(state="taken", percent=0))


def put_back(node: Node, hub: str, job: str, reason: str) -> None:
    """A running job was stopped for this constant word, which is not its fault: it waits again; audited."""
    runs = _this(hub, job) & (table.c.state == "running")
    values = {"state": "taken", "percent": 0, "attempts": table.c.attempts - 1}
    with node.engine.begin() as connection:
        if connection.execute(update(table).where(runs).values(**values)).rowcount:
            node.audit.append("job-stopped", node.id, job, connection, reason=reason, hub=hub)


def still_allowed(node: Node, hub: str, job: str) -> str | None:
    """Why a running job must end now: `cancelled`, or a word of `model.permit.Denial`; None while it may go on."""
    row = _find(node, hub, job)
    if row is None or row["state"] == "cancelled":
        return "cancelled"
    if row["state"] != "running":
        return None  # it has just ended by itself
    return _denied(node, row)


def _denied(node: Node, row: RowMapping) -> str | None:
    """Why the job's permit does not allow it now, as a word of `model.permit.Denial`; None when it does."""
    try:
        judge(node, _principal(row["subject"], row["hub"], row["permit"]), row["dataset"], "analyse")
    except PermitDenied as denied:
        return denied.reason
    return None


def is_ended(node: Node, hub: str, job: str) -> bool:
    """Whether the job has an outcome."""
    row = _find(node, hub, job)
    return row is not None and row["state"] in ENDED


def end(node: Node, hub: str, job: str, word: str) -> None:
    """A running job was ended for this word: a `Failure`, `cancelled`, or a `Denial`, which refuses it.

    For `status-unknown` it waits again, to be done anew once the hub is heard.
    """
    if word == "status-unknown":
        put_back(node, hub, job, word)
    elif word == "cancelled":
        finish(node, hub, job, "cancelled", running=True)
    else:
        finish(node, hub, job, "failed" if word in _FAILURES else "refused", word, running=True)


def finish(
    node: Node,
    hub: str,
    job: str,
    state: End,
    reason: str = "",
    *,
    result: str | None = None,
    running: bool = False,
    details: Mapping[str, Any] | None = None,
    actor: str = "",
) -> bool:
    """End a job that is taken or running; audited. False when it is not, as when it ended before.

    result   JWS of a `wire.Result`, of a job that is done
    running  only one that is running
    details  for the audit trail: constant words, ids and numbers
    actor    who cancels it; the hub, unless said
    """
    values: dict[str, Any] = {"state": state, "reason": reason, "result": result, "finished_at": stamp()}
    values |= {"percent": 100} if state == "done" else {}
    still = table.c.state.in_(("running",) if running else _OPEN)
    with node.engine.begin() as connection:
        row = _row(connection, hub, job)
        ended = connection.execute(update(table).where(_this(hub, job), still).values(**values)).rowcount
        if row is None or ended == 0:
            return False
        said = {"hub": hub, "dataset": row["dataset"], "permit": row["permit"], **(details or {})}
        said |= {"reason": reason} if reason else {}
        who = actor or (hub if state == "cancelled" else node.id)
        node.audit.append(f"job-{state}", who, job, connection, **said)
    return True


def compute_job(node: Node, hub: str, job: str) -> None:
    """Do a running job, in the process that is bounded for it, and keep what may leave the node, signed.

    The permit is judged before and after; a refusal is the outcome then.
    """
    row = _find(node, hub, job)
    if row is None or row["state"] != "running":
        return
    who = _principal(row["subject"], hub, row["permit"])
    try:
        grant = check(node, who, row["dataset"], "analyse", door=DOOR)
        computed = _COMPUTE[row["analysis"]](node, _within(grant), _Percent(node, hub, job))
        check(node, who, row["dataset"], "analyse", door=DOOR)
    except PermitDenied as denied:
        end(node, hub, job, denied.reason)
        return
    released = release_moments(computed.groups, computed.patients, computed.total, node.threshold)
    result = sign_result(node, row, grant.version, released)
    details = {
        "groups": {group.group: group.n for group in released},
        "withheld": len(computed.groups) - len(released),
        "series": computed.series,
        "empty": computed.empty,
        "left_out": computed.left_out,
    }
    finish(node, hub, job, "done", result=result, running=True, details=details)


def _within(grant: Grant) -> Members:
    within = members(grant)
    if within is None:  # of staff only, who have no jobs
        raise PermitDenied("A job is never for the whole archive.")
    return within


class _Percent:
    """Writes down how far a job is, in steps, at most once a second."""

    def __init__(self, node: Node, hub: str, job: str) -> None:
        self._node = node
        self._runs = _this(hub, job) & (table.c.state == "running")
        self._written = time.monotonic()
        self._step = 0

    def __call__(self, percent: int) -> None:
        step = percent - percent % PROGRESS_STEP
        if step == self._step or time.monotonic() - self._written < PROGRESS_EVERY:
            return
        with self._node.engine.begin() as connection:
            connection.execute(update(table).where(self._runs).values(percent=step))
        self._written, self._step = time.monotonic(), step


# --- reading ------------------------------------------------------------------------------------------------------


def list_jobs(node: Node, limit: int = 100, which: ColumnElement[bool] | None = None, skip: int = 0) -> list[NodeJob]:
    """What was asked of this node and what it answered, the newest first; `which` narrows, a condition on the table."""
    newest = (
        select(table, hubs.c.title.label("hub_title"))
        .join(hubs, hubs.c.id == table.c.hub)
        .order_by(table.c.received_at.desc(), table.c.id.desc())
        .limit(limit)
        .offset(skip)
    )
    if which is not None:
        newest = newest.where(which)
    with node.engine.connect() as connection:
        return [_job(row) for row in connection.execute(newest).mappings()]


def open_jobs(node: Node) -> list[NodeJob]:
    """Those that have not ended, the newest first."""
    return list_jobs(node, MOST_OPEN, table.c.state.in_(_OPEN))


def get_job(node: Node, hub: str, job: str) -> NodeJob:
    """One job, or `NotFound`."""
    wanted = select(table, hubs.c.title.label("hub_title")).join(hubs, hubs.c.id == table.c.hub)
    with node.engine.connect() as connection:
        row = connection.execute(wanted.where(_this(hub, job))).mappings().one_or_none()
    if row is None:
        raise NotFound("This node was not asked for such a job.")
    return _job(row)


def _job(row: RowMapping) -> NodeJob:
    plain = {name: row[name] for name in NodeJob.__dataclass_fields__ if name not in ("released", "threshold")}
    released, threshold = read_result(row["result"]) if row["result"] is not None else ((), None)
    return NodeJob(**plain, released=released, threshold=threshold)


def _this(hub: str, job: str) -> ColumnElement[bool]:
    return (table.c.hub == hub) & (table.c.id == job)


def _row(connection: Connection, hub: str, job: str) -> RowMapping | None:
    return connection.execute(select(table).where(_this(hub, job))).mappings().one_or_none()


def _find(node: Node, hub: str, job: str) -> RowMapping | None:
    with node.engine.connect() as connection:
        return _row(connection, hub, job)


def _principal(subject: str, hub: str, permit: str) -> Principal:
    """Whose job it is: the researcher of the order, under the order's permit and no other."""
    return Principal(subject, hub, frozenset({"researcher"}), permit=permit)
