"""Runs: an analysis over the datasets of several permits, each node's progress, and the pooled result."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from carina.errors import BadInput, CarinaError, Conflict, NotFound, PermitDenied, TooMany
from carina.hub import permits, runs
from carina.hub.centre import Hub
from carina.hub.permits import Permit
from carina.hub.runs import Job, Run
from carina.interfaces.api.exports import run_to_csv, run_to_json
from carina.interfaces.api.problems import status_of
from carina.interfaces.api.rate import RateLimit
from carina.interfaces.language import gettext as _
from carina.interfaces.language import mark, ngettext
from carina.interfaces.web import charts
from carina.interfaces.web.pages import Pages, back
from carina.model.job import ANALYSES, ENDED
from carina.model.principal import Principal

MOST_FIELDS = 120
DONE = {
    "started": mark("Started. Each node fetches its part; one that is silent now does it when it returns."),
    "cancelled": mark("Cancelled. The nodes stop; results that were given before stay here."),
}

COUNTED = {  # parts of the sentence that says what has become of a run
    "running": mark("{n} running"),
    "taken": mark("{n} about to begin"),
    "waiting": mark("{n} not fetched yet"),
    "refused": mark("{n} refused"),
    "failed": mark("{n} failed"),
    "cancelled": mark("{n} cancelled"),
}


@dataclass(frozen=True)
class Typed:
    """What the form of a new run holds."""

    permits: tuple[str, ...] = ()
    analysis: str = next(iter(ANALYSES))
    title: str = ""


def run_routes(hub: Hub, pages: Pages, limit: RateLimit) -> list[Route]:
    """`/runs`, `/runs/new`, `/runs/{id}` with its live part, its cancelling and its exports.

    limit   spent by each run that a person starts
    """

    async def listed(request: Request) -> Response:
        who = await pages.identity.identify(request)
        found = await run_in_threadpool(runs.listed, hub, who)
        rows = [(run, state_of(run), sentence(run)) for run in found]
        return await pages.render(request, "hub/runs.html", runs=rows, analyses=ANALYSES)

    async def new(request: Request) -> Response:
        await pages.identity.identify(request)
        return await form(request, Typed(permits=tuple(request.query_params.getlist("permit"))))

    async def form(request: Request, typed: Typed, problem: CarinaError | None = None) -> Response:
        who = await pages.identity.identify(request)
        choices, waiting = await run_in_threadpool(_choices, hub, who)
        status = 200 if problem is None else status_of(problem)
        context = {"choices": choices, "waiting": waiting, "analyses": ANALYSES.values()}
        return await pages.render(request, "hub/run_new.html", status, typed=typed, problem=problem, **context)

    async def start(request: Request) -> Response:
        who = await pages.identity.identify(request)
        async with request.form(max_files=0, max_fields=MOST_FIELDS) as sent:
            chosen = tuple(dict.fromkeys(str(value) for value in sent.getlist("permit")))
            typed = Typed(chosen, str(sent.get("analysis", "")), str(sent.get("title", "")).strip())
        try:
            limit.spend(who.subject)
            run = await run_in_threadpool(runs.start, hub, who, typed.permits, typed.analysis, typed.title)
        except (BadInput, NotFound, PermitDenied, TooMany) as error:
            return await form(request, typed, error)
        return back(f"/runs/{run.id}", "started")

    return [
        Route("/runs", listed, methods=["GET"]),
        Route("/runs/new", new, methods=["GET"]),
        Route("/runs/new", start, methods=["POST"]),
        *_exports(hub, pages),
        *_one(hub, pages),
    ]


def _one(hub: Hub, pages: Pages) -> list[Route]:
    async def one(request: Request) -> Response:
        return await show(request)

    async def show(request: Request, problem: CarinaError | None = None) -> Response:
        who = await pages.identity.identify(request)
        run = await run_in_threadpool(runs.get, hub, who, request.path_params["id"])
        status = 200 if problem is None else status_of(problem)
        done = DONE.get(request.query_params.get("done", ""), "")
        return await pages.render(request, "hub/run.html", status, **run_context(run), problem=problem, done=done)

    async def live(request: Request) -> Response:
        """The part that changes; nothing (204) as long as it is what the page shows already."""
        who = await pages.identity.identify(request)
        run = await run_in_threadpool(runs.get, hub, who, request.path_params["id"])
        context = run_context(run)
        if request.query_params.get("seen") == context["seen"]:
            return Response(status_code=204)
        return await pages.render(request, "hub/run_live.html", **context)

    async def cancel(request: Request) -> Response:
        who = await pages.identity.identify(request)
        try:
            await run_in_threadpool(runs.cancel, hub, who, request.path_params["id"])
        except Conflict as error:
            return await show(request, error)
        return back(f"/runs/{request.path_params['id']}", "cancelled")

    return [
        Route("/runs/{id}", one, methods=["GET"]),
        Route("/runs/{id}/live", live, methods=["GET"]),
        Route("/runs/{id}/cancel", cancel, methods=["POST"]),
    ]


def _exports(hub: Hub, pages: Pages) -> list[Route]:
    async def csv(request: Request) -> Response:
        run = await found(request)
        return Response(run_to_csv(run), media_type="text/csv; charset=utf-8", headers=_attached(run, "csv"))

    async def json(request: Request) -> Response:
        run = await found(request)
        return JSONResponse(run_to_json(run), headers=_attached(run, "json"))

    async def found(request: Request) -> Run:
        who = await pages.identity.identify(request)
        return await run_in_threadpool(runs.get, hub, who, request.path_params["id"])

    return [
        Route("/runs/{id}.csv", csv, methods=["GET"]),
        Route("/runs/{id}.json", json, methods=["GET"]),
    ]


def _attached(run: Run, ending: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="run-{run.id}.{ending}"'}


def _choices(hub: Hub, who: Principal) -> tuple[list[Permit], list[Permit]]:
    """A person's permits for analyses: those in force, and those that still wait for their node."""
    own = [permit for permit in permits.listed(hub, who) if "analyse" in permit.actions]
    waiting = [permit for permit in own if permit.condition_of() == "waits for the node"]
    return [permit for permit in own if permit.usable], waiting


