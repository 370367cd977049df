"""Builders for tests of runs at a hub: nodes whose results are signed, and jobs that end as wished."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import update

from carina.compute import moments
from carina.federation import wire
from carina.federation.signing import SigningKey
from carina.hub import runs
from carina.hub.centre import Hub
from carina.hub.runs import Job, Run
from carina.model.clock import stamp
from carina.model.job import Moments
from carina.storage.hub_schema import nodes

KEY = SigningKey.from_seed(bytes(range(1, 33)))
"""With which every node of these tests signs."""


def let_sign(hub: Hub) -> None:
    """Let all nodes of the hub have signed with `KEY` from the beginning."""
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).values(key=dict(KEY.public_jwk)))


def group(name: str, n: int, mean: float, spread: float) -> Moments:
    """The moments of `n` values with this mean and standard deviation."""
    return Moments(name, n, Decimal(str(mean)), Decimal(str(spread)) ** 2 * (n - 1))


def progress(hub: Hub, job: Job, percent: int, state: str = "running") -> None:
    """Let the node say how far it is."""
    said = {"progress": {job.id: {"state": state, "percent": percent}}}
    runs.open_jobs(hub, job.node, wire.read(wire.Jobs, said))


def finish(hub: Hub, run: Run, job: Job, *groups: Moments) -> None:
    """Let the job be done with a result of these groups."""
    result = wire.Result(
        hub=hub.id,
        node=job.node,
        job=job.id,
        permit=job.permit,
        dataset=job.dataset,
        version="live",
        analysis=run.analysis,
        analysis_version="1",
        threshold=10,
        groups=tuple(
            wire.Moments(group=one.group, n=one.n, mean=moments.digits(one.mean), m2=moments.digits(one.m2))
            for one in groups
        ),
        at=stamp(),
    )
    _end(hub, job, "done", "", KEY.sign(wire.write(result)).decode())


def stop(hub: Hub, job: Job, state: str, reason: str) -> None:
    """Let the job end without a result."""
    _end(hub, job, state, reason, None)


def _end(hub: Hub, job: Job, state: str, reason: str, result: str | None) -> None:
    body: dict[str, Any] = {"job": job.id, "state": state, "reason": reason, "result": result}
    runs.outcome(hub, job.node, wire.read(wire.Outcome, body))
