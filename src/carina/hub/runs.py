"""Runs: one analysis over the datasets of several permits, with one job for each, and what the nodes answered.

A job rests here until its node asks for it (`open_jobs`), so a node that is away does it when it is back. It is done at
the node under the node's own judgement; the hub takes one outcome of each job, and ends those whose permit has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, insert, or_, select, update

from carina.errors import BadInput, Conflict, InvalidMessage, NotFound, PermitDenied, TooMany
from carina.federation import wire
from carina.federation.papers import make_order
from carina.hub import permits, texts
from carina.hub.centre import Hub
from carina.hub.nodes import ONLINE_FOR
from carina.hub.permits import Condition, Permit
from carina.hub.results import Pooled, pool, read_result, require_genuine
from carina.model.clock import new_id, now, parse_stamp, stamp
from carina.model.ids import DatasetIri, HubId, NodeId
from carina.model.job import ANALYSES, ENDED, JobOrder, JobState, Moments
from carina.model.permit import Denial
from carina.model.principal import Principal
from carina.storage.hub_schema import hub_jobs as jobs
from carina.storage.hub_schema import hub_permits, nodes, request_items
from carina.storage.hub_schema import runs as table

KEPT_FOR = timedelta(days=7)
"""How long a job waits for its node."""
MOST_DATASETS = 50
MOST_OPEN = 20
"""Runs of one person that have not ended."""
MOST_LISTED = 200
MOST_ORDERS = 200
LONGEST_TITLE = 200
UNUSABLE = "unusable-result"
"""Why a job failed of which the node sent a result that cannot be its own."""

_CLOSED: dict[Condition, tuple[Denial, str]] = {
    "ended": ("revoked", "was ended"),
    "expired": ("expired", "is past its last day"),
    "refused by the node": ("declined", "was refused by the node's data manager"),
    "waits for the node": ("not-countersigned", "waits for the node, which has not put it in force"),
}


@dataclass(frozen=True)
class Job:
    """What one node does for a run.

    reason     why it was refused, failed or was cancelled: a constant word, or empty
    percent    of its values that are computed
    since      when it came into its state
    groups     what the node released; `threshold` and `version` (of the dataset) are None before it is done
    """

    id: str
    node: NodeId
    node_title: str
    node_online: bool
    dataset: DatasetIri
    dataset_title: str
    permit: str
    state: JobState
    reason: str
    percent: int
    since: str
    groups: tuple[Moments, ...]
    threshold: int | None
    version: str | None


@dataclass(frozen=True)
class Run:
    """One analysis over the datasets of several permits, jobs by names of node and dataset.

    A person known to two nodes counts twice in `pooled`, which is empty in a list of runs.
    """

    id: str
    account: str
    title: str
    analysis: str
    created_at: str
    cancelled_at: str | None
    jobs: tuple[Job, ...]
    pooled: tuple[Pooled, ...]


# --- people -------------------------------------------------------------------------------------------------------


def start(hub: Hub, who: Principal, chosen: Sequence[str], analysis: str, title: str = "") -> Run:
    """Begin an analysis over the datasets of these permits of one's own. Whether a node answers now does not matter.

    Raises `BadInput`, `NotFound` for an unknown permit or analysis, `TooMany`, and `PermitDenied`, which names the
    dataset, when a permit is not in force or not for analyses.
    """
    if analysis not in ANALYSES:
        raise NotFound("There is no such analysis.", f"There are: {', '.join(sorted(ANALYSES))}.")
    own = _own_permits(hub, who, chosen)
    named = texts.line(title, "The run's title", LONGEST_TITLE, least=0) or ANALYSES[analysis].title
    at = now()
    row = {"id": new_id(), "account": who.subject, "title": named, "analysis": analysis, "created_at": stamp(at)}
    waiting = {"run": row["id"], "state": "waiting", "reason": "", "percent": 0, "since": stamp(at)}
    ordered = [
        {**waiting, "id": new_id(), "node": permit.node, "dataset": permit.dataset, "permit": permit.id}
        for permit in own
    ]
    with hub.engine.begin() as connection:
        _require_room(connection, who)
        connection.execute(insert(table), row)
        connection.execute(insert(jobs), [{**job, "expires_at": stamp(at + KEPT_FOR)} for job in ordered])
        said = {"analysis": analysis, "permits": [permit.id for permit in own]}
        hub.audit.append("run-started", who.subject, row["id"], connection, **said)
    return get(hub, who, row["id"])


def _own_permits(hub: Hub, who: Principal, chosen: Sequence[str]) -> list[Permit]:
    if not chosen:
        raise BadInput("A run needs a permit.", "Choose one or more of your permits that are for analyses.")
    if len(chosen) > MOST_DATASETS:
        raise BadInput(f"A run is over at most {MOST_DATASETS} datasets.", "Start another run for the rest.")
    if len(set(chosen)) < len(chosen):
        raise BadInput("A permit is in the run twice.", "Name each permit once.")
    own = [permits.get(hub, who, permit) for permit in chosen]
    for permit in own:
        if permit.account != who.subject:
            raise NotFound("There is no such permit.", "See the list of your permits.")
        _require_usable(permit)
    if len({permit.dataset for permit in own}) < len(own):
        raise BadInput(
            "Two permits are for the same dataset, whose patients would count twice.", "Name one permit for each."
        )
    return own


def _require_usable(permit: Permit) -> None:
    if closed := _CLOSED.get(permit.condition_of()):
        reason, why = closed
        raise PermitDenied(f"The permit for “{permit.title}” {why}.", reason=reason)
    if "analyse" not in permit.actions:
        raise PermitDenied(
            f"The permit for “{permit.title}” is not for analyses.",
            "Ask for “analyse” in a new request.",
            reason="action-not-granted",
        )


def _require_room(connection: Connection, who: Principal) -> None:
    mine = (table.c.account == who.subject) & jobs.c.state.not_in(ENDED)
    running = select(func.count(jobs.c.run.distinct())).join(table, table.c.id == jobs.c.run).where(mine)
    if connection.execute(running).scalar_one() >= MOST_OPEN:
        raise TooMany(f"You have {MOST_OPEN} runs that have not ended.", "Wait for them, or cancel some.")


def cancel(hub: Hub, who: Principal, run: str) -> Run:
    """Stop what has not ended; results that were given stay. Raises `NotFound`, `Conflict` when all has ended."""
    found = get(hub, who, run)
    open_still = (jobs.c.run == found.id) & jobs.c.state.not_in(ENDED)
    at = stamp()
    with hub.engine.begin() as connection:
        if connection.execute(update(jobs).where(open_still).values(state="cancelled", since=at)).rowcount == 0:
            raise Conflict("The run has ended.", "There is nothing to cancel.")
        connection.execute(update(table).where(table.c.id == found.id).values(cancelled_at=at))
        hub.audit.append("run-cancelled", who.subject, found.id, connection)
    return get(hub, who, run)


def listed(hub: Hub, who: Principal) -> list[Run]:
    """A person's own runs, newest first; an operator sees everybody's. What is pooled, `get` says."""
    return [_run(row, its_jobs) for row, its_jobs in _runs(hub, _visible(who))]


def get(hub: Hub, who: Principal, run: str) -> Run:
    """A run, for its person and operators; `NotFound` for all others."""
    found = _runs(hub, (table.c.id == run) & _visible(who))
    if not found:
        raise NotFound("There is no such run.", "See the list of your runs.")
    ((row, its_jobs),) = found
    return _run(row, its_jobs, pool(_labelled(its_jobs)))


def _visible(who: Principal) -> ColumnElement[bool]:
    return table.c.id.is_not(None) if "operator" in who.roles else table.c.account == who.subject


def _runs(hub: Hub, condition: ColumnElement[bool]) -> list[tuple[RowMapping, list[Job]]]:
    """Rows of runs, newest first, each with its jobs."""
    _end_overdue(hub)
    newest = select(table).where(condition).order_by(table.c.id.desc()).limit(MOST_LISTED)
    with hub.engine.connect() as connection:
        rows = connection.execute(newest).mappings().all()
        order = (nodes.c.title, request_items.c.title, jobs.c.id)
        of_runs = _query().where(jobs.c.run.in_([row["id"] for row in rows])).order_by(*order)
        found: dict[str, list[Job]] = {row["id"]: [] for row in rows}
        for row in connection.execute(of_runs).mappings():
            found[row["run"]].append(_job(hub, row))
    return [(row, found[row["id"]]) for row in rows]


def _query() -> Select[Any]:
    """Jobs with the names of node and dataset."""
    return (
        select(
            jobs,
            nodes.c.title.label("node_title"),
            nodes.c.last_seen,
            nodes.c.state.label("node_state"),
            request_items.c.title.label("dataset_title"),
        )
        .join_from(jobs, nodes, nodes.c.id == jobs.c.node)
        .join(hub_permits, hub_permits.c.id == jobs.c.permit)
        .join(request_items, request_items.c.id == hub_permits.c.item)
    )


def _job(hub: Hub, row: RowMapping) -> Job:
    same = ("id", "node", "node_title", "dataset", "dataset_title", "permit", "state", "reason", "percent", "since")
    result = read_result(hub, row["result"]) if row["result"] is not None else None
    seen = row["last_seen"]
    return Job(
        **{name: row[name] for name in same},
        node_online=row["node_state"] == "joined" and seen is not None and now() - parse_stamp(seen) < ONLINE_FOR,
        groups=result.groups if result else (),
        threshold=result.threshold if result else None,
        version=result.version if result else None,
    )


def _run(row: RowMapping, its_jobs: Sequence[Job], pooled: tuple[Pooled, ...] = ()) -> Run:
    return Run(**row, jobs=tuple(its_jobs), pooled=pooled)


def _labelled(its_jobs: Sequence[Job]) -> list[tuple[str, tuple[Moments, ...]]]:
    """What was released, each under its node's name, with the dataset's where the node has several jobs."""
    at_node = Counter(job.node for job in its_jobs)
    return [
        (job.node_title if at_node[job.node] == 1 else f"{job.node_title}: {job.dataset_title}", job.groups)
        for job in its_jobs
        if job.state == "done"
    ]


# --- nodes --------------------------------------------------------------------------------------------------------


def open_jobs(hub: Hub, node: str, body: wire.Jobs) -> wire.Open:
    """Take a node's progress, and give it the orders of its jobs that it does not have, and those it is to stop."""
    _end_overdue(hub)
    mine = jobs.c.node == node
    with hub.engine.connect() as connection:
        told = jobs.c.id.in_(list(body.progress))
        known = {row.id: row for row in connection.execute(select(jobs).where(mine, told))}
        wanted = _orders(node).where(jobs.c.id.not_in(list(body.progress))).limit(MOST_ORDERS)
        rows = connection.execute(wanted).mappings().all()
    open_still = {job: row for job, row in known.items() if row.state not in ENDED}
    news = {
        job: said
        for job, said in body.progress.items()
        if (row := open_still.get(job)) and (row.state, row.percent) != (said.state, said.percent)
    }
    if news:  # often there is none, and nothing to write
        with hub.engine.begin() as connection:
            for job, said in news.items():
                values: dict[str, Any] = {"state": said.state, "percent": said.percent}
                values |= {"since": stamp()} if said.state != open_still[job].state else {}
                connection.execute(
                    update(jobs).where(mine, jobs.c.id == job, jobs.c.state.not_in(ENDED)).values(**values)
                )
    orders = tuple(_order(hub, row) for row in rows)
    return wire.Open(orders=orders, stop=tuple(job for job in body.progress if job not in open_still))


