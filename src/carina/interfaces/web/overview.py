"""The node's console: how all is, what arrives, the system's parts, and the hubs."""

from __future__ import annotations

import platform
import sqlite3
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from carina.deid.engine.marks import ENGINE
from carina.deid.rules import table
from carina.errors import NotFound
from carina.interfaces.api.identity import STAFF
from carina.interfaces.language import mark
from carina.interfaces.web.assets import ASSETS
from carina.interfaces.web.growing import day_chart
from carina.interfaces.web.pages import Pages
from carina.interfaces.web.review import is_manager
from carina.model.instance import Source
from carina.model.principal import Principal
from carina.node import keylist, quarantine
from carina.node.arrivals import SourceRow, growing, latest
from carina.node.growth import DAYS, Growth
from carina.node.membership import list_hubs
from carina.node.overview import Overview
from carina.node.quarantine import Wanted
from carina.node.site import Node
from carina.node.watch import Watch

RECENT = 30  # days that the overview's chart shows
STUDIES = 12  # that grew last
NEWEST = 15  # arrivals that are listed
END_STATES = {
    "received": (mark("Waits"), "info"),
    "archived": (mark("Archived"), "good"),
    "unchanged": (mark("Known"), ""),
    "quarantined": (mark("Quarantine"), "warn"),
    "forgotten": (mark("Person forgotten"), ""),
}
HUB_STATES = {
    "joined": (mark("Joined"), "good"),
    "left": (mark("Left"), "warn"),
    "removed": (mark("Removed by the hub"), "warn"),
}
VERDICTS = {
    "well": (mark("All is well"), "good"),
    "attention": (mark("Attention"), "warn"),
    "trouble": (mark("Trouble"), "bad"),
}


def overview_routes(node: Node, pages: Pages, watch: Watch) -> list[Route]:
    """`/`: one sentence, the parts, and the archive in numbers."""

    async def home(request: Request) -> Response:
        return await show(request, "node/home.html")

    async def live(request: Request) -> Response:
        return await show(request, "node/home_live.html")

    async def show(request: Request, template: str) -> Response:
        who = await pages.identity.identify(request, STAFF)
        seen = for_whom(await run_in_threadpool(watch.overview), who)
        grown = await run_in_threadpool(watch.growth)
        context = {"overview": seen, "verdict": VERDICTS[seen.verdict], **_grown(grown)}
        return await pages.render(request, template, **context)

    return [Route("/", home), Route("/overview", live)]


def for_whom(seen: Overview, who: Principal) -> Overview:
    """The overview with links only to pages that this person may open."""
    if is_manager(who):
        return seen
    return replace(seen, parts=tuple(replace(part, link="") if part.link == "/review" else part for part in seen.parts))


def _grown(grown: Growth) -> dict[str, Any]:
    return {
        "growth": grown,
        "week": grown.since(7),
        "month": grown.since(30),
        "chart": day_chart(grown.days, grown.today, RECENT),
    }


def arrival_routes(node: Node, pages: Pages, watch: Watch) -> list[Route]:
    """`/arrivals`: what the sources send, and what becomes of it; of one source with `?source=aet:SCANNER`."""

    async def arrivals(request: Request) -> Response:
        return await show(request, "node/arrivals.html")

    async def live(request: Request) -> Response:
        return await show(request, "node/arrivals_live.html")

    async def show(request: Request, template: str) -> Response:
        who = await pages.identity.identify(request, STAFF)
        seen = await run_in_threadpool(watch.arriving)
        chosen = chosen_source(request.query_params.get("source", ""), seen.sources)
        rows = [row for row in seen.sources if chosen is None or row.source == chosen]
        return await pages.render(
            request,
            template,
            sources=rows,
            choices=[row.source for row in seen.sources],
            chosen=chosen,
            sums=sums_of(rows),
            held=await run_in_threadpool(quarantine.count, node, Wanted(source=str(chosen or ""))),
            backlog=seen.backlog,
            newest=await run_in_threadpool(latest, node, chosen, NEWEST),
            studies=[] if chosen else await run_in_threadpool(growing, node, STUDIES),
            quiet=node.quiet,
            end_states=END_STATES,
            may_look=is_manager(who),
        )

    return [Route("/arrivals", arrivals), Route("/arrivals/live", live)]


def chosen_source(text: str, rows: tuple[SourceRow, ...]) -> Source | None:
    """The source that an address names as `aet:SCANNER`; None for none. Raises `NotFound` for one that is not known."""
    if not text:
        return None
    for row in rows:
        if text == str(row.source):
            return row.source
    raise NotFound("There is no such source.", "Choose one of the list.")


def sums_of(rows: list[SourceRow]) -> dict[str, int]:
    """Over all of them: what arrived, and what became of it."""
    tallies = [row.tally for row in rows]
    return {
        "arrived": sum(tally.total for tally in tallies),
        "archived": sum(tally.archived for tally in tallies),
        "unchanged": sum(tally.unchanged for tally in tallies),
        "quarantined": sum(row.quarantined for row in rows),
        "forgotten": sum(tally.forgotten for tally in tallies),
        "waiting": sum(tally.received for tally in tallies),
        "minute": sum(row.minute for row in rows),
        "quarter": sum(row.quarter for row in rows),
    }


def system_routes(node: Node, pages: Pages, watch: Watch) -> list[Route]:
    """`/system`: processes, storage and its growth, keys and certificates, versions and settings."""

    async def system(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        context = await run_in_threadpool(_system, node, watch)
        return await pages.render(request, "node/system.html", **context)

    return [Route("/system", system)]


def _system(node: Node, watch: Watch) -> dict[str, Any]:
    around, stored = watch.around, watch.storage()
    workers = around.workers() if around.workers is not None else {}
    return {
        "processes": watch.processes(),
        "missing": sorted(set(around.wanted) - workers.keys()) if around.workers is not None else [],
        "listeners": around.listeners,
        "stored": stored,
        "growth": stored.growth,
        "chart": day_chart(stored.growth.days, stored.growth.today, DAYS),
        "full_in": stored.growth.days_until(stored.free),
        "keys": keylist.listed(node, around.certificates),
        "versions": _versions(node),
        "profiles": [(one.title, one.profile.name, one.profile.digest) for one in node.projects.values()],
        "settings": around.settings,
        "parts": watch.overview().parts,
    }


def _versions(node: Node) -> list[tuple[str, str]]:
    database = "PostgreSQL" if node.engine.dialect.name == "postgresql" else f"SQLite {sqlite3.sqlite_version}"
    files = [(asset.name, f"SHA-256 {asset.sha256[:16]}") for asset in ASSETS if asset.name.endswith(".js")]
    return [
        ("Carina", version("carina")),
        (mark("Engine of de-identification"), ENGINE),
        (mark("Table of the profile"), f"PS3.15 {table.EDITION}"),
        (mark("Records"), database),
        ("Python", platform.python_version()),
        *files,
    ]


def hub_routes(node: Node, pages: Pages) -> list[Route]:
    """The federations that the node takes part in."""

    async def hubs(request: Request) -> Response:
        await pages.identity.identify(request, STAFF)
        found = await run_in_threadpool(lambda: list_hubs(node, joined_only=False))
        return await pages.render(request, "node/hubs.html", hubs=found, states=HUB_STATES)

    return [Route("/hubs", hubs)]
