"""Build a node and run it: one server, its ingest workers, its connections to hubs."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from carina.app.around import around
from carina.app.drawing import Drawers
from carina.app.export import drop_pins
from carina.app.http import post_json
from carina.app.pixels import look
from carina.app.processes import give_memory_back, only_one, start_logs, stop_event
from carina.app.running import Jobs
from carina.app.site import open_node
from carina.app.workers import Workers
from carina.app.working import work
from carina.interfaces import listener
from carina.interfaces.api.console import console_routes
from carina.interfaces.api.health import Check, health_routes, node_checks
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.api.metrics import Meter
from carina.interfaces.api.node import inside_routes, outside_routes
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware, networks
from carina.interfaces.api.visitors import entries, visitors
from carina.interfaces.dicomweb.opening import by_staff
from carina.interfaces.dicomweb.outside import DATASET, dataset_dicomweb_routes
from carina.interfaces.dicomweb.routes import dicomweb_routes, store_routes
from carina.interfaces.dimse.secure import client_context, listener_context
from carina.interfaces.dimse.server import DimseServer, start_dimse
from carina.interfaces.nats.node_exchange import run_memberships
from carina.interfaces.web.node import node_frame, node_pages
from carina.interfaces.web.ohif import ohif_routes
from carina.interfaces.web.outside import outside_frame, outside_pages
from carina.node import membership
from carina.node.forget import apply_tombstones
from carina.node.membership import JoinedHub
from carina.node.recovery import recover
from carina.node.site import Node
from carina.node.watch import Watch
from carina.settings import Dimse, NodeSettings, load_node

log = logging.getLogger(__name__)

CARE_EVERY = 5.0  # s between steps of `Watch.care`


def join(folder: Path, invitation: str) -> JoinedHub:
    """Join the hub that the invitation names; a server that runs notices by itself."""
    with open_node(folder) as node:
        return membership.join(node, invitation, post_json)


def serve(folder: Path) -> None:
    """Run the node until SIGINT, SIGTERM, or the end of the process that started this one and asked for that."""
    settings = load_node(folder)
    start_logs(settings.logs.form)
    give_memory_back()
    with (
        Workers(folder, {"worker": work, "pixels": look}) as workers,  # forked before there is anything to inherit
        only_one(folder),
        open_node(folder, settings) as node,
    ):
        inside = listener.bind(settings.inside.host, settings.inside.port, "inside listener")
        outside = listener.bind(settings.outside.host, settings.outside.port, "outside listener")
        drop_pins(folder)
        apply_tombstones(node)
        recover(node)
        listener.run(_serve(node, settings, folder, workers, inside, outside))


async def _serve(node: Node, settings: NodeSettings, folder: Path, workers: Workers, *sockets: socket.socket) -> None:
    stop = stop_event()
    watch = Watch(node, around(folder, settings, workers.alive))
    names = watch.around.wanted
    checks = node_checks(node, workers.alive, names)
    meter = Meter(workers.alive)
    applications = (
        inside_application(node, settings, meter, checks, watch),
        outside_application(node, settings, checks),
    )
    counted = [meter.counting(one, name) for one, name in zip(applications, ("inside", "outside"), strict=True)]
    servers = [listener.server(application) for application in counted]
    dimse = None
    if settings.dimse is not None:
        dimse = _start_dimse(node, settings.dimse)
        meter.associations = dimse.associations
    workers.start(names)
    drawers = Drawers(settings.images.processes) if settings.images.processes else None
    if drawers is not None:
        node.pictures.draw = drawers.draw
    jobs = Jobs(node, folder, settings.jobs)
    tasks = [asyncio.create_task(server.serve([bound])) for server, bound in zip(servers, sockets, strict=True)]
    tasks += [asyncio.create_task(run_memberships(node)), asyncio.create_task(workers.keep())]
    tasks += [asyncio.create_task(jobs.keep()), asyncio.create_task(_care(watch))]
    log.info("node-started", extra={"node": node.id})
    try:
        await wait_for_end(stop, tasks)
    finally:
        log.info("node-ending", extra={"node": node.id})
        for server in servers:
            server.should_exit = True  # both listeners take no more while associations end
        await asyncio.to_thread(_stop_all, [*([dimse.stop] if dimse is not None else []), jobs.stop])
        await end(servers, tasks)
        if drawers is not None:
            await asyncio.to_thread(drawers.close)
        await asyncio.to_thread(workers.stop)
        log.info("node-ended", extra={"node": node.id})


def _start_dimse(node: Node, settings: Dimse) -> DimseServer:
    """The DICOM network listener, over TLS if the site has set that up."""
    tls = calling = None
    if settings.tls is not None:
        tls = listener_context(settings.tls.certificate, settings.tls.key, settings.tls.clients)
        calling = client_context(settings.tls.certificate, settings.tls.key, settings.tls.clients)
    return start_dimse(
        node,
        settings.host,
        settings.port,
        settings.ae_title,
        peers_only=settings.peers_only,
        tls=tls,
        calling=calling,
    )


def _stop_all(stops: list[Callable[[], None]]) -> None:
    """Stop them at the same time. What goes wrong with one keeps none of the others, nor the workers, from ending."""
    with ThreadPoolExecutor(len(stops)) as threads:
        for done in [threads.submit(stop) for stop in stops]:
            error = done.exception()
            if error is not None:
                log.error("stop-failed", extra={"error": type(error).__name__})


async def _care(watch: Watch) -> None:
    """See `Watch.care`; until cancelled."""
    while True:
        await asyncio.sleep(CARE_EVERY)
        try:
            await asyncio.to_thread(watch.care)
        except Exception as error:  # noqa: BLE001  the node must go on; its words may quote values
            log.error("care-failed", extra={"error": type(error).__name__})


async def wait_for_end(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Return when `stop` is set; raise what a task raises."""
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in done - {waiting}:
        task.result()