def _orders(node: str) -> Select[Any]:
    """A node's jobs that have not ended, the oldest first, with what their orders say."""
    return (
        select(jobs, table.c.analysis, hub_permits.c.account)
        .join_from(jobs, table, table.c.id == jobs.c.run)
        .join(hub_permits, hub_permits.c.id == jobs.c.permit)
        .where(jobs.c.node == node, jobs.c.state.not_in(ENDED))
        .order_by(jobs.c.id)
    )


def _order(hub: Hub, row: RowMapping) -> str:
    order = JobOrder(
        id=row["id"],
        hub=HubId(hub.id),
        run=row["run"],
        permit=row["permit"],
        dataset=row["dataset"],
        subject=row["account"],
        analysis=row["analysis"],
    )
    return make_order(hub.permit_key, order, node=row["node"], expires=parse_stamp(row["expires_at"]))


def outcome(hub: Hub, node: str, body: wire.Outcome) -> None:
    """Take the outcome of a job, once. The same again, and any other after it: nothing happens; the latter is audited.

    Raises `NotFound` for an unknown job, `Conflict` for another node's. A result that the node did not sign, or of
    something else, fails the job; it raises `InvalidMessage` or `Conflict` too.
    """
    _end_overdue(hub)
    of_job = (
        select(jobs, table.c.analysis, hub_permits.c.version)
        .join_from(jobs, table, table.c.id == jobs.c.run)
        .join(hub_permits, hub_permits.c.id == jobs.c.permit)
        .where(jobs.c.id == body.job)
    )
    with hub.engine.connect() as connection:
        row = connection.execute(of_job).mappings().one_or_none()
    if row is None:
        raise NotFound("The hub has no such job.")
    if row["node"] != node:
        raise Conflict("The job is another node's.")
    try:
        if body.result is not None:
            require_genuine(hub, node, body.result, row)
    except (InvalidMessage, Conflict):  # the node would give the same again
        _keep_outcome(hub, node, wire.Outcome(job=body.job, state="failed", reason=UNUSABLE, result=None))
        raise
    _keep_outcome(hub, node, body)