def run_context(run: Run) -> dict[str, Any]:
    """The page's values. `seen` stands for all of them but the times; `live`: something can still change."""
    run = replace(run, jobs=tuple(sorted(run.jobs, key=lambda job: (job.node_title, job.dataset_title))))
    return {
        "run": run,
        "analysis": ANALYSES.get(run.analysis),
        "state": state_of(run),
        "sentence": sentence(run),
        "plots": list(zip(run.pooled, plots(run), strict=True)),
        "live": not ended(run),
        "silent_jobs": [job for job in run.jobs if is_silent(job)],
        "seen": hashlib.sha256(repr(run).encode()).hexdigest()[:16],
    }


def plots(run: Run) -> list[charts.DotPlot]:
    """A plot per pooled group: a row for each job that released it, then the pool."""
    variable = ANALYSES[run.analysis].group if run.analysis in ANALYSES else ""
    made = []
    for pooled in run.pooled:
        group = pooled.moments.group
        rows = [(job_label(run, job), moments) for job in run.jobs for moments in job.groups if moments.group == group]
        made.append(charts.dot_plot(variable, group, rows, pooled.moments))
    return made


def job_label(run: Run, job: Job) -> str:
    """The node's name; with the dataset's where the node has several of the run's."""
    several = sum(1 for other in run.jobs if other.node == job.node) > 1
    return f"{job.node_title}: {job.dataset_title}" if several else job.node_title


def is_silent(job: Job) -> bool:
    """Whether the job waits for a node that is not heard."""
    return job.state not in ENDED and not job.node_online


def ended(run: Run) -> bool:
    """Whether no job can change any more."""
    return all(job.state in ENDED for job in run.jobs)


def state_of(run: Run) -> tuple[str, str]:
    """The run's word and colour."""
    done = sum(1 for job in run.jobs if job.state == "done")
    if not ended(run):
        return _("Running"), "info"
    if run.cancelled_at is not None:
        return _("Cancelled"), "warn"
    if done == len(run.jobs):
        return _("Done"), "good"
    return (_("Partly done"), "warn") if done else (_("No result"), "bad")


def sentence(run: Run) -> str:
    """What has become of it: `Done for 2 of 3 datasets; 1 refused.` A silent node's job is counted as that."""
    done = sum(1 for job in run.jobs if job.state == "done")
    whole = len(run.jobs)
    first = ngettext("Done for {done} of {n} dataset", "Done for {done} of {n} datasets", whole)
    parts = [first.format(done=done, n=whole)]
    silent = sum(1 for job in run.jobs if is_silent(job))
    for state, words in COUNTED.items():
        count = sum(1 for job in run.jobs if job.state == state and not is_silent(job))
        if count:
            parts.append(_(words).format(n=count))
    if silent:
        parts.append(ngettext("{n} node silent", "{n} nodes silent", silent).format(n=silent))
    return "; ".join(parts) + "."
