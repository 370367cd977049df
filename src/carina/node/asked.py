"""What the hubs and researchers asked of this node, and what left it, by day, permit and dataset.

Taken from the audit trail, within days, so that no more than those is looked through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, desc, func, select

from carina.model.clock import now
from carina.node.jobs import NodeJob, list_jobs
from carina.node.site import Node
from carina.storage import trail
from carina.storage.schema import node_jobs, node_tables

DAYS = 31
"""So many days are looked at, unless others are asked for."""
MOST = 5_000
"""Lines of one answer."""
_NAMED = ("hub", "permit", "dataset")
_GIVEN = ("viewed", "retrieved", "released")
_audit = node_tables.tables["audit"]


@dataclass(frozen=True)
class Wanted:
    """Which: of a hub, a permit, a dataset, a person's account; empty: any. `since`, `until`: days, both included."""

    hub: str = ""
    permit: str = ""
    dataset: str = ""
    account: str = ""
    since: str = ""
    until: str = ""


@dataclass(frozen=True)
class Given:
    """What was handed out on a day under a permit. `action`: viewed, retrieved, or released without a permit.

    requests    how often something was asked for
    instances   in all of them; the same one counts each time
    """

    day: str
    action: str
    account: str
    hub: str
    permit: str
    dataset: str
    requests: int
    instances: int


@dataclass(frozen=True)
class Days:
    """Lines, the newest day first. `more`: there are others after these."""

    lines: tuple[Given, ...]
    more: bool


@dataclass(frozen=True)
class Page:
    """Jobs, newest first. `more`: there are others after these."""

    jobs: tuple[NodeJob, ...]
    more: bool


def first_day(days: int = DAYS) -> str:
    """The first of so many days, the last of which is today (UTC)."""
    return (now() - timedelta(days=days - 1)).strftime("%Y-%m-%d")


def jobs_asked(node: Node, wanted: Wanted, limit: int, skip: int = 0) -> Page:
    """Jobs that were asked, with what became of them."""
    parts: list[ColumnElement[bool]] = []
    for column, value in (("hub", wanted.hub), ("permit", wanted.permit), ("dataset", wanted.dataset),
                          ("subject", wanted.account)):  # fmt: skip
        if value:
            parts.append(node_jobs.c[column] == value)
    if wanted.since:
        parts.append(node_jobs.c.received_at >= wanted.since)
    if wanted.until:
        parts.append(node_jobs.c.received_at < wanted.until + "~")
    found = list_jobs(node, limit + 1, and_(True, *parts), skip)
    return Page(tuple(found[:limit]), len(found) > limit)


def given(node: Node, wanted: Wanted, datasets: Mapping[str, str], limit: int = MOST, skip: int = 0) -> Days:
    """What was handed out, by day, the newest first.

    datasets   of permits, by id: the audit trail names the permit
    """
    first, end = trail.bounds(node.engine, wanted.since or first_day(), wanted.until)
    day = func.substr(_audit.c.at, 1, 10)
    hub, permit, dataset = (func.coalesce(_audit.c.details[name].as_string(), "") for name in _NAMED)
    instances = func.coalesce(func.sum(_audit.c.details["instances"].as_integer()), 0)
    named = {"day": day, "hub": hub, "permit": permit, "dataset": dataset}
    columns = (*(column.label(name) for name, column in named.items()), _audit.c.action, _audit.c.actor)
    inside = (_audit.c.seq >= first) & (_audit.c.seq < end) & _audit.c.action.in_(_GIVEN)
    sums = select(*columns, func.count().label("requests"), instances.label("instances"))
    sums = sums.where(inside, (permit != "") | (_audit.c.action == "released"))  # the site's own staff left aside
    if wanted.dataset:
        its = [one for one, of in datasets.items() if of == wanted.dataset]
        sums = sums.where((dataset == wanted.dataset) | ((dataset == "") & permit.in_(its)))
    for column, value in ((_audit.c.actor, wanted.account), (hub, wanted.hub), (permit, wanted.permit)):
        if value:
            sums = sums.where(column == value)
    sums = sums.group_by(*named, _audit.c.action, _audit.c.actor)
    sums = sums.order_by(desc("day"), _audit.c.actor, _audit.c.action, "hub", "permit", "dataset")
    with node.engine.connect() as connection:
        rows = connection.execute(sums.offset(skip).limit(limit + 1)).all()
    found = [
        Given(
            row.day, row.action, row.actor, row.hub, row.permit, row.dataset or datasets.get(row.permit, ""),
            int(row.requests), int(row.instances),
        )
        for row in rows[:limit]
    ]  # fmt: skip
    return Days(tuple(found), len(rows) > limit)


def all_given(node: Node, wanted: Wanted, datasets: Mapping[str, str]) -> Iterator[Given]:
    """`given`, however many lines they are; `MOST` at most are in memory."""
    more, skip = True, 0
    while more:
        days = given(node, wanted, datasets, MOST, skip)
        yield from days.lines
        more, skip = days.more, skip + MOST


def searches(node: Node, wanted: Wanted, limit: int, before: int | None = None) -> trail.Found:
    """The newest answers to searches, before row `before` of the trail; none where a permit, dataset or account is
    asked for: searches have none."""
    if wanted.permit or wanted.dataset or wanted.account:
        return trail.Found((), None)
    rows = trail.Wanted(action="search-answered", actor=wanted.hub, since=wanted.since, until=wanted.until)
    return trail.find(node.engine, rows, limit, before)


def given_to_json(line: Given) -> dict[str, object]:
    """A line as programs get it."""
    return asdict(line)


def cell_of(job: NodeJob) -> dict[str, object]:
    """A job as programs get it, with the groups that left."""
    plain = {name: value for name, value in asdict(job).items() if name != "released"}
    return {**plain, "released": [{"group": one.group, "n": one.n} for one in job.released]}