def _keep_outcome(hub: Hub, node: str, body: wire.Outcome) -> None:
    this = jobs.c.id == body.job
    values: dict[str, Any] = {"state": body.state, "reason": body.reason, "result": body.result, "since": stamp()}
    values |= {"percent": 100} if body.state == "done" else {}
    with hub.engine.begin() as connection:
        if connection.execute(update(jobs).where(this, jobs.c.state.not_in(ENDED)).values(**values)).rowcount:
            said = {"reason": body.reason} if body.reason else {}
            hub.audit.append(f"job-{body.state}", node, body.job, connection, **said)
            return
        before = connection.execute(select(jobs).where(this)).mappings().one()
        same = all(before[name] == values[name] for name in ("state", "reason", "result"))
        if not same and (before["state"] != "cancelled" or body.state == "done"):
            hub.audit.append("outcome-late", node, body.job, connection, state=body.state, was=before["state"])


def _end_overdue(hub: Hub) -> None:
    """End the jobs whose time is over, or whose permit is; nothing is written while there are none."""
    with hub.engine.connect() as connection:
        if not _overdue(connection):
            return
    with hub.engine.begin() as connection:
        for row in _overdue(connection):
            _end_one(hub, connection, row)


def _end_one(hub: Hub, connection: Connection, row: Any) -> None:
    """End an overdue job, unless an outcome came first, where writers do not wait for each other."""
    by_permit = row.expires_at > stamp()
    state = "cancelled" if by_permit else "failed"
    reason = "revoked" if by_permit and row.permit_state == "revoked" else "expired"
    open_still = (jobs.c.id == row.id) & jobs.c.state.not_in(ENDED)
    ended = {"state": state, "reason": reason, "since": stamp()}
    if connection.execute(update(jobs).where(open_still).values(**ended)).rowcount:
        hub.audit.append(f"job-{state}", hub.id, row.id, connection, reason=reason)


def _overdue(connection: Connection) -> Sequence[Any]:
    over = or_(jobs.c.expires_at <= stamp(), hub_permits.c.state == "revoked", hub_permits.c.expires_at <= stamp())
    wanted = select(jobs.c.id, jobs.c.expires_at, hub_permits.c.state.label("permit_state"))
    joined = wanted.join(hub_permits, hub_permits.c.id == jobs.c.permit)
    return connection.execute(joined.where(and_(jobs.c.state.not_in(ENDED), over))).all()
