"""A run as JSON, both ways, and as CSV. Standard library only."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from carina.compute.moments import std
from carina.interfaces.api.documents import Json
from carina.model.job import ENDED, Analysis, JobState, Moments
from carina.model.texts import plain_cell

if TYPE_CHECKING:  # the client has no database
    from carina.hub import runs as hub_runs

    AnyRun: TypeAlias = "hub_runs.Run | Run"

COLUMNS = ("group", "node", "dataset", "state", "n", "mean", "standard deviation", "m2")
POOLED = "all nodes that released the group"
"""Stands for the node in a pooled row, which has no dataset."""

_JOB = (
    *("id", "node", "node_title", "node_online", "dataset", "dataset_title", "permit"),
    *("state", "reason", "percent", "since", "threshold", "version"),
)
_ANALYSIS = ("name", "version", "title", "about", "value", "group", "unit")


@dataclass(frozen=True)
class Job:
    """What one node does for a run.

    reason     why it was refused or failed: a constant word
    groups     the node's own numbers, none of fewer patients than its `threshold`
    version    of the dataset: `live`, or a snapshot's number
    """

    id: str
    node: str
    node_title: str
    node_online: bool
    dataset: str
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
class Pooled:
    """A group over the nodes that `released` it; `withheld`: those that are done and did not. Names of nodes."""

    moments: Moments
    released: tuple[str, ...]
    withheld: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One analysis over the datasets of several permits. A person known to two nodes counts twice in `pooled`."""

    id: str
    account: str
    title: str
    analysis: str
    created_at: str
    cancelled_at: str | None
    jobs: tuple[Job, ...] = field(repr=False)
    pooled: tuple[Pooled, ...]

    @property
    def ended(self) -> bool:
        """Whether no node will do anything more for it."""
        return all(job.state in ENDED for job in self.jobs)


def run_to_json(run: AnyRun) -> Json:
    """A run with its jobs and what is pooled. Mean, standard deviation and M2 are doubles."""
    return {
        "id": run.id,
        "account": run.account,
        "title": run.title,
        "analysis": run.analysis,
        "created_at": run.created_at,
        "cancelled_at": run.cancelled_at,
        "jobs": [
            {
                **{name: getattr(job, name) for name in _JOB},
                "groups": [moments_to_json(moments) for moments in job.groups],
            }
            for job in run.jobs
        ],
        "pooled": [
            {
                **moments_to_json(pooled.moments),
                "released": list(pooled.released),
                "withheld": list(pooled.withheld),
            }
            for pooled in run.pooled
        ],
    }


def run_from_json(value: Json) -> Run:
    """The run of `run_to_json`; `KeyError`, `TypeError` or `ValueError` for another shape."""
    return Run(
        id=str(value["id"]),
        account=str(value["account"]),
        title=str(value["title"]),
        analysis=str(value["analysis"]),
        created_at=str(value["created_at"]),
        cancelled_at=None if value["cancelled_at"] is None else str(value["cancelled_at"]),
        jobs=tuple(_job(job) for job in value["jobs"]),
        pooled=tuple(
            Pooled(moments_from_json(item), _names(item["released"]), _names(item["withheld"]))
            for item in value["pooled"]
        ),
    )


def _job(value: Json) -> Job:
    if value["state"] not in get_args(JobState):
        raise ValueError("unknown state of a job")
    texts = ("id", "node", "node_title", "dataset", "dataset_title", "permit", "reason", "since")
    return Job(
        **{name: str(value[name]) for name in texts},
        node_online=bool(value["node_online"]),
        state=value["state"],
        percent=int(value["percent"]),
        groups=tuple(moments_from_json(item) for item in value["groups"]),
        threshold=None if value["threshold"] is None else int(value["threshold"]),
        version=None if value["version"] is None else str(value["version"]),
    )


def _names(values: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def moments_to_json(moments: Moments) -> Json:
    """A group's numbers. `standard_deviation` is that of a sample (n - 1), null for one value."""
    return {
        "group": moments.group,
        "n": moments.n,
        "mean": float(moments.mean),
        "standard_deviation": _spread(moments),
        "m2": float(moments.m2),
    }


def moments_from_json(value: Json) -> Moments:
    """The numbers of `moments_to_json`; `KeyError`, `TypeError` or `ValueError` for another shape."""
    return Moments(str(value["group"]), int(value["n"]), _decimal(value["mean"]), _decimal(value["m2"]))


def _decimal(value: Any) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("no number") from None
    if not number.is_finite():
        raise ValueError("no number")
    return number


def _spread(moments: Moments) -> float | None:
    spread = std(moments)
    return None if spread is None else float(spread)


def analysis_to_json(analysis: Analysis) -> Json:
    """An analysis that nodes can run."""
    return {name: getattr(analysis, name) for name in _ANALYSIS}


def analysis_from_json(value: Json) -> Analysis:
    """The analysis of `analysis_to_json`; `KeyError` or `TypeError` for another shape."""
    return Analysis(**{name: str(value[name]) for name in _ANALYSIS})


def run_to_csv(run: AnyRun) -> str:
    """A row for each group of each node, then one for each pooled group (RFC 4180; the first row has the names).

    A node that released nothing has one row, and one that did not release a group that others did has a row in it:
    both without numbers, with the state of its job and the reason.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\r\n")
    table.writerow(COLUMNS)
    table.writerows(_rows(run))
    return file.getvalue()


def _rows(run: AnyRun) -> Iterator[Iterable[object]]:
    groups = [pooled.moments.group for pooled in run.pooled]
    for job in run.jobs:
        place = (plain_cell(job.node_title), plain_cell(job.dataset_title))
        released = {moments.group: moments for moments in job.groups}
        for group in sorted({*groups, *released}) or [""]:
            if group in released:
                yield (plain_cell(group), *place, job.state, *_numbers(released[group]))
            else:
                yield (plain_cell(group), *place, _without(job), "", "", "", "")
    for pooled in run.pooled:
        yield (plain_cell(pooled.moments.group), POOLED, "", "pooled", *_numbers(pooled.moments))


def _without(job: hub_runs.Job | Job) -> str:
    """Why a job has no numbers for a group."""
    if job.state == "done":
        return "not released"
    return f"{job.state}: {job.reason}" if job.reason else job.state


def _numbers(moments: Moments) -> tuple[object, ...]:
    spread = _spread(moments)
    return moments.n, float(moments.mean), "" if spread is None else spread, float(moments.m2)
