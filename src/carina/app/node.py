"""Build a node and run it: one server, its ingest workers, its connections to hubs."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import socket
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from carina.app.http import post_json
from carina.app.pixels import look
from carina.app.processes import only_one, start_logs, stop_event
from carina.app.running import Jobs
from carina.app.site import open_node
from carina.app.working import work
from carina.interfaces import listener
from carina.interfaces.api.health import health_routes
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.api.node import inside_routes, outside_routes
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware, networks
from carina.interfaces.api.visitors import entries, visitors
from carina.interfaces.dicomweb.opening import by_staff
from carina.interfaces.dicomweb.outside import dataset_dicomweb_routes
from carina.interfaces.dicomweb.routes import dicomweb_routes, store_routes
from carina.interfaces.dimse.server import start_dimse
from carina.interfaces.nats.node_exchange import run_memberships
from carina.interfaces.web.node import node_frame, node_pages
from carina.interfaces.web.outside import outside_frame, outside_pages
from carina.node import membership
from carina.node.membership import JoinedHub
from carina.node.pixels import CLEAN_PIXELS
from carina.node.recovery import recover
from carina.node.site import Node
from carina.settings import NodeSettings, load_node

log = logging.getLogger(__name__)


def join(folder: Path, invitation: str) -> JoinedHub:
    """Join the hub that the invitation names; a server that runs notices by itself."""
    with open_node(folder) as node:
        return membership.join(node, invitation, post_json)


def serve(folder: Path) -> None:
    """Run the node until SIGINT, SIGTERM, or the end of the process that started this one and asked for that."""
    start_logs()
    settings = load_node(folder)
    with only_one(folder), open_node(folder, settings) as node:
        inside = listener.bind(settings.inside.host, settings.inside.port, "inside listener")
        outside = listener.bind(settings.outside.host, settings.outside.port, "outside listener")
        recover(node)
        asyncio.run(_serve(node, settings, folder, inside, outside))


async def _serve(node: Node, settings: NodeSettings, folder: Path, *sockets: socket.socket) -> None:
    stop = stop_event()
    applications = (inside_application(node, settings), outside_application(node, settings))
    servers = [listener.server(application) for application in applications]
    dimse = None
    if settings.dimse is not None:
        dimse = start_dimse(node, settings.dimse.host, settings.dimse.port, settings.dimse.ae_title)
    workers = Workers(folder, _tasks(node, settings))
    workers.start()
    jobs = Jobs(node, folder, settings.jobs)
    tasks = [asyncio.create_task(server.serve([bound])) for server, bound in zip(servers, sockets, strict=True)]
    tasks += [asyncio.create_task(run_memberships(node)), asyncio.create_task(workers.keep())]
    tasks.append(asyncio.create_task(jobs.keep()))
    log.info("node-started", extra={"node": node.id})
    try:
        await wait_for_end(stop, tasks)
    finally:
        if dimse is not None:
            await asyncio.to_thread(dimse.stop)
        await asyncio.to_thread(jobs.stop)
        await end(servers, tasks)
        await asyncio.to_thread(workers.stop)
        log.info("node-ended", extra={"node": node.id})


def _tasks(node: Node, settings: NodeSettings) -> dict[str, Callable[[Path, str], None]]:
    """The processes beside the server: those that take in, and those that look where a project has pixels cleaned."""
    tasks: dict[str, Callable[[Path, str], None]] = {}
    tasks |= {f"worker-{number}": work for number in range(1, settings.workers + 1)}
    if any(CLEAN_PIXELS in project.profile.options for project in node.projects.values()):
        tasks |= {f"pixels-{number}": look for number in range(1, settings.pixels.processes + 1)}
    return tasks


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


def inside_application(node: Node, settings: NodeSettings) -> Starlette:
    """Console, DICOMweb and status, for staff and senders."""
    url = settings.console_url or f"http://{settings.inside.host}:{settings.inside.port}"
    rules = Rules(url, trusted_proxies=networks(settings.trusted_proxies), body_limits=(("/dicom-web", None),))
    identity = Identity(LocalAccounts(node.engine, node.id), node.id, rules.secure)
    error_page = node_frame(node, identity).error
    staff = by_staff(node, identity.identify)
    return Starlette(
        routes=[
            *inside_routes(node, identity),
            Mount("/dicom-web", routes=[*store_routes(node, identity.identify), *dicomweb_routes(node, staff, url)]),
            *node_pages(node, identity),
        ],
        middleware=middleware(rules, identity, error_page),
        exception_handlers=exception_handlers(error_page),
    )


def outside_application(node: Node, settings: NodeSettings) -> Starlette:
    """Images, for researchers with a permit. A node without a public address offers its health, and nothing else."""
    url = settings.public_url or f"http://{settings.outside.host}:{settings.outside.port}"
    rules = Rules(url, trusted_proxies=networks(settings.trusted_proxies), open_paths=("/enter",))
    identity = visitors(node, rules.secure)
    error_page = outside_frame(node, identity).error
    routes: list[BaseRoute] = [*health_routes(node.engine)]
    if settings.public_url is not None:
        images = dataset_dicomweb_routes(node, identity.cookie, url)
        limit = entries()
        routes = [*outside_routes(node, limit), *images, *outside_pages(node, identity, limit)]
    return Starlette(
        routes=routes,
        middleware=middleware(rules, identity, error_page),
        exception_handlers=exception_handlers(error_page),
    )


class Workers:
    """The processes that work beside a node's server: they end with it, and are started again when one dies.

    work   by the name of each process, what it does with the node's folder and its name
    """

    def __init__(self, folder: Path, work: Mapping[str, Callable[[Path, str], None]]) -> None:
        self._folder = folder
        self._work = work
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[str, BaseProcess] = {}

    def start(self) -> None:
        """Start those that do not run."""
        for name, target in self._work.items():
            if name not in self._running or not self._running[name].is_alive():
                process = self._context.Process(target=target, args=(self._folder, name), name=name)
                process.start()
                self._running[name] = process

    async def keep(self) -> None:
        """Look after them until cancelled."""
        while True:
            await asyncio.sleep(1)
            for name, process in self._running.items():
                if not process.is_alive():
                    log.error("worker-died", extra={"worker": name})
            await asyncio.to_thread(self.start)

    def stop(self) -> None:
        """Let each finish what it has begun; after 5 seconds, kill: an instance's journey is safe to repeat."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