async def end(servers: list[uvicorn.Server], tasks: list[asyncio.Task[None]]) -> None:
    """Let the servers finish what they answer (3 s at most), then cancel the rest."""
    for server in servers:
        server.should_exit = True
    serving, others = tasks[: len(servers)], tasks[len(servers) :]
    for task in others:
        task.cancel()
    await asyncio.gather(*serving, *others, return_exceptions=True)


def inside_application(
    node: Node,
    settings: NodeSettings,
    meter: Meter | None = None,
    checks: Sequence[Check] = (),
    watch: Watch | None = None,
) -> Starlette:
    """Console, DICOMweb and status, for staff and senders."""
    url = settings.console_url or f"http://{settings.inside.host}:{settings.inside.port}"
    rules = Rules(url, trusted_proxies=networks(settings.trusted_proxies), body_limits=(("/dicom-web", None),))
    identity = Identity(LocalAccounts(node.engine, node.id), node.id, rules.secure)
    error_page = node_frame(node, identity).error
    staff = by_staff(node, identity)
    watch = watch or Watch(node)
    return Starlette(
        routes=[
            *inside_routes(node, identity, meter, checks),
            *console_routes(node, identity, watch),
            Mount("/dicom-web", routes=[*store_routes(node, identity.identify), *dicomweb_routes(node, staff, url)]),
            Mount(DATASET, routes=dicomweb_routes(node, staff, url)),
            *node_pages(node, identity, watch),
        ],
        middleware=middleware(rules, identity, error_page),
        exception_handlers=exception_handlers(error_page),
    )


def outside_application(node: Node, settings: NodeSettings, checks: Sequence[Check] = ()) -> Starlette:
    """Images, for researchers with a permit. A node without a public address offers its health, and nothing else."""
    url = settings.public_url or f"http://{settings.outside.host}:{settings.outside.port}"
    rules = Rules(url, trusted_proxies=networks(settings.trusted_proxies), open_paths=("/enter",))
    identity = visitors(node, rules.secure)
    error_page = outside_frame(node, identity).error
    routes: list[BaseRoute] = [*health_routes(node.engine, checks)]
    if settings.public_url is not None:
        images = dataset_dicomweb_routes(node, identity.cookie, url)
        limit = entries()
        viewer = ohif_routes(node, identity, outside_frame(node, identity), url)
        routes = [*outside_routes(node, limit, checks), *images, *viewer, *outside_pages(node, identity, limit)]
    return Starlette(
        routes=routes,
        middleware=middleware(rules, identity, error_page),
        exception_handlers=exception_handlers(error_page),
    )
